"""What this process has of a variable of Keras, as NumPy sees it."""

import importlib
from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from fanin import dtypes
from fanin.errors import OutputError
from fanin.models.arrays import Array, Part
from fanin.recipe import Window

__all__ = ["read"]


def read(array: Array) -> Sequence[Part]:
    """What is here of a variable, or of a tensor of a module of torch inside of a layer.

    Raises:
        OutputError: it has no value.
    """
    variable = array.handle
    value = variable._value if isinstance(variable, keras.Variable) else variable
    if value is None:
        raise OutputError(f"{array.name!r} has no value yet: it was never initialized.")
    backend = keras.backend.backend()
    found: Sequence[Part]
    if backend == "torch" or not isinstance(variable, keras.Variable):
        found = importlib.import_module("fanin.models.torch").read(replace(array, handle=value))
    elif backend == "jax":
        found = importlib.import_module("fanin.models.jax").read_shards(value, array.name)
    else:
        values = np.asarray(keras.ops.convert_to_numpy(value))
        found = [Part(Window.whole(array.shape), values.astype(dtypes.resolve(variable.dtype), copy=False))]
    return found
