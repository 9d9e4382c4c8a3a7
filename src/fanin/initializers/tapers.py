"""Tapers (window functions) for short-time transforms: those of `scipy.signal.windows` without parameters.

Each is a function of the sample numbers n = 0 .. m - 1 of a symmetric taper of m >= 2 samples.
The word window is left to parts of arrays.
"""

import difflib
import math
from collections.abc import Callable

import numpy as np

from fanin.errors import ArgumentError

__all__ = ["NAMES", "taper"]

Shape = Callable[[np.ndarray, int], np.ndarray]


def taper(name: str, length: int, *, periodic: bool) -> np.ndarray:
    """Return a taper as float64.

    Args:
        name: one of `NAMES`.
        length: the number of samples.
        periodic: one period of the taper, that is all but the last sample of the symmetric one that
            is longer by one; else the symmetric taper.

    Raises:
        ArgumentError: no such taper.
    """
    if name not in _SHAPES:
        if name in _WITH_PARAMETERS:
            raise ArgumentError(f"window {name!r} has parameters; compute it with scipy.signal and pass the array.")
        near = difflib.get_close_matches(name, NAMES, n=1)
        raise ArgumentError(
            f"unknown window {name!r}{f', perhaps {near[0]!r}' if near else ''}; use one of {', '.join(NAMES)}, or an "
            f"array."
        )
    if length <= 1:
        return np.ones(length)
    samples = length + periodic
    return _SHAPES[name](np.arange(samples, dtype=np.float64), samples)[:length]


def _cosines(*coefficients: float) -> Shape:
    """Sum of cosines of whole periods, signs alternating."""

    def shape(n: np.ndarray, m: int) -> np.ndarray:
        angle = 2 * np.pi * n / (m - 1)
        return sum(((-1) ** k * a * np.cos(k * angle) for k, a in enumerate(coefficients)), np.zeros(m))

    return shape


def _distance(n: np.ndarray, m: int) -> np.ndarray:
    """Distance from the centre, 1 at both ends."""
    return np.abs(2 * n / (m - 1) - 1)


def _barthann(n: np.ndarray, m: int) -> np.ndarray:
    d = _distance(n, m)
    result: np.ndarray = 0.62 - 0.24 * d + 0.38 * np.cos(np.pi * d)
    return result


def _bohman(n: np.ndarray, m: int) -> np.ndarray:
    d = _distance(n, m)
    result: np.ndarray = (1 - d) * np.cos(np.pi * d) + np.sin(np.pi * d) / np.pi
    result[[0, -1]] = 0.0
    return result


def _parzen(n: np.ndarray, m: int) -> np.ndarray:
    d: np.ndarray = np.abs(2 * n - (m - 1)) / m
    inner: np.ndarray = np.abs(2 * n - (m - 1)) <= (m - 1) / 2
    return np.where(inner, 1 - 6 * d**2 * (1 - d), 2 * (1 - d) ** 3)


def _taylor(n: np.ndarray, m: int, sidelobes: int = 4, level: float = 30.0) -> np.ndarray:
    """Carrara, Goodman, Majewski, "Spotlight Synthetic Aperture Radar" (1995), appendix D.2."""
    a = math.acosh(10 ** (level / 20)) / math.pi
    sigma2 = sidelobes**2 / (a**2 + (sidelobes - 0.5) ** 2)
    orders = range(1, sidelobes)

    def curve(x: np.ndarray) -> np.ndarray:
        total: np.ndarray = np.ones_like(x)
        for i in orders:
            above = math.prod(1 - i**2 / sigma2 / (a**2 + (j - 0.5) ** 2) for j in orders)
            below = math.prod(1 - i**2 / j**2 for j in orders if j != i)
            total += (-1) ** (i + 1) * above / below * np.cos(2 * np.pi * i * (x - (m - 1) / 2) / m)
        return total

    result: np.ndarray = curve(n) / curve(np.array([(m - 1) / 2]))
    return result


def _tukey(n: np.ndarray, m: int, tapered: float = 0.5) -> np.ndarray:
    ramp = np.minimum(1.0, 2 * np.minimum(n, m - 1 - n) / (tapered * (m - 1)))
    result: np.ndarray = 0.5 - 0.5 * np.cos(np.pi * ramp)
    return result


_SHAPES: dict[str, Shape] = {
    "barthann": _barthann,
    "bartlett": lambda n, m: 1 - _distance(n, m),
    "blackman": _cosines(0.42, 0.5, 0.08),
    "blackmanharris": _cosines(0.35875, 0.48829, 0.14128, 0.01168),
    "bohman": _bohman,
    "boxcar": lambda n, m: np.ones(m),
    "cosine": lambda n, m: np.sin(np.pi * (n + 0.5) / m),
    "exponential": lambda n, m: np.exp(-np.abs(n - (m - 1) / 2)),
    "flattop": _cosines(0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
    "hamming": _cosines(0.54, 0.46),
    "hann": _cosines(0.5, 0.5),
    "lanczos": lambda n, m: np.sinc(2 * n / (m - 1) - 1),
    "nuttall": _cosines(0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "parzen": _parzen,
    "taylor": _taylor,
    "triang": lambda n, m: 1 - np.abs(2 * n - (m - 1)) / (m + m % 2),
    "tukey": _tukey,
}
NAMES = tuple(_SHAPES)

_WITH_PARAMETERS = (
    "chebwin",
    "dpss",
    "gaussian",
    "general_cosine",
    "general_gaussian",
    "general_hamming",
    "kaiser",
    "kaiser_bessel_derived",
)
