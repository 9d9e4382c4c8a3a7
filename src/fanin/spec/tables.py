"""Tables of the inverse normal distribution function, plain or cut at bounds: how they are built.

Everything here is exact integers, or IEEE float64 with ``+ - * /``, sqrt, frexp and ldexp in the
order written, so that every machine builds the same table. `fanin.engines.tables` builds the same
numbers with NumPy; a test holds the two equal.
"""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

OCTAVES = 32
SEGMENTS = 512  # per octave
KNOTS = OCTAVES * SEGMENTS + 1
UNIT = 2.0**27  # knots count units of 2**-27 standard deviations

# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics
# 37 (1988), routine PPND16: numerators and denominators, highest power first.
CENTRAL = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
MIDDLE = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip

LOG2 = float.fromhex("0x1.62e42fefa39efp-1")  # ln 2, rounded to float64
SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")  # sqrt(1/2), rounded to float64
LOG_TERMS = tuple(1.0 / (2 * n + 1) for n in range(12, 0, -1))  # of artanh(s) / s, highest power first

_BITS = 480  # of the fixed point in which distribution functions of bounds are computed


def horner(coefficients: Sequence[float], x: float) -> float:
    """Evaluate a polynomial, highest power first."""
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def log(x: float) -> float:
    """Natural logarithm of a positive float64, by the series of artanh; every machine gives the same bits."""
    mantissa, exponent = math.frexp(x)
    if mantissa < SQRT_HALF:
        mantissa, exponent = mantissa * 2.0, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    s2 = s * s
    return exponent * LOG2 + (2.0 * s + 2.0 * s * (horner(LOG_TERMS, s2) * s2))


def quantile(below: float, above: float) -> float:
    """Return z with that probability below it and that probability above it (they add up to one).

    Only the smaller of the two decides, so that neither tail loses precision.
    """
    tail = below if below <= above else above
    distance = 0.5 - tail
    if distance <= 0.425:
        r = 0.180625 - distance * distance
        z = distance * horner(CENTRAL[0], r) / horner(CENTRAL[1], r)
    else:
        r = math.sqrt(-log(tail))
        branch, origin = (MIDDLE, 1.6) if r <= 5.0 else (FAR, 5.0)
        z = horner(branch[0], r - origin) / horner(branch[1], r - origin)
    return -z if below <= above else z


def probability(z: float) -> Fraction:
    """Phi(z) for a finite z of magnitude up to 14, to within 2**-320: the Maclaurin series in exact integers."""
    one = 1 << _BITS
    x = Fraction(z)
    square = x.numerator * x.numerator * one // (x.denominator * x.denominator)
    power = x.numerator * one // x.denominator  # z**(2n+1) / (2**n n!), signs alternating
    total, n = 0, 0
    while power:
        total += (-power if n % 2 else power) // (2 * n + 1)
        n += 1
        power = (abs(power) * square >> _BITS) // (2 * n) * (1 if power > 0 else -1)
    return Fraction(1, 2) + Fraction(total, math.isqrt(2 * _pi() << _BITS))


@functools.cache
def _pi() -> int:
    """Pi in fixed point, by Machin's formula."""
    one = 1 << (_BITS + 32)

    def arctan_of_inverse(n: int) -> int:
        power, total, k = one // n, 0, 0
        while power:
            total += (-power if k % 2 else power) // (2 * k + 1)
            power //= n * n
            k += 1
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) >> 32


def masses(lower: float, upper: float) -> tuple[float, float, float]:
    """Return the probabilities below `lower`, above `lower`, and between the bounds, each rounded once."""
    below = Fraction(0) if lower == -math.inf else probability(lower)
    to_upper = Fraction(1) if upper == math.inf else probability(upper)
    return float(below), float(1 - below), float(to_upper - below)


def half_table(lower: float, upper: float) -> list[int]:
    """Knots of the lower half of the distribution between two bounds, from the lower bound upwards.

    Knot ``512 e + j`` belongs to the odd tail count ``o = 2**e (1 + j / 512)``, that is to the
    probability ``o / 2**33`` above the lower bound, of that between the bounds.
    """
    below, above, mass = masses(lower, upper)
    points = [math.ldexp(1.0 + j / SEGMENTS, e - 33) for e in range(OCTAVES) for j in range(SEGMENTS)] + [0.5]
    curve = [quantile(below + p * mass, above - p * mass) for p in points]
    knots = []
    for i, z in enumerate(curve):
        # A chord misses the curve by an eighth of the second difference; knots take half of that.
        first = i if i % SEGMENTS < SEGMENTS - 1 else i - 1
        bend = curve[first] - 2.0 * curve[first + 1] + curve[first + 2] if i < KNOTS - 1 else 0.0
        knots.append(math.floor((z - bend * 0.0625) * UNIT + 0.5))
    if lower != -math.inf:
        least = math.ceil(Fraction(lower) * 2**27)
        knots = [max(knot, least) for knot in knots]
    return knots


@functools.lru_cache(maxsize=16)
def table(lower: float, upper: float) -> tuple[list[int], list[int]]:
    """Both halves: for words below zero, and for the others, whose variates are negated.

    The halves are one and the same list where the bounds are symmetric.
    """
    low = half_table(lower, upper)
    if lower == -upper:
        return low, low
    high = half_table(-upper, -lower)
    high[-1] = min(high[-1], -low[-1])  # the halves meet in order
    return low, high
