"""Law: every value is one float32; wider dtypes hold it exactly, narrower ones round it once, to nearest even."""

import math
import sys

import ml_dtypes
import numpy as np
import pytest
from harness import CONFIGURATIONS, FAST, SLOW, assert_same_bits, bits, cases_for, filled

from fanin import engines
from fanin.dtypes import FLOATS, resolve
from fanin.engines.rounding import round_array, round_constant
from fanin.errors import DTypeError
from fanin.initializers import STFT, Constant, Orthogonal, Zeros, get
from fanin.initializers.custom import custom_recipe
from fanin.recipe import ConstantValue, Diagonal, Draw, Normal, UniformInterval, Whole, Window, check_range
from fanin.spec import FORMATS, from_bits, round_bits

NARROW = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
SHORT = {"f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i4": "int32", "u8": "uint64", "b1": "bool"}
SAME, OTHER = "<>" if sys.byteorder == "little" else "><"


@pytest.mark.parametrize("configuration", list(CONFIGURATIONS))
def test_every_dtype_is_the_float32_rounded_once(configuration: str) -> None:
    compared = 0
    for case in cases_for(configuration):
        if case.dtype == np.float32 or case.window.shape != case.draw.shape or case.draw.shape not in [(5, 9), (7,)]:
            continue
        single = filled(type(case)(case.draw, case.window, np.dtype(np.float32)), configuration)
        with np.errstate(all="ignore"):
            assert_same_bits(filled(case, configuration), single.astype(case.dtype))
        compared += 1
    assert compared > (10 if configuration in SLOW else 150)


