"""A checkpoint as a thing to be looked at: its arrays are the memory-mapped files."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fanin.checkpoint.header import CODES, Source
from fanin.checkpoint.reading import files
from fanin.errors import CheckpointError
from fanin.models import Array, Part
from fanin.recipe import Window

__all__ = ["Stored", "opened"]

_DTYPES = {code: dtype for dtype, code in CODES.items()}


@dataclass(frozen=True)
class Stored:
    """A checkpoint: a `fanin.models.Readable`.

    Attributes:
        path: of the file or of the index.
        arrays: its tensors, each one logical tensor of its own name.
        metadata: what its files say of themselves, where all of them say the same.
        sources: where the bytes of each tensor are, for whoever reads them without mapping: what is read of a
            mapped file counts as memory of the process.
    """

    path: Path
    arrays: Sequence[Array]
    metadata: dict[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)

    def read(self, array: Array) -> Sequence[Part]:
        """All of a tensor, in the memory-mapped file: what is looked at is read, and nothing else."""
        return [Part(Window.whole(array.shape), array.handle)]


def opened(path: str | os.PathLike[str]) -> Stored:
    """Open a checkpoint to look at its weights.

    Args:
        path: see `fanin.checkpoint.shapes`.

    Raises:
        CheckpointError: see `fanin.checkpoint.shapes`.
    """
    path = Path(path)
    arrays = []
    said: list[dict[str, str]] = []
    sources: dict[str, Source] = {}
    for file, parameters in files(path):
        found, metadata = _placed(file)
        said.append(metadata)
        memory = _mapped(file)
        for parameter in parameters:
            sources[parameter.name] = source = found[parameter.name]
            arrays.append(Array(parameter.name, _view(memory, source), parameter.shape, (parameter,)))
    common = (
        {key: value for key, value in said[0].items() if all(each.get(key) == value for each in said)} if said else {}
    )
    return Stored(path, tuple(arrays), common, sources)


def _placed(path: Path) -> tuple[dict[str, Source], dict[str, str]]:
    """Where the tensors of a file are that has been found to be a whole one, and its metadata."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (OSError, ValueError) as error:  # it was replaced meanwhile
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    metadata = header.pop("__metadata__", None) or {}
    return {
        name: Source(path, 8 + length + each["data_offsets"][0], tuple(each["shape"]), _DTYPES[each["dtype"]])
        for name, each in header.items()
    }, metadata


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def _view(memory: np.ndarray, source: Source) -> np.ndarray:
    last = source.offset + math.prod(source.shape) * source.dtype.itemsize
    return memory[source.offset : last].view(source.dtype).reshape(source.shape)
