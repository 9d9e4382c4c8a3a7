"""What the numbers are: the stream fanin-1 in scalar, pure Python, one value at a time.

This room is the law (docs/stream.md): an engine is right if and only if it equals it, bit for bit.
"""

from fanin.spec.identity import STREAM as STREAM
from fanin.spec.identity import identity as identity
from fanin.spec.identity import join_name as join_name
from fanin.spec.philox import words as words
from fanin.spec.rounding import FORMATS as FORMATS
from fanin.spec.rounding import from_bits as from_bits
from fanin.spec.rounding import round_bits as round_bits
from fanin.spec.variates import affine as affine
from fanin.spec.variates import normal as normal
from fanin.spec.variates import scaled as scaled
from fanin.spec.variates import uniform as uniform

__all__ = [
    "FORMATS",
    "STREAM",
    "affine",
    "from_bits",
    "identity",
    "join_name",
    "normal",
    "round_bits",
    "scaled",
    "uniform",
    "words",
]
