"""Initializers whose variance follows from the shape: `VarianceScaling` and its six famous cases."""

import functools
import math
import operator
from collections.abc import Mapping, Sequence, Set
from typing import Any, ClassVar, SupportsIndex

from fanin.errors import ArgumentError, ShapeError
from fanin.initializers.base import RandomInitializer, Seed, real
from fanin.initializers.distributions import normal, uniform
from fanin.layouts import Layout, Shape
from fanin.recipe import Distribution

# Standard deviation of N(0, 1) cut at +-2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)) = 0.879625661034239783...
# Keras, TensorFlow and JAX write it with these digits (keras/src/initializers/random_initializers.py).
TRUNCATED_STDDEV = 0.87962566103423978

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("normal", "truncated_normal", "untruncated_normal", "uniform")


class VarianceScaling(RandomInitializer):
    """Values of mean zero and variance ``scale / n``, n counted off the shape.

    n is ``fan_in``, ``fan_out``, their mean ``(fan_in + fan_out) / 2`` or their geometric mean
    ``sqrt(fan_in fan_out)``, at least 1. Then, with ``s = sqrt(scale / n)``:

    * ``"normal"`` and ``"truncated_normal"``: a normal of deviation s / 0.8796..., cut at 2 of its
      deviations, so that s is the deviation after the cut.
    * ``"untruncated_normal"``: a normal of deviation s. (Differs from JAX, Haiku and timm, which call
      this one ``"normal"``.)
    * ``"uniform"``: uniform on [-sqrt(3) s, sqrt(3) s).

    Args:
        scale: a positive number.
        mode: ``"fan_in"``, ``"fan_out"``, ``"fan_avg"`` or ``"fan_geo_avg"``, in any case.
        distribution: one of those above, in any case.
        seed: see `Initializer`.
        input_axes: array axes whose lengths multiply to fan_in, nothing else does; taken only where
            both are given, and then whatever the layout.
        output_axes: the same for fan_out.

    Raises:
        ArgumentError: an argument is none of these.
        ShapeError: the shape has no such axis (at the call).

    Exactness: deviation and limit are computed in float64 and enter rounded to float32.

    References: Glorot and Bengio 2010; He et al. 2015, arXiv:1502.01852; Keras 3.15 for the axes.

    >>> from fanin import initializers
    >>> w = initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=7)((1024, 256))
    >>> print(f"{w.var() * 256:.2f}")
    2.00
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        self.scale = real(self, "scale", scale)
        if not self.scale > 0:
            raise ArgumentError(f"{type(self).__name__}: scale must be positive, not {scale!r}.")
        self.mode = _choice(self, "mode", mode, MODES)
        self.distribution = _choice(self, "distribution", distribution, DISTRIBUTIONS)
        self.input_axes = _axes(self, "input_axes", input_axes)
        self.output_axes = _axes(self, "output_axes", output_axes)
        super().__init__(seed)

    def _distribution(self, shape: Shape, layout: Layout) -> Distribution:
        return _scaled(self.scale, self.mode, self.distribution, self.input_axes, self.output_axes, shape, layout)

    def _needs_roles(self) -> str:
        return "fans" if self.input_axes is None or self.output_axes is None else ""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        own = {"scale": self.scale, "mode": self.mode, "distribution": self.distribution}
        return {**own, **super().get_config(), **self._axes_config()}

    def _axes_config(self) -> dict[str, list[int] | None]:
        axes = {"input_axes": self.input_axes, "output_axes": self.output_axes}
        return {argument: None if value is None else list(value) for argument, value in axes.items()}


class _Case(VarianceScaling):
    """A `VarianceScaling` whose scale, mode and distribution are settled."""

    _case: ClassVar[tuple[float, str, str]]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self._case, seed=seed, input_axes=input_axes, output_axes=output_axes)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"seed": self.seed, **self._axes_config()}


class GlorotUniform(_Case):
    """Uniform with variance 2 / (fan_in + fan_out), also called Xavier uniform.

    Uniform on [-a, a) with a = sqrt(6 / (fan_in + fan_out)).

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    References: Glorot and Bengio 2010, equation 16.

    >>> from fanin import initializers
    >>> w = initializers.GlorotUniform(seed=7)((300, 300))
    >>> print(f"{abs(w).max():.3f}")  # sqrt(6 / 600)
    0.100
    """

    _case = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Case):
    """Truncated normal with variance 2 / (fan_in + fan_out), also called Xavier normal.

    Cut at 2 deviations, with the deviation after the cut sqrt(2 / (fan_in + fan_out)). Differs from
    torch's `xavier_normal_`, which is not cut.

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    References: Glorot and Bengio 2010, equation 12.

    >>> from fanin import initializers
    >>> w = initializers.GlorotNormal(seed=7)((200, 600))
    >>> print(f"{w.std():.3f}")  # sqrt(2 / 800)
    0.050
    """

    _case = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Case):
    """Uniform with variance 2 / fan_in, for layers followed by a ReLU; also called Kaiming uniform.

    Uniform on [-a, a) with a = sqrt(6 / fan_in). Differs from a torch layer's own default,
    ``kaiming_uniform_(a=sqrt(5))``, which is `VarianceScaling(1 / 3, "fan_in", "uniform")`.

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    References: He et al. 2015, arXiv:1502.01852, equation 10.

    >>> from fanin import initializers
    >>> w = initializers.HeUniform(seed=7)((600, 300))
    >>> print(f"{abs(w).max():.3f}")  # sqrt(6 / 600)
    0.100
    """

    _case = (2.0, "fan_in", "uniform")


class HeNormal(_Case):
    """Truncated normal with variance 2 / fan_in, for layers followed by a ReLU; also called Kaiming normal.

    Drawn from N(0, s^2) cut at +-2 s, with s = sqrt(2 / fan_in) / 0.8796..., so that the standard
    deviation after the cut is sqrt(2 / fan_in). Differs from torch's `kaiming_normal_`, which is not cut.

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    Returns (from a call): values in the closed interval [-2 s, 2 s]; never NaN.

    References: He et al. 2015, arXiv:1502.01852, equation 10.

    >>> from fanin import initializers
    >>> w = initializers.HeNormal(seed=7)((800, 256))
    >>> print(f"{w.std():.3f}")  # sqrt(2 / 800)
    0.050
    """

    _case = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Case):
    """Uniform with variance 1 / fan_in.

    Uniform on [-a, a) with a = sqrt(3 / fan_in).

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    References: LeCun, Bottou, Orr and Mueller 1998, "Efficient BackProp", equation 16.

    >>> from fanin import initializers
    >>> w = initializers.LecunUniform(seed=7)((300, 300))
    >>> print(f"{abs(w).max():.3f}")  # sqrt(3 / 300)
    0.100
    """

    _case = (1.0, "fan_in", "uniform")


class LecunNormal(_Case):
    """Truncated normal with variance 1 / fan_in; what SELU networks need.

    Cut at 2 deviations, with the deviation after the cut sqrt(1 / fan_in).

    Args:
        seed, input_axes, output_axes: see `VarianceScaling`.

    References: LeCun et al. 1998, "Efficient BackProp", equation 16; Klambauer et al. 2017, arXiv:1706.02515.

    >>> from fanin import initializers
    >>> w = initializers.LecunNormal(seed=7)((400, 256))
    >>> print(f"{w.std():.3f}")  # sqrt(1 / 400)
    0.050
    """

    _case = (1.0, "fan_in", "truncated_normal")


@functools.lru_cache(maxsize=4096)
def _scaled(
    scale: float,
    mode: str,
    distribution: str,
    input_axes: tuple[int, ...] | None,
    output_axes: tuple[int, ...] | None,
    shape: Shape,
    layout: Layout,
) -> Distribution:
    if input_axes is None or output_axes is None:
        fan_in, fan_out = layout.fans(shape)
    else:
        fan_in, fan_out = _product(shape, input_axes), _product(shape, output_axes)
    return of_variance(scale / max(1.0, count(mode, fan_in, fan_out)), distribution)


def count(mode: str, fan_in: float, fan_out: float) -> float:
    """What a mode counts, of the fans."""
    if mode == "fan_in":
        return float(fan_in)
    if mode == "fan_out":
        return float(fan_out)
    return (fan_in + fan_out) / 2.0 if mode == "fan_avg" else math.sqrt(fan_in * fan_out)


def of_variance(variance: float, distribution: str) -> Distribution:
    """The distribution of that name and mean zero whose values have that variance."""
    if distribution == "uniform":
        limit = math.sqrt(3.0 * variance)
        return uniform(-limit, limit)
    stddev = math.sqrt(variance)
    if distribution == "untruncated_normal":
        return normal(0.0, stddev)
    return normal(0.0, stddev / TRUNCATED_STDDEV, -2.0, 2.0)


def _product(shape: Shape, axes: tuple[int, ...]) -> int:
    try:
        chosen = {range(len(shape))[axis] for axis in axes}
    except IndexError:
        raise ShapeError(f"axes {axes!r} are not all axes of the shape {shape!r}.") from None
    if len(chosen) < len(axes):
        raise ShapeError(f"axes {axes!r} name an axis of the shape {shape!r} twice.")
    return math.prod(shape[axis] for axis in chosen)


def _choice(owner: object, argument: str, value: object, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value.lower() in choices:
        return value.lower()
    raise ArgumentError(f"{type(owner).__name__}: {argument} must be one of {', '.join(choices)}, not {value!r}.")


def _axes(owner: object, argument: str, value: Sequence[SupportsIndex] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        if isinstance(value, str | bytes | bytearray | Mapping | Set) or any(isinstance(axis, bool) for axis in value):
            raise TypeError
        return tuple(operator.index(axis) for axis in value)
    except TypeError:
        raise ArgumentError(
            f"{type(owner).__name__}: {argument} must be a list of axis numbers, not {value!r}."
        ) from None
