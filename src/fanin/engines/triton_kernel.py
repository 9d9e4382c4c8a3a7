"""The Triton kernel: from coordinates to words, integers, one float32 and its bits, which are stored once.

Every integer has 32 bits, but for memory offsets beyond 2**31 elements. What may wrap around says so to
Triton, which in its debug mode checks the rest. Only Triton's primitives are used: functions of its
library are compiled or interpreted as the environment had it when Triton was imported, not this file.

Longer than most files, as kernels are: it is one text to be read against `spec`.
"""

import triton
import triton.language as tl
from triton.language import core  # where all of Triton 3 has `mul` and `add` with that argument

from fanin.engines import forms
from fanin.spec.philox import INCREMENTS, MULTIPLIERS
from fanin.spec.philox import ROUNDS as PHILOX_ROUNDS

COLUMNS, ROWS, OUTER = range(3)  # which axis lies densest in memory: adjacent columns, rows, another axis of columns

_ROUNDS = tl.constexpr(PHILOX_ROUNDS)
_M0, _M1 = tl.constexpr(MULTIPLIERS[0]), tl.constexpr(MULTIPLIERS[1])
_W0, _W1 = tl.constexpr(INCREMENTS[0]), tl.constexpr(INCREMENTS[1])
_UNIFORM, _AFFINE = tl.constexpr(forms.UNIFORM), tl.constexpr(forms.AFFINE)
_ALONG, _ACROSS, _OUTER = tl.constexpr(COLUMNS), tl.constexpr(ROWS), tl.constexpr(OUTER)


@triton.jit
def philox(c0, c1, c2, c3, k0, k1):
    for _ in tl.static_range(_ROUNDS):
        before = c0
        c0 = tl.umulhi(c2, _M1) ^ c1 ^ k0
        c1 = core.mul(c2, _M1, sanitize_overflow=False)
        c2 = tl.umulhi(before, _M0) ^ c3 ^ k1
        c3 = core.mul(before, _M0, sanitize_overflow=False)
        k0 = core.add(k0, _W0, sanitize_overflow=False)
        k1 = core.add(k1, _W1, sanitize_overflow=False)
    return c0, c1, c2, c3


@triton.jit
def variates(word, knots, distance):
    """Words to variates in units of 2**-27."""
    positive = ~(word.to(tl.int32, bitcast=True) >> 31)
    magnitude = word ^ (~positive).to(tl.uint32, bitcast=True)
    bits = ((magnitude << 1) ^ 0xFFFFFFFF).to(tl.float32).to(tl.uint32, bitcast=True)
    index = (bits >> 14).to(tl.int32, bitcast=True) - 65024 + (positive & distance)
    knot = tl.load(knots + index)  # unmasked: lanes outside the output have a word as well, so an index in the table
    rise = (tl.load(knots + index + 1) - knot).to(tl.uint32, bitcast=True)
    z = knot + ((rise * (bits & 16383)) >> 14).to(tl.int32, bitcast=True)
    return (z ^ positive) - positive


@triton.jit
def values(word, origin, slope, least, greatest, unit, knots, distance, FORM: tl.constexpr):
    """Words to float32 values: `fanin.spec.variates`."""
    if FORM == _UNIFORM:
        v = origin + tl.umulhi(word, slope).to(tl.int32, bitcast=True)
    else:
        v = variates(word, knots, distance)
    if FORM == _AFFINE:
        sign = v >> 31
        size = ((v ^ sign) - sign).to(tl.uint32, bitcast=True)
        offset = tl.umulhi(size << 1, slope).to(tl.int32, bitcast=True)
        v = tl.minimum(tl.maximum(origin + ((offset ^ sign) - sign), least), greatest)
    return v.to(tl.float32) * unit


