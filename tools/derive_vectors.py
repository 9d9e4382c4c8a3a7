"""Derives the recorded answers of the stream `fanin-1` from docs/stream.md and docs/layouts.md alone.

The package is never imported: this is a second reading of the same two pages, in exact rational arithmetic wherever
they do not ask for float64. Section numbers below are those of docs/stream.md.

    python tools/derive_vectors.py             writes src/fanin/vectors/*.txt
    python tools/derive_vectors.py --check     derives them again, compares, and exits 1 on any difference
"""

import argparse
import hashlib
import itertools
import json
import math
import re
import struct
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).resolve().parent.parent / "src" / "fanin" / "vectors"
MASK = 0xFFFFFFFF
INFINITY = math.inf


# Section 7: formats and rounding. A finite number is a sign and a Fraction, because a Fraction has no -0.


class Format(NamedTuple):
    """A binary format: its pattern's bits, its fraction's bits, its lowest exponent, and what overflow gives."""

    width: int
    fraction: int
    lowest: int
    overflow: int

    def encode(self, magnitude: Fraction, negative: bool = False) -> int:
        """The pattern of the number nearest to a finite one, the even one of two."""
        exponent = max(floor_log2(magnitude), self.lowest) if magnitude else self.lowest
        # round() of a Fraction is to nearest even; the implicit bit of the significand adds one to the exponent's field
        significand = round(magnitude / power(exponent - self.fraction))
        pattern = ((exponent - self.lowest) << self.fraction) + significand
        return min(pattern, self.overflow) | (negative << (self.width - 1))

    def decode(self, pattern: int) -> tuple[Fraction, bool]:
        """The magnitude of a finite pattern, and whether its sign is set."""
        negative, pattern = divmod(pattern, 1 << (self.width - 1))
        field, significand = divmod(pattern, 1 << self.fraction)
        if field:
            field, significand = field - 1, significand + (1 << self.fraction)
        return significand * power(self.lowest + field - self.fraction), bool(negative)


FORMATS = {
    "float64": Format(64, 52, -1022, 0x7FF0000000000000),
    "float32": Format(32, 23, -126, 0x7F800000),
    "float16": Format(16, 10, -14, 0x7C00),
    "bfloat16": Format(16, 7, -126, 0x7F80),
    "float8_e4m3fn": Format(8, 3, -6, 0x7F),  # no infinity: the pattern after the greatest value is NaN
    "float8_e5m2": Format(8, 2, -14, 0x7C),
}
SINGLE = FORMATS["float32"]
DOUBLE = FORMATS["float64"]


def power(exponent: int) -> Fraction:
    """Two to the exponent."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def floor_log2(value: Fraction) -> int:
    """The largest e with 2^e <= value."""
    estimate = value.numerator.bit_length() - value.denominator.bit_length()
    return estimate if power(estimate) <= value else estimate - 1


def single(number: Fraction | float) -> Fraction:
    """A number rounded to float32, as the exact value of that float32."""
    number = Fraction(number)
    magnitude, _ = SINGLE.decode(SINGLE.encode(abs(number)))
    return -magnitude if number < 0 else magnitude


def single_bits(number: Fraction) -> int:
    """The pattern of a number rounded to float32; zero has no sign."""
    return SINGLE.encode(abs(number), number < 0)


def double(number: Fraction) -> float:
    """A number rounded to float64."""
    return struct.unpack("<d", struct.pack("<Q", DOUBLE.encode(abs(number), number < 0)))[0]


def recast(bits: int, dtype: str) -> int:
    """The pattern in a dtype of the float32 with the given pattern."""
    return FORMATS[dtype].encode(*SINGLE.decode(bits))


# Section 2: words.

PUBLISHED = (  # Random123's kat_vectors
    "00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd",
    "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1",
)


def philox(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]:
    """The four words of the block of a counter."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def mulhi(a: int, b: int) -> int:
    """The upper half of the 64-bit product of two uint32."""
    if not (0 <= a <= MASK and 0 <= b <= MASK):
        raise ValueError(f"{a} and {b} are not both uint32")
    return a * b >> 32


# Section 3: identity.


