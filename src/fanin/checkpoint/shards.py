"""Which tensors go to which file of a checkpoint of several, and the index that says so: as transformers has it."""

import json
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import SupportsIndex

from fanin.checkpoint.header import Output, Placed, check_names, header
from fanin.errors import ArgumentError

__all__ = ["INDEX", "SINGLE", "Shard", "arranged", "bytes_of", "index_of", "is_shard"]

SINGLE = "model.safetensors"  # of a checkpoint that is one file; transformers prefers it to an index
INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d{5,}-of-\d{5,}\.safetensors")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?\s*", re.IGNORECASE | re.ASCII)
_UNITS = {"b": 1} | {
    f"{letter}{infix}b": base**power
    for power, letter in enumerate("kmgt", 1)
    for infix, base in (("", 1000), ("i", 1024))
}


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of a checkpoint.

    Attributes:
        name: of the file.
        head: what it begins with.
        placed: its tensors.
    """

    name: str
    head: bytes
    placed: tuple[Placed, ...]

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self.placed[-1].stop if self.placed else len(self.head)


def is_shard(name: str) -> bool:
    """Whether a file of that name is taken for one of several."""
    return _SHARD.fullmatch(name) is not None


def bytes_of(size: SupportsIndex | str) -> int:
    """A size in bytes, of a number or a text: 5GB is 5 * 10^9, 5GiB is 5 * 2^30.

    Raises:
        ArgumentError: it is no size, or less than a byte.
    """
    try:
        if isinstance(size, str):
            match = _SIZE.fullmatch(size)
            unit = match and _UNITS.get((match[2] or "b").lower())
            found = int(Decimal(match[1]) * unit) if match and unit else 0
        else:
            found = 0 if isinstance(size, bool) else operator.index(size)
    except TypeError:
        found = 0
    if found < 1:
        raise ArgumentError(f"{size!r} is no size of a shard; give bytes, or a text such as '5GB', '500MB' or '2GiB'.")
    return found


def arranged(outputs: Sequence[Output], most: int, metadata: Mapping[str, str] | None) -> tuple[Shard, ...]:
    """Arrange arrays in files of at most so many bytes of tensors, in their order; a larger one has a file of its own.

    Raises:
        CheckpointError: see `fanin.checkpoint.header.header`.
    """
    check_names(outputs)
    groups = _groups(outputs, most) or [[]]
    shards = []
    for number, group in enumerate(groups, 1):
        head, placed = header(group, metadata)
        name = SINGLE if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        shards.append(Shard(name, head, tuple(placed)))
    return tuple(shards)


def _groups(outputs: Iterable[Output], most: int) -> list[list[Output]]:
    """As transformers does it: one that is too large comes before those that were being gathered."""
    groups: list[list[Output]] = []
    gathered: list[Output] = []
    size = 0
    for array in outputs:
        if array.size > most:
            groups.append([array])
            continue
        if size + array.size > most:
            groups.append(gathered)
            gathered, size = [], 0
        gathered.append(array)
        size += array.size
    return [*groups, gathered] if gathered else groups


def index_of(shards: Sequence[Shard]) -> bytes:
    """What the index of some shards says."""
    arrays = [(placed.stored, shard.name) for shard in shards for placed in shard.placed]
    index = {
        "metadata": {
            "total_parameters": sum(math.prod(array.shape) for array, _ in arrays),
            "total_size": sum(array.size for array, _ in arrays),
        },
        "weight_map": {array.name: name for array, name in arrays},
    }
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
