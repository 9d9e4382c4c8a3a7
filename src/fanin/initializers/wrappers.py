"""Initializers that change what another one makes: the base of all of them, and the gain."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fanin.errors import ArgumentError, LayoutError, ShapeError
from fanin.initializers.base import Initializer, RandomInitializer, SubclassError, real
from fanin.initializers.custom import custom_recipe
from fanin.initializers.distributions import normal, uniform
from fanin.initializers.elementwise import mapped
from fanin.initializers.registry import get, named, serialize
from fanin.layouts import Layout, Shape
from fanin.recipe import ConstantValue, Diagonal, Distribution, Normal, Recipe, Whole, Window

__all__ = ["Scaled", "Wrapper"]

DEEPEST = 32  # wrappers around each other


class Wrapper(Initializer):
    """Base class of initializers that change what another one makes.

    Seed, name, layout and fans are those of the initializer inside.
    """

    initializer: Callable[..., Any]

    def __init__(self, initializer: Any) -> None:
        own = type(self).__name__
        if _depth(initializer) >= DEEPEST:
            raise ArgumentError(f"{own}: initializers are wrapped more than {DEEPEST} deep; use fewer.")
        made = get(initializer)
        if made is None:
            raise ArgumentError(f"{own}: initializer is None; give one, such as {own}('he_normal', ...).")
        self.initializer = made

    @property
    def seed(self) -> int | None:
        """The seed of the initializer inside; None where it has none, or is one's own."""
        inner = self.initializer
        return inner.seed if isinstance(inner, RandomInitializer | Wrapper) else None

    def _inner(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        """The recipe of the initializer inside."""
        inner = self.initializer
        if isinstance(inner, Initializer):
            return inner.recipe(shape, name=name, layout=layout, seed=seed)
        return custom_recipe(inner, shape, name, seed, layout.member)

    def _check_arguments(self) -> None:
        """Make a recipe once, so that what no shape could use is refused at construction."""
        with contextlib.suppress(ShapeError, LayoutError):  # the initializer inside may make no scalars
            self.recipe((), seed=0)

    def _reads_axes(self) -> bool:
        """Whether it depends on the roles of the axes itself, and not only what is inside."""
        return False

    def _needs_roles(self) -> str:
        return self.initializer._needs_roles() if isinstance(self.initializer, Initializer) else ""

    def _check_windowable(self) -> None:
        inner = self.initializer
        if not isinstance(inner, Initializer) or inner._is_custom():
            raise SubclassError(f"{inner!r} is known as the whole array only: call {self!r} and take the slice.")
        inner._check_windowable()

    def _draws(self) -> bool:
        inner = self.initializer
        return not isinstance(inner, Initializer) or inner._draws() or super()._draws()

    def _is_described(self) -> bool:
        inner = self.initializer
        return isinstance(inner, Initializer) and inner._is_described() and super()._is_described()

    def _arguments(self) -> dict[str, Any]:
        """The arguments but for the initializer."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer, that inside as `serialize` writes it."""
        return {"initializer": serialize(self.initializer), **self._arguments()}

    def _shown(self) -> dict[str, Any]:
        return {"initializer": self.initializer, **self._arguments()}


def _depth(initializer: Any) -> int:
    """How many wrappers there are around each other, in an initializer or a configuration; no more than matter."""
    depth = 0
    while depth <= DEEPEST:
        if isinstance(initializer, Wrapper):
            initializer = initializer.initializer
        elif isinstance(initializer, Mapping) and isinstance(initializer.get("config"), Mapping):
            initializer = initializer["config"].get("initializer")
        else:
            return depth
        depth += 1
    return depth


@named("scaled")
class Scaled(Wrapper):
    """What another initializer makes, times a gain.

    The gain is folded into what is drawn: a normal of ``gain mean`` and ``|gain| stddev``, a uniform
    between ``gain minval`` and ``gain maxval``, a constant of ``gain value``, so that nothing is multiplied
    afterwards. A negative gain mirrors the distribution, its bounds included, and draws from that with the same
    words; a gain of zero gives zeros. What is computed whole is multiplied element by element.

    Args:
        initializer: whatever `get` takes.
        gain: a finite number.

    Raises:
        ArgumentError: the gain makes a parameter that float32 does not hold, or one below 2**-90 that is not 0.

    Returns (from a call): values in the interval of the initializer inside, times the gain; the upper end of a
        uniform stays the open one.

    Exactness: parameters, rounded to float32 as they are drawn with, are multiplied in float64, and enter
    rounded to float32 again; constants are multiplied in float64. What is computed whole is a float32, is
    multiplied in float64 and rounded once more; an array of constants stays float64. Give `Orthogonal`
    its own gain, which is rounded once.

    >>> from fanin import initializers
    >>> initializers.get("scaled(he_normal(seed=7), 1 / sqrt(2 * n_layer))", {"n_layer": 8})
    Scaled(initializer=HeNormal(seed=7), gain=0.25)
    >>> w = initializers.Scaled("he_normal(seed=7)", 0.25)((800, 256))
    >>> print(f"{w.std():.4f}")  # sqrt(2 / 800) / 4
    0.0125
    """

    def __init__(self, initializer: Any, gain: float) -> None:
        super().__init__(initializer)
        self.gain = real(self, "gain", gain)
        self._check_arguments()

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        recipe = self._inner(shape, layout, name, seed)
        if isinstance(recipe, Whole):
            return mapped(recipe, self._product)
        try:
            return replace(recipe, distribution=_times(self.gain, recipe.distribution))
        except ArgumentError as error:
            raise ArgumentError(f"Scaled: gain={self.gain!r} of {self.initializer!r}: {error}") from None

    def _product(self, values: np.ndarray, window: Window) -> np.ndarray:
        with np.errstate(over="ignore"):  # told below
            product = values.astype(np.float64) * self.gain + 0.0  # and no -0.0
            product = product.astype(np.float32) if values.dtype == np.float32 else product
        if not np.isfinite(product).all():
            raise ArgumentError(f"{self!r} has values beyond float32; use a smaller gain.")
        return product

    def _arguments(self) -> dict[str, Any]:
        return {"gain": self.gain}


def _times(gain: float, distribution: Distribution) -> Distribution:
    """The distribution of the values times a gain."""
    match distribution:
        case ConstantValue(value) | Diagonal(value):
            return type(distribution)(_finite(value * gain) or 0.0)  # and no -0.0
        case Normal(mean, stddev, lower, upper):
            lower, upper = (lower, upper) if gain >= 0 else (-upper, -lower)
            return normal(gain * mean + 0.0, abs(gain) * stddev, lower, upper)
        case _:
            return uniform(*sorted((gain * distribution.minval + 0.0, gain * distribution.maxval + 0.0)))


def _finite(product: float) -> float:
    if not abs(product) < np.inf:
        raise ArgumentError("the product is beyond float64.")
    return product
