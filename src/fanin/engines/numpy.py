"""The engine that is always there: the same integers in NumPy, a cache-sized piece at a time."""

import threading
from collections.abc import Iterator

import numpy as np

from fanin.engines.tables import table
from fanin.layouts import Coordinates, Shape
from fanin.recipe import Draw, Window
from fanin.spec.grids import Affine, Scaled, Uniform
from fanin.spec.philox import INCREMENTS, MASK, MULTIPLIERS, ROUNDS

PIECE = 2**16  # elements at a time: the buffers stay in a second-level cache
THREAD_FROM = 2**17

_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_LOW, _32 = np.uint64(MASK), np.uint64(32)


def fill(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
    """Write a window of a draw into an array of its shape."""
    pieces = list(boxes(view.shape, PIECE))
    count = min(threads, len(pieces)) if view.size >= THREAD_FROM else 1
    coordinates = draw.coordinates(window)
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            for box in pieces[part::count]:
                _fill_box(draw, coordinates.window(box.start, box.stop), view[*box.slices, ...])
        except BaseException as error:  # raised again below, in the caller's thread
            failures.append(error)

    workers = [threading.Thread(target=work, args=(part,)) for part in range(1, count)]
    for worker in workers:
        worker.start()
    work(0)
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]


def boxes(shape: Shape, most: int) -> Iterator[Window]:
    """Cut a shape into boxes of at most `most` elements, in C order, long in the last axes."""
    inner = 1
    axis = len(shape)
    while axis > 0 and inner * shape[axis - 1] <= most:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield Window.whole(shape)
        return
    span = max(1, most // inner)
    for outer in np.ndindex(*shape[: axis - 1]):
        for low in range(0, shape[axis - 1], span):
            start = (*outer, low) + (0,) * (len(shape) - axis)
            high = min(low + span, shape[axis - 1])
            yield Window(start, (*(i + 1 for i in outer), high, *shape[axis:]))


def _fill_box(draw: Draw, coordinates: Coordinates, view: np.ndarray) -> None:
    """Write one box: draw a matrix of rows and columns, then give it the box's axes."""
    assert draw.stream is not None
    row_axes = [a for a, step in enumerate(coordinates.row_steps) if step]
    column_axes = [a for a in range(view.ndim) if a not in row_axes]
    rows = _numbers(coordinates.row_start, coordinates.row_steps, coordinates.shape, row_axes)
    columns = _numbers(coordinates.column_start, coordinates.column_steps, coordinates.shape, column_axes)
    key, upper = draw.stream.words()
    blocks, inverse = np.unique(columns >> np.uint64(2), return_inverse=True)
    drawn = words(blocks[None, :], rows[:, None], upper, key)
    lanes = (inverse.astype(np.uint64) * np.uint64(4) + (columns & np.uint64(3))).astype(np.intp)
    if len(lanes) and lanes[-1] - lanes[0] == len(lanes) - 1 and bool(np.all(np.diff(lanes) == 1)):
        matrix = drawn[:, lanes[0] : lanes[-1] + 1]
    else:
        matrix = drawn[:, lanes]
    grid = draw.distribution.grid()
    assert grid is not None
    values = transform(np.ascontiguousarray(matrix), grid)
    shape = [view.shape[a] for a in row_axes + column_axes]
    view.transpose(row_axes + column_axes)[...] = values.reshape(shape)


def _numbers(start: int, steps: tuple[int, ...], shape: Shape, axes: list[int]) -> np.ndarray:
    numbers = np.array([start], np.int64)
    for a in axes:
        numbers = np.add.outer(numbers, np.arange(shape[a], dtype=np.int64) * steps[a]).reshape(-1)
    return numbers.astype(np.uint64)


def words(c0: np.ndarray, c1: np.ndarray, upper: tuple[int, int], key: tuple[int, int]) -> np.ndarray:
    """The words of every block of a grid of counters, as a matrix: a row per c1, four lanes per c0."""
    shape = np.broadcast_shapes(c0.shape, c1.shape)
    state = [np.empty(shape, np.uint64) for _ in range(4)]
    state[0][...], state[1][...], state[2][...], state[3][...] = c0, c1, np.uint64(upper[0]), np.uint64(upper[1])
    x0, x1, x2, x3 = state
    spare0, spare1 = np.empty(shape, np.uint64), np.empty(shape, np.uint64)
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = np.multiply(x0, _M0, out=spare0), np.multiply(x2, _M1, out=spare1)
        np.right_shift(p1, _32, out=x0)
        np.bitwise_xor(x0, x1, out=x0)
        np.bitwise_xor(x0, np.uint64(k0), out=x0)
        np.right_shift(p0, _32, out=x2)
        np.bitwise_xor(x2, x3, out=x2)
        np.bitwise_xor(x2, np.uint64(k1), out=x2)
        np.bitwise_and(p1, _LOW, out=x1)
        np.bitwise_and(p0, _LOW, out=x3)
        k0, k1 = (k0 + INCREMENTS[0]) & MASK, (k1 + INCREMENTS[1]) & MASK
    result = np.empty((*shape, 4), np.uint32)
    for lane, x in enumerate((x0, x1, x2, x3)):
        result[..., lane] = x
    return result.reshape(shape[0], -1)


def transform(drawn: np.ndarray, grid: Uniform | Scaled | Affine) -> np.ndarray:
    """Words to float32 values: `fanin.spec.variates`, an array at a time."""
    if isinstance(grid, Uniform):
        high = ((drawn.astype(np.uint64) * np.uint64(grid.width)) >> _32).astype(np.int32)
        high += np.int32(grid.origin)
        return high.astype(np.float32) * np.float32(grid.unit)
    z = normals(drawn, grid.lower, grid.upper)
    if isinstance(grid, Scaled):
        return z.astype(np.float32) * np.float32(grid.scale)
    size = np.abs(z).astype(np.uint64) << np.uint64(1)
    offset = ((size * np.uint64(grid.slope)) >> _32).astype(np.int64)
    v = np.where(z < 0, grid.origin - offset, grid.origin + offset)
    return np.clip(v, grid.least, grid.greatest).astype(np.int32).astype(np.float32) * np.float32(grid.unit)


def normals(drawn: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Words to int32 variates in units of 2**-27."""
    knots, distance = table(lower, upper)
    positive = ~(drawn.view(np.int32) >> np.int32(31))
    tail = ~((drawn ^ ~positive.view(np.uint32)) << np.uint32(1))
    bits = tail.astype(np.float32).view(np.uint32)
    index = (bits >> np.uint32(14)).view(np.int32)
    index -= np.int32(65024)
    if distance:
        index += positive & np.int32(distance)
    bits &= np.uint32(16383)
    z = knots.take(index)
    index += np.int32(1)
    rise = knots.take(index)
    rise -= z
    part = rise.view(np.uint32)
    part *= bits
    part >>= np.uint32(14)
    z += rise
    z ^= positive
    z -= positive
    return z
