"""The engine in JAX's own operations: one pure, elementwise function of integers, for programs that are traced.

Each element computes its own block and selects its lane: XLA would compute a block anew for each
of four stacked words (0.02 against 0.2 Gelem/s), and what is elementwise splits over devices,
batches and windows by itself. Numbers are operands and only shapes are compiled in, so that
parameters of one shape share one program. Words have 32 bits, so that it does not matter whether x64 is on.
"""

import functools
import importlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax

from fanin.engines.forms import AFFINE, UNIFORM, Form, form_of
from fanin.engines.rounding import narrowing
from fanin.engines.tables import table
from fanin.layouts import Coordinates, Shape
from fanin.recipe import Draw, Normal, UniformInterval, Window
from fanin.spec.philox import INCREMENTS, MASK, MULTIPLIERS, ROUNDS

__all__ = ["Origin", "draw_window", "fill", "origin_of"]

Words = Any  # four uint32 scalars, traced or not: the key, and counter words 2 and 3

# A context of its own in newer versions, and under the same name elsewhere before.
_enable_x64: Any = (jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")).enable_x64

_CARRIERS = {8: np.uint8, 16: np.uint16}


class Origin(NamedTuple):
    """Where a window begins and how it goes on: a `Coordinates` in words of 32 bits, each of which may be traced.

    A column is up to 2**34, so it is a block and a lane, and so is a step along columns. A sum of
    them is right modulo 2**32, and so is right.
    """

    row: Any
    row_steps: tuple[Any, ...]
    block: Any
    lane: Any
    block_steps: tuple[Any, ...]
    lane_steps: tuple[Any, ...]


def origin_of(coordinates: Coordinates) -> Origin:
    """The same map, in words."""
    return Origin(
        _word(coordinates.row_start),
        tuple(map(_word, coordinates.row_steps)),
        _word(coordinates.column_start >> 2),
        _word(coordinates.column_start & 3),
        tuple(_word(step >> 2) for step in coordinates.column_steps),
        tuple(_word(step & 3) for step in coordinates.column_steps),
    )


def fill(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
    """Write a window of a draw into an array of its shape; `threads` is XLA's own affair."""
    assert draw.stream is not None
    (k0, k1), (n2, n3) = draw.stream.words()
    words = tuple(map(_word, (k0, k1, n2, n3)))
    # Without x64, JAX has no float64; float32 values widen exactly.
    dtype = np.dtype(np.float32) if view.dtype == np.float64 else view.dtype
    view[...] = np.asarray(draw_window(draw, window, words, dtype))


def draw_window(draw: Draw, window: Window, words: Words, dtype: np.dtype, origin: Origin | None = None) -> jax.Array:
    """Draw a window of a draw, the words of whose stream may be traced.

    Args:
        draw: what to draw; its stream is not read.
        window: which part of it.
        words: the key, and counter words 2 and 3: four uint32 scalars.
        dtype: of the result; float64 only where x64 is on.
        origin: where the window begins, if that is traced; then only the window's shape counts.
    """
    distribution = draw.distribution
    assert isinstance(distribution, UniformInterval | Normal)
    form = form_of(distribution)
    origin = origin_of(draw.coordinates(window)) if origin is None else origin
    knots = None if form.kind == UNIFORM else table(form.lower, form.upper)[0]
    result: jax.Array = _drawn(words, origin, _operands(form), knots, window.shape, form.kind, dtype.name)
    return result


def _operands(form: Form) -> tuple[Any, ...]:
    return (
        np.int32(form.origin), np.uint32(form.slope), np.int32(form.least), np.int32(form.greatest),
        np.float32(form.unit),
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("shape", "kind", "name"))
def _drawn(words: Words, origin: Origin, operands: Any, knots: Any, shape: Shape, kind: int, name: str) -> jax.Array:
    """Draw an array: which operations there are depends on the shape, the form and the dtype only."""
    rows, blocks, lanes = _coordinates(origin, shape)
    word = _word_of(words, rows, blocks, lanes)
    return _rounded(_values(word, operands, knots, kind), name)


def _coordinates(origin: Origin, shape: Shape) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The row, the block and the lane of every element."""
    rows, blocks, lanes = (lax.full(shape, start, np.uint32) for start in (origin.row, origin.block, origin.lane))
    steps = zip(origin.row_steps, origin.block_steps, origin.lane_steps, strict=True)
    for axis, (row_step, block_step, lane_step) in enumerate(steps):
        index = lax.broadcasted_iota(np.uint32, shape, axis)
        rows = rows + index * row_step
        # lane_step * index may exceed a word: whole blocks of it are counted apart.
        blocks = blocks + index * block_step + (index >> _u(2)) * lane_step
        lanes = lanes + (index & _u(3)) * lane_step
    return rows, blocks + (lanes >> _u(2)), lanes & _u(3)


def _word_of(words: Words, rows: jax.Array, blocks: jax.Array, lanes: jax.Array) -> jax.Array:
    """The word of every element: lane of the block of its row."""
    k0, k1, n2, n3 = words
    c0, c1 = blocks, rows
    c2, c3 = (lax.full_like(rows, 0) + word for word in (n2, n3))
    for number in range(ROUNDS):
        s0, s1 = (_u(number * step & MASK) for step in INCREMENTS)
        (high0, low0), (high1, low1) = (
            _product(c, _u(factor)) for c, factor in zip((c0, c2), MULTIPLIERS, strict=True)
        )
        c0, c1, c2, c3 = high1 ^ c1 ^ (k0 + s0), low1, high0 ^ c3 ^ (k1 + s1), low0
    odd = (lanes & _u(1)) != 0
    return lax.select((lanes >> _u(1)) != 0, lax.select(odd, c3, c2), lax.select(odd, c1, c0))


def _values(word: jax.Array, operands: Any, knots: Any, kind: int) -> jax.Array:
    """Words to float32 values: `fanin.spec.variates`."""
    origin, slope, least, greatest, unit = operands
    if kind == UNIFORM:
        v = origin + _signed(_product(word, slope)[0])
    else:
        v = _variates(word, knots)
        if kind == AFFINE:
            size = lax.bitcast_convert_type(lax.abs(v), np.uint32) << _u(1)
            offset = _signed(_product(size, slope)[0])
            v = lax.clamp(least, origin + lax.select(v < np.int32(0), -offset, offset), greatest)
    return lax.convert_element_type(v, np.float32) * unit  # type: ignore[no-any-return]  # lax types it loosely


def _variates(word: jax.Array, knots: Any) -> jax.Array:
    """Words to int32 variates in units of 2**-27."""
    sign = _signed(word) >> np.int32(31)
    tail = ~((word ^ lax.bitcast_convert_type(sign, np.uint32)) << _u(1))
    bits = _signed(lax.convert_element_type(tail, np.float32))
    index = (bits >> np.int32(14)) - np.int32(65024)
    half = knots.shape[0] // 2
    if half > 2**14:  # two tables, the second for words from 2**31 downwards
        index = index + (~sign & np.int32(half))
    z, end = _gather(knots, index), _gather(knots, index + np.int32(1))
    rise, part = (lax.bitcast_convert_type(each, np.uint32) for each in (end - z, bits & np.int32(16383)))
    z = z + _signed(rise * part >> _u(14))
    return lax.select(sign < np.int32(0), z, -z)


def _gather(knots: Any, index: jax.Array) -> jax.Array:
    numbers = lax.GatherDimensionNumbers((), collapsed_slice_dims=(0,), start_index_map=(0,))
    mode = lax.GatherScatterMode.PROMISE_IN_BOUNDS
    found: jax.Array = lax.gather(
        jax.numpy.asarray(knots), lax.expand_dims(index, (index.ndim,)), numbers, (1,), mode=mode
    )
    return found


def _rounded(single: jax.Array, name: str) -> jax.Array:
    """float32 values in a format, rounded once.

    In integers: XLA may drop a conversion to a narrow format where the next one widens again, and
    platforms differ in what overflows to what.
    """
    if name in ("float32", "float64"):
        return lax.convert_element_type(single, np.dtype(name))
    form = narrowing(name)
    bits = lax.bitcast_convert_type(single, np.uint32)
    magnitude = bits & _u(0x7FFFFFFF)
    drop, base = lax.full_like(magnitude, form.drop), magnitude
    if form.subnormals:
        exponent = magnitude >> _u(23)
        subnormal = exponent < _u(form.normal)
        lost = lax.min(_u(form.normal) - exponent, lax.full_like(exponent, form.most))
        drop = lax.select(subnormal, drop + lost, drop)
        base = lax.select(subnormal, magnitude & _u(0x7FFFFF) | _u(0x800000), magnitude - _u(form.rebias))
    half = lax.full_like(drop, 1) << (drop - _u(1))
    rounded = (base + (half - _u(1)) + (base >> drop & _u(1))) >> drop
    rounded = lax.select(magnitude > _u(form.last), lax.full_like(rounded, form.overflow), rounded)
    rounded = rounded | (bits >> _u(31)) << _u(form.bits - 1)
    carrier = lax.convert_element_type(rounded, _CARRIERS[form.bits])
    return lax.bitcast_convert_type(carrier, jax.numpy.dtype(name))


def _product(words: jax.Array, factor: Any) -> tuple[jax.Array, jax.Array]:
    """Both halves of the products of words with one word.

    64 bits wide between words of 32, so that one multiplication gives both halves: 1.4 times as fast on a CPU
    as `lax.mulhi` and another. The context admits the type for these lines, whatever the setting is outside.
    """
    with _enable_x64(True):
        wide = lax.convert_element_type(words, np.uint64) * lax.convert_element_type(factor, np.uint64)
        high = wide >> np.uint64(32)
        return lax.convert_element_type(high, np.uint32), lax.convert_element_type(wide, np.uint32)


def _signed(word: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(word, np.int32)


def _word(number: int) -> np.uint32:
    return np.uint32(number & MASK)


_u = np.uint32  # explicit, since Python's integers are 64 bits wide where x64 is on
