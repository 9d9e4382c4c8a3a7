"""Tensors of Keras' backend, made from what `fanin.initializers` gives, and the arguments that are such tensors."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fanin import dtypes
from fanin.errors import ArgumentError
from fanin.initializers import Initializer, outputs
from fanin.initializers.shardings import placement
from fanin.layouts import Shape
from fanin.recipe import Draw, check_shape

__all__ = ["plain", "tensor"]

_ALIGNMENT = 64  # bytes; jaxlib's least for memory that it does not own


def tensor(initializer: Initializer, shape: Sequence[int], dtype: object, layout: object) -> Any:
    """Return the values of an initializer as a tensor of the backend.

    Args:
        initializer: of `fanin.initializers`.
        shape: of the tensor.
        dtype: as Keras writes it; None is `keras.config.floatx()`.
        layout: a sharding of JAX or Keras' `TensorLayout` of one, or None.
    """
    name: str = keras.backend.standardize_dtype(dtype)
    if layout is not None:
        if placement(layout) is None:
            raise ArgumentError(
                f"layout={layout!r} is no sharding of JAX. What Keras calls a layout is where a tensor is to be; a "
                f"layout of fanin's, such as 'o i', is taken by fanin.initializers."
            )
        return _distributed(initializer, check_shape(shape), name, layout)
    backend = keras.backend.backend()
    if backend == "jax":
        return _of_jax(initializer(shape, name, out=_aligned(shape, name)), name)
    array = initializer(shape, name)
    return _of_torch(array, name) if backend == "torch" else keras.ops.convert_to_tensor(array, name)


def _distributed(initializer: Initializer, shape: Shape, dtype: str, layout: Any) -> Any:
    import jax

    sharding = getattr(layout, "backend_layout", layout)
    placed = True
    if isinstance(getattr(sharding, "mesh", None), jax.sharding.AbstractMesh):  # Keras names the devices in a context
        mesh = jax.sharding.get_mesh()
        placed = not mesh.empty
        if placed:
            mesh = jax.sharding.Mesh(mesh.devices, mesh.axis_names, axis_types=sharding.mesh.axis_types)
            sharding = jax.sharding.NamedSharding(mesh, sharding.spec)
    drawn = isinstance(initializer.recipe(shape), Draw)  # anything else would be computed whole for every shard
    if not placed or not drawn or sharding.is_fully_replicated:
        return initializer(shape, dtype, layout=layout)
    return jax.make_array_from_callback(shape, sharding, lambda part: initializer.window(shape, part, dtype))


def _aligned(shape: Sequence[int], dtype: str) -> np.ndarray:
    """Return memory that JAX can use as it is."""
    whole, resolved = check_shape(shape), dtypes.resolve(dtype)
    size = math.prod(whole) * resolved.itemsize
    memory = outputs.allocated((size + _ALIGNMENT,), "uint8")
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(resolved).reshape(whole)


def _of_jax(array: np.ndarray, dtype: str) -> Any:
    import jax

    # Keras' own conversion copies. It follows for what JAX does not hold, and says so: float64 without x64.
    return keras.ops.convert_to_tensor(jax.device_put(array), dtype)


def _of_torch(array: np.ndarray, dtype: str) -> Any:
    import torch

    # Keras' own conversion copies once more, and torch reads no dtype of ml_dtypes: hand the bits over.
    native: torch.dtype = getattr(torch, dtype)
    bits = array.view(f"i{array.itemsize}") if native.is_floating_point else array
    return keras.ops.convert_to_tensor(torch.from_numpy(bits).view(native))


def plain(value: Any) -> Any:
    """Return an argument that NumPy can read, which it cannot where a tensor of torch is on a GPU or has a gradient."""
    return value.detach().cpu() if keras.ops.is_tensor(value) and hasattr(value, "detach") else value
