"""The engine that is always there: the same integers in NumPy, a cache-sized tile at a time."""

import threading
from typing import Any

import numpy as np

from fanin.engines.tables import table
from fanin.engines.tiles import LANES, blocks_of, matrix, tile_shape, tiles
from fanin.layouts import Coordinates
from fanin.recipe import Draw, Stream, Window
from fanin.spec.grids import Affine, Scaled, Uniform
from fanin.spec.philox import INCREMENTS, MASK, MULTIPLIERS, ROUNDS

BLOCKS = 2**16  # per tile, in 8 MiB of buffers: operations long enough that threads rarely wait for the interpreter
SLICE = 2**17  # words transformed at a time
MOST_THREADS = 6  # beyond, they wait for the interpreter
THREAD_FROM = 2**17  # elements below which a second thread costs more than it brings

_LOW, _32 = np.array(MASK, np.uint64), np.array(32, np.uint64)

Grid = Uniform | Scaled | Affine


def fill(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
    """Write a window of a draw into an array of its shape."""
    coordinates = draw.coordinates(window)
    shape = tile_shape(coordinates, BLOCKS)
    boxes = list(tiles(coordinates, shape))
    count = min(threads, MOST_THREADS, len(boxes)) if view.size >= THREAD_FROM else 1
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            buffers = _Buffers(blocks_of(coordinates, shape))
            for tile in boxes[first::count]:
                box: Any = (*tile.slices, ...)  # the last, so that rank 0 gives an array as well
                _fill_tile(draw, coordinates.window(tile.start, tile.stop), view[box], buffers)
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


class _Buffers:
    """What one thread computes in, used again for every tile: fresh memory costs more than the arithmetic."""

    def __init__(self, blocks: int) -> None:
        self.x = np.empty(2 * blocks, np.uint64)
        self.y, self.product = (np.zeros(2 * blocks + 2, np.uint64) for _ in range(2))
        self.words = np.empty((blocks, LANES), np.uint32)
        self.values = np.empty(blocks * LANES, np.float32)
        size = min(SLICE, blocks * LANES)
        self.wide = np.empty(size, np.uint64)
        self.index, self.positive, self.bits, self.z, self.rise = (np.empty(size, np.int32) for _ in range(5))


def _fill_tile(draw: Draw, coordinates: Coordinates, view: np.ndarray, buffers: _Buffers) -> None:
    """Write one tile: draw a matrix of rows and columns, then give it the tile's axes."""
    assert draw.stream is not None
    grid = draw.distribution.grid()
    assert grid is not None
    order, lengths, rows, blocks, lanes = matrix(coordinates)
    count = len(rows) * len(blocks)
    _draw(draw.stream, rows, blocks, buffers)
    words, values = buffers.words[:count].reshape(-1), buffers.values[: count * LANES]
    for start in range(0, len(words), SLICE):
        _transform(words[start : start + SLICE], values[start : start + SLICE], grid, buffers)
    view.transpose(order)[...] = values.reshape(len(rows), -1)[:, lanes].reshape(lengths)


def _draw(stream: Stream, rows: np.ndarray, blocks: np.ndarray, buffers: _Buffers) -> None:
    """Philox for every row and block.

    The state is two pairs of counters, x = (c0, c2) and y = (c1, c3), in the low halves of uint64.
    A round swaps its products' places, so that in every other one they are (c2, c0) and (c3, c1); an
    even number swaps them back. The high half of a product moves to the low half of its neighbour
    by a view that starts 32 bits later; what is left in the high halves is masked before a product.
    """
    key, (n2, n3) = stream.words()
    count, shape = len(rows) * len(blocks), (len(rows), len(blocks))
    x = buffers.x[: 2 * count].reshape(2, count)
    y, product = (buffer[: 2 * count + 2].reshape(2, count + 1) for buffer in (buffers.y, buffers.product))
    x[0].reshape(shape)[...], x[1] = blocks, n2
    y[0, :count].reshape(shape)[...], y[1, :count] = rows[:, None], n3
    x32 = x.view(np.uint32)
    # Where a round writes its product, that product's high halves, and y with its rows swapped.
    even, odd = (
        (p[:, :count], p.view(np.uint32)[:, 1 : 2 * count + 1], q.view(np.uint32)[::-1, : 2 * count])
        for p, q in ((product, y), (y, product))
    )
    for number, (factors, keys) in enumerate(zip(_FACTORS, _keys(*key), strict=True)):
        target, high, swapped = odd if number % 2 else even
        np.multiply(x, factors, out=target)
        np.bitwise_xor(high, swapped, out=x32)
        np.bitwise_xor(x, keys, out=x)
        np.bitwise_and(x, _LOW, out=x)
    for lane, drawn in enumerate((x[0], y[0, :count], x[1], y[1, :count])):
        np.copyto(buffers.words[:count, lane], drawn, casting="unsafe")


# Of every round, in the order in which it has its counters: the factors, and what is added to the keys.
_FACTORS = [np.array([MULTIPLIERS[:: 1 if number % 2 == 0 else -1]], np.uint64).T for number in range(ROUNDS)]
_STEPS = np.array(
    [[number * step for step in INCREMENTS[:: -1 if number % 2 == 0 else 1]] for number in range(ROUNDS)], np.uint64
)


def _keys(k0: int, k1: int) -> list[np.ndarray]:
    """The keys of every round, as columns, in the order of `_FACTORS`."""
    keys = np.array([(k1, k0), (k0, k1)] * (ROUNDS // 2), np.uint64)
    keys += _STEPS
    keys &= _LOW
    return list(keys[:, :, None])


def _transform(words: np.ndarray, values: np.ndarray, grid: Grid, buffers: _Buffers) -> None:
    """Words to float32 values: `fanin.spec.variates`, a slice at a time."""
    count = len(words)
    z, wide = buffers.z[:count], buffers.wide[:count]
    if isinstance(grid, Uniform):
        np.multiply(words, np.uint64(grid.width), out=wide)
        wide >>= _32
        np.copyto(z, wide, casting="unsafe")
        z += np.int32(grid.origin)
        unit = grid.unit
    else:
        normals(words, grid.lower, grid.upper, z, buffers)
        unit = grid.scale if isinstance(grid, Scaled) else grid.unit
    if isinstance(grid, Affine):
        sign, size = buffers.positive[:count], buffers.rise[:count]
        np.right_shift(z, np.int32(31), out=sign)
        np.bitwise_xor(z, sign, out=size)
        size -= sign
        size <<= np.int32(1)
        np.multiply(size.view(np.uint32), np.uint64(grid.slope), out=wide)
        wide >>= _32
        np.copyto(z, wide, casting="unsafe")
        z ^= sign
        z -= sign
        z += np.int32(grid.origin)
        np.clip(z, np.int32(grid.least), np.int32(grid.greatest), out=z)
    np.copyto(values, z, casting="unsafe")
    values *= np.float32(unit)


def normals(words: np.ndarray, lower: float, upper: float, z: np.ndarray, buffers: _Buffers) -> None:
    """Words to int32 variates in units of 2**-27."""
    knots, distance = table(lower, upper)
    count = len(words)
    index, positive, rise = buffers.index[:count], buffers.positive[:count], buffers.rise[:count]
    bits = buffers.bits[:count]
    np.right_shift(words.view(np.int32), np.int32(31), out=positive)
    tail = rise.view(np.uint32)
    np.bitwise_xor(words, positive.view(np.uint32), out=tail)
    tail <<= np.uint32(1)
    np.invert(tail, out=tail)
    np.invert(positive, out=positive)
    np.copyto(bits.view(np.float32), tail, casting="unsafe")
    np.right_shift(bits, np.int32(14), out=index)
    index -= np.int32(65024)
    bits &= np.int32(16383)
    if distance:
        np.bitwise_and(positive, np.int32(distance), out=z)
        index += z
    place = buffers.wide[:count].view(np.intp)
    np.copyto(place, index)
    knots.take(place, out=z, mode="clip")  # "raise" would buffer the output; the index is in range by construction
    place += 1
    knots.take(place, out=rise, mode="clip")
    rise -= z
    part = rise.view(np.uint32)
    part *= bits.view(np.uint32)
    part >>= np.uint32(14)
    z += rise
    z ^= positive
    z -= positive
