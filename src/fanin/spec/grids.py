"""Grids: the integer form of a distribution's parameters, computed exactly and once per recipe.

Parameters enter rounded to float32. A grid holds only integers and powers of two (and one float32
scale), so that applying it is the same on every engine.
"""

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

from fanin.errors import ArgumentError

LEAST_SCALE = 2.0**-90  # below it float32 products may be subnormal, which accelerators flush to zero
GREATEST_BOUND = 9.0  # in standard deviations, on the near side: beyond it less than 2**-61 is left
LEAST_SPAN = 2.0**-11  # between truncation bounds: 65536 units of 2**-27
GREATEST_NORMAL = 850666285  # the plain normal's greatest variate, in units of 2**-27


@dataclass(frozen=True, slots=True)
class Uniform:
    """``(origin + mulhi(word, width)) * unit``."""

    origin: int
    width: int
    unit: float


@dataclass(frozen=True, slots=True)
class Scaled:
    """``float32(z) * scale``, z from the table of the bounds."""

    lower: float
    upper: float
    scale: float


@dataclass(frozen=True, slots=True)
class Affine:
    """``float32(clamp(origin +- mulhi(2 |z|, slope), least, greatest)) * unit``, the sign that of z."""

    lower: float
    upper: float
    origin: int
    slope: int
    least: int
    greatest: int
    unit: float


@functools.lru_cache(maxsize=1024)
def uniform_grid(minval: float, maxval: float) -> Uniform:
    """The finest grid of spacing 2**-k on [minval, maxval) whose points are 24-bit integers.

    Raises:
        ArgumentError: no point of the grid lies inside the interval.
    """
    low, high = Fraction(minval), Fraction(maxval)
    k = 24 - math.frexp(max(abs(minval), abs(maxval)))[1]
    if max(abs(math.ceil(low * Fraction(2) ** (k + 1))), abs(math.ceil(high * Fraction(2) ** (k + 1)))) <= 2**24:
        k += 1  # the magnitude is a power of two
    origin = math.ceil(low * Fraction(2) ** k)
    width = math.ceil(high * Fraction(2) ** k) - origin
    if width == 0:
        raise ArgumentError(f"no float32 lies in [{minval!r}, {maxval!r}); widen the interval.")
    return Uniform(origin, width, math.ldexp(1.0, -k))


def scaled_grid(stddev: float, lower: float, upper: float) -> Scaled:
    """The grid of a normal with mean zero."""
    return Scaled(lower, upper, math.ldexp(stddev, -27))


@functools.lru_cache(maxsize=1024)
def affine_grid(mean: float, stddev: float, lower: float, upper: float) -> Affine:
    """The finest grid of spacing 2**-k on which mean and deviation fit an int32, k at most 126."""
    m, s = Fraction(mean), Fraction(stddev)
    unit = Fraction(1, 2**27)
    reach = [
        Fraction(bound) if math.isfinite(bound) else sign * extreme_normal(lower, upper) * unit
        for sign, bound in ((-1, lower), (1, upper))
    ]
    farthest = max(abs(reach[0]), abs(reach[1]))
    k = min(126, 31 - math.frexp(float(abs(m) + s * farthest))[1] + 1)
    while True:
        step = Fraction(2) ** k
        origin, slope = _round(m * step), _round(s * step * 16)
        if slope < 2**32 and abs(origin) + math.ceil(s * farthest * step) + 1 < 2**31:
            break
        k -= 1
    least, greatest = -(2**31) + 1, 2**31 - 1
    if math.isfinite(lower):
        least = math.ceil((m + s * Fraction(lower)) * step)
    if math.isfinite(upper):
        greatest = math.floor((m + s * Fraction(upper)) * step)
    return Affine(lower, upper, origin, slope, least, max(least, greatest), math.ldexp(1.0, -k))


def extreme_normal(lower: float, upper: float) -> int:
    """A magnitude in units of 2**-27 that no variate between two bounds exceeds, one of them infinite."""
    return 14 * 2**27 if math.isfinite(lower) or math.isfinite(upper) else GREATEST_NORMAL


def _round(x: Fraction) -> int:
    """To nearest, ties upwards."""
    return math.floor(x + Fraction(1, 2))
