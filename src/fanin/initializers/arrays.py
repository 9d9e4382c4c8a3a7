"""Array arguments of initializers: reading them, and reading how Keras 3 serializes them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fanin import dtypes
from fanin.errors import ArgumentError

__all__ = ["array", "unpacked"]


def array(owner: type, argument: str, value: object) -> np.ndarray:
    """Read an array argument as booleans, integers or float64: its own copy, read-only.

    Raises:
        ArgumentError: it is no array of finite real numbers, or has no elements.
    """
    asked = f"{owner.__name__}: {argument}"
    try:
        result = np.asarray(value)
        dtype = dtypes.resolve(result.dtype.newbyteorder("="))
    except (TypeError, ValueError, RuntimeError):  # NumPy, torch, and DTypeError
        raise ArgumentError(f"{asked} must be an array of real numbers that NumPy can read, not {value!r}.") from None
    if result.size == 0:
        raise ArgumentError(f"{asked} has shape {result.shape!r}, and so no elements.")
    result = result.astype(np.float64 if dtype.name in dtypes.FLOATS else dtype)  # a copy in any case
    if not np.isfinite(result).all():
        raise ArgumentError(f"{asked} holds NaN or infinity; every element must be finite.")
    result.flags.writeable = False
    return result


def unpacked(owner: type, config: Mapping[str, Any], argument: str) -> Mapping[str, Any]:
    """Return a configuration in which an array that Keras 3 serialized is a plain list or number.

    Raises:
        ArgumentError: the argument is serialized in another way.
    """
    value = config.get(argument) if isinstance(config, Mapping) else None
    if not isinstance(value, Mapping):
        return config
    match value:
        case {"class_name": "__tensor__" | "__numpy__", "config": {"value": plain}}:
            return {**config, argument: plain}
    raise ArgumentError(f"{owner.__name__}: cannot read the serialized {argument}={value!r}; give a list or a number.")
