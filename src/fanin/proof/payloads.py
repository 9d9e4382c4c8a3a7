"""Arrays of any dtype as what the sums take: values as they are, words, or numbers of entries in a table of words."""

import functools
from typing import NamedTuple

import numpy as np

from fanin.dtypes import FLOATS
from fanin.proof.mixing import NAN

__all__ = ["DOUBLES", "SINGLES", "TABLE", "WORDS", "Payloads", "payloads", "words"]

WORDS, DOUBLES, SINGLES, TABLE = range(4)  # what an array holds: finished words, float64, float32, or entries' numbers

_NO_TABLE = np.zeros(1, np.uint64)
_NARROW = 2  # bytes up to which all values of a dtype fit a table
_EXACT = 2**53  # up to which every integer is a float64


class Payloads(NamedTuple):
    """An array as kernels read it.

    Attributes:
        values: of the shape and the strides of the array, where it is not of words.
        kind: what they are.
        table: the words, where they are numbers of entries.
    """

    values: np.ndarray
    kind: int
    table: np.ndarray


def payloads(values: np.ndarray) -> Payloads:
    """See an array as kernels can read it, without a copy where its dtype allows that."""
    dtype = values.dtype
    if dtype == np.float32:
        return Payloads(values, SINGLES, _NO_TABLE)
    if dtype == np.float64:
        return Payloads(values, DOUBLES, _NO_TABLE)
    if dtype.itemsize <= _NARROW:
        return Payloads(values.view(f"u{dtype.itemsize}"), TABLE, _table(dtype))
    return Payloads(words(values), WORDS, _NO_TABLE)


@functools.cache
def _table(dtype: np.dtype) -> np.ndarray:
    """The words of all values of a dtype, by their bits."""
    if dtype == np.bool_:  # two bit patterns, which its own view would not take beyond
        return words(np.array([False, True] + [True] * 254))
    return words(np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}").view(dtype))


def words(values: np.ndarray) -> np.ndarray:
    """The word of each value: the bits of the float64 that equals it, one NaN for all, or an integer's own bits."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        doubles = values.astype(np.float64)
        large = (values > _EXACT) if values.dtype.kind == "u" else (values > _EXACT) | (values < -_EXACT)
        found = doubles.view(np.uint64)
        if large.any():
            found = np.where(large & ~_equals(doubles, values), values.view(np.uint64), found)
        return found
    with np.errstate(invalid="ignore"):
        found = values.astype(np.float64).view(np.uint64)
    if values.dtype in FLOATS.values():
        found[np.isnan(found.view(np.float64))] = NAN
    return found


def _equals(doubles: np.ndarray, integers: np.ndarray) -> np.ndarray:
    """Whether a float64 equals an integer: only one of 2**63 or 2**64, to which some round, is no such integer."""
    beyond = float(np.iinfo(integers.dtype).max) + 1.0
    inside = doubles < beyond
    back = np.where(inside, doubles, 0.0).astype(integers.dtype)
    return np.asarray(inside & (back == integers))