def extreme_float32() -> np.ndarray:
    """Words at every edge, as float32: ties of each format and their neighbours, subnormals, overflow thresholds."""
    patterns = [0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000]
    for name in NARROW:
        form = FORMATS[name]
        for code in range(0, form.overflow, max(1, form.overflow // 300)):
            low, high = from_bits(code, name), from_bits(code + 1, name)
            if math.isfinite(high):
                tie = int(np.float32((low + high) / 2).view(np.uint32))
                patterns += [tie - 1, tie, tie + 1] if tie else [tie, tie + 1]
        top = int(np.float32(form.greatest).view(np.uint32))
        patterns += range(top - 2, min(top + 3, 0x7F800000))
    magnitudes = np.array(sorted({p for p in patterns if p < 0x7F800000}), np.uint32)
    return np.concatenate([magnitudes, magnitudes | 0x80000000]).view(np.float32)


@pytest.mark.parametrize("name", NARROW)
def test_the_kernels_round_every_edge_like_ml_dtypes_and_spec(name: str) -> None:
    from fanin.engines import kernels, numba

    values = extreme_float32()
    assert values.size > 3000
    out = np.full(values.size, 0xA5, f"u{FLOATS[name].itemsize}")
    kernels.round_values(values, out, numba._CODES[FLOATS[name]][0])
    with np.errstate(all="ignore"):
        assert_same_bits(out, bits(values.astype(FLOATS[name])))
    assert_same_bits(out, np.array([round_bits(float(v), name) for v in values], out.dtype))


@pytest.mark.parametrize("name", list(FORMATS))
def test_bits_and_values_of_every_narrow_pattern_go_round(name: str) -> None:
    form = FORMATS[name]
    codes = range(form.overflow) if form.bits <= 16 else range(0, form.overflow, form.overflow // 1000)
    for code in codes:
        assert round_bits(from_bits(code, name), name) == code


@pytest.mark.parametrize("name", NARROW)
def test_float64_constants_and_arrays_are_rounded_once(name: str) -> None:
    """Through float32 a float64 just above a tie would become the tie, and round down."""
    form = FORMATS[name]
    one, next_ = 1.0, 1.0 + 2.0**-form.mantissa
    above = (one + next_) / 2 + 2.0**-50
    assert float(round_constant(above, FLOATS[name])) == next_
    assert float(round_array(np.array([above, -above]), FLOATS[name])[0]) == next_
    below = (next_ + 1.0 + 2.0 ** (1 - form.mantissa)) / 2 - 2.0**-50
    assert float(round_array(np.array([below]), FLOATS[name])[0]) == next_


def test_float16_from_float64_matches_exact_rounding() -> None:
    values = np.random.default_rng(0).standard_normal(5000)
    for name in NARROW:
        expected = np.array([round_bits(float(v), name) for v in values], f"u{FLOATS[name].itemsize}")
        assert_same_bits(bits(round_array(values, FLOATS[name])), expected)


# Rounded to float32, it is halfway between two float16 and goes to the even one, 1; directly, it goes to the other.
ABOVE_A_TIE = 1 + 2.0**-11 + 2.0**-40


@pytest.mark.parametrize(
    "recipe",
    [
        Orthogonal(ABOVE_A_TIE, seed=7).recipe((1, 1)),
        STFT("real", [ABOVE_A_TIE], None).recipe((1, 1, 1)),
        custom_recipe(lambda shape, dtype: np.full(shape, ABOVE_A_TIE), (1,), "", 7),
        custom_recipe(lambda shape, dtype: np.full(shape, ABOVE_A_TIE, ">f8"), (1,), "", 7),
    ],
)
def test_what_is_computed_whole_is_a_float32_before_it_is_anything_narrower(recipe: Whole) -> None:
    for dtype in FLOATS.values():
        view = np.empty(recipe.shape, dtype)
        engines.fill(recipe, Window.whole(recipe.shape), view)
        assert_same_bits(np.abs(view).reshape(()), np.array(np.float32(1 + 2.0**-11).astype(dtype)))


def test_what_is_given_is_a_float64() -> None:
    for initializer in (Constant(ABOVE_A_TIE), Constant([ABOVE_A_TIE]), get(np.array([ABOVE_A_TIE]))):
        for name in FLOATS:
            expected = from_bits(round_bits(ABOVE_A_TIE, name), name)
            assert float(initializer((1,), name)[0]) == expected
    assert float(Constant([ABOVE_A_TIE])((1,), "float16")[0]) == 1 + 2.0**-10


def test_integers_that_are_computed_stay_integers() -> None:
    for values in (np.array([2**60 + 1]), np.array([2**63], np.uint64), np.array([True])):
        recipe = custom_recipe(lambda shape, dtype, made=values: made, (1,), "", 7)
        view = np.empty((1,), values.dtype)
        engines.fill(recipe, Window.whole((1,)), view)
        assert_same_bits(view.astype(np.uint64), values.astype(np.uint64))


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (None, "float32"),
        *((byte_order + text, name) for byte_order in ("", "=", SAME) for text, name in SHORT.items()),
        ("bfloat16", "bfloat16"),
        (np.float16, "float16"),
        (ml_dtypes.float8_e5m2, "float8_e5m2"),
        (np.dtype("f8"), "float64"),
        ("torch.bfloat16", "bfloat16"),
        ("half", "float16"),
        ("int32", "int32"),
    ],
)
def test_dtypes_are_read_from_any_library(asked: object, name: str) -> None:
    assert resolve(asked).name == name
    assert resolve(asked).isnative


def test_torch_and_jax_dtypes_are_read() -> None:
    import jax.numpy as jnp
    import torch

    assert resolve(torch.float8_e4m3fn).name == "float8_e4m3fn"
    assert resolve(jnp.bfloat16).name == "bfloat16"


@pytest.mark.parametrize("asked", [OTHER + "f4", OTHER + "i8", np.dtype(OTHER + "f2")])
def test_another_byte_order_is_refused(asked: object) -> None:
    with pytest.raises(DTypeError, match=r"has another byte order than this machine; give '(float32|int64|float16)'"):
        resolve(asked)
    with pytest.raises(DTypeError, match="byte order"):
        Zeros()((2,), asked)


@pytest.mark.parametrize(
    "asked",
    ["float33", "complex64", object(), [], "", 3, np.complex128, "int4", "c8", "f16", "S4", "a", "O", "f4,f4", "2f4",
     "f4,(", "\ud800", "torch.f4", np.dtype([("a", "f4")]), np.ones(2)],
)  # fmt: skip
def test_unknown_dtypes_are_named(asked: object) -> None:
    with pytest.raises(DTypeError, match=r"unknown dtype .*; fanin writes float64"):
        resolve(asked)


def test_a_range_beyond_the_dtype_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"beyond 448.0, the greatest float8_e4m3fn"):
        check_range(Normal(0.0, 100.0), FLOATS["float8_e4m3fn"])
    with pytest.raises(DTypeError, match="int32 cannot hold random values"):
        check_range(UniformInterval(0.0, 1.0), np.dtype(np.int32))
    with pytest.raises(DTypeError, match="int8 cannot hold 300"):
        check_range(ConstantValue(300), np.dtype(np.int8))
    with pytest.raises(DTypeError, match=r"bool cannot hold 0\.5"):
        check_range(Diagonal(0.5), np.dtype(np.bool_))


def test_nothing_is_written_when_the_range_is_refused() -> None:
    view = np.full((3,), 7, np.float16)
    draw = Draw(Normal(0.0, 1e5), (3,), stream=None)
    with pytest.raises(DTypeError):
        engines.fill(draw, Window.whole(draw.shape), view)
    assert view.tolist() == [7, 7, 7]


def test_fast_configurations_are_all_tested() -> None:
    assert len(FAST) == 7
