"""Which parts of a tensor this process has: all of it, the boxes of a DTensor, or a stretch of a flat one."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch

from fanin.errors import OutputError, WindowError
from fanin.layouts import Shape
from fanin.models.arrays import Part
from fanin.recipe import Window

__all__ = ["parts", "stretches", "whole_shape"]

Run = tuple[int, int]  # start and stop on one axis


def whole_shape(tensor: torch.Tensor) -> Shape:
    """The shape of the whole tensor, wherever its shards are. ZeRO-3 keeps it in ``ds_shape``."""
    return tuple(map(int, getattr(tensor, "ds_shape", tensor.shape)))


def parts(tensor: torch.Tensor, name: str, offset: Shape | None = None) -> list[Part]:
    """The parts of a tensor that are here, in no more memory than they take.

    Args:
        tensor: a plain one, a DTensor, or a parameter that ZeRO-3 partitioned.
        name: for messages.
        offset: of a plain local shard in the whole.

    Raises:
        OutputError: a DTensor whose values are sums of what the processes have (``Partial``).
    """
    if hasattr(tensor, "ds_tensor"):
        return _flat(tensor)
    if hasattr(tensor, "placements"):
        return _of_dtensor(tensor, name)
    shape = tuple(tensor.shape)
    start = (0,) * len(shape) if offset is None else offset
    return [Part(Window(start, tuple(a + n for a, n in zip(start, shape, strict=True))), tensor)]


def _of_dtensor(tensor: Any, name: str) -> list[Part]:
    for placement in tensor.placements:
        if not (placement.is_replicate() or hasattr(placement, "dim")):
            raise OutputError(
                f"{name!r} is a DTensor with the placement {placement!r}: its value is a sum over processes. "
                f"Redistribute it to Shard or Replicate first."
            )
    coordinate = tensor.device_mesh.get_coordinate()
    local = tensor.to_local()
    if coordinate is None:  # this process is not in the mesh
        return []
    runs: list[list[Run]] = [[(0, length)] for length in tensor.shape]
    for axis, placement in enumerate(tensor.placements):
        if hasattr(placement, "dim"):
            split = getattr(placement, "split_factor", 1)
            runs[placement.dim] = _chunk(runs[placement.dim], split, tensor.device_mesh.size(axis), coordinate[axis])
    found = []
    for box in itertools.product(*map(_placed, runs)):
        window = Window(tuple(start for start, _, _ in box), tuple(stop for _, stop, _ in box))
        here = tuple(slice(at, at + stop - start) for start, stop, at in box)
        found.append(Part(window, local[here]))
    return found


def _chunk(runs: list[Run], split: int, number: int, index: int) -> list[Run]:
    """Of each of `split` stretches, chunk `index` of `number`, as `torch.chunk` cuts them."""
    length = sum(stop - start for start, stop in runs)
    result: list[Run] = []
    outer = -(-length // split)
    for first in range(0, length, outer) if length else ():
        size = min(outer, length - first)
        inner = -(-size // number)
        low, high = min(size, inner * index), min(size, inner * (index + 1))
        result += _cut(runs, first + low, first + high)
    return result


def _cut(runs: list[Run], low: int, high: int) -> Iterator[Run]:
    """The positions from `low` to `high`, counted over the runs."""
    for start, stop in runs:
        a, b = max(low, 0), min(high, stop - start)
        if a < b:
            yield start + a, start + b
        low, high = low - (stop - start), high - (stop - start)


def _placed(runs: list[Run]) -> list[tuple[int, int, int]]:
    """Runs, neighbours joined, and where each begins in the local shard."""
    joined: list[tuple[int, int, int]] = []
    at = 0
    for start, stop in runs:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop, joined[-1][2])
        else:
            joined.append((start, stop, at))
        at += stop - start
    return joined


def _flat(tensor: Any) -> list[Part]:
    """A parameter that ZeRO-3 cut into equal stretches of its elements in C order, the last one padded."""
    partition = tensor.ds_tensor
    shape = whole_shape(tensor)
    rank = torch.distributed.get_rank(getattr(tensor, "ds_process_group", None))
    start = min(rank * partition.numel(), math.prod(shape))
    stop = min(start + partition.numel(), math.prod(shape))
    found, at = [], 0
    for window in stretches(shape, start, stop):
        size = math.prod(window.shape)
        found.append(Part(window, partition.view(-1)[at : at + size].view(window.shape)))
        at += size
    return found


def stretches(shape: Shape, start: int, stop: int) -> Iterator[Window]:
    """The boxes that the elements from `start` to `stop`, counted in C order, are made of, in order.

    >>> [window.slices for window in stretches((3, 4), 2, 9)]  # doctest: +NORMALIZE_WHITESPACE
    [(slice(0, 1, None), slice(2, 4, None)),
     (slice(1, 2, None), slice(0, 4, None)),
     (slice(2, 3, None), slice(0, 1, None))]
    """
    if not 0 <= start <= stop <= math.prod(shape):
        raise WindowError(f"elements {start} to {stop} are not all in the shape {shape!r}.")
    if start == stop:
        return
    if not shape:
        yield Window((), ())
        return
    inner = math.prod(shape[1:])
    first, last = start // inner, stop // inner  # rows: a part of the first, whole ones, a part of the last
    if start % inner:
        end = min(stop, (first + 1) * inner)
        for window in stretches(shape[1:], start % inner, end - first * inner):
            yield Window((first, *window.start), (first + 1, *window.stop))
        first += 1
    if first < last:
        yield Window((first, *(0 for _ in shape[1:])), (last, *shape[1:]))
    if stop % inner and first <= last:
        for window in stretches(shape[1:], 0, stop % inner):
            yield Window((last, *window.start), (last + 1, *window.stop))
