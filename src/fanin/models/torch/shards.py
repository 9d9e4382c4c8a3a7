"""Which parts of a tensor this process has: all of it, the boxes of a DTensor, or a stretch of a flat one."""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from fanin.errors import ShapeError, WindowError
from fanin.layouts import Shape
from fanin.models.arrays import Part
from fanin.recipe import Window, check_shape

__all__ = ["Declared", "Shard", "chunk", "extent", "misplaced", "parts", "reshard", "stretches", "whole_shape"]

Run = tuple[int, int]  # start and stop on one axis


class Shard(NamedTuple):
    """Where a plain local tensor lies in the whole: the whole's shape, and the index of the first element."""

    shape: Shape
    offset: Shape


Declared = Shard | tuple[Sequence[int], Sequence[int]]


def whole_shape(tensor: torch.Tensor) -> Shape:
    """The shape of the whole tensor, wherever its shards are. ZeRO-3 keeps it in ``ds_shape``."""
    return tuple(map(int, getattr(tensor, "ds_shape", tensor.shape)))


def extent(tensor: torch.Tensor, name: str, shard: Declared | None) -> tuple[Shape, Shape | None]:
    """The shape of the whole, and where in it a tensor begins that is declared to be a shard.

    Raises:
        ShapeError: the tensor does not lie in the whole so, or tells its own place.
    """
    shape = whole_shape(tensor)
    if shard is None:
        return shape, None
    if hasattr(tensor, "placements") or hasattr(tensor, "ds_shape"):
        raise ShapeError(
            f"{name!r}: shard={shard!r} is declared of a tensor that tells its place in the whole, of shape {shape!r}, "
            f"itself; leave the declaration away."
        )
    try:
        whole, offset = map(check_shape, shard)
    except (TypeError, ValueError):  # no pair, or ShapeError of what is no shape
        raise ShapeError(
            f"{name!r}: shard={shard!r} is not the shape of the whole and the index of the tensor's first element in "
            f"it; give ((1024, 512), (256, 0)), say."
        ) from None
    fits = len(whole) == len(offset) == len(shape)
    if not fits or any(a + n > m for a, n, m in zip(offset, shape, whole, strict=True)):
        raise ShapeError(f"{name!r} has shape {shape!r}, which does not lie in {whole!r} at {offset!r}.")
    return whole, offset


def reshard(module: nn.Module) -> None:
    """Put the shards of `fully_shard` back where it has gathered parameters, as it does before it loads a checkpoint.

    What is written to gathered ones is lost. Nothing is communicated.
    """
    sharded: Any = getattr(sys.modules.get("torch.distributed.fsdp"), "FSDPModule", ())  # none where it is not loaded
    for layer in module.modules():
        if isinstance(layer, sharded):
            layer.reshard()


def misplaced(tensor: Any) -> str:
    """Why it cannot be told which parts of a tensor are here; nothing where it can."""
    if getattr(tensor, "_fsdp_flattened", False):
        return (
            "is flattened with others by FullyShardedDataParallel; apply the plan before that wraps the module, or "
            "wrap by fully_shard."
        )
    if _is_partitioned(tensor):
        partition = tensor.ds_tensor
        if partition.dtype != tensor.dtype or partition.numel() != getattr(partition, "ds_numel", partition.numel()):
            return "has a partition that is quantized or not in memory; apply the plan before the engine is made."
        return ""
    if not hasattr(tensor, "placements"):
        return ""
    for placement in tensor.placements:
        if not (placement.is_replicate() or hasattr(placement, "dim")):
            return (
                f"is a DTensor with the placement {placement!r}: its value is a sum over processes. Redistribute it "
                f"to Shard or Replicate first."
            )
    if not _is_here(tensor):
        return ""
    local, placed = tuple(tensor.to_local().shape), tuple(sum(b - a for a, b in runs) for runs in _runs(tensor))
    if local != placed:
        return f"is a DTensor of shape {local!r} here, where its placements {tensor.placements!r} say {placed!r}."
    return ""


def parts(tensor: torch.Tensor, offset: Shape | None = None) -> list[Part]:
    """The parts of a tensor that are here, in no more memory than they take.

    Args:
        tensor: a plain one, a DTensor, or a parameter that ZeRO-3 partitioned; none that is `misplaced`.
        offset: of a plain local shard in the whole.
    """
    if _is_partitioned(tensor):
        return _flat(tensor)
    if hasattr(tensor, "placements"):
        return _of_dtensor(tensor) if _is_here(tensor) else []
    shape = tuple(tensor.shape)
    start = (0,) * len(shape) if offset is None else offset
    return [Part(Window(start, tuple(a + n for a, n in zip(start, shape, strict=True))), tensor)]


def _is_partitioned(tensor: torch.Tensor) -> bool:
    """Whether ZeRO-3 has a partition of it; the attribute is there before that is."""
    return getattr(tensor, "ds_tensor", None) is not None


def _is_here(tensor: Any) -> bool:
    """Whether this process is in the mesh of a DTensor."""
    return tensor.device_mesh.get_coordinate() is not None


def _of_dtensor(tensor: Any) -> list[Part]:
    local = tensor.to_local()
    found = []
    for box in itertools.product(*map(_placed, _runs(tensor))):
        window = Window(tuple(start for start, _, _ in box), tuple(stop for _, stop, _ in box))
        here = tuple(slice(at, at + stop - start) for start, stop, at in box)
        found.append(Part(window, local[here]))
    return found


def _runs(tensor: Any) -> list[list[Run]]:
    """Of every axis the runs that are here, in the order in which the local shard has them."""
    mesh = tensor.device_mesh
    runs = [[(0, length)] for length in tensor.shape]
    for axis, (placement, index) in enumerate(zip(tensor.placements, mesh.get_coordinate(), strict=True)):
        if hasattr(placement, "dim"):
            split = getattr(placement, "split_factor", 1)
            runs[placement.dim] = chunk(runs[placement.dim], split, mesh.size(axis), index)
    return runs


def chunk(runs: list[Run], split: int, number: int, index: int) -> list[Run]:
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
    """A parameter that ZeRO-3 cut into equal stretches of its elements in C order, the last one padded.

    Inside of GatheredParameters the whole is here, too: of the two, that which is kept depends on its arguments.
    """
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
    return [*found, Part(Window.whole(shape), tensor)] if tensor.shape == shape else found


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
