"""The engine in Triton, for CUDA: one pass over memory, in the target dtype.

On the host its kernel runs only where Triton interprets it (TRITON_INTERPRET=1), for tests. Without
that, what lies in host memory is drawn on a CUDA device and copied.
"""

import functools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
import triton

from fanin.engines import triton_kernel as kernel
from fanin.engines.forms import form_of
from fanin.engines.geometry import Axis, axes, is_regular, listed, parts
from fanin.engines.rounding import narrowing
from fanin.engines.tables import table
from fanin.engines.tensors import carrier_and_coordinates, dtype_of
from fanin.engines.tiles import LANES
from fanin.errors import EngineError
from fanin.layouts import Coordinates
from fanin.recipe import Draw, Normal, Stream, UniformInterval, Window
from fanin.spec import FORMATS

INTERPRETED = not isinstance(kernel.fill, triton.JITFunction)

# Groups of four columns that a program draws: four to a thread, so that the loads of their knots
# overlap, and few enough that all four stay in registers. Interpreted, a program costs milliseconds.
GROUPS = 2**14 if INTERPRETED else 2**9
DENSE = 2**7  # of them along the densest axis, where there are as many: at least 128 bytes of the narrowest dtype
WARPS = 4

MOST = 2**27  # rows, and columns, of a launch: their indices, up to four slots to a column, fit an int32
NARROW = 2**31  # elements that 32-bit memory offsets reach

# The interpreter puts functions of its own into Triton's module while it runs.
_turn: AbstractContextManager[object] = threading.Lock() if INTERPRETED else nullcontext()

_NONE = Axis(1, 0, 0)
_ADJACENT = Axis(1, 0, 1)


class _Box(NamedTuple):
    """Rows or columns along at most two axes: where they start, in logical numbers and in memory."""

    start: int
    offset: int
    inner: Axis
    outer: Axis

    @property
    def extent(self) -> int:
        """Elements of memory between the first and the last."""
        return sum((axis.length - 1) * abs(axis.stride) for axis in (self.inner, self.outer))


def fill(draw: Draw, window: Window, view: np.ndarray | torch.Tensor, threads: int) -> None:
    """Write a window of a draw into an array or a tensor of its shape; `threads` is not used.

    Raises:
        EngineError: the view is on a device that is neither CUDA's nor the host, or there is no CUDA device.
    """
    if isinstance(view, np.ndarray) and not is_regular(view):
        whole = np.empty(view.shape, view.dtype)
        fill(draw, window, whole, threads)
        view[...] = whole
        return
    memory, coordinates = carrier_and_coordinates(view, draw.coordinates(window))
    name = dtype_of(view).name
    if memory.is_cuda or INTERPRETED:
        _fill(draw, coordinates, memory, name)
    elif memory.device.type == "cpu" and torch.cuda.is_available():
        drawn = torch.empty(memory.shape, dtype=memory.dtype, device="cuda")
        _fill(draw, coordinates, drawn, name)
        memory.copy_(drawn)
    else:
        raise EngineError(
            f"engine 'triton' writes CUDA devices, and was asked for {memory.device.type!r}; choose engine='torch', "
            f"or 'auto'."
        )


def _fill(draw: Draw, coordinates: Coordinates, memory: torch.Tensor, name: str) -> None:
    assert draw.stream is not None
    assert isinstance(draw.distribution, Normal | UniformInterval)
    rows = axes(coordinates.shape, memory.stride(), coordinates.row_steps)
    columns = axes(coordinates.shape, memory.stride(), coordinates.column_steps)
    common = _stream(draw.stream) | _distribution(draw.distribution, memory.device) | _format(name)
    with torch.cuda.device_of(memory), _turn:  # type: ignore[no-untyped-call]  # torch gives it no types
        for column_box in _column_boxes(columns, coordinates.column_start):
            for row_box in _row_boxes(rows, coordinates.row_start):
                _launch(memory, row_box, column_box, common)


def _row_boxes(moving: list[Axis], start: int) -> Iterator[_Box]:
    """Cut rows into boxes of two axes: the densest, and the longest of the others."""
    for part_start, offset, (*others, inner) in parts(moving or [_NONE], start, MOST):
        yield from _boxes(others, inner, part_start, offset)


def _column_boxes(moving: list[Axis], start: int) -> Iterator[_Box]:
    """Cut columns into boxes of two axes: the one of step 1, and a dense or the longest one of the others."""
    offset = 0
    for place, axis in enumerate(moving):
        if axis.step < 0:  # from its other end, steps are positive
            start += axis.step * (axis.length - 1)
            offset += axis.stride * (axis.length - 1)
            moving[place] = Axis(axis.length, -axis.stride, -axis.step)
    for part_start, part_offset, part in parts(moving, start, MOST):
        inner = next((axis for axis in part if axis.step == 1), _ADJACENT)
        yield from _boxes([axis for axis in part if axis != inner], inner, part_start, offset + part_offset)


