"""Where the elements of a view lie in memory, and which logical numbers they have along the way.

An axis of a view moves along rows or along columns, by a step, and through memory, by a stride.
Engines that write through memory offsets see a fill as two lists of such axes.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fanin.layouts import Coordinates, Shape

__all__ = ["Axis", "axes", "flatten", "is_regular", "listed", "numbers", "parts", "upright"]


class Axis(NamedTuple):
    """One axis of a fill, of rows or of columns."""

    length: int
    stride: int  # of the output, in elements
    step: int  # of the logical row or column


def is_regular(view: np.ndarray) -> bool:
    """Whether every element lies a whole number of elements from the first, at an address of its own alignment."""
    return view.flags.aligned and not any(stride % view.itemsize for stride in view.strides)


def upright(view: np.ndarray, coordinates: Coordinates) -> tuple[np.ndarray, Coordinates]:
    """The same elements with axes turned round where needed, so that no stride is negative."""
    if all(stride >= 0 for stride in view.strides):
        return view, coordinates
    row_start, column_start = coordinates.row_start, coordinates.column_start
    row_steps, column_steps = list(coordinates.row_steps), list(coordinates.column_steps)
    for axis, (stride, length) in enumerate(zip(view.strides, view.shape, strict=True)):
        if stride < 0:
            view = np.flip(view, axis)
            row_start += row_steps[axis] * (length - 1)
            column_start += column_steps[axis] * (length - 1)
            row_steps[axis], column_steps[axis] = -row_steps[axis], -column_steps[axis]
    return view, Coordinates(view.shape, row_start, tuple(row_steps), column_start, tuple(column_steps))


def flatten(view: np.ndarray, coordinates: Coordinates) -> tuple[np.ndarray, Coordinates, tuple[int, ...]]:
    """The memory under a view as a vector from its lowest address, and strides that are not negative."""
    view, coordinates = upright(view, coordinates)
    strides = tuple(stride // view.itemsize for stride in view.strides)
    if view.flags.c_contiguous:
        return view.reshape(-1), coordinates, strides
    extent = 1 + sum((length - 1) * stride for length, stride in zip(view.shape, strides, strict=True))
    return np.lib.stride_tricks.as_strided(view, (extent,), (view.itemsize,)), coordinates, strides


def axes(shape: Shape, strides: tuple[int, ...], steps: tuple[int, ...]) -> list[Axis]:
    """The axes that move along rows (or columns), widest stride first, neighbours merged where they can be."""
    moving = [Axis(*item) for item in zip(shape, strides, steps, strict=True) if item[0] > 1 and item[2] != 0]
    moving.sort(key=lambda axis: -axis.stride)
    merged: list[Axis] = []
    for axis in moving:
        if merged and (merged[-1].stride, merged[-1].step) == (axis.stride * axis.length, axis.step * axis.length):
            merged[-1] = Axis(merged[-1].length * axis.length, axis.stride, axis.step)
        else:
            merged.append(axis)
    return merged


def parts(moving: list[Axis], start: int, most: int) -> list[tuple[int, int, list[Axis]]]:
    """Split axes into boxes of at most `most` positions: logical start, memory offset, axes."""
    if math.prod(axis.length for axis in moving) <= most:
        return [(start, 0, moving)]
    head, *rest = moving
    span = most // math.prod(axis.length for axis in rest)
    if span:
        return [
            (start + low * head.step, low * head.stride, [head._replace(length=min(span, head.length - low)), *rest])
            for low in range(0, head.length, span)
        ]
    return [
        (part_start, offset + index * head.stride, part_axes)
        for index in range(head.length)
        for part_start, offset, part_axes in parts(rest, start + index * head.step, most)
    ]


def listed(moving: Iterable[Axis], start: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Logical numbers and memory offsets of all positions of a box, in C order."""
    moving = tuple(moving)
    lengths = [axis.length for axis in moving]
    return (
        numbers(start, lengths, [axis.step for axis in moving]),
        numbers(offset, lengths, [axis.stride for axis in moving]),
    )


def numbers(start: int, lengths: Iterable[int], steps: Iterable[int]) -> np.ndarray:
    """``start + sum(steps[a] * x[a])`` for every index x of a shape, in C order."""
    result = np.array([start], np.int64)
    for length, step in zip(lengths, steps, strict=True):
        result = np.add.outer(result, np.arange(length, dtype=np.int64) * step).reshape(-1)
    return result
