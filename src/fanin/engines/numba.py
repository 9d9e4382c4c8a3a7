"""The compiled engine: all cores, any strides, every dtype written directly."""

import functools
import math
import threading
from collections.abc import Callable, Iterator

import numpy as np

from fanin.dtypes import FLOATS
from fanin.engines import kernels
from fanin.engines.forms import form_of
from fanin.engines.geometry import Axis, axes, flatten, is_regular, listed, parts
from fanin.engines.tables import table
from fanin.layouts import Coordinates
from fanin.recipe import Draw, Normal, UniformInterval, Window

THREAD_FROM = 2**19  # elements below which a second thread costs more than it brings
MAX_ROWS = 2**19  # rows listed at a time: up to 20 MiB of indices while they are made
SEEN = 2**14  # elements up to which a cut is remembered
FEW_ROWS = 2**16  # rows up to which their list is remembered
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


def fill(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
    """Write a window of a draw into an array of its shape."""
    assert draw.stream is not None
    code, carrier = _CODES[view.dtype]
    if not is_regular(view):
        whole = np.empty(view.shape, view.dtype)
        fill(draw, window, whole, threads)
        view[...] = whole
        return
    coordinates = draw.coordinates(window)
    flat, coordinates, strides = flatten(view.view(carrier), coordinates)
    key, upper = draw.stream.words()
    arguments = (*_words32(key), *_words32(upper), *_arguments(draw.distribution))
    for kernel, units, elements, geometry in (_seen_jobs if view.size <= SEEN else _jobs)(coordinates, strides):
        _share(kernel, units, elements, threads, (flat, code, *geometry), arguments)


def _jobs(coordinates: Coordinates, strides: tuple[int, ...]) -> Iterator[_Job]:
    """Cut a fill into calls of kernels."""
    rows = axes(coordinates.shape, strides, coordinates.row_steps)
    columns = axes(coordinates.shape, strides, coordinates.column_steps)
    for row_start, row_offset, row_axes in parts(rows, coordinates.row_start, MAX_ROWS):
        few = math.prod(axis.length for axis in row_axes) <= FEW_ROWS
        listed_rows = _seen_rows if few else _rows
        if len(columns) == 1 and columns[0].stride == columns[0].step == 1 and columns[0].length >= kernels.LANES:
            numbers, offsets = listed_rows(tuple(row_axes), row_start, row_offset, False)
            start, length = coordinates.column_start, columns[0].length
            units = len(numbers) * (-(-(start + length) // kernels.LANES) - start // kernels.LANES)
            yield kernels.along, units, units * kernels.LANES, (numbers, offsets, start, length)
            continue
        numbers, offsets = listed_rows(tuple(row_axes), row_start, row_offset, True)
        for column_start, column_offset, column_axes in parts(columns, coordinates.column_start, MAX_GROUPS):
            groups, group_offsets = _groups(*listed(column_axes, column_start, column_offset))
            units = len(groups) * -(-len(numbers) // kernels.BLOCKS)
            yield kernels.across, units, units * kernels.VALUES, (numbers, offsets, groups, group_offsets)


@functools.lru_cache(maxsize=64)
def _seen_jobs(coordinates: Coordinates, strides: tuple[int, ...]) -> list[_Job]:
    """The same, remembered: of a small tensor the preparation is most of the time."""
    return list(_jobs(coordinates, strides))


def _rows(rows: tuple[Axis, ...], start: int, offset: int, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of rows and their memory offsets, in the order of these where that is asked for."""
    numbers, offsets = listed(rows, start, offset)
    if ordered:
        order = np.argsort(offsets, kind="stable")
        numbers, offsets = numbers[order], offsets[order]
    return numbers.astype(np.uint32), offsets


# Remembered: a large tensor that is filled column by column has the same rows in each of its windows.
_seen_rows = functools.lru_cache(maxsize=8)(_rows)


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
    form = form_of(distribution)
    knots, distance = table(form.lower, form.upper)
    return (
        form.kind, np.int32(form.origin), np.uint32(form.slope), np.int32(form.least), np.int32(form.greatest),
        np.float32(form.unit), knots, np.int32(distance),
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