@triton.jit
def round_values(
    value, BITS: tl.constexpr, DROP: tl.constexpr, REBIAS: tl.constexpr, SUBNORMALS: tl.constexpr,
    NORMAL: tl.constexpr, MOST: tl.constexpr, LAST: tl.constexpr, OVERFLOW: tl.constexpr,
):  # fmt: skip
    """float32 values to a format's bits, as `fanin.engines.rounding.Narrowing` says.

    In integers, since Triton's interpreter truncates where its compiler rounds.
    """
    if BITS == 64:
        result = value.to(tl.float64).to(tl.int64, bitcast=True)
    elif BITS == 32:
        result = value.to(tl.int32, bitcast=True)
    else:
        bits = value.to(tl.uint32, bitcast=True)
        magnitude = bits & 0x7FFFFFFF
        base = magnitude
        drop = tl.full(value.shape, DROP, tl.uint32)
        if SUBNORMALS:
            # A subnormal result loses more bits, at most all, and its leading one has to be made explicit.
            lost = tl.minimum(tl.maximum(NORMAL - (magnitude >> 23).to(tl.int32, bitcast=True), 0), MOST)
            drop += lost.to(tl.uint32, bitcast=True)
            normal = core.sub(magnitude, REBIAS, sanitize_overflow=False)
            base = tl.where(lost > 0, (magnitude & 0x7FFFFF) | 0x800000, normal)
        half = tl.full(value.shape, 1, tl.uint32) << (drop - 1)
        rounded = (base + (half - 1) + ((base >> drop) & 1)) >> drop
        result = tl.where(magnitude > LAST, OVERFLOW, rounded) | ((bits >> 31) << (BITS - 1))
    return result


@triton.jit
def _count(start, index, step):
    """``start + index * step`` in uint32."""
    way = core.mul(index.to(tl.uint32, bitcast=True), step.to(tl.uint32, bitcast=True), sanitize_overflow=False)
    return core.add(start, way, sanitize_overflow=False)


@triton.jit
def _row_places(i, inner, start, step, outer_step, stride, outer_stride, OUTER: tl.constexpr, WIDE: tl.constexpr):
    """The logical rows at the indices of a tile, and their memory offsets."""
    row = start.to(tl.uint32, bitcast=True)
    if OUTER:
        j = i // inner
        i -= j * inner
        row = _count(row, j, outer_step)
    row = _count(row, i, step)
    offset = (i.to(tl.int64) if WIDE else i) * stride
    if OUTER:
        offset += (j.to(tl.int64) if WIDE else j) * outer_stride
    return row, offset


