"""From one uint32 word to one float32 value, in integers until the last step.

Floats here are Python's: a float32 product is computed exactly and rounded once by `round_float32`.
"""

import struct
from collections.abc import Sequence

from fanin.spec.grids import Affine, Scaled, Uniform
from fanin.spec.tables import table

Halves = tuple[Sequence[int], Sequence[int]]


def round_float32(x: float) -> float:
    """Round a float64 to float32, to nearest even."""
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def mulhi(a: int, b: int) -> int:
    """The upper 32 bits of the product of two uint32."""
    return a * b >> 32


def uniform(word: int, grid: Uniform) -> float:
    """A point of the half-open interval of the grid."""
    return (grid.origin + mulhi(word, grid.width)) * grid.unit


def normal(word: int, halves: Halves) -> int:
    """A standard normal, cut as the table is, in units of 2**-27: monotone in the word read as an int32.

    >>> normal(0x7FFFFFFF, table(float("-inf"), float("inf"))) / 2**27
    6.337957717478275
    """
    negative = word >> 31
    magnitude = word ^ 0xFFFFFFFF if negative else word
    tail = 0xFFFFFFFF - 2 * magnitude  # odd, so that tail / 2**33 is a probability inside (0, 1/2)
    bits = int.from_bytes(struct.pack("<f", tail), "little")
    knots = halves[0] if negative else halves[1]
    index, part = (bits >> 14) - 65024, bits & 16383  # 127 octaves below 1.0, 512 segments each
    z = knots[index]
    if part:
        z += (knots[index + 1] - z) * part >> 14
    return z if negative else -z


def scaled(word: int, grid: Scaled) -> float:
    """A normal with mean zero: float32(z) * scale."""
    z = round_float32(normal(word, table(grid.lower, grid.upper)))
    return round_float32(z * grid.scale)


def affine(word: int, grid: Affine) -> float:
    """A normal with another mean: mean and deviation on one integer grid."""
    z = normal(word, table(grid.lower, grid.upper))
    offset = mulhi(2 * abs(z), grid.slope)
    v = grid.origin - offset if z < 0 else grid.origin + offset
    return round_float32(min(max(v, grid.least), grid.greatest)) * grid.unit


def value(word: int, grid: Uniform | Scaled | Affine) -> float:
    """The float32 value of a word on any grid, as a Python float."""
    if isinstance(grid, Uniform):
        return uniform(word, grid)
    return scaled(word, grid) if isinstance(grid, Scaled) else affine(word, grid)
