"""The numbers are what their distributions say, and nothing about them repeats.

Streams are fixed, so that a test passes always or never. Samples have 4097**2 draws, just above
2**24: a standard error of a mean is 2.4e-4 standard deviations. Every limit is 6 standard errors, or
a probability of 1e-5, and each check says the smallest error that it sees; the last tests show it.
The grid of the values (27 bits) is far below all of these.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from harness import INF, use
from scipy.special import betainc, chdtrc, kolmogorov, ndtr
from scipy.stats import norm

from fanin import engines, initializers
from fanin.initializers.scaling import TRUNCATED_STDDEV
from fanin.recipe import Draw, Normal, Stream, UniformInterval, Window
from fanin.spec import identity, words

SIDE = 4097  # odd, so that rows begin at every lane
SIZE = SIDE**2
SIGMAS = 6
LEAST_P = 1e-5
CHUNK = 2**20


@dataclass(frozen=True)
class Law:
    """A distribution in closed form, in the units of a standard normal, or of [0, 1)."""

    distribution: UniformInterval | Normal

    def standard(self, x: np.ndarray) -> np.ndarray:
        """Values in those units, as float64."""
        d = self.distribution
        if isinstance(d, UniformInterval):
            return (x.astype(np.float64) - d.minval) / (d.maxval - d.minval)
        return (x.astype(np.float64) - d.mean) / d.stddev

    def cdf(self, z: np.ndarray) -> np.ndarray:
        """Distribution function, from the side where it keeps its digits."""
        d = self.distribution
        if isinstance(d, UniformInterval):
            return z
        if d.lower > 0:
            return (ndtr(-d.lower) - ndtr(-z)) / (ndtr(-d.lower) - ndtr(-d.upper))
        return (ndtr(z) - ndtr(d.lower)) / (ndtr(d.upper) - ndtr(d.lower))

    def moments(self) -> tuple[float, list[float]]:
        """The mean, and the central moments 0 to 12."""
        raw = self._raw()
        mean = raw[1]
        central = [
            mpmath.fsum(mpmath.binomial(k, j) * raw[j] * (-mean) ** (k - j) for j in range(k + 1)) for k in range(13)
        ]
        return float(mean), [float(m) for m in central]

    def _raw(self) -> list[mpmath.mpf]:
        mpmath.mp.dps = 50
        d = self.distribution
        if isinstance(d, UniformInterval):
            return [mpmath.mpf(1) / (k + 1) for k in range(13)]
        a, b = mpmath.mpf(d.lower), mpmath.mpf(d.upper)
        mass = mpmath.ncdf(b) - mpmath.ncdf(a)

        def at(bound: mpmath.mpf, power: int) -> mpmath.mpf:
            return mpmath.mpf(0) if mpmath.isinf(bound) else bound**power * mpmath.npdf(bound)

        # integration by parts: E z^k = (k - 1) E z^(k-2) - (b^(k-1) phi(b) - a^(k-1) phi(a)) / mass
        raw = [mpmath.mpf(1)]
        for k in range(1, 13):
            before = (k - 1) * raw[k - 2] if k > 1 else mpmath.mpf(0)
            raw.append(before - (at(b, k - 1) - at(a, k - 1)) / mass)
        return raw


LAWS = {
    "uniform": Law(UniformInterval(0.0, 1.0)),
    "uniform about 0": Law(UniformInterval(-0.05, 0.05)),
    "normal": Law(Normal(0.0, 1.0)),
    "truncated": Law(Normal(0.0, 0.02, -2.0, 2.0)),
    "one-sided": Law(Normal(0.0, 1.0, -INF, 1.0)),
    "tail": Law(Normal(0.0, 1.0, 3.0, INF)),
    "asymmetric": Law(Normal(0.0, 1.0, -1.0, 3.0)),
    "affine": Law(Normal(0.5, 0.1)),
    "affine, truncated": Law(Normal(-2.0, 0.5, -1.0, 2.0)),
}


def drawn(name: str, stream: str = "w", seed: int = 1, shape: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    """A sample in standard units, flat."""
    law = LAWS[name]
    view = np.full(shape, np.nan, np.float32)
    with use("numba, 1 thread"):
        engines.fill(Draw(law.distribution, shape, stream=Stream(stream, seed)), Window.whole(shape), view)
    return law.standard(view.reshape(-1))


# The checks ------------------------------------------------------------------------------------


def check_moments(z: np.ndarray, law: Law) -> None:
    """Moments 1 to 6 about the true mean. Sees 0.15 % of a deviation in the mean, 0.1 % in the deviation.

    The variance of a sample moment is (m[2k] - m[k]^2) / n.
    """
    mean, exact = law.moments()
    sums = np.zeros(7)
    for start in range(0, z.size, CHUNK):
        y = z[start : start + CHUNK] - mean
        power = np.ones_like(y)
        for k in range(1, 7):
            power *= y
            sums[k] += power.sum()
    for k in range(1, 7):
        error = (sums[k] / z.size - exact[k]) / math.sqrt((exact[2 * k] - exact[k] ** 2) / z.size)
        assert abs(error) < SIGMAS, f"moment {k} is off by {error:.1f} standard errors"


def counts(z: np.ndarray, law: Law, bins: int = 2**16) -> np.ndarray:
    """How many values fall between the quantiles of equally likely bins."""
    total = np.zeros(bins, np.int64)
    for start in range(0, z.size, CHUNK):
        u = law.cdf(z[start : start + CHUNK])
        assert u.min() >= -1e-6
        assert u.max() <= 1 + 1e-6
        total += np.bincount(np.clip(u * bins, 0, bins - 1).astype(np.intp), minlength=bins)
    return total


def check_chi_square(observed: np.ndarray, what: str = "bins", weights: float | np.ndarray = 1.0) -> None:
    """Bins (equally likely but for weights): neither too uneven nor too even. With 4096, sees 0.5 % off in each."""
    expected = observed.sum() / observed.size * weights
    assert np.min(expected) >= 100
    statistic = float(((observed - expected) ** 2 / expected).sum())
    p = float(chdtrc(observed.size - 1, statistic))
    assert LEAST_P < p < 1 - LEAST_P, f"{what}: chi-square is {statistic:.0f} of {observed.size - 1}, p = {p:.1e}"


def check_shape(z: np.ndarray, law: Law) -> None:
    """Kolmogorov and Smirnov on 2**16 bins, which sees 6e-4 of probability; chi-square on 4096."""
    observed = counts(z, law)
    distance = float(np.abs(np.cumsum(observed) / z.size - np.arange(1, observed.size + 1) / observed.size).max())
    p = float(kolmogorov(distance * math.sqrt(z.size)))
    assert LEAST_P < p < 1 - LEAST_P, f"Kolmogorov-Smirnov: distance {distance:.1e}, p = {p:.1e}"
    check_chi_square(observed.reshape(4096, -1).sum(1))


LAGS = [*range(1, 9), 64]


def check_lags(z: np.ndarray, law: Law, stride: int = SIDE) -> int:
    """Correlation along rows and along columns, of values and of squares: sees 0.0015."""
    mean, exact = law.moments()
    y = (z - mean) / math.sqrt(exact[2])
    squares = y * y - 1
    squares /= math.sqrt(exact[4] / exact[2] ** 2 - 1)
    lags = LAGS + [lag * stride for lag in LAGS]
    for series, what in ((y.astype(np.float32), "values"), (squares.astype(np.float32), "squares")):
        for lag in lags:
            r = float(np.dot(series[lag:], series[:-lag])) / (series.size - lag)
            assert abs(r) * math.sqrt(series.size - lag) < SIGMAS, f"{what} at lag {lag} correlate by {r:.5f}"
    return len(lags)


@pytest.mark.parametrize("name", LAWS)
def test_moments_are_those_of_the_closed_form(name: str) -> None:
    check_moments(drawn(name), LAWS[name])


@pytest.mark.parametrize("name", LAWS)
def test_the_shape_is_that_of_the_distribution_function(name: str) -> None:
    check_shape(drawn(name), LAWS[name])


@pytest.mark.parametrize("name", LAWS)
def test_neighbours_do_not_correlate(name: str) -> None:
    assert check_lags(drawn(name), LAWS[name]) == 18


def test_the_closed_forms_are_right() -> None:
    """Against numerical integrals, and the figures everyone knows."""
    for name, law in LAWS.items():
        mean, exact = law.moments()
        d = law.distribution
        low, high = (0.0, 1.0) if isinstance(d, UniformInterval) else (max(d.lower, -40.0), min(d.upper, 40.0))
        grid = np.linspace(low, high, 400001)
        density = np.ones_like(grid) if isinstance(d, UniformInterval) else norm.pdf(grid)
        density /= np.trapezoid(density, grid)
        for k in range(1, 13):
            found = float(np.trapezoid(density * (grid - mean) ** k, grid))
            assert found == pytest.approx(exact[k], rel=1e-6, abs=1e-8), (name, k)
    assert LAWS["normal"].moments() == (0.0, [1.0, 0.0, 1.0, 0.0, 3.0, 0.0, 15.0, 0.0, 105.0, 0.0, 945.0, 0.0, 10395.0])
    assert math.sqrt(LAWS["truncated"].moments()[1][2]) == pytest.approx(TRUNCATED_STDDEV, rel=1e-14)
    assert len(LAWS) == 9


# Initializers: the scale that they promise -------------------------------------------------------

FAN = 512
SCALED = {
    "GlorotNormal": 2 / (FAN + 8192),
    "GlorotUniform": 2 / (FAN + 8192),
    "HeNormal": 2 / FAN,
    "HeUniform": 2 / FAN,
    "LecunNormal": 1 / FAN,
    "LecunUniform": 1 / FAN,
}


def check_variance(w: np.ndarray, variance: float, uniform: bool) -> None:
    """Sees 0.17 % in the deviation, at 2**22 draws; leaving the truncation's correction out is 12 %."""
    _, exact = LAWS["uniform" if uniform else "truncated"].moments()
    kurtosis = exact[4] / exact[2] ** 2
    error = float(np.mean(w.astype(np.float64) ** 2)) / variance - 1
    limit = SIGMAS * math.sqrt((kurtosis - 1) / w.size)
    assert abs(error) < limit < 0.0035, f"the variance is off by {error:.2%}"