def _boxes(others: list[Axis], inner: Axis, start: int, offset: int) -> Iterator[_Box]:
    """One box for every position along the axes beyond two."""
    outer = max(others, key=lambda axis: (abs(axis.stride) == 1, axis.length), default=_NONE)
    numbers, offsets = listed([axis for axis in others if axis is not outer], start, offset)
    for number, place in zip(numbers.tolist(), offsets.tolist(), strict=True):
        yield _Box(number, place, inner, outer)


def _launch(memory: torch.Tensor, rows: _Box, columns: _Box, common: dict[str, Any]) -> None:
    """Fill a box of rows and columns."""
    lead, lead_step = columns.start % LANES, columns.outer.step % LANES
    groups = -(-(columns.inner.length + (LANES - 1 if lead_step else lead)) // LANES)
    fast = _densest(rows, columns)
    row_tile, group_tile = _tile(rows.inner.length * rows.outer.length, groups * columns.outer.length, fast)
    row_tiles = triton.cdiv(rows.inner.length * rows.outer.length, row_tile)
    group_tiles = triton.cdiv(groups * columns.outer.length, group_tile)
    kernel.fill[(row_tiles * group_tiles,)](
        memory,
        base=rows.offset + columns.offset,
        tiles=row_tiles if fast == kernel.ROWS else group_tiles,
        rows=rows.inner.length * rows.outer.length,
        row_inner=rows.inner.length,
        row_start=_int32(rows.start),
        row_step=_int32(rows.inner.step),
        row_outer_step=_int32(rows.outer.step),
        row_stride=rows.inner.stride,
        row_outer_stride=rows.outer.stride,
        slots=LANES * groups * columns.outer.length,
        slot_inner=columns.outer.length if fast == kernel.OUTER else LANES * groups,
        columns=columns.inner.length,
        block_start=_int32(columns.start // LANES),
        block_step=_int32(columns.outer.step // LANES),
        lead_start=lead,
        lead_step=lead_step,
        column_stride=columns.inner.stride,
        column_outer_stride=columns.outer.stride,
        ROW_TILE=row_tile,
        GROUP_TILE=group_tile,
        FAST=fast,
        ROW_OUTER=rows.outer.length > 1,
        COLUMN_OUTER=columns.outer.length > 1,
        ALIGNED=lead == lead_step == 0,
        WIDE=rows.extent + columns.extent >= NARROW,
        num_warps=WARPS,
        enable_fp_fusion=False,
        **common,
    )


def _densest(rows: _Box, columns: _Box) -> int:
    """Which axis has the least stride."""
    found = [(abs(columns.inner.stride), kernel.COLUMNS, columns.inner.length)]
    found += [(abs(rows.inner.stride), kernel.ROWS, rows.inner.length)]
    found += [(abs(columns.outer.stride), kernel.OUTER, columns.outer.length)]
    return min(((stride, which) for stride, which, length in found if length > 1), default=(0, kernel.COLUMNS))[1]


def _tile(rows: int, groups: int, fast: int) -> tuple[int, int]:
    """Rows and groups of a tile: powers of two, no more than there are, together at most `GROUPS`."""
    dense, other = (rows, groups) if fast == kernel.ROWS else (groups, rows)
    across = min(triton.next_power_of_2(other), GROUPS // min(DENSE, triton.next_power_of_2(dense)))
    along = min(triton.next_power_of_2(dense), GROUPS // across)
    return (along, across) if fast == kernel.ROWS else (across, along)


def _stream(stream: Stream) -> dict[str, Any]:
    key, upper = stream.words()
    return dict(zip(("k0", "k1", "n2", "n3"), map(_int32, key + upper), strict=True))


def _distribution(distribution: Normal | UniformInterval, device: torch.device) -> dict[str, Any]:
    form = form_of(distribution)
    knots, distance = _knots(form.lower, form.upper, device)
    return {
        "FORM": form.kind,
        "origin": form.origin,
        "slope": _int32(form.slope),
        "least": form.least,
        "greatest": form.greatest,
        "unit": form.unit,
        "knots": knots,
        "distance": distance,
    }


@functools.lru_cache(maxsize=32)
def _knots(lower: float, upper: float, device: torch.device) -> tuple[torch.Tensor, int]:
    """A table on a device."""
    knots, distance = table(lower, upper)
    return torch.from_numpy(knots.copy()).to(device), distance


@functools.cache
def _format(name: str) -> dict[str, Any]:
    """What the kernel needs to know in order to round; nothing but the width for the two that hold a float32."""
    names = ("BITS", "DROP", "REBIAS", "SUBNORMALS", "NORMAL", "MOST", "LAST", "OVERFLOW")
    width = FORMATS[name].bits
    return dict(zip(names, narrowing(name) if width < 32 else (width, *[0] * 7), strict=True))


def _int32(number: int) -> int:
    """The int32 that is the same modulo 2**32: Triton takes an int by its value for one of 32 or 64 bits."""
    return (number + 2**31) % 2**32 - 2**31
