"""The header of a safetensors file: which tensors, of what type, where.

The format: https://huggingface.co/docs/safetensors/index#format. A file of fanin's is byte for byte the
one that the safetensors library writes from the same arrays, but for the order of the metadata, which
that library leaves to chance and fanin sorts.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fanin.dtypes import resolve
from fanin.errors import CheckpointError
from fanin.layouts import Shape
from fanin.recipe import Piece

__all__ = ["CODES", "Output", "Placed", "Source", "check_names", "header"]

# How the format calls a dtype, in the order in which the safetensors library writes them: widest first,
# so that every tensor is aligned.
_ORDERED = {
    "uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32", "int32": "I32",
    "bfloat16": "BF16", "float16": "F16", "uint16": "U16", "int16": "I16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
CODES: dict[np.dtype, str] = {resolve(name): code for name, code in _ORDERED.items()}
_RANKS = {dtype: rank for rank, dtype in enumerate(CODES)}
_METADATA = "__metadata__"
_ALIGNMENT = 8
_GREATEST = 100_000_000  # bytes; readers refuse longer headers


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file has the bytes of an array.

    Attributes:
        path: of the file.
        offset: of the first byte.
        shape: of the array.
        dtype: of the array.
    """

    path: Path
    offset: int
    shape: Shape
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class Output:
    """An array as a file is to have it.

    Attributes:
        name: of the array.
        shape: of the array.
        dtype: of the array.
        pieces: that it is drawn from.
        source: that it is copied from instead.
    """

    name: str
    shape: Shape
    dtype: np.dtype
    pieces: tuple[Piece, ...] = ()
    source: Source | None = None

    @property
    def windowable(self) -> bool:
        """Whether a window costs only the window."""
        return all(piece.recipe.windowable for piece in self.pieces)

    @property
    def size(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Placed:
    """An array and the bytes of the file that hold it."""

    stored: Output
    start: int
    stop: int


def check_names(arrays: Iterable[Output]) -> None:
    """Refuse names that a checkpoint cannot have.

    Raises:
        CheckpointError: two arrays of one name, or the name that the format keeps for itself.
    """
    seen = {_METADATA}
    for array in arrays:
        if array.name in seen:
            why = "is a name that the format keeps for itself" if array.name == _METADATA else "comes twice"
            raise CheckpointError(f"tensor {array.name!r} {why}; give every tensor a name of its own.")
        seen.add(array.name)


def header(arrays: Iterable[Output], metadata: Mapping[str, str] | None) -> tuple[bytes, list[Placed]]:
    """Return what a file begins with, and where its tensors go, in the order of the file.

    Raises:
        CheckpointError: two arrays of one name, a name or metadata that the format cannot hold, or
            so many arrays that no reader would take the header.
    """
    arrays = list(arrays)
    check_names(arrays)
    ordered = sorted(arrays, key=lambda array: (_RANKS[array.dtype], array.name))
    fields: dict[str, object] = {} if metadata is None else {_METADATA: _checked(metadata)}
    offsets = [0]
    for array in ordered:
        offsets.append(offsets[-1] + array.size)
        fields[array.name] = {"dtype": CODES[array.dtype], "shape": array.shape, "data_offsets": offsets[-2:]}
    try:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise CheckpointError(f"a name or metadata is no text that UTF-8 can hold: {error.object!r}.") from None
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _GREATEST:
        raise CheckpointError(
            f"{len(ordered)} tensors need a header of {len(text):,} bytes; readers take up to {_GREATEST:,}. Write "
            f"them to several files."
        )
    start = len(text) + 8
    placed = [
        Placed(array, start + low, start + high)
        for array, low, high in zip(ordered, offsets[:-1], offsets[1:], strict=True)
    ]
    return len(text).to_bytes(8, "little") + text, placed


def _checked(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise CheckpointError(f"metadata {key!r}: {value!r}: the format holds texts only; convert both with str().")
    return dict(sorted(metadata.items()))
