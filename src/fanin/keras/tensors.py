"""Tensors of Keras' backend, made from what `fanin.initializers` gives, and the arguments that are such tensors."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers import Initializer
from fanin.initializers.shardings import placement

__all__ = ["plain", "tensor"]


def tensor(initializer: Initializer, shape: Sequence[int], dtype: object, layout: object) -> Any:
    """Return the values of an initializer as a tensor of the backend.

    Args:
        initializer: of `fanin.initializers`.
        shape: of the tensor.
        dtype: as Keras writes it; None is `keras.config.floatx()`.
        layout: a sharding of JAX or Keras' `TensorLayout` of one, or None.
    """
    name: str = keras.backend.standardize_dtype(dtype)
    if layout is None:
        return _converted(initializer(shape, name), name)
    if placement(layout) is None:
        raise ArgumentError(
            f"layout={layout!r} is no sharding of JAX. What Keras calls a layout is where a tensor is to be; a layout "
            f"of fanin's, such as 'o i', is taken by fanin.initializers."
        )
    return initializer(shape, name, layout=layout)  # type: ignore[arg-type]  # a sharding, which Keras names so


def _converted(array: np.ndarray, dtype: str) -> Any:
    if keras.backend.backend() != "torch":
        return keras.ops.convert_to_tensor(array, dtype)
    import torch

    # Keras' own conversion copies once more, and torch reads no dtype of ml_dtypes: hand the bits over.
    native: torch.dtype = getattr(torch, dtype)
    bits = array.view(f"i{array.itemsize}") if native.is_floating_point else array
    return keras.ops.convert_to_tensor(torch.from_numpy(bits).view(native))


def plain(value: Any) -> Any:
    """Return an argument that NumPy can read, which it cannot where a tensor of torch is on a GPU or has a gradient."""
    return value.detach().cpu() if keras.ops.is_tensor(value) and hasattr(value, "detach") else value
