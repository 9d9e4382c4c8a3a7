"""How tensors are cut into chunks: some neighbouring bytes of the file, filled and written in one go."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fanin.checkpoint.header import Output, Placed
from fanin.layouts import Shape
from fanin.recipe import Window

__all__ = ["Chunk", "Part", "chunks", "most_bytes", "windows"]

LANES = 4  # neighbours on the last logical axis that the stream draws at once


@dataclass(frozen=True, slots=True)
class Part:
    """A window of an array."""

    stored: Output
    window: Window


@dataclass(frozen=True, slots=True)
class Chunk:
    """Windows that follow each other in the file from an offset on."""

    offset: int
    parts: tuple[Part, ...]


def windows(shape: Shape, most: int) -> Iterator[Window]:
    """Cut an array into boxes of neighbouring elements, in C order, at most `LANES` times `most` elements each.

    One axis is cut, in spans of whole blocks of the stream wherever that axis is the column, so that
    no word is drawn twice.
    """
    axis, inner = len(shape), 1
    while axis and inner * shape[axis - 1] <= most:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield Window.whole(shape)
        return
    axis -= 1
    span = max(1, most // inner // LANES) * LANES
    rest = shape[axis + 1 :]
    for outer in itertools.product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], span):
            stop = min(start + span, shape[axis])
            yield Window((*outer, start, *(0 for _ in rest)), (*(index + 1 for index in outer), stop, *rest))


def chunks(placed: Iterable[Placed], most: int) -> Iterator[Chunk]:
    """Cut large tensors and gather small ones into chunks of about `most` elements."""
    parts: list[Part] = []
    gathered, start, stop = 0, 0, 0
    for tensor in placed:
        stored, at = tensor.stored, tensor.start
        for window in windows(stored.shape, most) if tensor.stop > tensor.start else ():
            elements = math.prod(window.shape)
            if parts and (at != stop or gathered + elements > most):
                yield Chunk(start, tuple(parts))
                parts, gathered = [], 0
            if not parts:
                start = at
            parts.append(Part(stored, window))
            gathered += elements
            at = stop = at + elements * stored.dtype.itemsize
    if parts:
        yield Chunk(start, tuple(parts))


def most_bytes(placed: Iterable[Placed], most: int) -> int:
    """The size of a buffer that takes any chunk."""
    return min(
        LANES * most * max((tensor.stored.dtype.itemsize for tensor in placed), default=1),
        sum(tensor.stop - tensor.start for tensor in placed),
    )
