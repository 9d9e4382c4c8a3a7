"""The compiled engine: all cores, any strides, every dtype written directly."""

import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fanin.dtypes import FLOATS
from fanin.engines import kernels
from fanin.engines.tables import table
from fanin.layouts import Coordinates
from fanin.recipe import Draw, Normal, UniformInterval, Window
from fanin.spec.grids import Affine, Scaled, Uniform

THREAD_FROM = 2**19  # elements below which a second thread costs more than it brings
MAX_ROWS = 2**19  # rows listed at a time: up to 20 MiB of indices while they are made
SEEN = 2**14  # elements up to which a cut is remembered
MAX_GROUPS = 2**18  # columns listed at a time: 17 MiB

# How the kernels write a dtype, and as which dtype they see it.
_CODES = {
    FLOATS["float64"]: (kernels.FLOAT, np.float64),
    FLOATS["float32"]: (kernels.FLOAT, np.float32),
    FLOATS["float16"]: (kernels.FLOAT16, np.uint16),
    FLOATS["bfloat16"]: (kernels.BFLOAT16, np.uint16),
    FLOATS["float8_e4m3fn"]: (kernels.E4M3FN, np.uint8),
    FLOATS["float8_e5m2"]: (kernels.E5M2, np.uint8),
}


# A kernel, its units, about as many elements, and the arguments that say where they are.
_Job = tuple[Callable[..., None], int, int, tuple[object, ...]]


class _Axis(NamedTuple):
    length: int
    stride: int  # of the output, in elements
    step: int  # of the logical row or column


