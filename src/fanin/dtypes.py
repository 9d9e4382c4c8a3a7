"""Data types: from what users write to a NumPy dtype, and whether a value fits."""

import functools

import ml_dtypes
import numpy as np

from fanin.errors import DTypeError
from fanin.spec import FORMATS

__all__ = ["FLOATS", "format_name", "resolve"]

FLOATS: dict[str, np.dtype] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NAMES = FLOATS | {name: np.dtype(name) for name in _INTEGERS}
_ALIASES = {"float": "float32", "half": "float16", "double": "float64", "single": "float32", "int": "int64"}


def resolve(dtype: object) -> np.dtype:
    """Turn a name, a NumPy, ml_dtypes, torch, JAX or Keras dtype, or None, into a NumPy dtype.

    None is float32. Names carry over from any library: ``torch.bfloat16`` is ``"bfloat16"``. So do
    NumPy's short texts, such as ``"f4"``.

    Raises:
        DTypeError: fanin writes no such dtype, or it has another byte order than this machine.

    >>> resolve("f2")
    dtype('float16')
    """
    try:
        hash(dtype)
    except TypeError:  # so it is no dtype of any library
        raise _unknown(dtype) from None
    return _resolve(dtype)


@functools.lru_cache(maxsize=128)
def _resolve(dtype: object) -> np.dtype:
    if dtype is None:
        return FLOATS["float32"]
    name = str(dtype if isinstance(dtype, str) else getattr(dtype, "name", dtype)).rpartition(".")[2]
    name = _ALIASES.get(name, name)
    if name in _NAMES and not isinstance(dtype, np.dtype):
        return _NAMES[name]
    try:
        read = np.dtype(dtype)  # type: ignore[call-overload]  # whatever NumPy can read as a dtype
    except (TypeError, ValueError, SyntaxError, Warning):  # texts that NumPy nearly reads raise the last two
        raise _unknown(dtype) from None
    if read.name not in _NAMES:
        raise _unknown(dtype)
    if not read.isnative:
        raise DTypeError(f"dtype {dtype!r} has another byte order than this machine; give {read.name!r}.")
    return _NAMES[read.name]


def _unknown(dtype: object) -> DTypeError:
    return DTypeError(f"unknown dtype {dtype!r}; fanin writes {', '.join(_NAMES)}.")


def format_name(dtype: np.dtype) -> str | None:
    """The name under which `FORMATS` has this dtype; None for integers and booleans."""
    return dtype.name if dtype.name in FORMATS else None
