"""Rounding to the narrow formats, to nearest even, in integers.

Formats agree with ml_dtypes: float8_e4m3fn has no infinity and overflows to NaN.
"""

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format of 8 to 64 bits.

    Attributes:
        bits: width of a value.
        mantissa: explicit mantissa bits.
        bias: exponent bias.
        greatest: the greatest finite value.
        overflow: bits of the magnitude to which values beyond it round.
    """

    bits: int
    mantissa: int
    bias: int
    greatest: float
    overflow: int


FORMATS = {
    "float64": Format(64, 52, 1023, math.ldexp(2.0 - 2.0**-52, 1023), 0x7FF << 52),
    "float32": Format(32, 23, 127, math.ldexp(2.0 - 2.0**-23, 127), 0xFF << 23),
    "float16": Format(16, 10, 15, 65504.0, 0x1F << 10),
    "bfloat16": Format(16, 7, 127, math.ldexp(2.0 - 2.0**-7, 127), 0xFF << 7),
    "float8_e4m3fn": Format(8, 3, 7, 448.0, 0x7F),
    "float8_e5m2": Format(8, 2, 15, 57344.0, 0x1F << 2),
}


def round_bits(value: float, name: str) -> int:
    """Return the bit pattern of a finite float64 rounded once to a format, to nearest even.

    >>> hex(round_bits(0.1, "bfloat16"))
    '0x3dcd'
    >>> hex(round_bits(465.0, "float8_e4m3fn"))  # NaN: beyond the tie with the next power
    '0x7f'
    """
    form = FORMATS[name]
    sign = int(math.copysign(1.0, value) < 0) << (form.bits - 1)
    magnitude = abs(Fraction(value))
    if not magnitude:
        return sign
    exponent = max(math.frexp(value)[1] - 1, 1 - form.bias)
    quantum = Fraction(2) ** (exponent - form.mantissa)
    steps = round(magnitude / quantum)  # Python rounds halves to even
    if steps * quantum > Fraction(form.greatest):
        return sign | form.overflow
    # A carry out of the mantissa walks into the exponent by itself; a subnormal has exponent field 0.
    return sign | (steps + ((exponent + form.bias - 1) << form.mantissa))


def from_bits(bits: int, name: str) -> float:
    """Return the value of a bit pattern, as a float64."""
    form = FORMATS[name]
    sign = -1.0 if bits >> (form.bits - 1) else 1.0
    magnitude = bits & ((1 << (form.bits - 1)) - 1)
    if magnitude >= form.overflow:
        return math.nan if magnitude > form.overflow or name == "float8_e4m3fn" else sign * math.inf
    exponent, mantissa = magnitude >> form.mantissa, magnitude & ((1 << form.mantissa) - 1)
    if exponent:
        mantissa |= 1 << form.mantissa
    return sign * math.ldexp(mantissa, max(exponent, 1) - form.bias - form.mantissa)
