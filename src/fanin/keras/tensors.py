"""Tensors of Keras' backend, made from what `fanin.initializers` gives, and the arguments that are such tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers import Initializer
from fanin.initializers.outputs import aligned
from fanin.initializers.shardings import placement
from fanin.layouts import Shape
from fanin.models.keras import of_tensorflow
from fanin.recipe import Draw, check_shape

__all__ = ["plain", "tensor", "unconverted"]


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
    make = _MAKERS.get(keras.backend.backend())
    if make is None:
        return keras.ops.convert_to_tensor(initializer(shape, name), name)
    return make(initializer(shape, name, out=aligned(check_shape(shape), name)), name)


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


def _of_tensorflow(array: np.ndarray, dtype: str) -> Any:
    import tensorflow as tf

    if not (tf.executing_eagerly() or tf.inside_function()) or _creating_variable():
        return tf.constant(array)
    # In a function that is traced too: a tensor is handed to its graph, of which an array would be a constant.
    with tf.init_scope():
        return of_tensorflow(array)


def _creating_variable() -> bool:
    """Whether a function that TensorFlow traces is making a variable, whose first value it takes out of the graph.

    It cannot where that value is a tensor from outside and the function is compiled by XLA or maps a data set. The
    constant does not stay: the function is traced once more when its variables are there.
    """
    import tensorflow as tf

    scope: str = tf.get_current_name_scope()  # nothing else tells, and a wrong guess costs no more than a constant
    return bool(tf.inside_function()) and scope.rpartition("/")[2].startswith("Initializer")


_MAKERS: dict[str, Callable[[np.ndarray, str], Any]] = {
    "jax": _of_jax,
    "tensorflow": _of_tensorflow,
    "torch": _of_torch,
}


def unconverted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that TensorFlow's AutoGraph leaves as it is, rather than rewrite it and all that it calls."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    wrapped: Callable[..., Any] = tf.autograph.experimental.do_not_convert(function)
    return wrapped


def plain(value: Any) -> Any:
    """Return an argument that NumPy can read, which it cannot where a tensor of torch is on a GPU or has a gradient."""
    return value.detach().cpu() if keras.ops.is_tensor(value) and hasattr(value, "detach") else value
