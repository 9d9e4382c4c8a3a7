"""A checkpoint as a thing to be looked at: its arrays are the memory-mapped files."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fanin.checkpoint.header import CODES
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
    """

    path: Path
    arrays: Sequence[Array]
    metadata: dict[str, str] = field(default_factory=dict)

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
    for file, parameters in files(path):
        views, metadata = _mapped(file)
        said.append(metadata)
        for parameter in parameters:
            arrays.append(Array(parameter.name, views[parameter.name], parameter.shape, (parameter,)))
    common = (
        {key: value for key, value in said[0].items() if all(each.get(key) == value for each in said)} if said else {}
    )
    return Stored(path, tuple(arrays), common)


def _mapped(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a file that has been found to be a whole one, and its metadata."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        memory = np.asarray(np.memmap(path, np.uint8, "r"))
        metadata = header.pop("__metadata__", None) or {}
        start = 8 + length
        return {name: _view(memory, start, fields) for name, fields in header.items()}, metadata
    except (OSError, ValueError) as error:  # it was replaced meanwhile
        raise CheckpointError(f"{path} cannot be read: {error}.") from error


def _view(memory: np.ndarray, start: int, fields: dict[str, list[int]]) -> np.ndarray:
    first, last = fields["data_offsets"]
    dtype = _DTYPES[fields["dtype"]]  # type: ignore[index]  # a text
    return memory[start + first : start + last].view(dtype).reshape(fields["shape"])
