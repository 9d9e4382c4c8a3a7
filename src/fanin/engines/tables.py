"""Tables of `fanin.spec.tables`, built with NumPy in milliseconds, in the layout that engines read.

The arithmetic is that of the spec, operation for operation; a test holds the two equal.
"""

import functools
import math

import numpy as np

from fanin.spec import tables as spec

HALF = spec.KNOTS + 1  # the last knot stands twice, so that engines may always read the next one


@functools.lru_cache(maxsize=32)
def table(lower: float, upper: float) -> tuple[np.ndarray, int]:
    """Return the int32 knots of both halves, and the distance between them (0: they are the same)."""
    low = _half(lower, upper)
    if lower == -upper:
        knots, distance = _padded(low), 0
    else:
        high = _half(-upper, -lower)
        high[-1] = min(high[-1], -low[-1])
        knots, distance = np.concatenate([_padded(low), _padded(high)]), HALF
    knots.flags.writeable = False
    return knots, distance


def _padded(knots: np.ndarray) -> np.ndarray:
    return np.append(knots, knots[-1]).astype(np.int32)


def _half(lower: float, upper: float) -> np.ndarray:
    below, above, mass = spec.masses(lower, upper)
    steps = 1.0 + np.arange(spec.SEGMENTS) / spec.SEGMENTS
    octaves = np.ldexp(1.0, np.arange(spec.OCTAVES) - 33)
    points = np.append(np.multiply.outer(octaves, steps).reshape(-1), 0.5)
    curve = _quantile(below + points * mass, above - points * mass)
    bend = curve[:-2] - 2.0 * curve[1:-1] + curve[2:]
    first = np.arange(spec.KNOTS - 1)
    first[spec.SEGMENTS - 1 :: spec.SEGMENTS] -= 1
    shift = np.append(bend[first], 0.0) * 0.0625
    knots = np.floor((curve - shift) * spec.UNIT + 0.5).astype(np.int64)
    return knots if lower == -math.inf else np.maximum(knots, math.ceil(lower * spec.UNIT))


def _quantile(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    tail = np.minimum(below, above)
    distance = 0.5 - tail
    z = np.empty_like(tail)
    central = distance <= 0.425
    near = distance[central]
    r = 0.180625 - near * near
    z[central] = near * _horner(spec.CENTRAL[0], r) / _horner(spec.CENTRAL[1], r)
    far = np.sqrt(-_log(tail[~central]))
    outer = np.empty_like(far)
    for chosen, branch, origin in ((far <= 5.0, spec.MIDDLE, 1.6), (far > 5.0, spec.FAR, 5.0)):
        r = far[chosen] - origin
        outer[chosen] = _horner(branch[0], r) / _horner(branch[1], r)
    z[~central] = outer
    result: np.ndarray = np.where(below <= above, -z, z)
    return result


def _horner(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _log(x: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(x)
    small = mantissa < spec.SQRT_HALF
    mantissa, exponent = np.where(small, mantissa * 2.0, mantissa), np.where(small, exponent - 1, exponent)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    s2 = s * s
    result: np.ndarray = exponent * spec.LOG2 + (2.0 * s + 2.0 * s * (_horner(spec.LOG_TERMS, s2) * s2))
    return result
