"""The engine in JAX's own operations: one pure, elementwise function of integers, for programs that are traced.

Each element computes its own block and selects its lane: XLA would compute a block anew for each
of four stacked words (0.02 against 0.2 Gelem/s), and what is elementwise splits over devices,
batches and windows by itself. Numbers are operands and only axes are compiled in, so that parameters of
one shape and layout share one program. Every type is stated, in a context that admits 64 bits, so that
it does not matter whether x64 is on.
"""

import functools
import importlib
import inspect
import math
from collections.abc import Callable
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

STRIP = 2**17  # elements that are drawn at once: small enough for a cache, and worth several threads


class Origin(NamedTuple):
    """Where a window begins: its first row, and of its first column the block and the lane; each may be traced."""

    row: Any
    block: Any
    lane: Any


def origin_of(coordinates: Coordinates) -> Origin:
    """The origin of a window that is known."""
    column = coordinates.column_start
    return Origin(_word(coordinates.row_start), _word(column >> 2), _word(column & 3))


class _Axis(NamedTuple):
    length: int
    row_step: int
    column_step: int


def fill(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
    """Write a window of a draw into an array of its shape; `threads` is XLA's own affair."""
    assert draw.stream is not None
    (k0, k1), (n2, n3) = draw.stream.words()
    words = tuple(map(_word, (k0, k1, n2, n3)))
    # Without x64, JAX has no float64; float32 values widen exactly.
    dtype = np.dtype(np.float32) if view.dtype == np.float64 else view.dtype
    view[...] = np.asarray(draw_window(draw, window, words, dtype))


def draw_window(
    draw: Draw, window: Window, words: Words, dtype: np.dtype, origin: Origin | None = None, sharding: Any = None
) -> jax.Array:
    """Draw a window of a draw, the words of whose stream may be traced.

    Args:
        draw: what to draw; its stream is not read.
        window: which part of it.
        words: the key, and counter words 2 and 3: four uint32 scalars.
        dtype: of the result; float64 only where x64 is on.
        origin: where the window begins, if that is traced; then only the window's shape counts.
        sharding: of the result, each shard of which is then drawn where it is to be; not inside of a trace.
    """
    distribution = draw.distribution
    assert isinstance(distribution, UniformInterval | Normal)
    form = form_of(distribution)
    coordinates = draw.coordinates(window)
    steps = zip(window.shape, coordinates.row_steps, coordinates.column_steps, strict=True)
    axes = tuple(_Axis(*each) for each in steps)
    origin = origin_of(coordinates) if origin is None else origin
    knots = None if form.kind == UNIFORM else table(form.lower, form.upper)[0]
    program, flat = (_drawn, _is_alone()) if sharding is None else (_sharded(sharding), False)
    result: jax.Array = program(words, origin, _operands(form), knots, axes, flat, form.kind, dtype.name)
    return result


def _is_alone() -> bool:
    """Whether no partitioner can split what is drawn: there is one device, or the program is that of one."""
    if jax.device_count() == 1:
        return True
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.are_all_axes_manual


def _operands(form: Form) -> tuple[Any, ...]:
    return (
        np.int32(form.origin), np.uint32(form.slope), np.int32(form.least), np.int32(form.greatest),
        np.float32(form.unit),
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("axes", "flat", "kind", "name"))
def _drawn(
    words: Words, origin: Origin, operands: Any, knots: Any, axes: tuple[_Axis, ...], flat: bool, kind: int, name: str
) -> jax.Array:
    """Draw an array: which operations there are depends on the axes, the form and the dtype only.

    Flat, as a vector, it is 1.7 times as fast on a CPU, because XLA looks up a table in a vector of indices
    and computes those of an array once more to make it one. But a partitioner cannot split a vector
    the way that it splits the array which that becomes.
    """
    shape = tuple(axis.length for axis in axes)
    size = math.prod(shape)

    def finished(word: jax.Array) -> jax.Array:
        return _rounded(_values(word, operands, knots, kind), name)

    if not flat:
        return finished(_word_of(words, *_numbers(origin, axes)))
    drawn = _Flat(words, origin, _joined(axes))
    if kind == UNIFORM or not 16 * STRIP <= size < 2**31 - 2 * STRIP:
        return lax.reshape(finished(drawn.words(0, size)), shape)
    result = lax.platform_dependent(
        cpu=lambda: _in_strips(drawn, size, finished), default=lambda: finished(drawn.words(0, size))
    )
    return lax.reshape(result, shape)


@functools.lru_cache(maxsize=256)
def _sharded(sharding: Any) -> Any:
    """The same, its result split over devices."""
    return jax.jit(inspect.unwrap(_drawn), static_argnums=(4, 5, 6, 7), out_shardings=sharding)


def _in_strips(drawn: "_Flat", size: int, finished: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Draw a vector strip by strip, in a few strips of memory, whatever its size.

    LLVM computes the addresses of a loop without vectors, and so whatever a place in a table follows from, all of
    the generator; and XLA writes into a part of an array on one thread, and whatever that follows from. So words,
    values and writing are loops of their own, each a strip ahead of the next: 1.4 times as fast as one.
    """

    def words(number: Any) -> jax.Array:
        return drawn.words(begin(number), STRIP)

    def begin(number: Any) -> Any:  # the last strip goes over some of the one before it
        return lax.min(np.int32(size - STRIP), number * np.int32(STRIP))

    def step(number: Any, carried: Any) -> Any:
        result, values, word = carried
        result = lax.dynamic_update_slice(result, values, (begin(number),))
        return result, finished(word), words(number + np.int32(2))

    values = finished(words(np.int32(0)))
    memory = lax.empty((size,), values.dtype)  # type: ignore[no-untyped-call]  # JAX leaves it untyped
    carried = memory, values, words(np.int32(1))
    filled: jax.Array = lax.fori_loop(np.int32(0), np.int32(-(-size // STRIP)), step, carried)[0]
    return filled


def _joined(axes: tuple[_Axis, ...]) -> tuple[_Axis, ...]:
    """Neighbours that go on where the other ends are one."""
    joined: list[_Axis] = []
    for axis in axes:
        length, row_step, column_step = axis
        if joined and joined[-1][1:] == (row_step * length, column_step * length):
            joined[-1] = axis._replace(length=joined[-1].length * length)
        else:
            joined.append(axis)
    return tuple(joined)


def _numbers(origin: Origin, axes: tuple[_Axis, ...]) -> tuple[jax.Array, jax.Array]:
    """The row and the column of every element of an array: 64-bit words."""
    shape = tuple(axis.length for axis in axes)
    with _enable_x64(True):
        indices = [lax.broadcasted_iota(_least_word(axis.length), shape, at) for at, axis in enumerate(axes)]
        return _combined(origin, axes, indices, shape)


class _Flat(NamedTuple):
    """An array as the vector of its elements in C order."""

    stream: Words
    origin: Origin
    axes: tuple[_Axis, ...]

    def words(self, start: Any, length: int) -> jax.Array:
        """The words of a stretch, whose start may be traced."""
        word = _least_word(math.prod(axis.length for axis in self.axes))
        with _enable_x64(True):
            rest = lax.iota(word, length) + lax.convert_element_type(start, word)
            indices = []
            for axis in reversed(self.axes[1:]):
                divisor = word(max(axis.length, 1))
                quotient = lax.div(rest, lax.full_like(rest, divisor))
                indices.append(rest - quotient * divisor)
                rest = quotient
            numbers = _combined(self.origin, self.axes, [rest, *reversed(indices)], (length,))
        return _word_of(self.stream, *numbers)


def _least_word(size: int) -> Any:
    return np.uint32 if size <= 2**32 else np.uint64


def _combined(origin: Origin, axes: Any, indices: Any, shape: Shape) -> tuple[jax.Array, jax.Array]:
    start = _wide(origin.block) << np.uint64(2) | _wide(origin.lane)
    rows, columns = lax.broadcast(_wide(origin.row), shape), lax.broadcast(start, shape)
    for axis, index in zip(axes, indices, strict=False):  # of no axes there is one element, which is the origin
        wide = _wide(index)
        rows = rows + wide * np.uint64(axis.row_step % 2**64) if axis.row_step else rows
        columns = columns + wide * np.uint64(axis.column_step % 2**64) if axis.column_step else columns
    return rows & np.uint64(MASK), columns


def _word_of(words: Words, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The word of every element: lane of the block of its row.

    Words are kept in the lower halves of 64 bits, since a product there gives both its halves at once and
    needs no conversions in between: 1.9 times as fast on a CPU as words of 32 bits. What is in the
    upper halves is cut off before the next product. The last round computes only the half that holds the lane.
    """
    mask, half = np.uint64(MASK), np.uint64(32)
    with _enable_x64(True):
        k0, k1, n2, n3 = map(_wide, words)
        c0, c1 = columns >> np.uint64(2), rows
        c2, c3 = (lax.broadcast(word, rows.shape) for word in (n2, n3))
        m0, m1 = map(np.uint64, MULTIPLIERS)
        for number in range(ROUNDS):
            s0, s1 = (
                (key + np.uint64(number * step & MASK)) & mask for key, step in zip((k0, k1), INCREMENTS, strict=True)
            )
            if number < ROUNDS - 1:
                p0, p1 = (c0 & mask) * m0, (c2 & mask) * m1
                c0, c1, c2, c3 = p1 >> half ^ c1 ^ s0, p1, p0 >> half ^ c3 ^ s1, p0
        upper, odd = columns & np.uint64(2) != np.uint64(0), columns & np.uint64(1) != np.uint64(0)
        factor = lax.select(upper, lax.full_like(rows, m0), lax.full_like(rows, m1))
        product = (lax.select(upper, c0, c2) & mask) * factor
        other = lax.select(upper, c3 ^ s1, c1 ^ s0)
        return lax.convert_element_type(lax.select(odd, product, product >> half ^ other) & mask, np.uint32)


def _wide(word: Any) -> jax.Array:
    return lax.convert_element_type(word, np.uint64)


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
    return (z ^ ~sign) - ~sign  # -z where the word is not negative


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