@triton.jit
def _slot_places(
    slot, inner, slots, block_start, block_step, lead_start, lead_step, stride, outer_stride,
    FAST: tl.constexpr, OUTER: tl.constexpr, ALIGNED: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Of each slot of a tile its block, its memory offset, and whether a column is there."""
    block = block_start.to(tl.uint32, bitcast=True)
    inside = slot < slots
    if OUTER:
        if FAST == _OUTER:  # lane 0 of each group; `inner` counts the other axis
            j = (slot >> 2) % inner
            slot = (slot >> 2) // inner * 4
        else:
            j = slot // inner
            slot -= j * inner
        block = _count(block, j, block_step)
    place = slot
    if not ALIGNED:
        lead = lead_start
        if OUTER:
            lead += j * lead_step
        slot += (lead >> 2) * 4
        place -= lead & 3
    block = core.add(block, (slot >> 2).to(tl.uint32, bitcast=True), sanitize_overflow=False)
    offset = (place.to(tl.int64) if WIDE else place) * stride
    if OUTER:
        offset += (j.to(tl.int64) if WIDE else j) * outer_stride
    return block, offset, place, inside


@triton.jit(
    # Triton compiles a kernel again for an argument that is 1 or divisible by 16. Of these that is chance.
    do_not_specialize=[
        "row_start", "row_step", "row_outer_step", "block_start", "block_step", "lead_start", "lead_step",
        "tiles", "k0", "k1", "n2", "n3", "origin", "slope", "least", "greatest", "unit", "distance",
    ]
)  # fmt: skip
def fill(
    out, base, tiles,
    rows, row_inner, row_start, row_step, row_outer_step, row_stride, row_outer_stride,
    slots, slot_inner, columns, block_start, block_step, lead_start, lead_step, column_stride, column_outer_stride,
    k0, k1, n2, n3, origin, slope, least, greatest, unit, knots, distance,
    FORM: tl.constexpr,
    BITS: tl.constexpr, DROP: tl.constexpr, REBIAS: tl.constexpr, SUBNORMALS: tl.constexpr, NORMAL: tl.constexpr,
    MOST: tl.constexpr, LAST: tl.constexpr, OVERFLOW: tl.constexpr,
    ROW_TILE: tl.constexpr, GROUP_TILE: tl.constexpr, FAST: tl.constexpr,
    ROW_OUTER: tl.constexpr, COLUMN_OUTER: tl.constexpr, ALIGNED: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Fill a box of rows and columns, a tile of it in each program.

    Columns that follow each other come in groups of four *slots*, one group to a block; slots before
    the first column of its block, and after the last, are empty. Rows run along an inner and an outer
    axis, groups of columns as well; an index along both is split by the length of the inner one.
    All of uint32 come as int32.

    Args:
        out: integers as wide as the format.
        base: the memory offset of the first element; the others add multiples of the strides.
        tiles: tiles along the axis that is densest in memory, which programs count first.
        rows: how many; `row_inner` of them along the inner axis.
        row_start: the first logical row; `row_step` and `row_outer_step` go on from there.
        slots: how many; `slot_inner` of them along the inner axis, in groups where that is the outer axis.
        columns: how many follow each other.
        block_start: the block of the first column; `lead_start` is its lane.
        block_step: along the outer axis columns go on by ``4 * block_step + lead_step``.
        FAST: `COLUMNS`, `ROWS` or `OUTER`.
        ALIGNED: all leads are 0.
        WIDE: memory offsets take 64 bits.
    """
    fast = tl.program_id(0) % tiles
    slow = tl.program_id(0) // tiles
    if FAST == _ACROSS:
        i = (fast * ROW_TILE + tl.arange(0, ROW_TILE))[None, :]
        slot = (slow * (4 * GROUP_TILE) + 4 * tl.arange(0, GROUP_TILE))[:, None]
    else:
        i = (slow * ROW_TILE + tl.arange(0, ROW_TILE))[:, None]
        slot = (fast * (4 * GROUP_TILE) + 4 * tl.arange(0, GROUP_TILE))[None, :]
    row, row_offset = _row_places(
        i, row_inner, row_start, row_step, row_outer_step, row_stride, row_outer_stride, ROW_OUTER, WIDE
    )
    block, offset, place, inside = _slot_places(
        slot, slot_inner, slots, block_start, block_step, lead_start, lead_step, column_stride, column_outer_stride,
        FAST, COLUMN_OUTER, ALIGNED, WIDE,
    )  # fmt: skip
    x0, x1, x2, x3 = philox(
        block, row, n2.to(tl.uint32, bitcast=True), n3.to(tl.uint32, bitcast=True),
        k0.to(tl.uint32, bitcast=True), k1.to(tl.uint32, bitcast=True),
    )  # fmt: skip
    uslope = slope.to(tl.uint32, bitcast=True)
    if FAST == _ALONG:
        # The four words of a group side by side, so that a program writes runs of memory.
        word = tl.reshape(tl.join(tl.join(x0, x2), tl.join(x1, x3)), (ROW_TILE, 4 * GROUP_TILE))
        slot = (fast * (4 * GROUP_TILE) + tl.arange(0, 4 * GROUP_TILE))[None, :]
        block, offset, place, inside = _slot_places(
            slot, slot_inner, slots, block_start, block_step, lead_start, lead_step, column_stride,
            column_outer_stride, FAST, COLUMN_OUTER, ALIGNED, WIDE,
        )  # fmt: skip
        value = values(word, origin, uslope, least, greatest, unit, knots, distance, FORM)
        bits = round_values(value, BITS, DROP, REBIAS, SUBNORMALS, NORMAL, MOST, LAST, OVERFLOW)
        there = (i < rows) & inside & (place >= 0) & (place < columns)
        tl.store(out + base + row_offset + offset, bits.to(out.dtype.element_ty), mask=there)
    else:
        for lane in tl.static_range(4):
            word = x0 if lane == 0 else (x1 if lane == 1 else (x2 if lane == 2 else x3))
            value = values(word, origin, uslope, least, greatest, unit, knots, distance, FORM)
            bits = round_values(value, BITS, DROP, REBIAS, SUBNORMALS, NORMAL, MOST, LAST, OVERFLOW)
            there = (i < rows) & inside & (place >= -lane) & (place < columns - lane)
            where = out + base + row_offset + (offset + lane * column_stride)
            tl.store(where, bits.to(out.dtype.element_ty), mask=there)