def identity(name: str, seed: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The key of a tensor, and the counter's words 2 and 3."""
    data = unicodedata.normalize("NFC", name).encode()
    n = struct.unpack("<4I", hashlib.blake2b(data, digest_size=16, person=b"fanin-1".ljust(16, b"\0")).digest())
    return (n[0] ^ (seed >> 32), n[1] ^ (seed & MASK)), (n[2], n[3])


def joined(path: Sequence[str | int]) -> str:
    """The name of a path."""
    return ".".join(re.sub(r"[\\./]", lambda match: "\\" + match[0], str(component)) for component in path)


# Section 4 and layouts.md: coordinates.


class Axis(NamedTuple):
    """An axis of an array: where it is, its size, its role, its place among merging axes, and its direction."""

    place: int
    size: int
    role: str
    number: int = 0
    flipped: bool = False

    def coordinate(self, index: Sequence[int]) -> int:
        """The index along this axis, counted from its logical start."""
        return self.size - 1 - index[self.place] if self.flipped else index[self.place]


MARK = re.compile(r"(?P<star>\*?)(?P<flip>~?)(?P<role>[bkio])(?P<number>\d*)(/\d+)?")


def axes(shape: Sequence[int], layout: str) -> list[Axis]:
    """The axes of an array under a layout, in array order."""
    matches = [match for match in map(MARK.fullmatch, layout.split()) if match]
    rest = len(shape) - sum(not match["star"] for match in matches)
    spread = [match for match in matches for _ in range(rest if match["star"] else 1)]
    return [
        Axis(place, size, match["role"], int(match["number"] or 0), bool(match["flip"]))
        for place, (size, match) in enumerate(zip(shape, spread, strict=True))
    ]


def canonical(shape: Sequence[int], layout: str | None) -> list[list[Axis]]:
    """The canonical axes, each the array's axes that merge into it, outermost first."""
    if layout is None:
        return [[Axis(place, size, "")] for place, size in enumerate(shape)]
    found = axes(shape, layout)
    groups = [[axis] for role in "bk" for axis in found if axis.role == role]
    for role in "io":
        groups.append(sorted((axis for axis in found if axis.role == role), key=lambda axis: axis.number))
    return [group for group in groups if group]


def merged(group: Sequence[Axis], index: Sequence[int]) -> int:
    """The C-order index over some axes."""
    total = 0
    for axis in group:
        total = total * axis.size + axis.coordinate(index)
    return total


def row_and_column(groups: Sequence[Sequence[Axis]], index: Sequence[int]) -> tuple[int, int]:
    """Where an array's element is among the canonical rows and columns."""
    *others, last = groups or [[]]
    return merged([axis for group in others for axis in group], index), merged(last, index)


# Section 6: tables.

REACH = Fraction(850666285, 1 << 27)
BITS = 700  # of fixed point: the series below has terms up to 2^141, and Phi(-14) is 2^-147


def arctangent_of_inverse(n: int) -> int:
    """The arc tangent of 1 / n in fixed point."""
    term, total, k = (1 << BITS) // n, 0, 1
    while term:
        total += term // k
        term //= -(n * n)
        k += 2
    return total


@cache
def root_of_two_pi() -> int:
    """The square root of two pi in fixed point, pi by Machin's formula."""
    pi = 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))
    return math.isqrt(2 * pi << BITS)


@cache
def distribution(x: Fraction | float) -> Fraction:
    """Phi(x), in error by less than 2^-500: 1/2 + (x - x^3 / (2 3) + x^5 / (2^2 2! 5) - ...) / sqrt(2 pi)."""
    if x in (-INFINITY, INFINITY):
        return Fraction(int(x > 0))
    square = int(Fraction(x) ** 2 * (1 << BITS))
    term, total, n = int(Fraction(x) * (1 << BITS)), 0, 0
    while term:
        total += term // (2 * n + 1)
        n += 1
        term = -term * square // ((2 * n) << BITS)
    return Fraction(1, 2) + Fraction(total, root_of_two_pi())


def certain(number: Fraction) -> float:
    """A probability in error by less than 2^-500, rounded to float64."""
    rounded = double(number)
    if number not in (0, 1) and {double(number - power(-500)), double(number + power(-500))} != {rounded}:
        raise ArithmeticError("too close to a tie")
    return rounded


# PPND16 in Wichura, "Algorithm AS 241", from the constant up.
A = (
    3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
    4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3,
)  # fmt: skip
B = (
    1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
    2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3,
)  # fmt: skip
C = (
    1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
    1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4,
)  # fmt: skip
D = (
    1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
    1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
)  # fmt: skip
E = (
    6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
    2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7,
)  # fmt: skip
F = (
    1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
    7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15,
)  # fmt: skip
LOGARITHM = tuple(1 / n for n in range(3, 26, 2))
ROOT_OF_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
LOG_OF_TWO = float.fromhex("0x1.62e42fefa39efp-1")


def horner(coefficients: Sequence[float], x: float) -> float:
    """A polynomial in float64, its coefficients given from the constant up."""
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def log(x: float) -> float:
    """The logarithm that step 3 prescribes."""
    m, n = math.frexp(x)
    if m < ROOT_OF_HALF:
        m, n = m * 2, n - 1
    s = (m - 1) / (m + 1)
    g = s * s
    return n * LOG_OF_TWO + (2 * s + (2 * s) * (horner(LOGARITHM, g) * g))


