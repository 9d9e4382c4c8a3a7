"""What every initializer is: a request that becomes a recipe, and the array that the recipe fills."""

import functools
import inspect
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Self, SupportsIndex, TypeVar

import numpy as np

from fanin import dtypes, engines
from fanin.errors import ArgumentError, DTypeError, FaninError, SeedError
from fanin.initializers import outputs
from fanin.initializers.custom import check_name, custom_recipe, unseeded
from fanin.initializers.shardings import placement
from fanin.layouts import ARRAY_ORDER, Layout, Shape, as_layout
from fanin.recipe import ConstantValue, Distribution, Draw, Recipe, Stream, Whole, Window, check_seed, check_shape

__all__ = ["Initializer", "RandomInitializer", "Seed", "SubclassError", "construct", "draw", "real"]

Seed = SupportsIndex | None

T = TypeVar("T")


class SubclassError(FaninError, NotImplementedError):
    """A class of initializers does not define what was asked of it."""


class Initializer:
    """Base class of all initializers: a callable that returns the initial values of an array.

    Calls, for every initializer::

        initializer(shape, dtype=None, *, name=None, layout=None, window=None, out=None)
        initializer.window(shape, slices, dtype=None, *, name=None, layout=None, out=None)

    Args of a call:
        shape: of the whole array, a tuple of non-negative integers.
        dtype: of the result, by name or as any library writes it; None is float32, or that of `out`.
        name: the logical name of the tensor. Tensors of one seed and different names are
            independent; without a name it is the unnamed stream, the same for all.
        layout: which axis is which, such as ``"o i *k"`` (see `fanin.layouts.Layout`). It decides the fans
            and the coordinates at which values are drawn; None is array order with Keras' fans. A
            sharding of JAX, which Keras 3 passes under this name, distributes the array over devices.
        window: one slice per axis; only that part of the array is made, exactly as it would be in
            the whole.
        out: an array of the window's shape, of any strides, to write into.

    Returns (from a call): a NumPy array of the window's shape, or `out`.

    Arguments that initializers share:
        seed: an integer from 0 to 2**64 - 1; every call of one shape and name then returns the same
            values. None draws a fresh seed at each call, or from the plan that is calling, or from Keras'
            stream while `fanin.keras` is installed. Differs from Keras 3, where None is drawn once, at
            construction, and from Keras 2.3, where an integer advances at each call.
        scalars (mean, gain, ...): Python or NumPy numbers, or tensors of rank 0.

    Raises:
        ArgumentError: an argument of the initializer cannot be used (at construction).
        SeedError: the seed is no such integer, or a window of an unseeded initializer was asked for.
        ShapeError, DTypeError, LayoutError, WindowError, LogicalNameError: the call cannot be met.
        OutputError: `out` cannot take the result. Nothing is written when anything is raised.

    Exactness: stream fanin-1. What is drawn elementwise has the same bits on every engine, for
    every dtype up to its one rounding, and for every split into windows.

    Subclasses of one's own define ``__call__(self, shape, dtype=None)``, and ``get_config`` if they
    take arguments, as in Keras. They are computed whole, and have no `window`.
    """

    def __call__(
        self,
        shape: Sequence[int],
        dtype: object = None,
        *,
        name: str | None = None,
        layout: Layout | str | None = None,
        window: object = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the initial values, or those of a window."""
        if not (layout is None or isinstance(layout, str | Layout)) and (place := placement(layout)):
            array = self(shape, dtype, name=name, window=window, out=out)
            return place(array)
        whole = _shape(shape)
        if window is None:
            extent, box = whole, _whole(whole)
        else:
            self._check_windowable()
            box = Window.of(whole, window)
            extent = box.shape
        recipe = self._recipe(
            whole,
            ARRAY_ORDER if layout is None else as_layout(layout),
            "" if name is None else check_name(name),
            None,
        )
        view = outputs.allocated(extent, dtype) if out is None else outputs.checked(out, dtype, extent)
        engines.fill(recipe, box, view)
        return view if out is None else out

    def window(
        self,
        shape: Sequence[int],
        slices: object,
        dtype: object = None,
        *,
        name: str | None = None,
        layout: Layout | str | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return a window of the array of a shape, exactly as it is inside the whole.

        Args:
            shape: of the whole array.
            slices: one slice per axis, without steps; missing ones are whole.
            dtype: see `Initializer`, as for the rest.
            name: of the tensor.
            layout: of the whole array.
            out: an array of the window's shape.

        >>> from fanin.initializers import Identity
        >>> Identity().window((4, 4), (slice(1, 3), slice(0, 3)))
        array([[0., 1., 0.],
               [0., 0., 1.]], dtype=float32)
        """
        if self._is_custom():
            raise SubclassError(
                f"{type(self).__name__} defines __call__, so only the whole array is known: call it and take the slice."
            )
        box = Window.of(_shape(shape), slices)
        return Initializer.__call__(self, shape, dtype, name=name, layout=layout, window=box, out=out)

    def recipe(
        self,
        shape: Sequence[int],
        *,
        name: str | None = None,
        layout: Layout | str | None = None,
        seed: Seed = None,
    ) -> Recipe:
        """Return the recipe of an array: everything that decides its numbers.

        Args:
            shape: of the whole array.
            name: the logical name of the tensor.
            layout: which axis is which.
            seed: stands in where the initializer has none.
        """
        whole = _shape(shape)
        name = "" if name is None else check_name(name)
        seed = None if seed is None else check_seed(seed)
        chosen = ARRAY_ORDER if layout is None else as_layout(layout)
        if self._is_custom():
            return custom_recipe(self, whole, name, seed, chosen.member)
        return self._recipe(whole, chosen, name, seed)

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        raise SubclassError(
            f"{type(self).__name__} defines no values. Use one of fanin.initializers, or define "
            f"__call__(self, shape, dtype=None) in a subclass."
        )

    def _needs_roles(self) -> str:
        """Say what is read off the roles of the axes, which a plan therefore has to know; nothing mostly."""
        return ""

    def _check_computed(self, recipe: Whole, layout: Layout, dtype: np.dtype) -> None:
        """Refuse what a fill with a recipe that is computed would refuse, as far as that can be told before.

        Raises:
            DTypeError: the dtype cannot hold the values.
        """
        if dtype.name not in dtypes.FLOATS and not self._is_custom():
            raise DTypeError(f"{dtype.name} cannot hold the values of {self!r}; it takes constants only.")

    def _draws(self) -> bool:
        """Whether its values depend on a seed, as far as it is known of one's own."""
        return self._is_custom()

    def _is_custom(self) -> bool:
        """Whether a subclass says what the values are by its own ``__call__``."""
        return type(self).__call__ is not Initializer.__call__

    def _check_windowable(self) -> None:
        """Refuse windows that no two calls would agree on."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer, as plain data that JSON can hold."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an initializer from what `get_config` returned, here or in Keras.

        Raises:
            ArgumentError: the configuration has an argument that the initializer does not take.
        """
        if not isinstance(config, Mapping):
            raise ArgumentError(f"{cls.__name__}: a configuration is a dict of arguments, not {config!r}.")
        taken = inspect.signature(cls).parameters
        if "dtype" not in taken and not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
            # Keras 2 wrote one, and dropped it here.
            config = {key: value for key, value in config.items() if key != "dtype"}
        return construct(cls, (), config)

    def clone(self) -> Self:
        """Return an equal initializer."""
        return self.from_config(self.get_config())

    def _is_described(self) -> bool:
        """Whether the configuration tells all: it is there, or there is nothing to tell."""
        cls = type(self)
        return cls.get_config is not Initializer.get_config or cls.__init__ is object.__init__

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not self._is_described():
            return NotImplemented
        # By text, because 0.0 == -0.0 == False while the arrays that they fill differ.
        return repr(self.get_config()) == repr(other.get_config())

    def __hash__(self) -> int:
        return hash((type(self), repr(self.get_config()))) if self._is_described() else object.__hash__(self)

    def _shown(self) -> dict[str, Any]:
        """The arguments, as `repr` shows them."""
        return self.get_config()

    def __repr__(self) -> str:
        if not self._is_described():
            return object.__repr__(self)
        config = self._shown()
        arguments = []
        for parameter in inspect.signature(type(self)).parameters.values():
            if parameter.name in config and repr(config[parameter.name]) != repr(parameter.default):
                arguments.append(f"{parameter.name}={_source(config[parameter.name])}")
        return f"{type(self).__name__}({', '.join(arguments)})"


class RandomInitializer(Initializer):
    """Base class of the initializers that draw. See `Initializer` for `seed`."""

    seed: int | None

    def __init__(self, seed: Seed = None) -> None:
        self.seed = None if seed is None else check_seed(seed)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"seed": self.seed}

    def _draws(self) -> bool:
        return True

    def _check_windowable(self) -> None:
        if self.seed is None:
            raise SeedError(
                f"{self!r} has no seed, so its windows would come from different arrays; give it one, such as "
                f"{type(self).__name__}(seed=0)."
            )

    def _check_distribution(self) -> None:
        """Make the distribution once, so that unusable arguments are refused at construction."""
        try:
            self._distribution((), ARRAY_ORDER)
        except ArgumentError as error:
            raise ArgumentError(f"{type(self).__name__}: {error}") from None

    def _distribution(self, shape: Shape, layout: Layout) -> Distribution:
        """Return what an elementwise initializer draws."""
        raise SubclassError(f"{type(self).__name__} defines no distribution.")

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        distribution = self._distribution(shape, layout)
        if self.seed is not None:
            return draw(distribution, shape, layout, name, self.seed)
        if seed is not None:
            return draw(distribution, shape, layout, name, seed)
        # A fresh seed never comes back: leave the cache to those that do.
        return draw.__wrapped__(distribution, shape, layout, *unseeded(name))


