"""How an element enters a fingerprint, one element at a time: docs/proof.md as scalar Python.

Everything is modulo 2**64. An element's place and value become one word, the word two words that
are well mixed, and a tensor's fingerprint is the sum of each over its elements.
"""

import math
import struct

__all__ = ["COLUMN", "MASK", "NAN", "ROW", "element", "mix", "payload", "second"]

MASK = 2**64 - 1

# The finalizer of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), with
# the constants of Stafford's variant 13.
FIRST = 0xBF58476D1CE4E5B9
THEN = 0x94D049BB133111EB
SECOND = 0xD6E8FEB86659FD93  # an odd constant of Jon Maiga's rrmxmx (2019)
ROW = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, rounded to odd
COLUMN = 0xD1B54A32D192ED03  # 2**64 / 1.2207..., the positive root of x**4 = x + 1, likewise
NAN = 0x7FF8000000000000  # every NaN enters as this one


def mix(z: int) -> int:
    """A bijection of 64-bit words after which each bit depends on all bits before."""
    z = (z ^ (z >> 30)) * FIRST & MASK
    z = (z ^ (z >> 27)) * THEN & MASK
    return z ^ (z >> 31)


def second(h: int) -> int:
    """The second lane's word, a bijection of the first lane's."""
    y = (h ^ (h >> 29)) * SECOND & MASK
    return y ^ (y >> 32)


def payload(value: float | int | bool) -> int:
    """The word of a value: the bits of the float64 that equals it.

    An integer that no float64 equals enters as its two's complement.
    """
    number = float(value)
    if isinstance(value, int) and int(number) != value:
        return value & MASK
    if math.isnan(number):
        return NAN
    return int.from_bytes(struct.pack("<d", number), "little")


def element(row: int, column: int, value: float | int | bool) -> tuple[int, int]:
    """What an element adds to the two lanes.

    Args:
        row: its logical row.
        column: its logical column.
        value: what it is, exactly.

    >>> [hex(lane) for lane in element(0, 0, 1.0)]
    ['0xd0b0fe62a9882ce3', '0x21fbc4a1fc027ce3']
    """
    key = (mix((row + ROW) & MASK) + mix((column + COLUMN) & MASK)) & MASK
    first = mix(payload(value) ^ key)
    return first, second(first)
