"""What values are like, and whether that is as expected: moments of what is there, and tests of them."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from fanin.proof.moments import Moments, inside
from fanin.recipe import Distribution, Normal
from fanin.spec import FORMATS

__all__ = ["GREATEST", "RAREST", "Statistics", "departures", "spread"]

GREATEST = 6.0  # standard errors that a mean or a deviation may be off: 2e-9 of both sides of a normal
RAREST = 2e-9  # the probability below which values do not keep together so closely
SKEWED = 10_000  # values from which on the mean of a skew distribution is about normal
FLAT, FEW = 1.7, 100  # kurtosis of a distribution of few values, whose deviation is tested from so many on
FAR = 9.0  # standard deviations that no normal of fewer than 10**18 elements reaches, whoever drew it


@dataclass(frozen=True)
class Statistics:
    """Mean, spread and extremes of finite values, and how many there are of the others.

    Attributes:
        count: of finite values.
        mean: of them.
        squares: the sum of squared distances from the mean.
        low, high: the extremes.
        nans: how many are NaN.
        infinite: how many are infinite.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    nans: int = 0
    infinite: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """The statistics of an array."""
        doubles = values.astype(np.float64).reshape(-1)
        finite = np.isfinite(doubles)
        nans, infinite = 0, 0
        if not finite.all():
            nans = int(np.count_nonzero(np.isnan(doubles)))
            infinite = int(doubles.size - np.count_nonzero(finite)) - nans
            doubles = doubles[finite]
        if not doubles.size:
            return cls(nans=nans, infinite=infinite)
        mean = float(doubles.mean())
        low, high = float(doubles.min()), float(doubles.max())
        doubles -= mean
        return cls(doubles.size, mean, float(doubles @ doubles), low, high, nans, infinite)

    def __add__(self, other: "Statistics") -> "Statistics":
        """The statistics of two arrays together: Chan, Golub and LeVeque 1979."""
        count = self.count + other.count
        if not (self.count and other.count):
            kept = self if self.count else other
            mean, squares = kept.mean, kept.squares
        else:
            apart = other.mean - self.mean
            mean = self.mean + apart * other.count / count
            squares = self.squares + other.squares + apart * apart * self.count * other.count / count
        return Statistics(
            count, mean, squares, min(self.low, other.low), max(self.high, other.high), self.nans + other.nans,
            self.infinite + other.infinite,
        )  # fmt: skip

    @property
    def std(self) -> float:
        """The standard deviation around the mean."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


def departures(found: Statistics, known: Moments, distribution: Distribution | None, dtype: np.dtype) -> list[str]:
    """Say where values depart from what is expected of them; nothing where chance explains all.

    Args:
        found: of the values.
        known: what is expected.
        distribution: that it is expected of; None where it is not known in closed form.
        dtype: that the values were rounded to.
    """
    told = []
    if found.nans or found.infinite:
        told.append(f"{found.nans:,} NaN and {found.infinite:,} infinite")
    count = found.count
    if not count:
        return told
    if known.low == known.high:
        if found.low != found.high:
            told.append(f"std {found.std:.4g}, plan all {known.mean:.6g}")
        elif found.low != known.mean:
            told.append(f"all are {found.low:.6g}, plan {known.mean:.6g}")
        return told
    if known.std:
        told += _moments(found, known, distribution is not None)
    if distribution is None:
        return told
    narrow = _narrow(found, distribution, dtype)
    if found.low == found.high and narrow:
        return [*told[:-1], f"all are {found.low:.6g}, plan std {known.std:.4g}"]
    plan = f"plan [{known.low:.4g}, {known.high:.4g}]"
    low, high = _bounds(known, distribution)
    if found.low < low or found.high > high:
        told.append(f"values in [{found.low:.4g}, {found.high:.4g}], {plan}")
    return [*told, f"no value beyond [{found.low:.4g}, {found.high:.4g}], {plan}"] if narrow else told


def _moments(found: Statistics, known: Moments, drawn: bool) -> list[str]:
    """Test mean and deviation, where their errors are about normal for so many values."""
    told: list[str] = []
    count = found.count
    middle = (known.low + known.high) / 2
    if drawn and count < SKEWED and abs(known.mean - middle) > 1e-3 * known.std:
        return told
    if abs(found.mean - known.mean) > GREATEST * known.std / math.sqrt(count):
        told.append(f"mean {found.mean:.4g}, plan {known.mean:.4g}")
    if count > 1 and (count >= FEW or known.kurtosis > FLAT) and abs(spread(found, known)) > GREATEST:
        told.append(f"std {found.std:.4g}, plan {known.std:.4g} ({found.std / known.std:.3g} times)")
    return told


def spread(found: Statistics, known: Moments) -> float:
    """The deviation's distance from that expected, in standard errors, whatever the number of values.

    The sum of squares is about a chi-square of as many degrees as give it its variance (Box 1954), whose cube root
    is about normal (Wilson and Hilferty 1931).
    """
    count = found.count
    degrees = 2 * count / (max(known.kurtosis - 1, 0.5) + 2 / (count - 1))
    ratio = found.squares / (count - 1) / known.std**2
    part = 2 / (9 * degrees)
    return float((ratio ** (1 / 3) - (1 - part)) / math.sqrt(part))


def _bounds(known: Moments, distribution: Distribution) -> tuple[float, float]:
    """Between which values lie, if not by the stream's variates then by those of any other normal."""
    low, high = known.low, known.high
    if isinstance(distribution, Normal):
        low = known.mean - FAR * known.std if math.isinf(distribution.lower) else low
        high = known.mean + FAR * known.std if math.isinf(distribution.upper) else high
    return low, high


def _narrow(found: Statistics, distribution: Distribution, dtype: np.dtype) -> bool:
    """Whether the values keep together more closely than chance has it.

    The probability between the least and the greatest of n values is distributed as Beta(n - 1, 2), whatever they
    are of.
    """
    count = found.count
    within = inside(distribution, found.low - _step(found.low, dtype), found.high + _step(found.high, dtype))
    if within >= 1.0 or count < 2:
        return False
    if within <= 0.0:
        return True
    return (count - 1) * math.log(within) + math.log(count - (count - 1) * within) < math.log(RAREST)


def _step(value: float, dtype: np.dtype) -> float:
    """How far from a value of a dtype those are that round to it, at most."""
    form = FORMATS[dtype.name]
    least = math.ldexp(1.0, 1 - form.bias - form.mantissa)
    return max(least, abs(value) * math.ldexp(1.0, -form.mantissa))
