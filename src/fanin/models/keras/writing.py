"""Writing variables of Keras: in place where its backend has memory to write into, else as one new tensor.

A variable that was made in a `keras.StatelessScope` has no value yet. It gets the one that is written,
and its own initializer is never called.
"""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from fanin import dtypes
from fanin.errors import OutputError
from fanin.initializers.outputs import aligned
from fanin.models.arrays import Array, Part
from fanin.models.arrays import write as write_parts
from fanin.models.keras.tensors import of_tensorflow
from fanin.recipe import Piece, Window

__all__ = ["check", "finish", "write"]


def check(array: Array) -> None:
    """Refuse a variable that cannot be written, here or at all.

    Raises:
        OutputError: and why.
    """
    if global_state.get_global_attribute("stateless_scope") is not None:
        raise OutputError(
            f"{array.name!r} cannot be written in a keras.StatelessScope, which keeps variables as they are; apply the "
            f"plan outside of it."
        )
    traced = _TRACED.get(keras.backend.backend())
    if traced is not None and traced():
        raise OutputError(
            f"{array.name!r} cannot be written by a function that is being traced; apply the plan before."
        )
    tensor = array.handle._value if isinstance(array.handle, keras.Variable) else array.handle
    if tensor is not None and keras.backend.backend() == "torch":
        _torch().check(tensor, array.name)


def _traced_by_jax() -> bool:
    return bool(importlib.import_module("fanin.models.jax").in_trace())


def _traced_by_tensorflow() -> bool:
    import tensorflow as tf

    return bool(tf.inside_function())


def write(array: Array, pieces: Iterable[Piece]) -> None:
    """Write what this process has of a variable, by the pieces that the whole is made of."""
    if isinstance(array.handle, keras.Variable):
        _WRITERS.get(keras.backend.backend(), _write_elsewhere)(array, pieces)
    else:
        _torch().write(array, pieces)


def finish(model: Any, layers: Iterable[Any]) -> None:
    """Bring the rest of a model up to date with what has been written.

    Args:
        model: whose weights have been.
        layers: all that there are in it.
    """
    for layer in layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its mean and variance
    pending = global_state.get_global_attribute("uninitialized_variables")
    if pending:
        # Seeds of dropout, and what only= left out: as Keras does at the end of a scope, which would raise if it
        # found variables that have a value.
        for variable in (*model.variables, *model.metrics_variables):
            if variable._value is None:
                variable._deferred_initialize()
        pending[:] = [variable for variable in pending if variable._value is None]


def _torch() -> Any:
    return importlib.import_module("fanin.models.torch")


def _write_torch(array: Array, pieces: Iterable[Piece]) -> None:
    variable = array.handle
    if variable._value is None:
        tensor = keras.ops.empty(array.shape, variable.dtype)
        _torch().write(replace(array, handle=tensor), pieces)
        _set(variable, tensor)
    else:
        _torch().write(replace(array, handle=variable._value), pieces)


def _write_jax(array: Array, pieces: Iterable[Piece]) -> None:
    import jax

    variable = array.handle
    dtype = np.dtype(jax.dtypes.canonicalize_dtype(dtypes.resolve(variable.dtype)))  # no float64 without x64
    made = importlib.import_module("fanin.models.jax").made
    _set(variable, made(pieces, array.shape, dtype, _sharding(variable)))


def _sharding(variable: Any) -> Any:
    """Where the shards of a variable are; None for the device that is used by default."""
    import jax

    if variable._value is not None:
        return variable._value.sharding
    layout, distribution = getattr(variable, "_layout", None), keras.distribution.distribution()
    if layout is None and distribution is not None:
        layout = distribution.get_variable_layout(variable)
    layout = getattr(layout, "backend_layout", layout)
    return layout if isinstance(layout, jax.sharding.Sharding) else None


def _write_tensorflow(array: Array, pieces: Iterable[Piece]) -> None:
    _set(array.handle, of_tensorflow(_written(array, pieces)))


def _write_elsewhere(array: Array, pieces: Iterable[Piece]) -> None:
    _set(array.handle, keras.ops.convert_to_tensor(_written(array, pieces), array.handle.dtype))


def _written(array: Array, pieces: Iterable[Piece]) -> np.ndarray:
    view = aligned(array.shape, dtypes.resolve(array.handle.dtype))
    write_parts(pieces, [Part(Window.whole(array.shape), view)])
    return view


def _set(variable: Any, value: Any) -> None:
    """Give a variable its value, the first one where it had none."""
    if variable._value is None:
        variable._initialize(value)
        variable._initializer = None
    else:
        variable.assign(value)


_TRACED: dict[str, Callable[[], bool]] = {"jax": _traced_by_jax, "tensorflow": _traced_by_tensorflow}
_WRITERS: dict[str, Callable[[Array, Iterable[Piece]], None]] = {
    "jax": _write_jax,
    "tensorflow": _write_tensorflow,
    "torch": _write_torch,
}
