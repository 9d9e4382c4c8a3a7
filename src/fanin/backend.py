"""Functions for initializers of one's own, under the names of Keras' backend; they return NumPy arrays.

A custom initializer is any callable ``f(shape, dtype=None)``::

    from fanin import backend as K

    def my_init(shape, dtype=None):
        return K.random_normal(shape, dtype=dtype)

Called by a plan, such a function draws from the plan: what has no seed, of this module or of
`fanin.initializers`, takes its values from the plan's seed, the name of the tensor and the number
of the call (see `drawing`), so that every process sees the same. Otherwise they are fresh.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers import Constant, Identity, Ones, RandomNormal, RandomUniform, TruncatedNormal, Zeros
from fanin.initializers.base import Seed
from fanin.initializers.custom import drawing

__all__ = [
    "cast_to_floatx",
    "constant",
    "drawing",
    "eye",
    "floatx",
    "ones",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "zeros",
]


def random_normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: object = None, seed: Seed = None
) -> np.ndarray:
    """Draw a normal; see `fanin.initializers.RandomNormal`.

    Args:
        shape: of the result.
        mean: of the distribution.
        stddev: its standard deviation.
        dtype: of the result; None is float32.
        seed: 0 to 2**64 - 1; None draws from the plan that is calling, or fresh values.
    """
    return RandomNormal(mean, stddev, seed)(shape, dtype)


def random_uniform(
    shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, dtype: object = None, seed: Seed = None
) -> np.ndarray:
    """Draw uniformly from [minval, maxval); see `fanin.initializers.RandomUniform`.

    Args:
        shape: of the result.
        minval: the lower end of the interval.
        maxval: the upper end, not drawn.
        dtype: of the result; None is float32.
        seed: 0 to 2**64 - 1; None draws from the plan that is calling, or fresh values.
    """
    return RandomUniform(minval, maxval, seed)(shape, dtype)


def truncated_normal(
    shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, dtype: object = None, seed: Seed = None
) -> np.ndarray:
    """Draw a normal cut at 2 standard deviations from its mean; see `fanin.initializers.TruncatedNormal`.

    Args:
        shape: of the result.
        mean: of the distribution before the cut.
        stddev: its standard deviation before the cut.
        dtype: of the result; None is float32.
        seed: 0 to 2**64 - 1; None draws from the plan that is calling, or fresh values.
    """
    return TruncatedNormal(mean, stddev, seed)(shape, dtype)


def constant(
    value: Any, dtype: object = None, shape: Sequence[int] | None = None, name: str | None = None
) -> np.ndarray:
    """Return an array of a value, or of an array broadcast to a shape.

    Args:
        value: a number, or an array.
        dtype: of the result; None is float32.
        shape: of the result; None is that of the value.
        name: unused, as in Keras.
    """
    return Constant(value)(np.shape(value) if shape is None else shape, dtype)


def zeros(shape: Sequence[int], dtype: object = None, name: str | None = None) -> np.ndarray:
    """Return zeros of a shape. The name is unused, as in Keras."""
    return Zeros()(shape, dtype)


def ones(shape: Sequence[int], dtype: object = None, name: str | None = None) -> np.ndarray:
    """Return ones of a shape. The name is unused, as in Keras."""
    return Ones()(shape, dtype)


def eye(size: int | Sequence[int], dtype: object = None, name: str | None = None) -> np.ndarray:
    """Return an identity matrix.

    Args:
        size: the number of rows and columns, or a pair of both.
        dtype: of the result; None is float32.
        name: unused, as in Keras.

    >>> eye(2)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return Identity()(size if isinstance(size, Sequence | np.ndarray) else (size, size), dtype)


def floatx() -> str:
    """Return the dtype that stands in for None: ``"float32"``, always."""
    return "float32"


def cast_to_floatx(x: Any) -> np.ndarray:
    """Return an array in float32.

    Raises:
        ArgumentError: it is no array of real numbers.
    """
    try:
        return np.asarray(x, dtype=np.float32)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # NumPy and torch
        raise ArgumentError(f"cast_to_floatx: {x!r} is no array of real numbers that NumPy can read.") from None
