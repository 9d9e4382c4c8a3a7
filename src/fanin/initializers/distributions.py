"""Initializers that draw from one distribution, whatever the shape."""

import functools
from typing import Any

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import RandomInitializer, Seed, real, scalar
from fanin.initializers.elementary import exp, log
from fanin.initializers.elementwise import each, mapped
from fanin.layouts import Layout, Shape
from fanin.recipe import Distribution, Normal, Recipe, UniformInterval

# Remembered, so that a repeated call finds its recipe by identity.
normal = functools.lru_cache(maxsize=1024)(Normal)
uniform = functools.lru_cache(maxsize=1024)(UniformInterval)


class RandomNormal(RandomInitializer):
    """Normal with a mean and a standard deviation.

    Args:
        mean: of the distribution.
        stddev: its standard deviation, 0 or from 2**-90.
        seed: see `Initializer`.

    Returns (from a call): values in the closed interval ``mean +- 6.34 stddev``; never NaN.

    Exactness: mean and stddev enter rounded to float32; the variate is within 3e-7 of the inverse
    distribution function at its random word (docs/stream.md).

    >>> from fanin import initializers
    >>> w = initializers.RandomNormal(mean=1.0, stddev=0.02, seed=7)((512, 512))
    >>> print(f"{w.mean():.3f} {w.std():.3f}")
    1.000 0.020
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = real(self, "mean", mean)
        self.stddev = real(self, "stddev", stddev)
        super().__init__(seed)
        self._check_distribution()

    def _distribution(self, shape: Shape, layout: Layout) -> Distribution:
        return normal(self.mean, self.stddev)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class RandomUniform(RandomInitializer):
    """Uniform on the half-open interval [minval, maxval).

    Args:
        minval: the lower end, which is drawn if it lies on the grid of values.
        maxval: the upper end, which float32 and float64 never reach; narrower dtypes may round to it.
            Equal ends make a constant.
        seed: see `Initializer`.

    Returns (from a call): points of a grid of spacing 2**-k, the finest on which both ends are
    24-bit integers; never NaN.

    Exactness: minval and maxval enter rounded to float32.

    >>> from fanin import initializers
    >>> w = initializers.RandomUniform(-1.0, 1.0, seed=7)((512, 512))
    >>> print(f"{w.min():.3f} {w.max():.3f} {w.std():.3f}")  # sqrt(1 / 3)
    -1.000 1.000 0.577
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = real(self, "minval", minval)
        self.maxval = real(self, "maxval", maxval)
        super().__init__(seed)
        self._check_distribution()

    def _distribution(self, shape: Shape, layout: Layout) -> Distribution:
        return uniform(self.minval, self.maxval)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class TruncatedNormal(RandomInitializer):
    """Normal, cut at bounds that are counted in standard deviations from the mean.

    ``stddev`` is that before the cut: at the default bounds the values have 0.8796 of it
    (`VarianceScaling` corrects for that, this class does not, as in Keras).

    Args:
        mean: of the distribution before the cut.
        stddev: its standard deviation before the cut, 0 or from 2**-90.
        seed: see `Initializer`.
        lower: lower bound in standard deviations; ``-inf`` for none.
        upper: upper bound in standard deviations; ``inf`` for none. Differs from
            `torch.nn.init.trunc_normal_` and `fanin.torch.trunc_normal_`, whose bounds are absolute.

    Returns (from a call): values in the closed interval ``[mean + lower stddev, mean + upper stddev]``,
    as float32; narrower dtypes round once more. Never NaN.

    Exactness: all arguments enter rounded to float32. One variate per word by the inverse
    distribution function: nothing is redrawn or clipped.

    >>> from fanin import initializers
    >>> w = initializers.TruncatedNormal(stddev=1.0, seed=7)((512, 512))
    >>> print(f"{abs(w).max():.2f} {w.std():.2f}")
    2.00 0.88
    """

    def __init__(
        self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None, lower: float = -2.0, upper: float = 2.0
    ) -> None:
        self.mean = real(self, "mean", mean)
        self.stddev = real(self, "stddev", stddev)
        self.lower = float(scalar(self, "lower", lower))
        self.upper = float(scalar(self, "upper", upper))
        super().__init__(seed)
        self._check_distribution()

    def _distribution(self, shape: Shape, layout: Layout) -> Distribution:
        return normal(self.mean, self.stddev, self.lower, self.upper)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer; the bounds only where they are not Keras'."""
        bounds = {} if (self.lower, self.upper) == (-2.0, 2.0) else {"lower": self.lower, "upper": self.upper}
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config(), **bounds}


class LogUniform(RandomInitializer):
    """Numbers whose logarithm is uniform: as many between 0.001 and 0.01 as between 0.01 and 0.1.

    ``w = minval (maxval / minval) ** u`` with u the uniform of [0, 1) that `RandomUniform(0, 1)` draws.

    Args:
        minval: the lower end, from 2**-126.
        maxval: the upper end, a float32 at least as large.
        seed: see `Initializer`.

    Raises:
        ArgumentError: the ends are none of these.

    Returns (from a call): values in the closed interval [minval, maxval], whose ends are rounded to float32.

    Exactness: computed from u in float64, by ``+ - * /`` alone, and rounded once to float32, which is the value: the
        same bits on every machine. A window costs only the window.

    >>> from fanin import initializers
    >>> w = initializers.LogUniform(0.001, 0.1, seed=7)((512, 512))
    >>> print(f"{w.min():.4f} {w.max():.4f} {(w < 0.01).mean():.2f}")
    0.0010 0.1000 0.50
    """

    def __init__(self, minval: float, maxval: float, seed: Seed = None) -> None:
        self.minval = real(self, "minval", minval)
        self.maxval = real(self, "maxval", maxval)
        with np.errstate(over="ignore"):
            self._ends = np.float32(self.minval), np.float32(self.maxval)
        if not 2.0**-126 <= self.minval <= self.maxval or np.isinf(self._ends[1]):
            raise ArgumentError(
                f"LogUniform: give 2**-126 (about 1.2e-38) <= minval <= maxval, both float32, not minval={minval!r}, "
                f"maxval={maxval!r}."
            )
        super().__init__(seed)

    def _distribution(self, shape: Shape, layout: Layout) -> Distribution:
        return uniform(0.0, 1.0)

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        low, high = self._ends
        ratio = log(np.array(self.maxval / self.minval))

        def grown(u: np.ndarray) -> np.ndarray:
            return np.clip(self.minval * exp(u * ratio), low, high)

        return mapped(super()._recipe(shape, layout, name, seed), lambda u, window: each(grown, u))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}
