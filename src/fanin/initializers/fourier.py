"""The short-time Fourier transform as a convolution kernel."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from fanin.errors import ArgumentError, ShapeError
from fanin.initializers.arrays import array, unpacked
from fanin.initializers.base import Initializer
from fanin.initializers.tapers import taper
from fanin.layouts import Layout, Shape
from fanin.recipe import Recipe, Whole
from fanin.spec import FORMATS


class STFT(Initializer):
    """The real or the imaginary side of a short-time Fourier transform, as a 1-D convolution kernel.

    For the shape (T, 1, F), a frame of T samples and F = N // 2 + 1 of N frequencies::

        real:  w[t, 0, f] =  cos(2 pi t f / N) g[t] / c
        imag:  w[t, 0, f] = -sin(2 pi t f / N) g[t] / c

    with the taper g and c = sqrt(sum g^2) for ``"density"``, sum |g| for ``"spectrum"``, else 1.

    Args:
        side: ``"real"`` or ``"imag"``.
        window: a taper by its name in `scipy.signal.windows` (those without parameters), an array of
            T numbers, or None for no taper and no scaling.
        scaling: ``"density"``, ``"spectrum"`` or None.
        periodic: whether a named taper is that of a period of T rather than symmetric.

    Raises:
        ArgumentError: an argument is none of these, or the taper is zero at this length.
        ShapeError: the shape is not (T, 1, F), or not as long as the taper (at the call).

    Exactness: computed whole, in float64, and rounded once to float32, which is the value; another libm
    may differ in the last bit. Angles are reduced exactly, so that this is more accurate than Keras 3.

    References: keras.initializers.STFT, Keras 3.15.

    >>> from fanin import initializers
    >>> initializers.STFT("real", window=None)((3, 1, 4))[:, 0, :].round(3)
    array([[ 1. ,  1. ,  1. ,  1. ],
           [ 1. ,  0.5, -0.5, -1. ],
           [ 1. , -0.5, -0.5,  1. ]], dtype=float32)
    """

    def __init__(
        self, side: str = "real", window: Any = "hann", scaling: str | None = "density", periodic: bool = False
    ) -> None:
        self.side = _choice("side", side, ("real", "imag"))
        self.scaling = _choice("scaling", scaling, ("density", "spectrum", None))
        self.periodic = _choice("periodic", periodic, (True, False))
        # Not under Keras' name, which is a method of every initializer here.
        self._taper = window if window is None or isinstance(window, str) else _samples(window)
        if isinstance(window, str):
            try:
                taper(window, 1, periodic=False)
            except ArgumentError as error:
                raise ArgumentError(f"STFT: {error}") from None

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        if len(shape) != 3 or shape[1] != 1:
            raise ShapeError(f"STFT makes kernels of shape (samples, 1, frequencies), not {shape!r}.")
        if layout.stated:
            layout.axes(shape)
        length, _, frequencies = shape
        gains = self._gains(length)

        def compute() -> np.ndarray:
            period = max(1, 2 * (frequencies - 1))
            turns = np.arange(length)[:, None, None] * np.arange(frequencies) % period
            angles = 2 * np.pi * np.arange(period) / period
            waves = np.cos(angles) if self.side == "real" else 0.0 - np.sin(angles)
            kernel: np.ndarray = waves[turns] * gains[:, None, None]
            return kernel.astype(np.float32)

        return Whole(compute, shape)

    def _gains(self, length: int) -> np.ndarray:
        """Scale the taper, one factor per sample."""
        if self._taper is None:
            return np.ones(length)
        if isinstance(self._taper, str):
            samples = taper(self._taper, length, periodic=self.periodic)
        else:
            samples = self._taper
            if len(samples) != length:
                raise ShapeError(f"STFT: window has {len(samples)} samples, but the shape asks for {length}.")
        if self.scaling is None or not length:
            return samples
        # Not NumPy's sums: these have one order, and no overflow or underflow in between.
        total = math.hypot(*samples) if self.scaling == "density" else math.fsum(np.abs(samples))
        if total == 0:
            raise ArgumentError(f"STFT: window={self._taper!r} is zero at all of its {length} samples.")
        return samples / total

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer; an array as a list."""
        window = self._taper.tolist() if isinstance(self._taper, np.ndarray) else self._taper
        return {"side": self.side, "window": window, "scaling": self.scaling, "periodic": self.periodic}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an initializer from what `get_config` returned, here or in Keras 3."""
        return super().from_config(unpacked(cls, config, "window"))


def _choice(argument: str, value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if value is choice or (isinstance(value, str) and value == choice):
            return choice
    raise ArgumentError(f"STFT: {argument} must be one of {', '.join(map(repr, choices))}, not {value!r}.")


def _samples(value: object) -> np.ndarray:
    samples = array(STFT, "window", value).astype(np.float64)
    if samples.ndim != 1:
        raise ArgumentError(f"STFT: window must be an array of rank 1, not of shape {samples.shape!r}.")
    if np.abs(samples).max() > FORMATS["float32"].greatest:
        raise ArgumentError(f"STFT: window={value!r} reaches {float(np.abs(samples).max())!r}, beyond float32.")
    return samples