def quantile(lower: float, upper: float) -> float:
    """The curve at a probability, given it and its complement."""
    q = min(lower, upper)
    d = 0.5 - q
    if d <= 0.425:
        r = 0.180625 - d * d
        z = (d * horner(A, r)) / horner(B, r)
    else:
        r = math.sqrt(-log(q))
        z = horner(C, r - 1.6) / horner(D, r - 1.6) if r <= 5 else horner(E, r - 5) / horner(F, r - 5)
    return -z if lower <= upper else z


def tidied(bounds: tuple[float | None, float | None]) -> tuple[Fraction | float, Fraction | float]:
    """The bounds that a table belongs to."""
    a, b = (open_ if x is None else single(x) for x, open_ in zip(bounds, (-INFINITY, INFINITY), strict=True))
    if a <= -REACH and b >= REACH:
        return -INFINITY, INFINITY
    a, b = (Fraction(0) if abs(x) < power(-90) else x for x in (a, b))
    a, b = (x if abs(x) in (INFINITY,) else max(Fraction(-14), min(x, Fraction(14))) for x in (a, b))
    if a > 9 or b < -9 or b - a < power(-11):
        raise ValueError(f"no table belongs to {bounds}")
    return a, b


@cache
def knots(a: Fraction | float, b: Fraction | float) -> tuple[int, ...]:
    """The knots of T_low(a, b)."""
    below, above = certain(distribution(a)), certain(1 - distribution(a))
    mass = certain(distribution(b) - distribution(a))
    points = [(1 + j / 512) * 2.0 ** (e - 33) for e in range(32) for j in range(512)] + [0.5]
    f = [quantile(below + p * mass, above - p * mass) for p in points]
    starts = [i - (i % 512 == 511) for i in range(16384)]
    c = [(f[j] - 2 * f[j + 1]) + f[j + 2] for j in starts] + [0.0]
    y = [math.floor((f[i] - c[i] * 0.0625) * 2.0**27 + 0.5) for i in range(16385)]
    return tuple(y if a == -INFINITY else (max(knot, math.ceil(a * 2**27)) for knot in y))


