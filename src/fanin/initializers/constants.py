"""Initializers that draw nothing: zeros, ones, any constant, and the identity matrix."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from fanin.engines.rounding import round_array
from fanin.errors import ShapeError
from fanin.initializers.arrays import array, unpacked
from fanin.initializers.base import Initializer, constant, real, scalar
from fanin.layouts import Layout, Shape
from fanin.recipe import ConstantValue, Diagonal, Draw, Recipe, Whole

_ZERO, _ONE = ConstantValue(0), ConstantValue(1)


class Zeros(Initializer):
    """All zeros, in any dtype.

    >>> from fanin import initializers
    >>> initializers.Zeros()((2, 3), "int8")
    array([[0, 0, 0],
           [0, 0, 0]], dtype=int8)
    """

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        return constant(_ZERO, shape, layout)


class Ones(Initializer):
    """All ones, in any dtype.

    >>> from fanin import initializers
    >>> initializers.Ones()((3,))
    array([1., 1., 1.], dtype=float32)
    """

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        return constant(_ONE, shape, layout)


class Constant(Initializer):
    """One value everywhere, or an array broadcast to the shape.

    Args:
        value: a finite number, True or False; or an array (or nested lists) of them, not empty,
            whose shape broadcasts to every shape called for.

    Raises:
        ArgumentError: the value is none of these.
        ShapeError: the array does not broadcast to the shape (at the call).
        DTypeError: an integer dtype does not hold the value exactly (at the call).

    Exactness: the number as it is given, a float64 or an integer, rounded once to the dtype.

    Differs from Keras 3, which casts 0.5 to the integer 0.

    >>> from fanin import initializers
    >>> initializers.Constant([1.0, 2.0])((2, 2))
    array([[1., 2.],
           [1., 2.]], dtype=float32)
    """

    value: float | int | bool | np.ndarray

    def __init__(self, value: Any = 0) -> None:
        if isinstance(value, bool | np.bool_):
            self.value = bool(value)
        elif isinstance(value, list | tuple) or getattr(value, "shape", ()) != ():
            self.value = array(Constant, "value", value)
        elif getattr(getattr(value, "dtype", None), "kind", None) == "b":
            self.value = bool(value)
        else:
            number = scalar(self, "value", value)
            self.value = number if isinstance(number, int) else real(self, "value", number)

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        value = self.value
        if not isinstance(value, np.ndarray):
            return constant(ConstantValue(value), shape, layout)
        if layout.stated:
            layout.axes(shape)
        try:
            broadcast = np.broadcast_to(value, shape)
        except ValueError:
            raise ShapeError(
                f"Constant: value of shape {value.shape!r} does not broadcast to the shape {shape!r}."
            ) from None
        return Whole(lambda: broadcast, shape, windowable=True)

    def _check_computed(self, recipe: Whole, layout: Layout, dtype: np.dtype) -> None:
        round_array(np.asarray(self.value), dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer; an array as nested lists."""
        return {"value": self.value.tolist() if isinstance(self.value, np.ndarray) else self.value}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an initializer from what `get_config` returned, here or in Keras 3."""
        return super().from_config(unpacked(cls, config, "value"))


class Identity(Initializer):
    """The identity matrix times a gain; zeros beyond the square where it is rectangular.

    ``w[i, j] = gain if i == j else 0``, i and j the logical row and column.

    Args:
        gain: a finite number.

    Raises:
        ShapeError: the shape has not two axes (at the call).

    Exactness: the gain is a float64 rounded once to the dtype.

    References: Le, Jaitly, Hinton 2015, arXiv:1504.00941 (recurrent networks of ReLUs).

    >>> from fanin import initializers
    >>> initializers.Identity(gain=2.0)((2, 3))
    array([[2., 0., 0.],
           [0., 2., 0.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = real(self, "gain", gain)

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        if len(shape) != 2:
            raise ShapeError(f"Identity makes matrices, of rank 2; the shape {shape!r} has rank {len(shape)}.")
        layout.coordinates(shape)
        return Draw(Diagonal(self.gain), shape, replace(layout, member=0) if layout.member else layout)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"gain": self.gain}
