"""The Numba kernels: blocks of words in one small buffer, their integers in another, then the store.

Each pass over the buffers is a loop of constant length that LLVM vectorizes, but for the table
lookup, whose loads are spelled out. A kernel fills a range of *units*, so that any number of
threads can share one fill. Kernels release the GIL and call nothing that holds a global state.

Longer than most files: kernels inline everything, and belong together to be read against `spec`.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fanin.engines.compilation import compiled, inlined
from fanin.engines.forms import AFFINE, UNIFORM
from fanin.spec.philox import INCREMENTS, MULTIPLIERS, ROUNDS

BLOCKS = 64  # per buffer: with the busy part of a table, they stay in a first-level cache
LANES = 4
VALUES = BLOCKS * LANES

FLOAT, FLOAT16, BFLOAT16, E4M3FN, E5M2 = range(5)

_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint32(INCREMENTS[0]), np.uint32(INCREMENTS[1])
_32 = np.uint64(32)


@inlined
def _philox(c0, c1, c2, c3, k0, k1):
    for _ in range(ROUNDS):
        p0 = np.uint64(c0) * _M0
        p1 = np.uint64(c2) * _M1
        c0 = np.uint32(p1 >> _32) ^ c1 ^ k0
        c2 = np.uint32(p0 >> _32) ^ c3 ^ k1
        c1 = np.uint32(p1)
        c3 = np.uint32(p0)
        k0 = np.uint32(k0 + _W0)
        k1 = np.uint32(k1 + _W1)
    return c0, c1, c2, c3


@inlined
def _mulhi(a, b):
    return np.uint32((np.uint64(a) * np.uint64(b)) >> _32)


@inlined
def _uniform(word, origin, width):
    return np.int32(origin + np.int32(_mulhi(word, width)))


@intrinsic
def _look_up(typing, pairs, e, knots, indices):
    """``pairs[e + j] = knots[indices[e + j]] | knots[indices[e + j] + 1] << 32`` for j in 0 and 1.

    One load for two indices, an unaligned load for each pair of knots, one store for both pairs. As
    plain Numba it is half as fast: LLVM makes gather instructions of it, or does not unroll.
    Little-endian, as is every processor that Numba supports.
    """

    def generate(context, builder, signature, args):
        target, table, index = (
            context.make_array(signature.args[at])(context, builder, args[at]).data for at in (0, 2, 3)
        )
        word, mask = ir.IntType(64), ir.Constant(ir.IntType(64), 0xFFFFFFFF)
        two = builder.load(builder.bitcast(builder.gep(index, [args[1]]), word.as_pointer()))
        two.align = 4
        found = ir.Constant(ir.VectorType(word, 2), ir.Undefined)
        for lane, at in enumerate((builder.and_(two, mask), builder.lshr(two, ir.Constant(word, 32)))):
            pair = builder.load(builder.bitcast(builder.gep(table, [at]), word.as_pointer()))
            pair.align = 4
            found = builder.insert_element(found, pair, ir.Constant(ir.IntType(32), lane))
        place = builder.bitcast(builder.gep(target, [args[1]]), found.type.as_pointer())
        builder.store(found, place).align = 8
        return context.get_dummy_value()

    return types.void(pairs, e, knots, indices), generate


@inlined
def _normals(words, integers, pairs, knots, distance):
    """Words to variates in units of 2**-27, through `pairs`; overwrites the words."""
    for e in range(VALUES):
        word = words[e]
        positive = ~(np.int32(word) >> np.int32(31))
        magnitude = word ^ np.uint32(~positive)
        bits = np.float32(np.uint32(~np.uint32(np.uint32(magnitude) << np.uint32(1)))).view(np.uint32)
        integers[e] = np.int32(bits >> np.uint32(14)) - np.int32(65024) + (np.int32(positive) & distance)
        words[e] = (word & np.uint32(0x80000000)) | (bits & np.uint32(16383))
    for e in range(0, VALUES, 2):
        _look_up(pairs, e, knots, integers)
    halves = pairs.view(np.uint32)
    for e in range(VALUES):
        positive = np.int32(~(np.int32(words[e]) >> np.int32(31)))
        part = words[e] & np.uint32(16383)
        knot = halves[2 * e]
        rise = np.uint32(halves[2 * e + 1] - knot)
        z = np.int32(np.int32(knot) + np.int32(np.uint32(rise * part) >> np.uint32(14)))
        integers[e] = np.int32((z ^ positive) - positive)


@inlined
def _transform(words, integers, pairs, form, origin, slope, least, greatest, knots, distance):
    """Words of a normal to the integers of `fanin.spec.variates`, a buffer at a time."""
    _normals(words, integers, pairs, knots, distance)
    if form == AFFINE:
        for e in range(VALUES):
            z = integers[e]
            sign = np.int32(z >> np.int32(31))
            size = np.uint32(np.int32((z ^ sign) - sign))
            offset = np.int32(_mulhi(np.uint32(size << np.uint32(1)), slope))
            v = np.int32(origin + np.int32((offset ^ sign) - sign))
            v = least if v < least else v
            integers[e] = greatest if v > greatest else v


@inlined
def _narrow(bits, mantissa, bias, half_unit, overflow_from, overflow):
    """float32 bits to a narrow format's, to nearest even; `half_unit` turns a sum into a subnormal's steps."""
    sign = np.uint32(bits >> np.uint32(31))
    magnitude = np.uint32(bits & np.uint32(0x7FFFFFFF))
    drop = np.uint32(23 - mantissa)
    odd = (magnitude >> drop) & np.uint32(1)
    rounded = np.uint32(np.uint32(magnitude + np.uint32((1 << (22 - mantissa)) - 1) + odd) >> drop)
    normal = np.uint32(rounded - np.uint32((127 - bias) << mantissa))
    small = np.uint32(
        np.float32(np.uint32(magnitude).view(np.float32) + half_unit).view(np.uint32)
        - np.float32(half_unit).view(np.uint32)
    )
    result = small if magnitude < np.uint32((128 - bias) << 23) else normal
    return sign, (np.uint32(overflow) if magnitude > np.uint32(overflow_from) else result)


# Per format: mantissa bits, bias, a float32 whose last place is the format's least subnormal, the
# float32 bits of the largest magnitude that does not overflow (ties included where they round down).
_HALF_OF = np.float32(2.0**-1)  # float16: least subnormal 2**-24
_HALF_E4 = np.float32(2.0**14)  # float8_e4m3fn: 2**-9
_HALF_E5 = np.float32(2.0**7)  # float8_e5m2: 2**-16
_LAST_F16 = int(np.nextafter(np.float32(65520.0), np.float32(0.0)).view(np.uint32))
_LAST_E4 = int(np.float32(464.0).view(np.uint32))
_LAST_E5 = int(np.nextafter(np.float32(61440.0), np.float32(0.0)).view(np.uint32))


@inlined
def _bfloat16(value):
    bits = np.float32(value).view(np.uint32)
    return np.uint32(bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)


@inlined
def _float16(value):
    sign, size = _narrow(np.float32(value).view(np.uint32), 10, 15, _HALF_OF, _LAST_F16, 0x7C00)
    return (sign << np.uint32(15)) | size


@inlined
def _e4m3fn(value):
    sign, size = _narrow(np.float32(value).view(np.uint32), 3, 7, _HALF_E4, _LAST_E4, 0x7F)
    return (sign << np.uint32(7)) | size


@inlined
def _e5m2(value):
    sign, size = _narrow(np.float32(value).view(np.uint32), 2, 15, _HALF_E5, _LAST_E5, 0x7C)
    return (sign << np.uint32(7)) | size


@inlined
def _store(out, at, integers, first, count, unit, code):
    """Write `count` values, integers times the unit, to contiguous elements of the output.

    Through slices, since an index that could be negative keeps a loop from being vectorized.
    """
    target = out[at : at + count]
    source = integers[first : first + count]
    if code == FLOAT:
        for e in range(count):
            target[e] = np.float32(source[e]) * unit
    elif code == BFLOAT16:
        for e in range(count):
            target[e] = _bfloat16(np.float32(source[e]) * unit)
    elif code == FLOAT16:
        for e in range(count):
            target[e] = _float16(np.float32(source[e]) * unit)
    elif code == E4M3FN:
        for e in range(count):
            target[e] = _e4m3fn(np.float32(source[e]) * unit)
    else:
        for e in range(count):
            target[e] = _e5m2(np.float32(source[e]) * unit)


@compiled
def along(
    out, code, row_numbers, row_offsets, column, columns, begin, end,
    k0, k1, n2, n3, form, origin, slope, least, greatest, unit, knots, distance,
):  # fmt: skip
    """Fill rows whose columns are contiguous in memory.

    A unit is one block of four columns; units count along a row, then over the rows given.
    """
    words = np.empty(VALUES, np.uint32)
    integers = np.empty(VALUES, np.int32)
    pairs = np.empty(VALUES, np.uint64)
    c0 = np.zeros(BLOCKS, np.uint32)
    c1 = np.zeros(BLOCKS, np.uint32)
    first_block = column // LANES
    blocks = (column + columns + LANES - 1) // LANES - first_block
    row, block = begin // blocks, begin % blocks
    left = end - begin
    while left > 0:
        start_row, start_block = row, block
        n = 0
        while n < BLOCKS and n < left:
            take = min(BLOCKS - n, left - n, blocks - block)
            blocks_here = c0[n : n + take]
            rows_here = c1[n : n + take]
            for g in range(take):
                blocks_here[g] = np.uint32(first_block + block + g)
                rows_here[g] = row_numbers[row]
            n += take
            block += take
            if block == blocks:
                row, block = row + 1, 0
        if form == UNIFORM:  # in the loop that draws: the product finds its words in registers
            for g in range(BLOCKS):
                x0, x1, x2, x3 = _philox(c0[g], c1[g], n2, n3, k0, k1)
                integers[4 * g] = _uniform(x0, origin, slope)
                integers[4 * g + 1] = _uniform(x1, origin, slope)
                integers[4 * g + 2] = _uniform(x2, origin, slope)
                integers[4 * g + 3] = _uniform(x3, origin, slope)
        else:
            for g in range(BLOCKS):
                x0, x1, x2, x3 = _philox(c0[g], c1[g], n2, n3, k0, k1)
                words[4 * g] = x0
                words[4 * g + 1] = x1
                words[4 * g + 2] = x2
                words[4 * g + 3] = x3
            _transform(words, integers, pairs, form, origin, slope, least, greatest, knots, distance)
        position = 0
        while position < n:
            take = min(n - position, blocks - start_block)
            low = max((first_block + start_block) * LANES, column)
            high = min((first_block + start_block + take) * LANES, column + columns)
            skip = low - (first_block + start_block) * LANES
            _store(
                out, row_offsets[start_row] + low - column, integers, position * LANES + skip, high - low, unit, code
            )
            position += take
            start_row, start_block = start_row + 1, 0
        left -= n


@compiled
def across(
    out, code, row_numbers, row_offsets, group_blocks, group_offsets, begin, end,
    k0, k1, n2, n3, form, origin, slope, least, greatest, unit, knots, distance,
):  # fmt: skip
    """Fill any arrangement of rows and columns, fastest where consecutive rows are contiguous in memory.

    A unit is one group of up to four columns times one run of `BLOCKS` rows; units count over the
    runs, then over the groups. `group_offsets` has -1 where a group has no such column.
    """
    words = np.empty(VALUES, np.uint32)
    integers = np.empty(VALUES, np.int32)
    pairs = np.empty(VALUES, np.uint64)
    c1 = np.zeros(BLOCKS, np.uint32)
    rows = len(row_numbers)
    runs = (rows + BLOCKS - 1) // BLOCKS
    for unit_number in range(begin, end):
        group, run = unit_number // runs, unit_number % runs
        first = run * BLOCKS
        n = min(BLOCKS, rows - first)
        c1[:n] = row_numbers[first : first + n]
        c0 = group_blocks[group]
        if form == UNIFORM:
            for g in range(BLOCKS):
                x0, x1, x2, x3 = _philox(c0, c1[g], n2, n3, k0, k1)
                integers[g] = _uniform(x0, origin, slope)
                integers[BLOCKS + g] = _uniform(x1, origin, slope)
                integers[2 * BLOCKS + g] = _uniform(x2, origin, slope)
                integers[3 * BLOCKS + g] = _uniform(x3, origin, slope)
        else:
            for g in range(BLOCKS):
                x0, x1, x2, x3 = _philox(c0, c1[g], n2, n3, k0, k1)
                words[g] = x0
                words[BLOCKS + g] = x1
                words[2 * BLOCKS + g] = x2
                words[3 * BLOCKS + g] = x3
            _transform(words, integers, pairs, form, origin, slope, least, greatest, knots, distance)
        contiguous = row_offsets[first + n - 1] - row_offsets[first] == n - 1
        for lane in range(LANES):
            offset = group_offsets[group, lane]
            if offset >= 0:
                if contiguous:
                    _store(out, offset + row_offsets[first], integers, lane * BLOCKS, n, unit, code)
                else:
                    for g in range(n):
                        _store(out, offset + row_offsets[first + g], integers, lane * BLOCKS + g, 1, unit, code)


@compiled
def variates(words, knots, distance):
    """Words to variates in units of 2**-27: the fills' own arithmetic, for checks over all words."""
    count = len(words)
    result = np.empty(count, np.int32)
    part = np.zeros(VALUES, np.uint32)
    some = np.empty(VALUES, np.int32)
    pairs = np.empty(VALUES, np.uint64)
    for start in range(0, count, VALUES):
        n = min(VALUES, count - start)
        for e in range(n):
            part[e] = words[start + e]
        _normals(part, some, pairs, knots, distance)
        for e in range(n):
            result[start + e] = some[e]
    return result


@compiled
def round_values(values, out, code):
    """float32 values to a narrow format's bits: the fills' own rounding, for checks of every edge."""
    for e in range(len(values)):
        if code == BFLOAT16:
            out[e] = _bfloat16(values[e])
        elif code == FLOAT16:
            out[e] = _float16(values[e])
        elif code == E4M3FN:
            out[e] = _e4m3fn(values[e])
        else:
            out[e] = _e5m2(values[e])
