"""The stream over all 2**32 words: accuracy, monotonicity, symmetry, bounds; tables and published answers.

Exhaustive checks run in compiled loops of their own, which call the engine's kernel for the values and
SciPy for the truth; each reports what it found, and the test asserts on that.
"""

import math

import mpmath
import numpy as np
import pytest
from harness import INF
from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp

from fanin.engines import kernels
from fanin.engines.tables import table
from fanin.errors import ArgumentError
from fanin.recipe import Normal, UniformInterval
from fanin.spec import normal, uniform, words
from fanin.spec import tables as spec_tables
from fanin.spec.grids import GREATEST_NORMAL, Affine, Scaled, Uniform

BOUNDS = [
    (-INF, INF),
    (-2.0, 2.0),
    (3.0, 5.0),
    (-INF, 1.0),
    (0.0, INF),
    (-1.0, 3.0),
    (5.0, 7.0),
    (-8.0, -7.0),
    (-0.01, 0.01),
    (-3.0, 3.0),
]
CHUNK = 2**17  # words at a time: what stays in a second-level cache


def test_philox_gives_the_published_answers() -> None:
    ones = 0xFFFFFFFF
    published = [
        ((0, 0), (0, 0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ones, ones), (ones,) * 4, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ]
    for key, counter, expected in published:
        assert " ".join(f"{word:08x}" for word in words(key, counter)) == expected


@pytest.mark.parametrize("bounds", BOUNDS)
def test_tables_of_spec_and_engines_are_equal(bounds: tuple[float, float]) -> None:
    knots, distance = table(*bounds)
    low, high = spec_tables.table(*bounds)
    assert knots[: spec_tables.KNOTS].tolist() == low
    assert knots[distance : distance + spec_tables.KNOTS].tolist() == high
    rise = max(int(np.diff(knots[: spec_tables.KNOTS]).max()), int(np.diff(knots[-spec_tables.KNOTS :]).max()))
    assert 0 < rise < 2**18  # so that the product with a 14-bit part fits a uint32


def test_distribution_functions_of_bounds_are_exact() -> None:
    mpmath.mp.dps = 60
    for z in (-8.5, -3.0, -0.1, 0.0, 0.5, 2.0, 5.0, 9.0):
        exact = mpmath.ncdf(z)
        found = spec_tables.probability(z)
        error = abs(mpmath.mpf(found.numerator) / found.denominator - exact)
        assert error < min(exact, 1 - exact) * mpmath.mpf(2) ** -100


def test_the_greatest_variate_is_that_of_the_table() -> None:
    assert normal(0x7FFFFFFF, spec_tables.table(-INF, INF)) == GREATEST_NORMAL


def truth(tail: np.ndarray, lower: float, upper: float, positive: bool) -> np.ndarray:
    """The exact variates of tail probabilities counted from the lower (or, if positive, from the upper) bound."""
    if positive:
        return -truth(tail, -upper, -lower, False)
    below, mass = ndtr(lower), _mass(lower, upper)
    if lower > 0:  # count from above, where probabilities keep their digits
        return -ndtri_exp(np.log(ndtr(-lower) - tail * mass))
    return ndtri(below + tail * mass)


def _mass(lower: float, upper: float) -> float:
    if lower > 0:
        return float(ndtr(-lower) - ndtr(-upper))
    return float(ndtr(upper) - ndtr(lower))


@pytest.mark.parametrize("bounds", BOUNDS)
def test_variates_over_all_words(bounds: tuple[float, float]) -> None:
    """2**32 words: the kernel's variates are monotone, symmetric and inside the bounds."""
    lower, upper = bounds
    knots, distance = table(lower, upper)
    word = np.arange(CHUNK, dtype=np.uint32)
    above, below = -(2**31), 2**31  # the last variates of the words 0, 1, 2, ... and -1, -2, -3, ...
    checked = 0
    for _ in range(2**31 // CHUNK):
        z = kernels.variates(word, knots, np.int32(distance))
        assert z[0] >= above
        assert bool((z[1:] >= z[:-1]).all())
        above = int(z[-1])
        mirrored = kernels.variates(~word, knots, np.int32(distance))
        assert mirrored[0] <= below
        if distance == 0:
            assert np.array_equal(mirrored, -z)
        else:
            assert bool((mirrored[1:] <= mirrored[:-1]).all())
        below = int(mirrored[-1])
        if checked == 0:
            assert mirrored[0] <= z[0]
        checked += 2 * word.size
        word += np.uint32(CHUNK)
    assert checked == 2**32
    assert lower * 2**27 <= below < above <= upper * 2**27


@pytest.mark.parametrize("bounds", BOUNDS)
def test_variates_are_accurate(bounds: tuple[float, float]) -> None:
    """|variate - Phi^-1(p)| <= 1.6e-7 in fixed point, 3e-7 as float32."""
    lower, upper = bounds
    knots, distance = table(lower, upper)
    steps = np.arange(0, 2**31, 2**31 // 2**24, dtype=np.int64)  # evenly, 128 apart
    tails = np.concatenate([2**31 - 1 - steps, np.arange(2**16), _octave_points()])
    word = (2**31 - 1 - np.unique(tails)).astype(np.uint32)
    for positive in (True, False):
        z = kernels.variates(word if positive else ~word, knots, np.int32(distance)) / 2.0**27
        tail = (2.0 * (2**31 - 1 - word.astype(np.float64)) + 1) / 2.0**33
        exact = truth(tail, lower, upper, positive)
        assert word.size > 2**24
        assert float(np.abs(z - exact).max()) <= 1.6e-7
        assert float(np.abs(z.astype(np.float32) - exact).max()) <= 3e-7


def _octave_points() -> np.ndarray:
    """In every octave of the tail, 2**15 points: 64 per segment."""
    points = [np.arange(2**15, 2**16, dtype=np.int64) << e >> 16 for e in range(1, 32)]
    return np.concatenate([p[p < 2**31] for p in points])


@pytest.mark.parametrize(
    "interval", [(-0.05, 0.05), (0.0, 1.0), (1000.0, 1001.0), (16777215.0, 16777216.0), (-1e-20, 3e-20)]
)
def test_uniforms_over_all_words(interval: tuple[float, float]) -> None:
    """Inside [lo, hi) for every word."""
    distribution = UniformInterval(*interval)
    grid = distribution.grid()
    assert isinstance(grid, Uniform)
    assert distribution.minval <= grid.origin * grid.unit
    assert (grid.origin + grid.width - 1) * grid.unit < distribution.maxval
    assert max(abs(grid.origin), abs(grid.origin + grid.width)) <= 2**24
    # mulhi(word, width) rises with the word, so the first and the last word reach the ends.
    assert (uniform(0, grid), uniform(2**32 - 1, grid)) == (
        grid.origin * grid.unit,
        (grid.origin + grid.width - 1) * grid.unit,
    )


@pytest.mark.parametrize(
    ("mean", "stddev", "lower", "upper"),
    [
        (1.0, 0.5, -INF, INF),
        (-100.0, 1e-4, -1.0, 3.0),
        (1e6, 1e-5, -INF, INF),
        (0.5, 2.0, 3.0, 5.0),
        (1e-3, 2.0, -2.0, 2.0),
    ],
)
def test_normals_with_a_mean_are_exact_to_their_grid(mean: float, stddev: float, lower: float, upper: float) -> None:
    distribution = Normal(mean, stddev, lower, upper)
    grid = distribution.grid()
    assert isinstance(grid, Affine)
    halves = spec_tables.table(distribution.lower, distribution.upper)
    from fanin.spec.variates import affine

    low = distribution.mean + distribution.lower * distribution.stddev
    high = distribution.mean + distribution.upper * distribution.stddev
    for word in [*range(3), *range(0x7FFFFFFD, 0x80000003), 0xFFFFFFFE, 0xFFFFFFFF, 0x12345678, 0xDEADBEEF]:
        value = affine(word, grid)
        exact = distribution.mean + distribution.stddev * normal(word, halves) / 2.0**27
        assert abs(value - exact) <= float(np.spacing(np.float32(abs(exact)))) * 0.52 + 1.1 * grid.unit
        assert float(np.float32(low)) <= value <= float(np.float32(high))


def test_bounds_that_never_bite_give_the_plain_normal() -> None:
    assert Normal(0.0, 1.0, -7.0, 6.4) == Normal(0.0, 1.0)
    assert isinstance(Normal(0.0, 1.0, -6.3, 6.3).grid(), Scaled)
    assert Normal(0.0, 1.0, -6.3, 6.3) != Normal(0.0, 1.0)


@pytest.mark.parametrize("bounds", [(9.5, INF), (-INF, -9.5), (1.0, 1.0001), (12.0, 13.0)])
def test_bounds_with_next_to_nothing_between_them_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ArgumentError, match="next to nothing"):
        Normal(0.0, 1.0, *bounds)


def test_truth_is_told_the_same_way_twice() -> None:
    """The far tail by logarithms and by mpmath: the yardstick itself is right."""
    mpmath.mp.dps = 40
    for tail in (2.0**-33, 1e-5, 0.3):
        exact = mpmath.sqrt(2) * mpmath.erfinv(2 * (mpmath.ncdf(-5) - tail * (mpmath.ncdf(-5) - mpmath.ncdf(-7))) - 1)
        assert abs(float(truth(np.array([tail]), 5.0, 7.0, False)[0]) + float(exact)) < 1e-9
    assert math.isclose(float(log_ndtr(-5.0)), float(mpmath.log(mpmath.ncdf(-5))), rel_tol=1e-12)
