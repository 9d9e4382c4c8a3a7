"""The law itself as an engine: a loop over `spec`, one value at a time. Slow, for tests and small arrays."""

import numpy as np

from fanin.recipe import Draw, Window
from fanin.spec import round_bits, words
from fanin.spec.variates import value

_CARRIERS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def fill(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
    """Write a window of a draw into an array of its shape; `threads` is not used."""
    assert draw.stream is not None
    grid = draw.distribution.grid()
    assert grid is not None
    key, (n2, n3) = draw.stream.words()
    coordinates = draw.coordinates(window)
    bits = view.view(_CARRIERS[view.dtype.itemsize])
    for index in np.ndindex(*view.shape):
        row = coordinates.row_start + sum(map(int.__mul__, coordinates.row_steps, index))
        column = coordinates.column_start + sum(map(int.__mul__, coordinates.column_steps, index))
        word = words(key, (column // 4, row, n2, n3))[column % 4]
        bits[index] = round_bits(value(word, grid), view.dtype.name)
