"""Writing variables of Keras: in place where its backend has memory to write into, else one new tensor."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fanin import dtypes
from fanin.errors import OutputError
from fanin.initializers.outputs import aligned
from fanin.models.arrays import Array, Part
from fanin.models.arrays import write as write_parts
from fanin.recipe import Piece, Window

__all__ = ["check", "write"]


def check(array: Array) -> None:
    """Refuse a variable that cannot be written.

    Raises:
        OutputError: and why.
    """
    tensor = array.handle._value
    if keras.backend.backend() == "torch" and tensor is not None:
        _torch().check(tensor, array.name)


def write(array: Array, pieces: Iterable[Piece]) -> None:
    """Write what this process has of a variable, by the pieces that the whole is made of."""
    write_value = _WRITERS.get(keras.backend.backend(), _write_elsewhere)
    write_value(array, pieces)


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
    """One shard for each box of the array that some device here has, in memory that becomes an array as it is."""
    import jax

    variable, shape = array.handle, array.shape
    dtype = dtypes.resolve(variable.dtype)
    sharding = _sharding(variable)
    boxes = {Window.whole(shape)}
    if sharding is not None:
        boxes = {Window.of(shape, index) for index in sharding.addressable_devices_indices_map(shape).values()}
    memory = {box: aligned(box.shape, dtype) for box in boxes}
    write_parts(pieces, [Part(box, view) for box, view in memory.items()])
    if sharding is None:
        _set(variable, jax.device_put(memory[Window.whole(shape)]))
    else:
        _set(variable, jax.make_array_from_callback(shape, sharding, lambda index: memory[Window.of(shape, index)]))


def _sharding(variable: Any) -> Any:
    """Where the shards of a variable are; None for the device that is used by default."""
    import jax

    if variable._value is not None:
        return variable._value.sharding
    layout, distribution = variable._layout, keras.distribution.distribution()
    if layout is None and distribution is not None:
        layout = distribution.get_variable_layout(variable)
    layout = getattr(layout, "backend_layout", layout)
    return layout if isinstance(layout, jax.sharding.Sharding) else None


def _write_elsewhere(array: Array, pieces: Iterable[Piece]) -> None:
    view = aligned(array.shape, dtypes.resolve(array.handle.dtype))
    write_parts(pieces, [Part(Window.whole(array.shape), view)])
    _set(array.handle, keras.ops.convert_to_tensor(view, array.handle.dtype))


def _set(variable: Any, value: Any) -> None:
    """Give a variable its value, the first one where it had none."""
    if variable._value is None:
        variable._initialize(value)
        variable._initializer = None
    else:
        variable.assign(value)


_WRITERS: dict[str, Callable[[Array, Iterable[Piece]], None]] = {"jax": _write_jax, "torch": _write_torch}
