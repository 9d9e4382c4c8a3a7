"""What values are like, and whether that is as expected: moments of what is there, and tests of them."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from fanin.proof.moments import Moments, inside
from fanin.recipe import Distribution, Normal
from fanin.spec import FORMATS

__all__ = ["GREATEST", "RAREST", "Statistics", "departures"]

GREATEST = 6.0  # standard errors that a mean or a deviation may be off: 2e-9 of both sides of a normal
RAREST = 2e-9  # the probability below which all values would lie as near to the mean as they do
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
    if known.std == 0.0:
        if found.low == found.high:
            told += [] if found.low == known.mean else [f"all are {found.low:.6g}, plan {known.mean:.6g}"]
        else:
            told.append(f"std {found.std:.4g}, plan all {known.mean:.6g}")
        return told
    if found.low == found.high and count > 1:
        return [*told, f"all are {found.low:.6g}, plan std {known.std:.4g}"]
    if abs(found.mean - known.mean) > GREATEST * known.std / math.sqrt(count):
        told.append(f"mean {found.mean:.4g}, plan {known.mean:.4g}")
    if count > 1 and abs(_spread(found, known)) > GREATEST:
        ratio = found.std / known.std
        told.append(f"std {found.std:.4g}, plan {known.std:.4g} ({ratio:.3g} times)")
    told += _extremes(found, known, distribution, dtype) if distribution is not None else []
    return told


def _spread(found: Statistics, known: Moments) -> float:
    """The deviation's distance from that expected, in standard errors, whatever the number of values.

    The sum of squares is about a chi-square of as many degrees as give it its variance (Box 1954), whose cube root
    is about normal (Wilson and Hilferty 1931).
    """
    count = found.count
    degrees = 2 * count / max(known.kurtosis - 1 + 2 / (count - 1), 1e-9)
    ratio = found.squares / (count - 1) / known.std**2
    part = 2 / (9 * degrees)
    return float((ratio ** (1 / 3) - (1 - part)) / math.sqrt(part))


def _extremes(found: Statistics, known: Moments, distribution: Distribution, dtype: np.dtype) -> list[str]:
    """Say where values go beyond the bounds, or keep clear of them."""
    lower, upper = -math.inf, math.inf
    if isinstance(distribution, Normal):
        lower, upper = distribution.lower, distribution.upper
    open_ended = isinstance(distribution, Normal)
    low = known.mean - FAR * known.std if open_ended and math.isinf(lower) else known.low
    high = known.mean + FAR * known.std if open_ended and math.isinf(upper) else known.high
    plan = f"plan [{known.low:.4g}, {known.high:.4g}]"
    told = []
    if found.low < low or found.high > high:
        told.append(f"values in [{found.low:.4g}, {found.high:.4g}], {plan}")
    within = inside(distribution, found.low - _step(found.low, dtype), found.high + _step(found.high, dtype))
    if within < 1.0 and (within <= 0.0 or found.count * math.log(within) < math.log(RAREST)):
        told.append(f"no value beyond [{found.low:.4g}, {found.high:.4g}], {plan}")
    return told


def _step(value: float, dtype: np.dtype) -> float:
    """How far from a value of a dtype those are that round to it, at most."""
    form = FORMATS[dtype.name]
    least = math.ldexp(1.0, 1 - form.bias - form.mantissa)
    return max(least, abs(value) * math.ldexp(1.0, -form.mantissa))
