"""A fill cut into boxes, each drawn as a matrix of rows and Philox blocks: for engines that compute on whole arrays."""

import itertools
import math
import operator
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fanin.engines.geometry import numbers
from fanin.layouts import Coordinates
from fanin.recipe import Window

__all__ = ["LANES", "Matrix", "blocks_of", "matrix", "tile_shape", "tiles"]

LANES = 4
COLUMNS = 64  # at least as many columns per tile where they are not contiguous, so that few lanes are wasted


class Matrix(NamedTuple):
    """A tile as rows and blocks.

    Attributes:
        order: the axes of the tile, those of rows before those of columns.
        shape: the lengths of these axes.
        rows: the logical row of every row of the matrix.
        blocks: the numbers of the blocks that the tile's columns lie in.
        lanes: where the columns are in these blocks' words, four to a block.
    """

    order: list[int]
    shape: list[int]
    rows: np.ndarray
    blocks: np.ndarray
    lanes: slice | np.ndarray


def tile_shape(coordinates: Coordinates, blocks: int) -> list[int]:
    """The shape of a box that needs at most that many blocks, long in the last axes."""
    shape, steps = coordinates.shape, coordinates.column_steps
    tile = [1] * len(shape)
    long = [axis for axis in reversed(range(len(shape))) if shape[axis] > 1]
    adjacent = next((axis for axis in long if abs(steps[axis]) == 1), None)
    if adjacent is not None:
        tile[adjacent] = min(shape[adjacent], COLUMNS)
    for axis in long:
        tile[axis] = 1
        room = blocks // blocks_of(coordinates, tile)
        tile[axis] = min(shape[axis], (room - 1) * LANES if axis == adjacent and room > 1 else room)
    return tile


def tiles(coordinates: Coordinates, tile: list[int]) -> Iterator[Window]:
    """Cut a shape into such boxes."""
    shape = coordinates.shape
    for start in itertools.product(*(range(0, length, span) for length, span in zip(shape, tile, strict=True))):
        yield Window(start, tuple(map(min, map(operator.add, start, tile), shape)))


def blocks_of(coordinates: Coordinates, tile: list[int]) -> int:
    """How many blocks a tile needs at most."""
    count = 1
    for length, step in zip(tile, coordinates.column_steps, strict=True):
        aligned = length % LANES == 0 and coordinates.column_start % LANES == 0
        count *= length if abs(step) != 1 or length == 1 else -(-length // LANES) + (not aligned)
    return count


def matrix(coordinates: Coordinates) -> Matrix:
    """See a tile as rows and blocks."""
    shape, rank = coordinates.shape, len(coordinates.shape)
    row_axes = [axis for axis in range(rank) if coordinates.row_steps[axis]]
    column_axes = [axis for axis in range(rank) if axis not in row_axes]
    rows = numbers(
        coordinates.row_start, [shape[axis] for axis in row_axes], [coordinates.row_steps[axis] for axis in row_axes]
    )
    order = row_axes + column_axes
    return Matrix(order, [shape[axis] for axis in order], rows, *_columns(coordinates, column_axes))


def _columns(coordinates: Coordinates, axes: list[int]) -> tuple[np.ndarray, slice | np.ndarray]:
    """The numbers of the blocks that a tile's columns lie in, and where the columns are in these."""
    start, lengths = coordinates.column_start, [coordinates.shape[axis] for axis in axes]
    long = [axis for axis in axes if coordinates.shape[axis] > 1]
    if not long or (len(long) == 1 and coordinates.column_steps[long[0]] == 1):
        first, stop = start // LANES, start + math.prod(lengths)
        return np.arange(first, -(-stop // LANES)), slice(start - first * LANES, stop - first * LANES)
    columns = numbers(start, lengths, [coordinates.column_steps[axis] for axis in axes])
    blocks, inverse = np.unique(columns // LANES, return_inverse=True)
    return blocks, inverse * LANES + columns % LANES
