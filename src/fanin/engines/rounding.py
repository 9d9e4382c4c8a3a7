"""Rounding of host arrays and constants to the target dtype, once, to nearest even."""

import functools
from typing import NamedTuple

import numpy as np

from fanin.dtypes import FLOATS, format_name
from fanin.errors import DTypeError
from fanin.spec import FORMATS, from_bits, round_bits

_CARRIERS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def round_constant(value: float | int | bool, dtype: np.dtype) -> np.ndarray:
    """A 0-d array holding a value, rounded once from float64; an integer dtype holds it, as `check_range` saw to."""
    name = format_name(dtype)
    if name is None:
        return np.array(value).astype(dtype)
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


class Narrowing(NamedTuple):
    """How the bits of a float32 become those of a narrower format, for engines that round in integers.

    Attributes:
        bits: width of the format.
        drop: mantissa bits that a normal value loses.
        rebias: what to take from a magnitude's bits so that its exponent has the format's bias.
        subnormals: whether the format's subnormals are normal as float32.
        normal: the least exponent of a float32 whose value is normal in the format.
        most: mantissa bits that a subnormal loses beyond `drop`, at most: all that there are.
        last: bits of the greatest float32 that does not overflow.
        overflow: bits of the magnitude that overflow gives.
    """

    bits: int
    drop: int
    rebias: int
    subnormals: bool
    normal: int
    most: int
    last: int
    overflow: int


@functools.cache
def narrowing(name: str) -> Narrowing:
    """How a float32 becomes a format of 16 bits or fewer."""
    form = FORMATS[name]
    tie = form.greatest + (form.greatest - from_bits(round_bits(form.greatest, name) - 1, name)) / 2
    last = round_bits(tie, "float32") - (round_bits(tie, name) == form.overflow)
    drop = 23 - form.mantissa
    return Narrowing(
        form.bits, drop, (127 - form.bias) << 23, form.bias != 127, 128 - form.bias, 25 - drop, last, form.overflow
    )
