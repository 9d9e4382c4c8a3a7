"""Elementary functions of float64 arrays, from ``+ - * /`` alone: the same bits on every machine.

No two libms agree on the last bit of exp, log or cos; IEEE arithmetic, one operation at a time as NumPy
does it, leaves nothing to agree on. Each function is within 2**-50 of its value, relative to the value or, where
it is a sum of larger terms, to these: one in some 2**24 float32 that follow is not the nearest one.
"""

import math

import numpy as np

__all__ = ["cos", "exp", "expm1", "log", "log1p", "sin"]

SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
LOG2 = float.fromhex("0x1.62e42fefa39efp-1")
# The same in two parts, the first of 32 bits, so that its products with exponents are exact.
LOG2_HIGH = float.fromhex("0x1.62e42feep-1")
LOG2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
# pi / 2 in three parts of 33, 33 and 53 bits (Cody and Waite's reduction).
QUARTER = float.fromhex("0x1.921fb544p+0")
QUARTER_MIDDLE = float.fromhex("0x1.0b4611a6p-34")
QUARTER_LOW = float.fromhex("0x1.3198a2e037073p-69")

MOST_QUARTERS = 2**20  # up to which the reduction of an angle is exact

_ARTANH = [1.0 / n for n in range(25, 1, -2)]  # of x^24, x^22 ... x^2, in artanh(x) / x - 1
_EXP = [1.0 / math.factorial(n) for n in range(14, 0, -1)]  # of x^13 ... 1, in (e^x - 1) / x
_SIN = [(-1.0) ** n / math.factorial(2 * n + 1) for n in range(9, 0, -1)]  # of x^18 ... x^2, in sin(x) / x - 1
_COS = [(-1.0) ** n / math.factorial(2 * n) for n in range(9, 0, -1)]  # of x^18 ... x^2, in cos(x) - 1


def _horner(coefficients: list[float], x: np.ndarray) -> np.ndarray:
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result


def _twice_artanh(s: np.ndarray) -> np.ndarray:
    """Logarithm of (1 + s) / (1 - s), for s up to 1 / 5."""
    g = s * s
    twice = 2.0 * s
    result: np.ndarray = twice + twice * (_horner(_ARTANH, g) * g)
    return result


def log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of positive numbers."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < SQRT_HALF
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = exponent - low
    rest = _twice_artanh((mantissa - 1.0) / (mantissa + 1.0))
    result: np.ndarray = exponent * LOG2_HIGH + (exponent * LOG2_LOW + rest)
    return result


def log1p(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of 1 + x, for x from 0."""
    return np.where(x < 0.4, _twice_artanh(x / (2.0 + x)), log(1.0 + x))


def expm1(x: np.ndarray) -> np.ndarray:
    """e**x - 1; infinity where that is beyond float64, or nearly."""
    rest, two = _powers(x)
    result: np.ndarray = rest * two + (two - 1.0)
    return result


def exp(x: np.ndarray) -> np.ndarray:
    """e**x; infinity where that is beyond float64, or nearly; e**-700 for x to -700."""
    rest, two = _powers(x)
    result: np.ndarray = (1.0 + rest) * two
    return result


def _powers(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split e**x: a number near 0, to be added to 1, and a power of two to multiply by."""
    x = np.clip(x, -700.0, 710.0)  # beyond float32 in any case
    power = np.rint(x / LOG2)
    rest = (x - power * LOG2_HIGH) - power * LOG2_LOW
    with np.errstate(over="ignore"):
        return rest * _horner(_EXP, rest), np.ldexp(1.0, power.astype(np.intc))


def _reduced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sine and cosine of what is left of angles beside whole quarters of a turn, and the quarters modulo 4."""
    quarters = np.rint(x / QUARTER)
    rest = ((x - quarters * QUARTER) - quarters * QUARTER_MIDDLE) - quarters * QUARTER_LOW
    g = rest * rest
    return rest + rest * (_horner(_SIN, g) * g), 1.0 + _horner(_COS, g) * g, quarters.astype(np.int64) % 4


def sin(x: np.ndarray) -> np.ndarray:
    """Sine of angles of at most `MOST_QUARTERS` quarters of a turn."""
    sine, cosine, quarters = _reduced(x)
    result = np.where(quarters % 2 == 0, sine, cosine)
    return np.where(quarters < 2, result, -result)


def cos(x: np.ndarray) -> np.ndarray:
    """Cosine of angles of at most `MOST_QUARTERS` quarters of a turn."""
    sine, cosine, quarters = _reduced(x)
    result = np.where(quarters % 2 == 0, cosine, sine)
    return np.where((quarters == 0) | (quarters == 3), result, -result)
