"""The Numba kernel of fingerprints: docs/proof.md over memory, equal to `fanin.proof.mixing`."""

import numpy as np

from fanin.engines.compilation import compiled, inlined
from fanin.proof.mixing import FIRST, NAN, SECOND, THEN
from fanin.proof.payloads import DOUBLES, SINGLES, TABLE

_FIRST, _THEN, _SECOND, _NAN = np.uint64(FIRST), np.uint64(THEN), np.uint64(SECOND), np.uint64(NAN)
_27, _29, _30, _31, _32 = np.uint64(27), np.uint64(29), np.uint64(30), np.uint64(31), np.uint64(32)
_MAGNITUDE, _INFINITY = np.uint64(0x7FFFFFFFFFFFFFFF), np.uint64(0x7FF0000000000000)


@inlined
def _mix(z):
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _THEN
    return z ^ (z >> _31)


@inlined
def _second(h):
    y = (h ^ (h >> _29)) * _SECOND
    return y ^ (y >> _32)


@inlined
def _word(value):
    bits = np.float64(value).view(np.uint64)
    return _NAN if (bits & _MAGNITUDE) > _INFINITY else bits


@compiled
def lanes(values, kind, table, outer_keys, outer_offsets, inner_keys, inner_offsets, contiguous):
    """Sum both lanes over ``values[outer_offsets[i] + inner_offsets[j]]``, keyed by the sum of the two keys.

    Which of the two runs over rows and which over columns is the same to a sum of keys.
    """
    first = np.uint64(0)
    then = np.uint64(0)
    count = len(inner_keys)
    for i in range(len(outer_keys)):
        key = outer_keys[i]
        start = outer_offsets[i]
        if contiguous:
            run = values[start : start + count]  # an index that could be negative keeps a loop from being vectorized
            if kind in (SINGLES, DOUBLES):
                for j in range(count):
                    h = _mix(_word(run[j]) ^ (key + inner_keys[j]))
                    first += h
                    then += _second(h)
            elif kind == TABLE:
                for j in range(count):
                    h = _mix(table[np.uint64(run[j])] ^ (key + inner_keys[j]))
                    first += h
                    then += _second(h)
            else:
                for j in range(count):
                    h = _mix(np.uint64(run[j]) ^ (key + inner_keys[j]))
                    first += h
                    then += _second(h)
        else:
            for j in range(count):
                value = values[start + inner_offsets[j]]
                if kind in (SINGLES, DOUBLES):
                    word = _word(value)
                elif kind == TABLE:
                    word = table[np.uint64(value)]
                else:
                    word = np.uint64(value)
                h = _mix(word ^ (key + inner_keys[j]))
                first += h
                then += _second(h)
    return first, then


@compiled
def keys(numbers, constant, result):
    """The keys of rows or columns."""
    for i in range(len(numbers)):
        result[i] = _mix(np.uint64(numbers[i]) + constant)