@pytest.mark.parametrize("name", SCALED)
def test_initializers_have_the_variance_that_they_promise(name: str) -> None:
    w = getattr(initializers, name)(seed=3)((FAN, 8192))
    check_variance(w, SCALED[name], "Uniform" in name)


# Streams whose names or seeds differ by little ----------------------------------------------------

STREAMS, LENGTH = 4096, 1024


def nearby_seeds() -> list[int]:
    """All seeds that differ from one by one bit or by two, and some by three."""
    base = 0x0123456789ABCDEF
    flips = itertools.chain.from_iterable(itertools.combinations(range(64), n) for n in range(4))
    return [base ^ sum(1 << bit for bit in flip) for flip in itertools.islice(flips, STREAMS)]


IDENTITIES = {
    "names": [(f"h.{n}.w", 7) for n in range(STREAMS)],
    "seeds": [("w", seed) for seed in range(STREAMS)],
    "single bits of seeds": [("w", seed) for seed in nearby_seeds()],
}


def stream_matrix(identities: list[tuple[str, int]]) -> np.ndarray:
    """One stream per row, over several rows and columns of a tensor."""
    matrix = np.full((len(identities), LENGTH), np.nan, np.float32)
    with use("numba, 1 thread"):
        for out, (name, seed) in zip(matrix, identities, strict=True):
            draw = Draw(LAWS["normal"].distribution, (8, LENGTH // 8), stream=Stream(name, seed))
            engines.fill(draw, Window.whole(draw.shape), out.reshape(draw.shape))
    return matrix


def check_streams(matrix: np.ndarray) -> None:
    """Pairwise correlations of rows of normals.

    Exact for independent rows: r^2 is Beta(1/2, (m - 2) / 2), and any two pairs are independent. The sum of r^2 sees
    a correlation of 0.0017 that all pairs share; the greatest |r| sees one pair that correlates by 0.25.
    """
    rows, m = matrix.shape
    unit = matrix - matrix.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    r = unit @ unit.T
    np.fill_diagonal(r, 0.0)
    pairs = rows * (rows - 1) // 2
    greatest = float(np.abs(r).max())
    # How many pairs should reach that far: 14 are exceeded with probability e^-14.
    reaching = pairs * float(betainc((m - 2) / 2, 0.5, 1 - min(greatest, 1.0) ** 2))
    assert LEAST_P < reaching < 14, (
        f"the greatest correlation is {greatest:.3f}, which {reaching:.1e} pairs should reach"
    )
    total = float(np.einsum("ij,ij->", r, r, dtype=np.float64)) / 2
    spread = math.sqrt(pairs * 2 * (m - 2) / ((m - 1) ** 2 * (m + 1)))
    error = (total - pairs / (m - 1)) / spread
    assert abs(error) < SIGMAS, f"the sum of squared correlations is off by {error:.1f} standard errors"


@pytest.mark.parametrize("kind", IDENTITIES)
def test_streams_that_differ_by_little_do_not_correlate(kind: str) -> None:
    assert len(set(IDENTITIES[kind])) == STREAMS
    check_streams(stream_matrix(IDENTITIES[kind]))


# Words -----------------------------------------------------------------------------------------


def philox(name: str, seed: int, rows: int, blocks: int) -> np.ndarray:
    """The words of a tensor by docs/stream.md, sections 2 to 4: (rows, 4 blocks), uint32."""
    (k0, k1), (n2, n3) = identity(name, seed)
    shape = (rows, blocks)
    c0 = np.broadcast_to(np.arange(blocks, dtype=np.uint64), shape)
    c1 = np.broadcast_to(np.arange(rows, dtype=np.uint64)[:, None], shape)
    c2, c3 = (np.full(shape, n, np.uint64) for n in (n2, n3))
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & low, (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], -1).astype(np.uint32).reshape(rows, 4 * blocks)


@pytest.fixture(scope="module")
def some_words() -> np.ndarray:
    return philox("w", 1, 2**11, 2**11).reshape(-1)


def check_words(word: np.ndarray) -> None:
    """Bits, pairs of bits, bytes, and low bits from word to word: sees 0.15 % in a bit's probability."""
    n = word.size
    ones = np.array([np.count_nonzero(word >> np.uint32(bit) & np.uint32(1)) for bit in range(32)])
    worst = np.abs(ones - n / 2) / math.sqrt(n / 4)
    assert worst.max() < SIGMAS, f"bit {worst.argmax()} is set in {ones[worst.argmax()] / n:.4%} of the words"
    signs = (np.unpackbits(word[: 2**20].view(np.uint8)).reshape(-1, 32).astype(np.float32) * 2 - 1).T
    r = signs @ signs.T / signs.shape[1]
    np.fill_diagonal(r, 0)
    assert np.abs(r).max() * math.sqrt(signs.shape[1]) < SIGMAS, "bits of one word correlate"
    for byte in range(4):
        check_chi_square(np.bincount(word.view(np.uint8)[byte::4], minlength=256), f"byte {byte}")
    # four bits each of three words that follow one another: low ones, and high ones
    for what, nibble in (("low", word & np.uint32(15)), ("high", word >> np.uint32(28))):
        triples = nibble[: n // 3 * 3].reshape(-1, 3)
        index = (triples[:, 0] << 8 | triples[:, 1] << 4 | triples[:, 2]).astype(np.intp)
        check_chi_square(np.bincount(index, minlength=4096), f"{what} bits of three words")


def test_words_are_uniform_in_every_bit(some_words: np.ndarray) -> None:
    assert some_words.size == 2**24
    check_words(some_words)


def test_words_of_a_column_are_as_good(some_words: np.ndarray) -> None:
    """In the order of a transposed fill: only the row changes from word to word."""
    check_words(np.ascontiguousarray(some_words.reshape(2**11, 2**13).T).reshape(-1))


def test_words_are_those_of_the_engines_and_of_the_spec(some_words: np.ndarray) -> None:
    """A uniform on [0, 1) is a word's upper 24 bits, so that the words above are those behind every fill."""
    view = np.full((2**11, 2**13), np.nan, np.float32)
    with use("numba, 1 thread"):
        engines.fill(Draw(UniformInterval(0.0, 1.0), view.shape, stream=Stream("w", 1)), Window.whole(view.shape), view)
    assert np.array_equal((view.reshape(-1) * 2**24).astype(np.uint32), some_words >> np.uint32(8))
    key, upper = identity("w", 1)
    for row, block in ((0, 0), (3, 5), (2**11 - 1, 2**11 - 1)):
        found = some_words.reshape(2**11, 2**13)[row, 4 * block : 4 * block + 4]
        assert tuple(found.tolist()) == words(key, (block, row, *upper))


def check_low_bits(z: np.ndarray) -> None:
    """The last 8 bits of a float32 normal, where many words share each value.

    Variates have 27 fraction bits. From 1 to 2 a float32 has 23, so that one in 16 variates is a tie, which goes to
    the even neighbour: 17 variates round to an even last bit for 15 to an odd one. From 1/2 to 1 it is 9 for 7.
    """
    single = np.abs(z).astype(np.float32)
    for low, extra in ((0.5, 8), (1.0, 16)):
        chosen = single[(single >= low) & (single < 2 * low)].view(np.uint32)
        assert chosen.size > 2**22
        weights = np.tile([1 + 1 / extra, 1 - 1 / extra], 128)
        check_chi_square(np.bincount(chosen & np.uint32(255), minlength=256), "low bits of a normal", weights)


def test_low_bits_of_normals_are_those_of_rounding() -> None:
    check_low_bits(drawn("normal"))


# Each check can fail -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def normals() -> np.ndarray:
    return drawn("normal")


def clipped(z: np.ndarray) -> np.ndarray:
    """Cut at +-2 by clipping instead of by the inverse distribution function."""
    return np.clip(z, -2.0, 2.0)


def repeated(z: np.ndarray) -> np.ndarray:
    """One sixteenth of the sample stands twice, far apart."""
    z = z.copy()
    z[-(2**20) :] = z[: 2**20]
    return z


def leaking(z: np.ndarray) -> np.ndarray:
    """Each value has 0.2 % of its left neighbour."""
    return (z + 0.002 * np.roll(z, 1)) / math.sqrt(1 + 0.002**2)


def leaking_down(z: np.ndarray) -> np.ndarray:
    """Each value has 0.2 % of the one above."""
    return (z + 0.002 * np.roll(z, SIDE)) / math.sqrt(1 + 0.002**2)


def breathing(z: np.ndarray) -> np.ndarray:
    """The sign is free, the magnitude is partly that of the left neighbour's."""
    copied = np.arange(z.size) % 256 == 0
    return np.where(copied, np.sign(z) * np.abs(np.roll(z, 1)), z)


def even(z: np.ndarray) -> np.ndarray:
    """Too good to be random: every quantile once."""
    return norm.ppf((np.arange(z.size) + 0.5) / z.size)


def coarse(z: np.ndarray) -> np.ndarray:
    """Only 2**20 different variates."""
    return norm.ppf((np.floor(ndtr(z) * 2**20) + 0.5) / 2**20)


FAILURES: list[tuple[str, str, Callable[[np.ndarray], np.ndarray], str]] = [
    ("moments", "normal", lambda z: z * 1.01, "moment 2"),
    ("moments", "normal", lambda z: z * 1.0015, "moment 2"),
    ("moments", "normal", lambda z: z + 0.002, "moment 1"),
    ("moments", "normal", lambda z: np.clip(z, -3.8, 3.8), "moment 6"),
    ("moments", "truncated", clipped, "moment 2"),
    ("moments", "truncated", lambda z: z, "moment 2"),
    ("shape", "normal", lambda z: z * 1.01, "Kolmogorov"),
    ("shape", "normal", lambda z: z + 0.002, "Kolmogorov"),
    ("shape", "truncated", clipped, "Kolmogorov"),
    ("shape", "normal", repeated, "chi-square"),
    ("shape", "normal", even, "p = 1.0"),
    ("lags", "normal", leaking, "values at lag 1 "),
    ("lags", "normal", leaking_down, "values at lag 4097"),
    ("lags", "normal", breathing, "squares at lag 1 "),
]
CHECKS = {"moments": check_moments, "shape": check_shape, "lags": check_lags}


@pytest.mark.parametrize(("check", "name", "spoil", "fragment"), FAILURES)
def test_a_spoiled_sample_is_caught(
    check: str, name: str, spoil: Callable[[np.ndarray], np.ndarray], fragment: str, normals: np.ndarray
) -> None:
    with pytest.raises(AssertionError, match=fragment):
        CHECKS[check](spoil(normals), LAWS[name])


def test_a_correction_left_out_is_caught() -> None:
    w = initializers.TruncatedNormal(0.0, math.sqrt(2 / FAN), 3)((FAN, 8192))
    with pytest.raises(AssertionError, match=r"off by -22\.\d+%"):
        check_variance(w, 2 / FAN, False)
    w = initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal", 3)((FAN, 8192)) * np.float32(1.01)
    with pytest.raises(AssertionError, match=r"off by 1\.9\d%"):
        check_variance(w, 2 / FAN, False)


def test_low_bits_that_are_missing_are_caught(normals: np.ndarray) -> None:
    with pytest.raises(AssertionError, match="low bits of a normal"):
        check_low_bits(coarse(normals))
    with pytest.raises(AssertionError, match="low bits of a normal"):
        check_low_bits(normals.astype(np.float16))


@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (lambda x: np.concatenate([x[:-1], x[:1]]), "greatest correlation is 1.000"),
        (lambda x: np.concatenate([x[:-1], x[:1] + 3 * x[-1:]]), "greatest correlation is 0.3"),
        (lambda x: x + 0.05 * x[:1], "sum of squared correlations"),
        (lambda x: x + 0.1 * np.roll(x, 1, 0), "greatest correlation is 0.2"),
        (lambda x: np.concatenate([x[:LENGTH], np.linalg.qr(x[:LENGTH].T)[0]]), "sum of squared correlations"),
    ],
)
def test_streams_that_correlate_are_caught(spoil: Callable[[np.ndarray], np.ndarray], fragment: str) -> None:
    with pytest.raises(AssertionError, match=fragment):
        check_streams(spoil(stream_matrix(IDENTITIES["names"])).astype(np.float32))


@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (lambda w: w | (w >> np.uint32(9) & np.uint32(1)), "bit 0 is set in 75"),
        (lambda w: np.where(np.arange(w.size) % 256, w, w | np.uint32(1 << 31)), "bit 31 is set"),
        (lambda w: np.where(np.arange(w.size) % 50, w, w & ~np.uint32(8) | w >> np.uint32(31) << np.uint32(3)),
         "bits of one word correlate"),
        (lambda w: np.arange(w.size, dtype=np.uint32) * np.uint32(1664525) + np.uint32(1013904223), "byte 0"),
        (lambda w: np.concatenate([w[: 2**23], w[: 2**23]]), "byte|words"),
    ],
)  # fmt: skip
def test_words_that_are_not_random_are_caught(
    spoil: Callable[[np.ndarray], np.ndarray], fragment: str, some_words: np.ndarray
) -> None:
    with pytest.raises(AssertionError, match=fragment):
        check_words(spoil(some_words))