def fill(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
    """Write a window of a draw into an array of its shape."""
    assert draw.stream is not None
    code, carrier = _CODES[view.dtype]
    if any(stride % view.itemsize for stride in view.strides) or not view.flags.aligned:
        whole = np.empty(view.shape, view.dtype)
        fill(draw, window, whole, threads)
        view[...] = whole
        return
    coordinates = draw.coordinates(window)
    flat, coordinates, strides = _flatten(view.view(carrier), coordinates)
    key, upper = draw.stream.words()
    arguments = (*_words32(key), *_words32(upper), *_arguments(draw.distribution))
    for kernel, units, elements, geometry in (_seen_jobs if view.size <= SEEN else _jobs)(coordinates, strides):
        _share(kernel, units, elements, threads, (flat, code, *geometry), arguments)


def _jobs(coordinates: Coordinates, strides: tuple[int, ...]) -> Iterator[_Job]:
    """Cut a fill into calls of kernels."""
    rows = _axes(coordinates.shape, strides, coordinates.row_steps)
    columns = _axes(coordinates.shape, strides, coordinates.column_steps)
    for row_start, row_offset, row_axes in _parts(rows, coordinates.row_start, MAX_ROWS):
        numbers, offsets = _listed(row_axes, row_start, row_offset)
        if len(columns) == 1 and columns[0].stride == columns[0].step == 1 and columns[0].length >= kernels.LANES:
            start, length = coordinates.column_start, columns[0].length
            units = len(numbers) * (-(-(start + length) // kernels.LANES) - start // kernels.LANES)
            yield kernels.along, units, units * kernels.LANES, (numbers.astype(np.uint32), offsets, start, length)
            continue
        for column_start, column_offset, column_axes in _parts(columns, coordinates.column_start, MAX_GROUPS):
            groups, group_offsets = _groups(*_listed(column_axes, column_start, column_offset))
            order = np.argsort(offsets, kind="stable")
            units = len(groups) * -(-len(numbers) // kernels.BLOCKS)
            geometry = numbers[order].astype(np.uint32), offsets[order], groups, group_offsets
            yield kernels.across, units, units * kernels.VALUES, geometry


@functools.lru_cache(maxsize=64)
def _seen_jobs(coordinates: Coordinates, strides: tuple[int, ...]) -> list[_Job]:
    """The same, remembered: of a small tensor the preparation is most of the time."""
    return list(_jobs(coordinates, strides))


def _flatten(view: np.ndarray, coordinates: Coordinates) -> tuple[np.ndarray, Coordinates, tuple[int, ...]]:
    """The memory under a view as a vector from its lowest address, and strides that are not negative."""
    strides = [stride // view.itemsize for stride in view.strides]
    if view.flags.c_contiguous:
        return view.reshape(-1), coordinates, tuple(strides)
    row_start, column_start = coordinates.row_start, coordinates.column_start
    row_steps, column_steps = list(coordinates.row_steps), list(coordinates.column_steps)
    for axis, (stride, length) in enumerate(zip(strides, view.shape, strict=True)):
        if stride < 0:
            view = np.flip(view, axis)
            row_start += row_steps[axis] * (length - 1)
            column_start += column_steps[axis] * (length - 1)
            row_steps[axis], column_steps[axis] = -row_steps[axis], -column_steps[axis]
            strides[axis] = -stride
    extent = 1 + sum((length - 1) * stride for length, stride in zip(view.shape, strides, strict=True))
    flat = np.lib.stride_tricks.as_strided(view, (extent,), (view.itemsize,))
    moved = Coordinates(view.shape, row_start, tuple(row_steps), column_start, tuple(column_steps))
    return flat, moved, tuple(strides)


def _axes(shape: tuple[int, ...], strides: tuple[int, ...], steps: tuple[int, ...]) -> list[_Axis]:
    """The axes that move along rows (or columns), widest stride first, neighbours merged where they can be."""
    axes = [_Axis(*item) for item in zip(shape, strides, steps, strict=True) if item[0] > 1 and item[2] != 0]
    axes.sort(key=lambda axis: -axis.stride)
    merged: list[_Axis] = []
    for axis in axes:
        if merged and (merged[-1].stride, merged[-1].step) == (axis.stride * axis.length, axis.step * axis.length):
            merged[-1] = _Axis(merged[-1].length * axis.length, axis.stride, axis.step)
        else:
            merged.append(axis)
    return merged


def _parts(axes: list[_Axis], start: int, most: int) -> list[tuple[int, int, list[_Axis]]]:
    """Split axes into boxes of at most `most` positions: logical start, memory offset, axes."""
    if math.prod(axis.length for axis in axes) <= most:
        return [(start, 0, axes)]
    head, *rest = axes
    span = most // math.prod(axis.length for axis in rest)
    if span:
        return [
            (start + low * head.step, low * head.stride, [head._replace(length=min(span, head.length - low)), *rest])
            for low in range(0, head.length, span)
        ]
    return [
        (part_start, offset + index * head.stride, part_axes)
        for index in range(head.length)
        for part_start, offset, part_axes in _parts(rest, start + index * head.step, most)
    ]


def _listed(axes: list[_Axis], start: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Logical numbers and memory offsets of all positions of a box, in C order."""
    numbers, offsets = np.array([start], np.int64), np.array([offset], np.int64)
    for axis in axes:
        index = np.arange(axis.length, dtype=np.int64)
        numbers = np.add.outer(numbers, index * axis.step).reshape(-1)
        offsets = np.add.outer(offsets, index * axis.stride).reshape(-1)
    return numbers, offsets


def _groups(numbers: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns by the block they belong to: block numbers, and four memory offsets each, -1 for none."""
    blocks, inverse = np.unique(numbers >> 2, return_inverse=True)
    group_offsets = np.full((len(blocks), kernels.LANES), -1, np.int64)
    group_offsets[inverse, numbers & 3] = offsets
    return blocks.astype(np.uint32), group_offsets


def _words32(words: tuple[int, int]) -> tuple[np.uint32, np.uint32]:
    return np.uint32(words[0]), np.uint32(words[1])


@functools.lru_cache(maxsize=256)
def _arguments(distribution: Normal | UniformInterval) -> tuple[object, ...]:
    """What a kernel needs to know of a distribution."""
    grid = distribution.grid()
    if isinstance(grid, Uniform):
        form, origin, slope, unit, bounds = kernels.UNIFORM, grid.origin, grid.width, grid.unit, (-math.inf, math.inf)
        least = greatest = 0
    elif isinstance(grid, Scaled):
        form, unit, bounds = kernels.SCALED, grid.scale, (grid.lower, grid.upper)
        origin = slope = least = greatest = 0
    else:
        assert isinstance(grid, Affine)
        form, origin, slope, unit, bounds = kernels.AFFINE, grid.origin, grid.slope, grid.unit, (grid.lower, grid.upper)
        least, greatest = grid.least, grid.greatest
    knots, distance = table(*bounds)
    return (
        form, np.int32(origin), np.uint32(slope), np.int32(least), np.int32(greatest), np.float32(unit), knots,
        np.int32(distance),
    )  # fmt: skip


def _share(
    kernel: Callable[..., None],
    units: int,
    elements: int,
    threads: int,
    before: tuple[object, ...],
    after: tuple[object, ...],
) -> None:
    """Run a kernel over all units, on threads of its own where that pays.

    Threads live for one call: a pool would hang after a fork.
    """
    count = min(threads, units, max(1, elements // (THREAD_FROM // 2)))
    if count <= 1:
        kernel(*before, 0, units, *after)
        return
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            kernel(*before, units * part // count, units * (part + 1) // count, *after)
        except BaseException as error:  # raised again below, in the caller's thread
            failures.append(error)

    workers = [threading.Thread(target=work, args=(part,), name=f"fanin-{part}") for part in range(1, count)]
    for worker in workers:
        worker.start()
    work(0)
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