@functools.lru_cache(maxsize=4096)
def draw(distribution: Distribution, shape: Shape, layout: Layout, name: str, seed: int) -> Draw:
    """Make the recipe of a draw, checking that the stream has a place for each element."""
    stream = Stream(name, seed)
    stream.words()
    layout.coordinates(shape)
    return Draw(distribution, shape, layout, stream)


def constant(distribution: ConstantValue, shape: Shape, layout: Layout) -> Draw:
    """Make the recipe of a constant. Uncached, because -0.0 and True would share entries with 0.0 and 1."""
    if layout.stated:
        layout.axes(shape)
    return Draw(distribution, shape, layout)


def construct(cls: type[T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """Call a class, telling which arguments it takes where these do not fit."""
    signature = inspect.signature(cls)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        parameters = ", ".join(
            name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"
            for name, parameter in signature.parameters.items()
        )
        raise ArgumentError(f"{cls.__name__}: {error}; it is called as {cls.__name__}({parameters}).") from None
    return cls(*args, **kwargs)


def real(owner: object, argument: str, value: object) -> float:
    """Read a scalar argument of an initializer as a float64.

    Raises:
        ArgumentError: it is no finite real number of rank 0.
    """
    number = float(scalar(owner, argument, value))
    if not math.isfinite(number):
        raise _no_number(owner, argument, value, "is not finite")
    return number


def scalar(owner: object, argument: str, value: object) -> float | int:
    """Read a scalar argument as a Python int or float; infinities pass, booleans do not."""
    kind = type(value)
    if kind is float or kind is int:
        number: Any = value
    else:
        shape = getattr(value, "shape", ())
        if isinstance(shape, tuple) and shape:
            raise _no_number(owner, argument, value, f"has shape {tuple(shape)!r}")
        try:
            number = value.item() if hasattr(value, "item") else value
            if isinstance(number, bool) or not hasattr(number, "__float__"):
                raise TypeError
            number = int(number) if isinstance(number, numbers.Integral) else float(number)
        except (TypeError, ValueError, OverflowError, RuntimeError):  # traced and meta tensors raise as they like
            raise _no_number(owner, argument, value, f"is a {kind.__name__}") from None
    try:
        if math.isnan(number):
            raise _no_number(owner, argument, value, "is not a number")
    except OverflowError:
        raise _no_number(owner, argument, value, "is beyond float64") from None
    return number  # type: ignore[no-any-return]  # an int or a float by now


def _no_number(owner: object, argument: str, value: object, problem: str) -> ArgumentError:
    name = type(owner).__name__
    return ArgumentError(f"{name}: {argument} must be one finite real number; {argument}={value!r} {problem}.")


def _source(value: object) -> str:
    """Write a literal that Python reads as this value."""
    return f"float('{value}')" if isinstance(value, float) and math.isinf(value) else repr(value)


def _shape(shape: Sequence[int]) -> Shape:
    """`check_shape`, remembered. By type as well, because (2.0,) == (2,) == (np.int64(2),)."""
    try:
        return _seen_shape(*shape) if isinstance(shape, tuple | list) else check_shape(shape)
    except TypeError:  # something unhashable
        return check_shape(shape)


@functools.lru_cache(maxsize=4096, typed=True)
def _seen_shape(*shape: int) -> Shape:
    return check_shape(shape)


@functools.lru_cache(maxsize=1024)
def _whole(shape: Shape) -> Window:
    return Window.whole(shape)