@cache
def table(a: Fraction | float, b: Fraction | float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The two halves of a table, T_low and T_high."""
    low, high = knots(a, b), knots(-b, -a)
    return low, (*high[:-1], min(high[-1], -low[-1]))


# Section 5: from a word to a value, as the pattern of a float32.


@cache
def uniform_grid(lo: Fraction, hi: Fraction) -> int:
    """The k of an interval."""
    for k in range(126, -128, -1):
        if all(abs(math.ceil(end * power(k))) <= 1 << 24 for end in (lo, hi)):
            return k
    raise ValueError("no grid")


def uniform(word: int, minval: float, maxval: float) -> int:
    """The value of a uniform on [minval, maxval)."""
    lo, hi = single(minval), single(maxval)
    if lo == hi:
        return single_bits(lo)
    k = uniform_grid(lo, hi)
    m, w = math.ceil(lo * power(k)), math.ceil(hi * power(k)) - math.ceil(lo * power(k))
    if w <= 0 or max(abs(lo), abs(hi)) < power(-90):
        raise ValueError(f"{minval} to {maxval} is no interval")
    return single_bits((m + mulhi(word, w)) * power(-k))


def variate(word: int, halves: tuple[tuple[int, ...], tuple[int, ...]]) -> int:
    """The Z of a word."""
    negative = word >> 31
    o = (((word ^ (MASK if negative else 0)) << 1) & MASK) ^ MASK
    w = single_bits(Fraction(o))
    i, t = (w >> 14) - 65024, w & 16383
    half = halves[0] if negative else halves[1]
    y = half[i] + ((half[i + 1] - half[i]) * t >> 14) if t else half[i]
    return y if negative else -y


class Grid(NamedTuple):
    """What a normal with a nonzero mean multiplies, adds and obeys."""

    k: int
    m: int
    s: int
    least: int
    greatest: int


def nearest(number: Fraction) -> int:
    """The nearest integer, the upper one of two."""
    return math.floor(number + Fraction(1, 2))


@cache
def normal_grid(mean: Fraction, std: Fraction, a: Fraction | float, b: Fraction | float) -> Grid:
    """The fixed point of a normal with a nonzero mean."""
    both = a == -INFINITY and b == INFINITY
    reach = max(abs(x) if abs(x) != INFINITY else REACH if both else Fraction(14) for x in (a, b))
    for k in range(126, -256, -1):
        m, s = nearest(mean * power(k)), nearest(std * power(k + 4))
        if s < 1 << 32 and abs(m) + math.ceil(std * reach * power(k)) + 1 < 1 << 31:
            break
    else:
        raise ValueError("no grid")
    least = math.ceil((mean + a * std) * power(k)) if a != -INFINITY else -(2**31) + 1
    greatest = math.floor((mean + b * std) * power(k)) if b != INFINITY else 2**31 - 1
    return Grid(k, m, s, least, max(least, greatest))


class Normal(NamedTuple):
    """A normal with its parameters as section 5 reads them."""

    mean: Fraction
    std: Fraction
    a: Fraction | float
    b: Fraction | float

    @classmethod
    def of(cls, mean: float, stddev: float, lower: float | None = None, upper: float | None = None) -> "Normal":
        """A normal from the parameters that a line records."""
        mean, std = single(mean), single(stddev)
        if std < 0 or any(0 < abs(x) < power(-90) for x in (mean, std)):
            raise ValueError(f"a mean of {mean} and a deviation of {std} are out of range")
        return cls(mean, std, *tidied((lower, upper)))

    def variate(self, word: int) -> int:
        """The Z of a word."""
        return variate(word, table(self.a, self.b))

    def value(self, word: int) -> int:
        """The value of a word."""
        if not self.std:
            return single_bits(self.mean)
        z = self.variate(word)
        if not self.mean:
            return single_bits(single(Fraction(z)) * (self.std * power(-27)))
        grid = normal_grid(*self)
        step = mulhi(2 * abs(z), grid.s)
        v = grid.m - step if z < 0 else grid.m + step
        return single_bits(single(Fraction(min(max(v, grid.least), grid.greatest))) * power(-grid.k))


# The recorded files.

WORDS = (0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1)


def scattered(count: int, stream: int) -> list[int]:
    """Words without a pattern."""
    return [philox((i, stream, 0, 0), (0x66616E69, 0x6E2D3100))[0] for i in range(count)]


def as_hex(words: Sequence[int]) -> list[str]:
    """Words in 8 digits each."""
    return [f"{word:08x}" for word in words]


def as_json(record: dict[str, object]) -> str:
    """A record in one line of ASCII."""
    return json.dumps(record, ensure_ascii=True)


def words_file() -> Iterator[str]:
    """Blocks of words, the published ones first."""
    inputs = [[int(part, 16) for part in line.split()[:6]] for line in PUBLISHED]
    single_bit = [[0] * i + [1 << (31 * (i % 2))] + [0] * (5 - i) for i in range(6)]
    mixed = [scattered(6, 100 + i) for i in range(12)]
    corners = [[MASK, 0, 0, 0, 0, 0], [0, MASK, 0, 0, 0, 0], [0, 0, 0, 0, MASK, MASK], [MASK, MASK, MASK, MASK, 0, 0]]
    lines = [" ".join(as_hex([*c, *philox(c[:4], c[4:])])) for c in inputs + single_bit + mixed + corners]
    if tuple(lines[:3]) != PUBLISHED:
        raise AssertionError("Philox does not give its published answers")
    return iter(lines)


NAMES = (
    "", "w", "kernel", "encoder.layers.0.attention.query.weight", "model/dense_1/kernel:0", "a.b", "a\\.b",
    "a\\/b\\\\c", " ", "0", "caf\u00e9", "cafe\u0301", "\u212bngstr\u00f6m", "\u00c5ngstro\u0308m",
    "\u91cd\u307f.\u5c64.3", "\u304b\u3099", "\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\U0001f9e0.weight", "q\u0307\u0323", "x" * 300,
)  # fmt: skip
SEEDS = (0, 1, 2**32 - 1, 2**32, 2**64 - 1)
PATHS = (
    [], ["w"], ["a", "b"], ["a.b"], ["a", "b.c"], ["a/b", "c"], ["a\\b", "c"], ["a\\.b/c\\\\"], [".", "/", "\\"],
    ["layers", 0, "kernel"], ["layers", 10, "kernel"], ["layers", "0", "kernel"], [3], [0, 1, 2],
    ["\u5c64", 7, "caf\u00e9.x"], [" ", "a b"], ["..", "../x"],
)  # fmt: skip


def identities_file() -> Iterator[str]:
    """Keys of names and seeds, and names of paths."""
    pairs = [(name, seed) for name in NAMES[:2] for seed in SEEDS]
    pairs += [(name, SEEDS[i % 5] if i % 2 else 1000003 * i) for i, name in enumerate(NAMES[2:])]
    for name, seed in pairs:
        key, upper = identity(name, seed)
        yield as_json({"name": name, "seed": seed, "key": as_hex(key), "upper": as_hex(upper)})
    for path in PATHS:
        yield as_json({"path": path, "name": joined(path)})


BELOW_REACH, ABOVE_REACH = 13291660 / 2**21, 13291661 / 2**21  # the float32 on either side of 850666285 / 2^27
BOUNDS = (
    (None, None), (-2.0, 2.0), (-1.0, 1.0), (3.0, 5.0), (None, 1.0), (0.0, None), (-0.5, 2.5), (-3.0, 3.0),
    (-2.1786, 2.1786), (-14.0, -8.9), (-BELOW_REACH, BELOW_REACH), (-ABOVE_REACH, BELOW_REACH), (-7.0, 9.5),
    (-7.0, 1.0), (-20.0, 0.25), (None, -9.0), (9.0, None), (9.0, 9.00048828125), (0.0, 0.00048828125),
    (-0.000244140625, 0.000244140625), (1e-30, 1.5), (1e-20, 0.75), (-1.0, 1e-30), (-1.0, -1e-30), (None, -1e-30),
    (-1e-30, None), (8.0, 1e30), (0.1, 0.7),
)  # fmt: skip


def tables_file() -> Iterator[str]:
    """Digests of tables."""
    for lower, upper in BOUNDS:
        low, high = table(*tidied((lower, upper)))
        digest = hashlib.sha256(struct.pack("<32770i", *low, *high)).hexdigest()
        yield as_json({"lower": lower, "upper": upper, "sha256": digest})


UNIFORMS = (
    [0.0, 1.0], [-1.0, 1.0], [-0.05, 0.05], [0.1, 0.3], [-0.7, 0.2], [3.0, 5.0], [-5.0, -3.0], [1000.0, 1000.5],
    [1.0, 1.0000002], [0.0, 1e-27], [-1e-20, 3e-21], [-3e38, 3e38], [0.0, 3.4028234e38], [1e-10, 1e10], [-1e10, 1e-10],
)  # fmt: skip
NORMALS = (
    [0.0, 1.0], [0.0, 0.02], [0.0, 1e-27], [0.0, 1e-20], [0.0, 5e37], [0.0, 0.3, -2.0, 2.0], [0.0, 2.0, 3.0, 5.0],
    [0.0, 1.0, None, 1.0], [0.0, 1.0, 0.0, None], [0.0, 0.1, -0.5, 2.5], [0.0, 1.0, -14.0, -8.9], [0.0, 1.0, -7.0, 9.5],
    [0.0, 1.0, -20.0, 0.25], [1.0, 1.0], [0.1, 0.02], [-3.7, 0.5], [1.0, 1e-6], [1.0, 1e-12], [1.0, 1e-26],
    [1e-26, 1.0], [-1e-27, 2e-27], [1e38, 1e37], [-3e38, 1e30], [1e-3, 1e9], [1.0, 0.3, -2.0, 2.0],
    [-1.5, 0.7, 3.0, 5.0], [5.0, 1.0, None, 1.0], [-5.0, 3.0, 0.0, None], [0.5, 0.1, -0.5, 2.5],
    [2.0, 1.0, -14.0, -8.9], [1.0, 2.0, -7.0, 9.5], [1.0, 2.0, -20.0, 0.25], [-2.0, 1e-5, -1.0, 1.0],
    [0.25, 1.0, -7.0, 1.0], [1.0, 1e-9, 9.0, None], [1e30, 1.0, -2.0, 2.0], [1.0, 0.25, 8.0, 1e30],
    [0.0, 1.0, -1.0, -1e-30], [0.25, 1.0, -1.0, -1e-30], [0.25, 1.0, -1e-30, None],
)  # fmt: skip


def variates_file() -> Iterator[str]:
    """Values of words."""
    for stream, parameters in enumerate(UNIFORMS):
        for word in (*WORDS, *scattered(4, 200 + stream)):
            value = f"{uniform(word, *parameters):08x}"
            yield as_json({"uniform": parameters, "word": f"{word:08x}", "value": value})
    for stream, parameters in enumerate(NORMALS):
        normal = Normal.of(*parameters)
        for word in (*WORDS, *scattered(5, 300 + stream), 2**30, 3 << 30, MASK >> stream % 31):
            answer = {"variate": normal.variate(word), "value": f"{normal.value(word):08x}"}
            yield as_json({"normal": parameters, "word": f"{word:08x}", **answer})


def edges(dtype: str) -> Iterator[Fraction]:
    """Numbers at which the rounding to a dtype turns: values, the ties between them, and their float32 neighbours."""
    format_ = FORMATS[dtype]
    one = (1 << format_.fraction) * (1 - format_.lowest)
    top, subnormal = format_.overflow, 1 << format_.fraction
    for pattern in (0, 1, 2, subnormal - 2, subnormal - 1, subnormal, one - 1, one, one + 1, one + 2, top - 2, top - 1):
        below = format_.decode(pattern)[0]
        above = below + power(max(floor_log2(below) if below else format_.lowest, format_.lowest) - format_.fraction)
        yield from (below, (below + above) / 2)
        if pattern == top - 1:
            yield from (above, 2 * above)


def rounded_singles() -> list[int]:
    """The float32 patterns to be rounded."""
    narrow = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    turns = {SINGLE.encode(edge) for dtype in narrow for edge in edges(dtype)}
    turns |= {0, 1, 0x7F7FFFFF, 0x00800000, 0x007FFFFF, 0x3F800000, 0x3EAAAAAB, 0x42280000}
    around = {bits + step for bits in turns for step in (-1, 0, 1) if 0 <= bits + step < 0x7F800000}
    some = [word & 0x7FFFFFFF for word in scattered(60, 400) if (word & 0x7FFFFFFF) < 0x7F800000]
    scaled = [0x38000000 + word % 0x0B000000 for word in scattered(60, 401)]  # 2^-15 to 2^7, where all formats differ
    magnitudes = [*sorted(around), *some, *scaled]
    return [bits | sign for bits in magnitudes for sign in (0, 1 << 31)]


def rounding_file() -> Iterator[str]:
    """Values in every dtype."""
    order = ("float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    for bits in rounded_singles():
        yield " ".join([f"{bits:08x}", *(f"{recast(bits, d):0{FORMATS[d].width // 4}x}" for d in order)])


# Tensors: a window of one, drawn element by element.


def drawn(record: dict) -> Callable[[int, int], int]:
    """The function from a row and a column to the float32 of a tensor that is random."""
    (k0, k1), (c2, c3) = identity(record["name"], record["seed"])
    normal = Normal.of(*record["normal"]) if "normal" in record else None

    def value(row: int, column: int) -> int:
        word = philox((column // 4, row, c2, c3), (k0, k1))[column % 4]
        return normal.value(word) if normal else uniform(word, *record["uniform"])

    return value


def fixed(record: dict) -> Callable[[int, int], int]:
    """The function from a row and a column to the pattern of a constant or an identity."""
    number = record["constant"] if "constant" in record else record["diagonal"]
    pattern = FORMATS[record["dtype"]].encode(abs(Fraction(number)), math.copysign(1.0, number) < 0)
    return lambda row, column: pattern if "constant" in record or row == column else 0


def window(record: dict) -> Iterator[int]:
    """The patterns of a tensor's window, in C order of the array."""
    groups = canonical(record["shape"], record["layout"])
    random = "uniform" in record or "normal" in record
    value = drawn(record) if random else fixed(record)
    for index in itertools.product(*map(range, record["start"], record["stop"])):
        pattern = value(*row_and_column(groups, index))
        yield recast(pattern, record["dtype"]) if random else pattern


DRAWS = (
    ("uniform", [0.0, 1.0]), ("uniform", [-0.3, 0.2]), ("uniform", [1e-3, 2.5]), ("normal", [0.0, 0.02]),
    ("normal", [1.0, 0.5]), ("normal", [0.0, 1.0, -2.0, 2.0]), ("normal", [-0.5, 0.25, None, 1.0]),
    ("normal", [0.0, 0.3, 3.0, 5.0]), ("diagonal", 0.7), ("constant", -1.1),
)  # fmt: skip
SHAPES = ((5, 3), (7,), (2, 3, 4), (4, 5), (2, 2, 2, 3), (9,), (3, 4), (1, 2, 3, 2), (3, 5), (2, 3))
LAYOUTS = (
    ("o i", (4, 6)), ("o i *k", (4, 6)), ("o i *k", (3, 2, 5)), ("o i *k", (2, 3, 2, 3)), ("o i *k", (2, 3, 2, 1, 3)),
    ("o/2 i *k", (4, 3, 2, 2)), ("i/2 o *k", (4, 3, 2, 2)), ("i o *k", (3, 2, 4)), ("i o", (5, 7)),
    ("*k i o", (3, 2, 2, 4)), ("*k i o/3", (2, 2, 2, 6)), ("*k i o", (4, 9)), ("*k o1/3 o2", (2, 3, 3, 2)),
    ("*k o i", (2, 3, 3, 2)), ("*~k i o", (3, 2, 2, 3)), ("*~k i o", (5, 2, 3)), ("*~k i o", (2, 3, 2, 2, 2)),
    ("~k k i o", (2, 3, 2, 3)), ("k ~k i o", (2, 3, 2, 3)), ("i o1 o2", (3, 4, 5)), ("i1 i2 o", (4, 3, 5)),
    ("o2 i o1", (3, 4, 2)), ("i2 i1 o", (3, 2, 5)), ("b i o", (3, 4, 5)), ("b o i", (3, 4, 5)),
    ("b b i o", (2, 2, 3, 4)), ("b o i *k", (2, 3, 2, 2)), ("o b i", (3, 2, 5)), ("k b i ~k o", (2, 2, 2, 3, 2)),
    ("i o2 b o1", (2, 3, 2, 4)), ("i o", (6, 1)), ("o i", (1, 6)), ("*k i o", (3, 1, 1)), ("b", (6,)), ("o", (6,)),
    ("i", (6,)), ("k k", (2, 5)), ("o1 o2", (2, 6)), ("i1 o i2", (2, 3, 4)), ("*i o", (2, 3, 4)), ("o2 o1", (5, 3)),
    ("o i *~k", (3, 2, 4)), ("o i *~k", (2, 3, 3, 2)), ("o *k", (5, 1, 1)), ("o *k", (6, 1)),
)  # fmt: skip
WINDOWS = (  # shape, start, stop, layout
    ((2**20, 2**16), (1000000, 60001), (1000003, 60010), None),
    ((2**20, 2**16), (2**20 - 2, 2**16 - 6), (2**20, 2**16), "o i"),
    ((2**31, 7), (2**31 - 5, 1), (2**31, 7), None),
    ((2**31, 7), (1234567890, 0), (1234567894, 7), "i o"),
    ((2**32, 3), (2**32 - 4, 0), (2**32, 3), None),
    ((7, 2**34), (5, 2**34 - 9), (7, 2**34), "i o"),
    ((2**34,), (2**34 - 10,), (2**34 - 1,), None),
    ((512, 1024, 3, 3), (511, 1000, 1, 0), (512, 1004, 3, 3), "o i *k"),
    ((3, 3, 512, 1024), (1, 0, 300, 1020), (3, 2, 302, 1024), "*~k i o"),
    ((64, 4096, 16384), (63, 4095, 16379), (64, 4096, 16384), "b i o"),
    ((4096, 32, 128), (4000, 30, 125), (4002, 32, 128), "i o1 o2"),
    ((32, 128, 4096), (31, 126, 4090), (32, 128, 4096), "i1 i2 o"),
    ((5, 5), (1, 1), (4, 3), None),
    ((5, 5), (2, 2), (2, 5), None),
    ((0, 4), (0, 0), (0, 4), None),
    ((3, 0, 2), (0, 0, 0), (3, 0, 2), "b i o"),
    ((), (), (), None),
    ((1,), (0,), (1,), None),
    ((1, 1, 1), (0, 0, 0), (1, 1, 1), "b i o"),
    ((6, 1), (0, 0), (6, 1), None),
    ((1, 6, 1), (0, 1, 0), (1, 6, 1), None),
    ((2, 2, 2, 2, 3), (0, 0, 0, 0, 0), (2, 2, 2, 2, 3), None),
)
EXTREMES = {  # where the unnamed tensor of seed 0 has these words, in row 0; found by search
    0x00000000: 8525341712, 0x00000001: 2881379310, 0x7FFFFFFF: 6758295445,
    0x80000000: 7713878159, 0x80000001: 5082812953, 0xFFFFFFFF: 1198290918,
}  # fmt: skip
FIXED = (  # most of them float64 that two roundings, through float32, would carry elsewhere
    ("constant", 1 + 2**-8 + 2**-40, "bfloat16"), ("constant", 1 + 2**-11 + 2**-40, "float16"),
    ("constant", -1 - 2**-4 - 2**-40, "float8_e4m3fn"), ("diagonal", 1 + 2**-3 + 2**-40, "float8_e5m2"),
    ("diagonal", 1 + 2**-8 - 2**-40, "bfloat16"), ("constant", 0.1, "float64"), ("constant", 1e300, "float64"),
    ("constant", 0.0, "float32"), ("constant", 2.0**-140, "float32"), ("constant", -1e-9, "float8_e5m2"),
    ("diagonal", 2.0**-9, "float8_e4m3fn"), ("constant", 447.99, "float8_e4m3fn"),
    ("constant", -0.0, "float16"), ("uniform", [0.1, 0.1], "float64"), ("uniform", [-0.3, -0.3], "float8_e4m3fn"),
    ("normal", [0.1, 0.0], "float64"), ("normal", [1 + 2**-8 + 2**-40, 0.0, -1.0, 2.0], "bfloat16"),
)  # fmt: skip


def whole(shape: Sequence[int]) -> dict[str, list[int]]:
    """The window of all of an array."""
    return {"shape": list(shape), "layout": None, "start": [0] * len(shape), "stop": list(shape)}


def recipes() -> Iterator[dict]:
    """The tensors to record, each still without its bytes."""
    dtypes = list(FORMATS)
    for (n, (kind, parameters)), dtype in itertools.product(enumerate(DRAWS), dtypes):
        yield {"name": f"draw.{n}", "seed": SEEDS[n % 5], kind: parameters, **whole(SHAPES[n]), "dtype": dtype}
    random = [draw for draw in DRAWS if draw[0] in ("uniform", "normal")]
    for n, (layout, shape) in enumerate(LAYOUTS):
        kind, parameters = random[n % len(random)]
        place = {**whole(shape), "layout": layout}
        yield {"name": f"layout.{n}", "seed": 77 + n, kind: parameters, **place, "dtype": dtypes[n % 6]}
    for n, (shape, start, stop, layout) in enumerate(WINDOWS):
        kind, parameters = random[(3 * n + 1) % len(random)]
        place = {"shape": list(shape), "layout": layout, "start": list(start), "stop": list(stop)}
        yield {"name": f"fen\u00eatre.{n}", "seed": 2**40 + n, kind: parameters, **place, "dtype": dtypes[(n + 1) % 6]}
    chosen = (DRAWS[0], DRAWS[3], DRAWS[4], DRAWS[6])
    for column, (kind, parameters) in itertools.product(EXTREMES.values(), chosen):
        place = {"shape": [2**33], "layout": None, "start": [column - 1], "stop": [column + 2]}
        yield {"name": "", "seed": 0, kind: parameters, **place, "dtype": "float32"}
    for n, (kind, number, dtype) in enumerate(FIXED):
        yield {"name": "", "seed": n, kind: number, **whole((2, 3)), "dtype": dtype}
    for layout, shape in (("o i", (3, 5)), ("i o1 o2", (4, 2, 3)), ("i1 i2 o", (2, 3, 4))):
        yield {"name": "eye", "seed": 0, "diagonal": 1.5, **whole(shape), "layout": layout, "dtype": "float16"}


def tensors_file() -> Iterator[str]:
    """Windows of tensors."""
    key, upper = identity("", 0)
    for word, column in EXTREMES.items():
        if philox((column // 4, 0, *upper), key)[column % 4] != word:
            raise AssertionError(f"the word of column {column} is not {word:08x}")
    for record in recipes():
        size = FORMATS[record["dtype"]].width // 8
        data = b"".join(pattern.to_bytes(size, "little") for pattern in window(record))
        yield as_json({**record, "hex": data.hex()})


HEADERS = {
    "words": """\
Blocks of words: c0 c1 c2 c3 k0 k1 w0 w1 w2 w3, counter, key and words (docs/stream.md, section 2).
The first three answers are published: Random123's kat_vectors, philox4x32 with 10 rounds.""",
    "identities": """\
Key words and counter words 2 and 3 of a name and a seed; names of paths (docs/stream.md, section 3).
Nothing here is published elsewhere.""",
    "tables": """\
SHA-256 of the table between two bounds, null where open: all knots of T_low, then all of T_high, as little-endian
int32 (docs/stream.md, section 6). Nothing here is published elsewhere.""",
    "variates": """\
Value of a word, as the bits of a float32: uniform [minval, maxval), or normal [mean, stddev] or
[mean, stddev, lower, upper], bounds in deviations from the mean, null where open; variate is Z, in units of 2^-27
(docs/stream.md, section 5). Nothing here is published elsewhere.""",
    "rounding": """\
Bits of a float32, and of what it rounds to: f32 f64 f16 bf16 e4m3fn e5m2 (docs/stream.md, section 7).
Nothing here is published elsewhere.""",
    "tensors": """\
Windows of tensors, from start to stop: bytes in C order of the array, little-endian (docs/stream.md, sections 3, 4, 5
and 7, and docs/layouts.md). Nothing here is published elsewhere.""",
}
FILES = {
    "words": words_file,
    "identities": identities_file,
    "tables": tables_file,
    "variates": variates_file,
    "rounding": rounding_file,
    "tensors": tensors_file,
}


def text(name: str) -> str:
    """All of a recorded file."""
    header = [f"# {line}" for line in HEADERS[name].splitlines()]
    return "\n".join([*header, "# Written by: python tools/derive_vectors.py", *FILES[name](), ""])


def report(path: Path, derived: str) -> bool:
    """Prints whether a recorded file is the derived one, and says so."""
    recorded = path.read_text(encoding="utf-8") if path.exists() else ""
    pairs = itertools.zip_longest(recorded.splitlines(), derived.splitlines())
    differing = [number for number, (old, new) in enumerate(pairs, 1) if old != new]
    same = recorded == derived
    print(f"{path.name}: " + ("same" if same else f"DIFFERS in {len(differing)} lines, first {differing[:1]}"))
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files, or checks them."""
    parser = argparse.ArgumentParser(description="Derives the recorded answers of the stream fanin-1.")
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where the files are")
    options = parser.parse_args(arguments)
    if options.check:
        differing = [name for name in FILES if not report(options.directory / f"{name}.txt", text(name))]
        return 1 if differing else 0
    options.directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        derived = text(name)
        (options.directory / f"{name}.txt").write_bytes(derived.encode())
        print(f"{name}.txt: {sum(not line.startswith('#') for line in derived.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
