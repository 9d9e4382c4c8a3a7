"""Initializers of one's own: the recipe of any callable, and where its unseeded draws come from."""

import contextlib
import contextvars
import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fanin import dtypes
from fanin.errors import ArgumentError, LogicalNameError, ShapeError
from fanin.layouts import Shape
from fanin.recipe import Whole, check_seed

__all__ = ["check_name", "custom_recipe", "drawing", "entropy", "unseeded"]


def entropy() -> int:
    """Return a seed that comes from nowhere."""
    return secrets.randbits(64)


# Where seeds come from outside every `drawing`. While `fanin.keras` is installed it is Keras' own stream.
fresh: Callable[[], int] = entropy


@dataclass(slots=True)
class _Drawing:
    name: str
    seed: int
    calls: Iterator[int] = field(default_factory=itertools.count)


_active: contextvars.ContextVar[_Drawing | None] = contextvars.ContextVar("fanin_drawing", default=None)


@contextlib.contextmanager
def drawing(name: str, seed: int) -> Iterator[None]:
    r"""Make everything that is drawn without a seed, in this context, come from a name and a seed.

    Draw number n, counted from 0, takes the stream called ``name\#n``: a name that no path of a
    model has, since `fanin.spec.join_name` doubles every backslash. A thread started inside has a
    context of its own, and draws fresh values.

    Args:
        name: the logical name of the tensor that is being made.
        seed: 0 to 2**64 - 1.

    Raises:
        LogicalNameError, SeedError: they are no such name and seed.

    >>> from fanin import backend
    >>> with drawing("head.kernel", seed=7):
    ...     first = backend.random_normal((2, 2))
    >>> with drawing("head.kernel", seed=7):
    ...     bool((backend.random_normal((2, 2)) == first).all())
    True
    """
    token = _active.set(_Drawing(check_name(name), check_seed(seed)))
    try:
        yield
    finally:
        _active.reset(token)


def check_name(name: object) -> str:
    """Return a logical name that is a text.

    Raises:
        LogicalNameError: it is none.
    """
    if not isinstance(name, str):
        raise LogicalNameError(f"name must be a text, such as 'encoder.0.kernel', or None, not {name!r}.")
    return name


def unseeded(name: str) -> tuple[str, int]:
    """Return the stream's name and seed of a draw that was given no seed."""
    active = _active.get()
    if active is None:
        return name, fresh()
    return f"{active.name}\\#{next(active.calls)}", active.seed


def custom_recipe(function: Callable[..., Any], shape: Shape, name: str, seed: int | None, member: int = 0) -> Whole:
    r"""Return the recipe of an array that ``function(shape, dtype="float32")`` makes.

    What the function draws without a seed, by `fanin.backend` or `fanin.initializers`, comes from
    the name and the seed; of member k of an ensemble, from 1, the name is ``name\#member\k``, since the
    function sees no batch axis. A float64 that it returns is rounded to float32, as every value is.

    Raises:
        ArgumentError: the function returns no array of finite numbers (when the recipe is computed).
        ShapeError: it returns another shape.
    """
    seed = fresh() if seed is None else seed
    name = f"{name}\\#member\\{member}" if member else name

    def compute() -> np.ndarray:
        with drawing(name, seed):
            made = function(shape, dtype="float32")
        try:
            array = np.asarray(made)
            dtypes.resolve(array.dtype.newbyteorder("="))
        except (TypeError, ValueError, RuntimeError):  # NumPy, torch, and DTypeError
            raise ArgumentError(
                f"{function!r} made {type(made).__name__!r} for {name!r}; return an array of real numbers that NumPy "
                f"can read."
            ) from None
        if array.shape != shape:
            raise ShapeError(f"{function!r} made the shape {array.shape!r} for {name!r}; {shape!r} was asked for.")
        if array.dtype.name == "float64":
            with np.errstate(over="ignore"):  # told below
                array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ArgumentError(
                f"{function!r} made NaN, infinity or a number beyond float32 for {name!r}; return finite numbers."
            )
        return array

    return Whole(compute, shape)
