"""What a distribution is expected to be: mean, standard deviation, bounds, and what a dtype makes of them.

Of float32 and float64 these are closed forms; a narrower dtype has so few values that the probability
of each is summed. The variates of the stream are within 3e-7 of their distribution (docs/stream.md).
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from fanin.engines.rounding import round_constant
from fanin.recipe import ConstantValue, Diagonal, Distribution, Normal, UniformInterval
from fanin.spec import FORMATS, from_bits

__all__ = ["Moments", "inside", "moments", "of_values"]

_NARROW = 16  # bits up to which all values of a dtype are summed over
_REACH = 6.338  # standard deviations that the plain normal reaches: docs/stream.md, section 6
_NEARLY_FLAT = 0.25  # standard deviations between bounds below which a normal is as good as uniform


@dataclass(frozen=True)
class Moments:
    """What is expected of a tensor's values.

    Attributes:
        mean: after truncation and rounding.
        std: likewise.
        kurtosis: the fourth central moment over the squared variance; that of a normal is 3.
        low, high: a closed interval that holds every value.
        zeros: the probability of a value that the dtype rounds to zero, though the distribution is none of zeros.
        subnormal: the probability of one that is not zero and below the dtype's least normal one.
    """

    mean: float
    std: float
    kurtosis: float
    low: float
    high: float
    zeros: float = 0.0
    subnormal: float = 0.0


@functools.lru_cache(maxsize=1024)
def moments(distribution: Distribution, dtype: np.dtype, shape: tuple[int, int] = (1, 1)) -> Moments:
    """What is expected of a distribution in a dtype.

    Args:
        distribution: of a recipe.
        dtype: that its values are rounded to.
        shape: logical rows and columns, which a diagonal needs.
    """
    if isinstance(distribution, ConstantValue):
        value = float(round_constant(distribution.value, dtype))
        zero = float(value == 0.0 and distribution.value != 0)
        return Moments(value, 0.0, 1.0, value, value, zero)
    if isinstance(distribution, Diagonal):
        value = float(round_constant(distribution.value, dtype))
        share = min(shape) / max(1, shape[0] * shape[1])
        variance = value * value * share * (1 - share)
        return Moments(value * share, math.sqrt(variance), 3.0, min(0.0, value), max(0.0, value))
    low, high = (float(round_constant(end, dtype)) for end in _bounds(distribution))
    if low == high:
        return Moments(low, 0.0, 1.0, low, high, float(low == 0.0 and distribution.bounds() != (0.0, 0.0)))
    if FORMATS[dtype.name].bits <= _NARROW:
        return _rounded(distribution, dtype, low, high)
    exact = _uniform(distribution) if isinstance(distribution, UniformInterval) else _normal(distribution)
    return Moments(*exact, low, high)


def inside(distribution: Distribution, low: float, high: float) -> float:
    """The probability of values between two points, of a distribution that is drawn; 1 of any other."""
    if isinstance(distribution, ConstantValue | Diagonal):
        return 1.0
    if isinstance(distribution, UniformInterval):
        ends = [min(max(end, distribution.minval), distribution.maxval) for end in (low, high)]
        return (ends[1] - ends[0]) / (distribution.maxval - distribution.minval)
    mean, std, a, b = distribution.mean, distribution.stddev, distribution.lower, distribution.upper
    first, last = (min(max((end - mean) / std, a), b) for end in (low, high))
    return 1.0 - (_mass(a, first) + _mass(last, b)) / _mass(a, b)  # of the outside small numbers are exact


def of_values(values: np.ndarray) -> Moments:
    """What finished values are: those that a recipe computed whole."""
    doubles = values.astype(np.float64)
    if not doubles.size:
        return Moments(0.0, 0.0, 3.0, 0.0, 0.0)
    return Moments(float(doubles.mean()), float(doubles.std()), 3.0, float(doubles.min()), float(doubles.max()))


def _bounds(distribution: UniformInterval | Normal) -> tuple[float, float]:
    if isinstance(distribution, Normal) and math.isinf(distribution.lower) and math.isinf(distribution.upper):
        reach = _REACH * distribution.stddev
        return distribution.mean - reach, distribution.mean + reach
    return distribution.bounds()


def _uniform(distribution: UniformInterval) -> tuple[float, float, float]:
    low, high = distribution.minval, distribution.maxval
    return (low + high) / 2, (high - low) / math.sqrt(12), 1.8


def _normal(distribution: Normal) -> tuple[float, float, float]:
    """Mean, deviation and kurtosis of a normal between bounds: Johnson, Kotz and Balakrishnan 1994, section 13.10.1."""
    a, b = distribution.lower, distribution.upper
    if math.isinf(a) and math.isinf(b):
        return distribution.mean, distribution.stddev, 3.0
    mass = _mass(a, b)
    raw = [1.0, 0.0]
    raw[1] = (_density(a) - _density(b)) / mass
    for power in range(2, 5):
        ends = _power(a, power - 1) - _power(b, power - 1)
        raw.append((power - 1) * raw[power - 2] + ends / mass)
    mean = raw[1]
    variance = raw[2] - mean * mean
    fourth = raw[4] - 4 * mean * raw[3] + 6 * mean**2 * raw[2] - 3 * mean**4
    flat = b - a < _NEARLY_FLAT
    kurtosis = 1.8 if flat else fourth / variance**2
    std = (b - a) / math.sqrt(12) if flat and b - a < _NEARLY_FLAT / 16 else math.sqrt(variance)
    return distribution.mean + distribution.stddev * mean, distribution.stddev * std, kurtosis


def _density(z: float) -> float:
    return 0.0 if math.isinf(z) else math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _power(z: float, power: int) -> float:
    return 0.0 if math.isinf(z) else z**power * _density(z)


def _mass(a: float, b: float) -> float:
    """The probability of a standard normal between two bounds, from the tail that they are nearer to."""
    if a > 0:
        a, b = -b, -a
    return 0.5 * (math.erfc(-b / math.sqrt(2)) - math.erfc(-a / math.sqrt(2)))


def _below(distribution: UniformInterval | Normal, points: np.ndarray) -> np.ndarray:
    """The probabilities of values below some points between the bounds."""
    if isinstance(distribution, UniformInterval):
        low, high = distribution.minval, distribution.maxval
        return np.clip((points - low) / (high - low), 0.0, 1.0)
    a, b = distribution.lower, distribution.upper
    z = np.clip((points - distribution.mean) / distribution.stddev, a, b)
    sign = 1.0 if a > 0 else -1.0  # towards the tail that is nearer, of which small numbers are exact
    tails = np.array([math.erfc(each) for each in (sign / math.sqrt(2) * z).tolist()]) / 2
    share = sign * (math.erfc(sign * a / math.sqrt(2)) / 2 - tails) / _mass(a, b)
    return np.clip(share, 0.0, 1.0)


@functools.lru_cache(maxsize=8)
def _values(name: str) -> np.ndarray:
    """All finite values of a format, in order; one zero."""
    form = FORMATS[name]
    positive = [from_bits(bits, name) for bits in range(1, form.overflow + 1)]
    finite = [value for value in positive if math.isfinite(value)]
    return np.array([*(-value for value in reversed(finite)), 0.0, *finite])


def _rounded(distribution: UniformInterval | Normal, dtype: np.dtype, low: float, high: float) -> Moments:
    """The moments of what is rounded: the probability of each value is that of what rounds to it."""
    values = _values(dtype.name)
    first, last = np.searchsorted(values, [low, high])
    values = values[first : last + 1]
    ends = _below(distribution, (values[1:] + values[:-1]) / 2)
    probabilities = np.diff(np.array([0.0, *ends, 1.0]))
    mean = float(probabilities @ values)
    variance = float(probabilities @ (values - mean) ** 2)
    kurtosis = float(probabilities @ (values - mean) ** 4) / variance**2 if variance else 1.0
    mean = 0.0 if mean * mean < 1e-20 * variance else mean  # of a symmetric one, but for the sum's own rounding
    form = FORMATS[dtype.name]
    least = math.ldexp(1.0, 1 - form.bias)
    zeros = float(probabilities[values == 0.0].sum())
    subnormal = float(probabilities[(np.abs(values) < least) & (values != 0.0)].sum())
    return Moments(mean, math.sqrt(variance), kurtosis, low, high, zeros, subnormal)
