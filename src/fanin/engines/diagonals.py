"""A value on the logical diagonal, where row equals column."""

import numpy as np

from fanin.engines.tensors import DeviceArray
from fanin.layouts import Coordinates
from fanin.recipe import Window

__all__ = ["place"]

PLACED = 2**16  # elements compared at a time, so that their numbers stay in a cache


def place(coordinates: Coordinates, value: np.ndarray, view: np.ndarray | DeviceArray) -> None:
    """Write a value where row equals column; parts that the diagonal misses are not looked at."""
    if not _meets(coordinates):
        return
    if view.size > PLACED:
        axis = max(range(view.ndim), key=view.shape.__getitem__)
        middle = view.shape[axis] // 2
        for part in (slice(0, middle), slice(middle, view.shape[axis])):
            box = Window.of(view.shape, (*(slice(None),) * axis, part))
            place(coordinates.window(box.start, box.stop), value, view[box.slices])
        return
    difference = np.array(coordinates.row_start - coordinates.column_start, np.int64)
    for axis, length in enumerate(view.shape):
        step = coordinates.row_steps[axis] - coordinates.column_steps[axis]
        steps = np.arange(length, dtype=np.int64) * step
        difference = difference + steps.reshape((-1,) + (1,) * (view.ndim - axis - 1))
    view[difference == 0] = value


def _meets(coordinates: Coordinates) -> bool:
    """Whether the rows and the columns of a box, as intervals, have a number in common."""
    row_low, row_high = _reach(coordinates.row_start, coordinates.row_steps, coordinates.shape)
    column_low, column_high = _reach(coordinates.column_start, coordinates.column_steps, coordinates.shape)
    return row_low <= column_high and column_low <= row_high


def _reach(start: int, steps: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int]:
    """The least and the greatest number along a box."""
    ways = [step * (length - 1) for step, length in zip(steps, shape, strict=True)]
    return start + sum(way for way in ways if way < 0), start + sum(way for way in ways if way > 0)
