"""Rounding of host arrays and constants to the target dtype, once, to nearest even."""

import numpy as np

from fanin.dtypes import FLOATS, format_name
from fanin.errors import DTypeError
from fanin.spec import FORMATS, round_bits

_CARRIERS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def round_constant(value: float | int | bool, dtype: np.dtype) -> np.ndarray:
    """A 0-d array holding a value, rounded once from float64.

    Raises:
        DTypeError: an integer dtype does not hold the value.
    """
    name = format_name(dtype)
    if name is None:
        result = np.array(value).astype(dtype) if _is_integer(value, dtype) else None
        if result is None:
            raise DTypeError(f"{dtype.name} cannot hold {value!r}; use a floating-point dtype or an integer in range.")
        return result
    return np.array(round_bits(float(value), name), _CARRIERS[dtype.itemsize]).view(dtype)


def round_array(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array in another dtype, each value rounded once.

    Raises:
        DTypeError: a value is beyond the dtype's greatest, or no integer where the dtype is one.
    """
    if values.dtype == dtype:
        return values
    name = format_name(dtype)
    if name is None:
        with np.errstate(invalid="ignore"):
            result = values.astype(dtype)
        if not np.array_equal(result.astype(values.dtype), values):
            raise DTypeError(f"{dtype.name} cannot hold all of these {values.dtype.name} values without loss.")
        return result
    if values.dtype.name not in FLOATS:
        values = values.astype(np.float64)
    if values.size:
        greatest = FORMATS[name].greatest
        extreme = max(-float(values.min()), float(values.max()))
        if extreme > greatest:
            raise DTypeError(f"{extreme!r} is beyond {greatest!r}, the greatest {name}; use a wider dtype.")
    if values.dtype.itemsize == 8 and dtype.itemsize <= 2:
        values = _round_to_odd(values)
    return values.astype(dtype)


def _round_to_odd(values: np.ndarray) -> np.ndarray:
    """float64 to float32 such that a second rounding to 16 bits or fewer is as if it were the first.

    What is inexact becomes the neighbour whose last bit is set (Boldo and Melquiond 2008).
    """
    nearest = values.astype(np.float32)
    bits = nearest.view(np.int32)
    away = np.abs(nearest.astype(np.float64)) > np.abs(values)
    inexact = nearest != values
    return np.where(inexact, (bits - away) | 1, bits).astype(np.int32).view(np.float32)


def _is_integer(value: float | int | bool, dtype: np.dtype) -> bool:
    if value != int(value):
        return False
    if dtype.kind == "b":
        return value in (0, 1)
    info = np.iinfo(dtype)
    return bool(info.min <= value <= info.max)
