"""Law: every value is one float32; wider dtypes hold it exactly, narrower ones round it once, to nearest even."""

import math

import ml_dtypes
import numpy as np
import pytest
from harness import CONFIGURATIONS, FAST, assert_same_bits, bits, cases, filled

from fanin import engines
from fanin.dtypes import FLOATS, resolve
from fanin.engines.rounding import round_array, round_constant
from fanin.errors import DTypeError
from fanin.recipe import Draw, Normal, UniformInterval, check_range
from fanin.spec import FORMATS, from_bits, round_bits

NARROW = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("configuration", list(CONFIGURATIONS))
def test_every_dtype_is_the_float32_rounded_once(configuration: str) -> None:
    compared = 0
    for case in cases():
        if case.dtype == np.float32 or case.window.shape != case.draw.shape or case.draw.shape not in [(5, 9), (7,)]:
            continue
        single = filled(type(case)(case.draw, case.window, np.dtype(np.float32)), configuration)
        with np.errstate(all="ignore"):
            assert_same_bits(filled(case, configuration), single.astype(case.dtype))
        compared += 1
    assert compared > 150


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


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (None, "float32"),
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


def test_torch_and_jax_dtypes_are_read() -> None:
    import jax.numpy as jnp
    import torch

    assert resolve(torch.float8_e4m3fn).name == "float8_e4m3fn"
    assert resolve(jnp.bfloat16).name == "bfloat16"


@pytest.mark.parametrize("asked", ["float33", "complex64", object(), [], "", 3, np.complex128, "int4"])
def test_unknown_dtypes_are_named(asked: object) -> None:
    with pytest.raises(DTypeError, match=r"unknown dtype .*; fanin writes float64"):
        resolve(asked)


def test_a_range_beyond_the_dtype_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"beyond 448.0, the greatest float8_e4m3fn"):
        check_range(Normal(0.0, 100.0), FLOATS["float8_e4m3fn"])
    with pytest.raises(DTypeError, match="int32 cannot hold random values"):
        check_range(UniformInterval(0.0, 1.0), np.dtype(np.int32))
    with pytest.raises(DTypeError, match="int8 cannot hold 300"):
        round_constant(300, np.dtype(np.int8))


def test_nothing_is_written_when_the_range_is_refused() -> None:
    view = np.full((3,), 7, np.float16)
    draw = Draw(Normal(0.0, 1e5), (3,), stream=None)
    with pytest.raises(DTypeError):
        engines.fill(draw, draw_window(draw), view)
    assert view.tolist() == [7, 7, 7]


def draw_window(draw: Draw):
    from fanin.recipe import Window

    return Window.whole(draw.shape)


def test_fast_configurations_are_all_tested() -> None:
    assert len(FAST) == 4
