"""The stream over all 2**32 words: accuracy, monotonicity, symmetry, bounds; tables and published answers.

Exhaustive checks run in compiled loops of their own, which call the engine's kernel for the values and
the C library's erfc for the truth; each reports what it found, and the test asserts on that.
"""

import math
from collections.abc import Iterator

import mpmath
import numpy as np
import pytest
from harness import INF
from numba import njit

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


@njit(nogil=True)
def _missed(z: np.ndarray, tails: np.ndarray, near: float, mass: float, above: bool, error: float, error32: float):  # type: ignore[no-untyped-def]  # Numba infers
    """How many variates, and how many as float32, are farther from the exact ones than the errors.

    |z - z'| <= error if and only if Phi(z - error) <= Phi(z') <= Phi(z + error), and Phi(z') is what the tail
    says. Above zero the complements are compared, which keep their digits.
    """
    side = math.sqrt(0.5) if above else -math.sqrt(0.5)
    missed = missed32 = 0
    for e in range(len(z)):
        exact = near + tails[e] / 2.0**33 * (-mass if above else mass)
        for width, value in ((error, z[e] / 2.0**27), (error32, np.float64(np.float32(z[e]) * np.float32(2.0**-27)))):
            low, high = 0.5 * math.erfc(side * (value - width)), 0.5 * math.erfc(side * (value + width))
            outside = exact > low or exact < high if above else exact < low or exact > high
            if width == error:
                missed += outside
            else:
                missed32 += outside
    return missed, missed32


def _tails() -> Iterator[np.ndarray]:
    """All tails o = 1, 3, 5, ... that can be the least accurate of their float32.

    A variate depends on float32(o) alone, and the exact one rises with o, so that of all o with one float32
    the first or the last is the worst. Below 2**25 these are all o; above, those next to the ties.
    """
    for start in range(1, 2**25, 2 * CHUNK):
        yield np.arange(start, start + 2 * CHUNK, 2, dtype=np.int64)
    for octave in range(25, 32):
        spacing = 2 ** (octave - 23)
        yield np.array([2**octave - spacing // 4 + 1], np.int64)  # the first above the tie below the octave
        for start in range(2**octave, 2 ** (octave + 1), CHUNK * spacing):
            value = np.arange(start, start + CHUNK * spacing, spacing, dtype=np.int64)
            yield value - (spacing // 2 - 1)
            yield value + (spacing // 2 - 1)


def misses(lower: float, upper: float, positive: bool, error: float, error32: float) -> tuple[int, int, int]:
    """Of one half of a table: how many tails were checked, and how many miss each of the errors."""
    knots, distance = table(lower, upper)
    low, high = (-upper, -lower) if positive else (lower, upper)  # mirrored, both halves rise from their bound
    mpmath.mp.dps = 60
    above = low > 0
    near, far = ((mpmath.ncdf(-bound) if above else mpmath.ncdf(bound)) for bound in (low, high))
    checked = missed = missed32 = 0
    for tails in _tails():
        magnitude = ((2**32 - 1 - tails) // 2).astype(np.uint32)
        z = kernels.variates(magnitude if positive else ~magnitude, knots, np.int32(distance))
        outside = _missed(-z if positive else z, tails, float(near), float(abs(far - near)), above, error, error32)
        checked, missed, missed32 = checked + len(tails), missed + outside[0], missed32 + outside[1]
    return checked, missed, missed32


@pytest.mark.parametrize("bounds", BOUNDS)
def test_variates_are_accurate_over_all_words(bounds: tuple[float, float]) -> None:
    """|variate - Phi^-1(p)| <= 1.6e-7 in fixed point; as float32 3e-7, or 3.2e-7 where only a far tail is kept."""
    error32 = 3.2e-7 if bounds[0] >= 3 or bounds[1] <= -3 else 3e-7
    for positive in (False, True)[: 1 if bounds[0] == -bounds[1] else 2]:  # symmetric halves are one
        assert misses(*bounds, positive, 1.6e-7, error32) == (2**24 + 7 * (2**24 + 1), 0, 0)


def test_smaller_errors_would_be_told() -> None:
    """The plain normal is off by 1.54e-7 and 2.95e-7 somewhere, and hardly anywhere by more than half of that."""
    checked, missed, missed32 = misses(-INF, INF, False, 1.5e-7, 2.9e-7)
    assert 0 < missed < 1e-4 * checked
    assert 0 < missed32 < 1e-4 * checked


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
