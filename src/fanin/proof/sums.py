"""The two lanes of a fingerprint, summed over an array: compiled where that is loaded, else by NumPy."""

import numpy as np

from fanin import engines
from fanin.engines.geometry import axes, flatten, is_regular, listed
from fanin.layouts import Coordinates
from fanin.proof.mixing import COLUMN, FIRST, MASK, ROW, SECOND, THEN
from fanin.proof.payloads import payloads, words

__all__ = ["Lanes", "added", "sums"]

Lanes = tuple[int, int]

PIECE = 2**15  # elements that NumPy mixes at a time: its temporaries stay in a second-level cache


def added(one: Lanes, other: Lanes) -> Lanes:
    """The lanes of two sets of elements together."""
    return (one[0] + other[0]) & MASK, (one[1] + other[1]) & MASK


def sums(values: np.ndarray, coordinates: Coordinates) -> Lanes:
    """Sum what the elements of an array add to the lanes.

    Args:
        values: of any strides.
        coordinates: the logical row and column of every element.
    """
    if not values.size:
        return 0, 0
    if engines.current(values.size)[0] != "numba":
        return _by_numpy(values, coordinates)
    if not is_regular(values):
        values = values.copy()
    held, kind, table = payloads(values)
    flat, coordinates, strides = flatten(held, coordinates)
    flat = flat if flat.flags.writeable else _as_writable(flat)
    rows = axes(coordinates.shape, strides, coordinates.row_steps)
    columns = axes(coordinates.shape, strides, coordinates.column_steps)
    lists = [
        (_compiled_keys(numbers, constant), offsets)
        for (numbers, offsets), constant in (
            (listed(rows, coordinates.row_start, 0), ROW),
            (listed(columns, coordinates.column_start, 0), COLUMN),
        )
    ]
    (outer, outer_offsets), (inner, inner_offsets) = sorted(lists, key=lambda each: _is_run(each[1]))
    from fanin.proof import kernels  # Numba is loaded only where it is the engine

    first, then = kernels.lanes(
        flat, kind, table, outer, outer_offsets, inner, inner_offsets, _is_run(inner_offsets) > 1
    )
    return int(first), int(then)


class _Memory:
    """Memory that NumPy takes to be writable, though nobody writes it: Numba compiles a kernel for either kind."""

    def __init__(self, flat: np.ndarray) -> None:
        self.owner = flat
        self.__array_interface__ = {**flat.__array_interface__, "data": (flat.__array_interface__["data"][0], False)}


def _as_writable(flat: np.ndarray) -> np.ndarray:
    return np.asarray(_Memory(flat))


def _is_run(offsets: np.ndarray) -> int:
    """How long a run of neighbours in memory is, 0 where the offsets are none."""
    return len(offsets) if bool((np.diff(offsets) == 1).all()) else 0


def _compiled_keys(numbers: np.ndarray, constant: int) -> np.ndarray:
    from fanin.proof import kernels

    result = np.empty(len(numbers), np.uint64)
    kernels.keys(numbers, np.uint64(constant), result)
    return result


def _by_numpy(values: np.ndarray, coordinates: Coordinates) -> Lanes:
    if values.size > PIECE:
        axis = int(np.argmax(values.shape))
        middle = values.shape[axis] // 2
        lanes = (0, 0)
        for start, stop in ((0, middle), (middle, values.shape[axis])):
            box = [(0, length) for length in values.shape]
            box[axis] = (start, stop)
            part = coordinates.window(tuple(a for a, _ in box), tuple(b for _, b in box))
            lanes = added(lanes, _by_numpy(values[tuple(slice(a, b) for a, b in box)], part))
        return lanes
    with np.errstate(over="ignore"):
        key = _keys(coordinates.row_start, coordinates.row_steps, values.shape, ROW)
        key = key + _keys(coordinates.column_start, coordinates.column_steps, values.shape, COLUMN)
        first = _mix(words(np.ascontiguousarray(values)).reshape(values.shape) ^ key)
        y = (first ^ (first >> np.uint64(29))) * np.uint64(SECOND)
        then = y ^ (y >> np.uint64(32))
        return int(first.sum(dtype=np.uint64)), int(then.sum(dtype=np.uint64))


def _keys(start: int, steps: tuple[int, ...], shape: tuple[int, ...], constant: int) -> np.ndarray:
    """The keys of the rows or columns of all elements, along the axes that these run over."""
    numbers = np.full((1,) * len(shape), start, np.int64)
    for axis, (length, step) in enumerate(zip(shape, steps, strict=True)):
        if step:
            own = [1] * len(shape)
            own[axis] = length
            numbers = numbers + (np.arange(length) * step).reshape(own)
    return _mix(numbers.astype(np.uint64) + np.uint64(constant))


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(THEN)
    return np.asarray(z ^ (z >> np.uint64(31)))
