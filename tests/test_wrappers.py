"""Initializers around initializers: gains, masks, transforms; and those that count: ramps and sinusoids."""

import copy
import itertools
import json
import math
import pickle
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from harness import assert_same_bits

from fanin import Parameter, Plan, Rule, backend, engines, initializers
from fanin.errors import ArgumentError, DTypeError, FaninError, PlanError, SeedError, ShapeError
from fanin.initializers import (
    Arange,
    Constant,
    HeNormal,
    Identity,
    Initializer,
    LogUniform,
    Masked,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    Scaled,
    Sinusoids,
    Transformed,
    TruncatedNormal,
    get,
)
from fanin.initializers import elementary as own
from fanin.initializers.base import SubclassError
from fanin.initializers.elementwise import BLOCK
from fanin.layouts import as_layout
from fanin.plan import digest
from fanin.recipe import (
    ConstantValue,
    Diagonal,
    Distribution,
    Draw,
    Normal,
    Recipe,
    UniformInterval,
    Whole,
    Window,
)

INF = math.inf


def filled(recipe: Recipe, values: np.ndarray) -> None:
    """Write all of a recipe into an array."""
    engines.fill(recipe, Window.whole(recipe.shape), values)


def noise(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
    """A function of a user's own."""
    return backend.random_normal(shape, dtype=dtype)


# Gains -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "gain", "expected"),
    [
        (RandomNormal(1.0, 2.0), 0.25, Normal(0.25, 0.5)),
        (RandomNormal(1.0, 2.0), -0.25, Normal(-0.25, 0.5)),
        (RandomNormal(-1.0, 2.0), 0, Normal(0.0, 0.0)),
        (TruncatedNormal(1.0, 0.5, lower=-1.0, upper=3.0), -2, Normal(-2.0, 1.0, -3.0, 1.0)),
        (TruncatedNormal(0.0, 0.5, lower=-INF, upper=1.0), -1, Normal(0.0, 0.5, -1.0, INF)),
        (RandomUniform(-1.0, 3.0), 0.5, UniformInterval(-0.5, 1.5)),
        (RandomUniform(-1.0, 3.0), -0.5, UniformInterval(-1.5, 0.5)),
        (RandomUniform(-1.0, 3.0), 0, UniformInterval(0.0, 0.0)),
        (initializers.VarianceScaling(2.0, "fan_out", "uniform"), 0.5, UniformInterval(-0.5, 0.5)),
        (Constant(3), 0.5, ConstantValue(1.5)),
        (Constant(0.1), 3, ConstantValue(0.1 * 3)),
        (initializers.Zeros(), -1, ConstantValue(0.0)),
        (Identity(2.0), -0.5, Diagonal(-1.0)),
        (Scaled(RandomNormal(0.0, 1.0), 0.5), 0.5, Normal(0.0, 0.25)),
    ],
    ids=repr,
)
def test_a_gain_is_folded_into_the_draw(inside: Initializer, gain: float, expected: Distribution) -> None:
    recipe = Scaled(inside, gain).recipe((3, 6), name="w", seed=5)
    assert isinstance(recipe, Draw)
    assert recipe.distribution == expected
    assert repr(recipe.distribution) == repr(expected)  # minus zero is another text
    plain = inside.recipe((3, 6), name="w", seed=5)
    assert isinstance(plain, Draw)
    assert recipe.stream == plain.stream


def test_a_power_of_two_scales_every_value_exactly() -> None:
    for inside in (RandomNormal(0.0, 0.3, 7), RandomUniform(-1.0, 2.0, 7), HeNormal(7), RandomNormal(1.0, 0.5, 7)):
        assert_same_bits(Scaled(inside, 0.25)((40, 50)), inside((40, 50)) * np.float32(0.25))
    assert_same_bits(Scaled(HeNormal(7), -0.25)((40, 50)), Scaled(HeNormal(7), 0.25)((40, 50)))  # symmetric


def test_a_negative_gain_mirrors_the_distribution() -> None:
    skewed = TruncatedNormal(0.0, 1.0, 7, 0.5, 3.0)
    values, mirrored = skewed((2**16,)), Scaled(skewed, -1.0)((2**16,))
    assert mirrored.min() >= -3.0
    assert mirrored.max() <= -0.5
    assert scipy.stats.ks_2samp(values, -mirrored).pvalue > 1e-3
    assert scipy.stats.ks_2samp(values, mirrored).pvalue < 1e-9  # the comparison can fail


def test_what_is_computed_whole_is_multiplied_and_rounded_once_more() -> None:
    plain = Orthogonal(0.7, 3)((8, 8))
    assert_same_bits(Scaled(Orthogonal(0.7, 3), -0.3)((8, 8)), (plain.astype(np.float64) * -0.3).astype(np.float32))
    doubles = Scaled(Constant([0.1, 0.2]), 3)((2,), "float64")
    assert_same_bits(doubles, np.array([0.1, 0.2]) * 3)
    assert_same_bits(Scaled(Constant([1, 2]), 3)((2,), "int8"), np.array([3, 6], np.int8))
    masked = Scaled(Masked(Orthogonal(1.0, 3), "lower"), -1)((4, 4))
    assert not np.signbit(masked[np.triu_indices(4, 1)]).any()


def test_a_function_of_one_s_own_is_scaled() -> None:
    def halves(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return np.full(shape, 0.5)

    assert_same_bits(Scaled(halves, 3)((2, 2)), np.full((2, 2), 1.5, np.float32))
    entry = Plan([Rule("*", Scaled(noise, 2))]).resolve([Parameter("w", (4,))], seed=3)[0]
    with backend.drawing("w", 3):
        expected = noise((4,), "float32") * np.float32(2)
    assert isinstance(entry.recipe, Whole)
    assert_same_bits(entry.recipe.compute(), expected)
    with pytest.raises(SubclassError, match="known as the whole array only"):
        Scaled(halves, 3).window((2, 2), slice(0, 1))


# Depth scaling: formulas of docs/plans.md ----------------------------------------------------------

DEPTH = [  # the text of a rule, and the standard deviation or the bound that it stands for, with N = 12 layers
    ("random_normal(stddev=0.02 / sqrt(2 * n_layer))", 0.02 / math.sqrt(24)),
    ("scaled(random_normal(stddev=0.02), 1 / sqrt(2 * n_layer))", 0.02 / math.sqrt(24)),
    ("random_normal(stddev=0.02 / sqrt(2 * (i + 1)))", 0.02 / math.sqrt(2 * 4)),
    ("random_normal(stddev=2 / (n_layer * sqrt(width)))", 2 / (12 * 8)),
    ("scaled(glorot_normal(), (8 * n_layer) ** -0.25)", (8 * 12) ** -0.25 * math.sqrt(2 / 128)),
    ("scaled(glorot_normal(), 0.87 * (n_layer ** 4 * 6) ** -0.0625)",
     0.87 * (12**4 * 6) ** -0.0625 * math.sqrt(2 / 128)),
    ("scaled(glorot_normal(), (12 * n_layer) ** -0.25)", (12 * 12) ** -0.25 * math.sqrt(2 / 128)),
    ("scaled(glorot_normal(), 0.67 * n_layer ** -0.25)", 0.67 * 12**-0.25 * math.sqrt(2 / 128)),
    ("scaled(glorot_normal(), (9 * n_layer) ** -0.25)", (9 * 12) ** -0.25 * math.sqrt(2 / 128)),
    ("random_normal(stddev=width ** -0.5 * (9 * n_layer) ** -0.25)", (9 * 12) ** -0.25 / 8),
    ("scaled(variance_scaling(2, 'fan_in', 'untruncated_normal'), n_layer ** (-1 / (2 * 2 - 2)))",
     12**-0.5 * math.sqrt(2 / 64)),
    ("scaled(variance_scaling(1 / 3, 'fan_in', 'uniform'), 1 / sqrt(n_layer))", math.sqrt(1 / 3 / 64 / 12)),
    ("scaled(he_uniform(), 1 / 30)", math.sqrt(2 / 64) / 30),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), DEPTH)
def test_depth_scaling_gives_the_deviation_of_its_paper(text: str, expected: float) -> None:
    """Over 2**12 values the standard error of the deviation is 1.1 %: of the distribution's parameter, exactly."""
    plan = Plan([Rule("h.{i}.w", text)], quantities={"n_layer": 12, "width": 64}, layout="o i")
    entry = plan.resolve([Parameter("h.3.w", (64, 64))], seed=1)[0]
    assert isinstance(entry.recipe, Draw)
    match entry.recipe.distribution:
        case Normal(_, stddev, _, upper):
            found = stddev * (1.0 if upper == INF else 0.87962566103423978)
        case UniformInterval(minval, maxval):
            found = (maxval - minval) / math.sqrt(12)
    assert found == pytest.approx(expected, rel=3e-7)
    values = np.empty((64, 64))
    filled(entry.recipe, values)
    assert values.std() == pytest.approx(expected, rel=6 * 0.0111)


# Masks -----------------------------------------------------------------------------------------

R, C = np.arange(6)[:, None], np.arange(8)
KEPT: list[tuple[dict[str, object], np.ndarray]] = [
    ({"mask": "lower"}, np.tri(6, 8)),
    ({"mask": "strictly_lower"}, np.tri(6, 8, -1)),
    ({"mask": "upper"}, np.tri(8, 6).T),
    ({"mask": "strictly_upper"}, np.tri(8, 6, -1).T),
    ({"mask": "band"}, np.eye(6, 8)),
    ({"mask": "band", "below": 1, "above": 2}, np.tri(6, 8, 2) * np.tri(8, 6, 1).T),
    ({"mask": "band", "below": None}, np.tri(6, 8)),
    ({"mask": "band", "above": None}, np.tri(8, 6).T),
    ({"mask": "block_diagonal", "groups": 2}, scipy.linalg.block_diag(*[np.ones((3, 4))] * 2)),
    ({"mask": "block_diagonal"}, np.ones((6, 8))),
    ({"mask": np.eye(6, 8)}, np.eye(6, 8)),
    ({"mask": [[True], [False]] * 3}, np.repeat([[1], [0]] * 3, 8, 1)),
    ({"mask": [0, 0.5, -1, 0, 0, 0, 0, 3]}, np.repeat([[0, 1, 1, 0, 0, 0, 0, 1]], 6, 0)),
]


@pytest.mark.parametrize(("arguments", "kept"), KEPT)
def test_masks_keep_what_they_say(arguments: dict[str, object], kept: np.ndarray) -> None:
    inside = RandomNormal(5.0, 1.0, 7)
    masked = Masked(inside, **arguments)((6, 8), name="w")  # type: ignore[arg-type]
    assert_same_bits(masked, np.where(kept, inside((6, 8), name="w"), np.float32(0)))
    assert (masked != 0).sum() == (kept != 0).sum()


def test_a_mask_is_of_logical_rows_and_columns() -> None:
    masked = Masked(RandomNormal(seed=7), "lower")
    kernel = masked((4, 6), layout="i o")
    assert_same_bits(masked((6, 4), layout="o i"), kernel.T)
    assert_same_bits(masked((4, 3, 2), layout="i o2 o1"), kernel.reshape(4, 2, 3).transpose(0, 2, 1))
    experts = masked((3, 4, 6), layout="b i o")
    assert (experts[:, *np.triu_indices(4, 1, 6)] == 0).all()
    assert (experts[:, *np.tril_indices(4, 0, 6)] != 0).all()


def test_a_block_diagonal_linear_is_a_grouped_one() -> None:
    layer = torch.nn.Linear(12, 8, bias=False)
    plan = Plan([Rule("*", "masked(lecun_normal(), 'block_diagonal', groups=4)", layout="o/4 i/4")])
    plan.apply(layer, seed=3)
    weight = layer.weight.detach().numpy()
    assert (weight != 0).sum() == 12 * 8 // 4
    grouped = torch.nn.Conv1d(12, 8, 1, groups=4, bias=False)
    with torch.no_grad():
        for o in range(8):
            grouped.weight[o, :, 0] = layer.weight[o, o // 2 * 3 : o // 2 * 3 + 3]
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(layer(x), grouped(x[..., None])[..., 0], atol=1e-6)
    recipe = Masked("lecun_normal", "block_diagonal", groups=4)._inner((8, 12), as_layout("o/4 i/4"), "w", 0)
    assert isinstance(recipe, Draw)
    assert recipe.distribution.stddev == pytest.approx(math.sqrt(1 / 3) / 0.87962566103423978, rel=1e-7)


@pytest.mark.parametrize(("mask", "ahead"), [("causal", 0), ("strictly_causal", 1)])
def test_a_causal_convolution_sees_no_future(mask: str, ahead: int) -> None:
    layer = torch.nn.Conv1d(3, 4, 5, padding=2, bias=False)
    Plan([Rule("*", Masked(HeNormal(), mask))]).apply(layer, seed=3)
    x = torch.zeros(1, 3, 9)
    x[..., 4] = 1.0  # what it changes is at 4 or later
    y = layer(x)[0].abs().sum(0)
    assert (y[: 4 + ahead] == 0).all()
    assert (y[4 + ahead : 7] > 0).all()
    keras = Masked(HeNormal(3), mask)((5, 2, 3, 4), layout="k k i o")
    assert_same_bits(Masked(HeNormal(3), mask)((5, 2, 3, 4)), keras)
    assert_same_bits(Masked(HeNormal(3), mask)((5, 2, 3, 4), layout="~k k i o"), keras[::-1])
    assert [bool(keras[k].any()) for k in range(5)] == [True, True, not ahead, False, False]


def test_masks_of_constants_are_masks() -> None:
    causal = Masked("ones", "lower")((1, 1, 5, 5), "bool")
    assert_same_bits(causal[0, 0], np.tri(5, dtype=bool))
    assert_same_bits(Masked(Constant(0.1), "upper")((2, 2), "float64"), np.triu(np.full((2, 2), 0.1)))
    plan = Plan([Rule("*", "masked(ones(), 'lower')", layout="b b i o")])
    assert plan.resolve([Parameter("bias", (1, 1, 5, 5), "bool")])[0].dtype == bool
    with pytest.raises(PlanError, match="int8 cannot hold random values"):
        Plan([Rule("*", "masked(random_normal(), 'lower')", layout="i o")]).resolve([Parameter("a", (5, 5), "int8")])
    with pytest.raises(PlanError, match="int8 cannot hold the values of Masked"):
        Plan([Rule("*", "masked(arange(), 'lower')", layout="i o")]).resolve([Parameter("a", (5, 5), "int8")])


def test_a_window_of_a_mask_costs_the_window() -> None:
    shape = (2**20, 2**12)
    for mask in ("lower", "upper", "band", "block_diagonal"):
        found = Masked(RandomNormal(seed=7), mask).window(shape, (slice(1000, 1003), slice(998, 1004)))
        plain = RandomNormal(seed=7).window(shape, (slice(1000, 1003), slice(998, 1004)))
        kept = Masked("ones", mask)((1100, 1100), "bool")[1000:1003, 998:1004]
        assert kept.all() == (mask == "block_diagonal")
        assert_same_bits(found, np.where(kept, plain, np.float32(0)))


# Elementary functions --------------------------------------------------------------------------


def numbers(low: float, high: float, count: int = 1500) -> np.ndarray:
    return RandomUniform(low, high, 11)((count,), "float64")


@pytest.mark.parametrize(
    ("function", "exact", "x"),
    [
        (own.log, mpmath.log, np.exp(numbers(-100, 88))),
        (own.log, mpmath.log, numbers(0.5, 2.0)),
        (own.log, mpmath.log, np.array([2.0**-149, 2.0**-1022, 0.5, 1.0, 2.0, 3.4e38])),
        (own.log1p, mpmath.log1p, np.exp(numbers(-60, 80))),
        (own.exp, mpmath.exp, numbers(-150, 150)),
        (own.expm1, mpmath.expm1, numbers(-40, 40)),
        (own.expm1, mpmath.expm1, np.exp(numbers(-60, 1))),
        (own.expm1, mpmath.expm1, -np.exp(numbers(-60, 1))),
        (own.sin, mpmath.sin, numbers(-1e6, 1e6)),
        (own.cos, mpmath.cos, numbers(-1e6, 1e6)),
        (own.sin, mpmath.sin, numbers(-4, 4)),
        (own.cos, mpmath.cos, numbers(-4, 4)),
    ],
)  # fmt: skip
def test_elementary_functions_are_accurate(
    function: Callable[[np.ndarray], np.ndarray], exact: Callable[[object], object], x: np.ndarray
) -> None:
    found = function(x)
    with mpmath.workprec(200):
        for a, b in zip(x.tolist(), found.tolist(), strict=True):
            value = exact(mpmath.mpf(a))
            assert abs(b - value) <= abs(value) * 2.0**-50, a  # type: ignore[operator]


def test_elementary_functions_reach_their_limits() -> None:
    assert own.exp(np.array([-1e300, -800.0, 0.0, 710.0, 1e300])).tolist()[2:] == [1.0, INF, INF]
    assert own.expm1(np.array([-1e300, 0.0, 1e300])).tolist() == [-1.0, 0.0, INF]
    assert own.log(np.array([1.0])).tolist() == [0.0]


# Transforms ------------------------------------------------------------------------------------

EXACT: dict[str, tuple[Callable[[object], object], Initializer]] = {
    "abs": (abs, RandomNormal(0.0, 1.0, 5)),
    "exp": (mpmath.exp, RandomNormal(0.0, 10.0, 5)),
    "inverse_softplus": (lambda x: mpmath.log(mpmath.expm1(x)), LogUniform(1e-4, 30.0, 5)),
    "log": (mpmath.log, LogUniform(1e-30, 1e30, 5)),
    "logit": (lambda x: mpmath.log(x / (1 - x)), RandomUniform(1e-6, 0.999, 5)),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), RandomNormal(0.0, 10.0, 5)),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), RandomNormal(0.0, 10.0, 5)),
    "sqrt": (mpmath.sqrt, RandomUniform(0.0, 9.0, 5)),
    "square": (lambda x: x * x, RandomNormal(0.0, 3.0, 5)),
    "tanh": (mpmath.tanh, RandomNormal(0.0, 1.0, 5)),
}


@pytest.mark.parametrize("name", EXACT)
def test_transforms_are_the_nearest_float32(name: str) -> None:
    """Of 3000 values all: one in some 2**24 would not be."""
    exact, inside = EXACT[name]
    x, found = inside((3000,)), Transformed(inside, name)((3000,))
    assert found.dtype == np.float32
    with mpmath.workprec(200):
        values = [exact(mpmath.mpf(float(each))) for each in x]
        nearest = np.array([float(value) for value in values]).astype(np.float32)
    assert_same_bits(found + np.float32(0), nearest + np.float32(0))
    assert len(set(found.tolist())) > 2000


def test_every_transform_is_tested() -> None:
    from fanin.initializers.transforms import _TRANSFORMS

    assert EXACT.keys() == _TRANSFORMS.keys()
    for name, entry in _TRANSFORMS.items():  # finite at both ends of what each takes, and documented
        ends = entry.function(np.array([entry.least, entry.most]))
        assert np.isfinite(ends.astype(np.float32)).all(), name
        assert f'``"{name}"``' in (Transformed.__doc__ or ""), name


def test_as_many_values_are_off_as_is_said() -> None:
    """2**18 logarithms and exponentials beside those of 64-bit mantissas; one in 2**24 were 0.016 of them."""
    x = RandomUniform(0.01, 16.0, 3)((2**18,))
    logs = np.log(x.astype(np.longdouble)).astype(np.float32)
    assert np.finfo(np.longdouble).nmant >= 63
    assert (Transformed(RandomUniform(0.01, 16.0, 3), "log")((2**18,)) != logs).sum() == 0
    assert (np.log(x) != logs).sum() > 1000  # float32 logarithms would show


def test_the_steps_of_mamba_are_log_uniform() -> None:
    bias = get("transformed(log_uniform(0.001, 0.1, seed=7), 'inverse_softplus', minimum=1e-4)")
    steps = np.log1p(np.exp(bias((2**17,)).astype(np.float64)))
    assert scipy.stats.kstest(steps, scipy.stats.loguniform(0.001, 0.1).cdf).pvalue > 1e-3
    assert scipy.stats.kstest(steps, scipy.stats.uniform(0.001, 0.099).cdf).pvalue < 1e-9
    assert steps.min() >= 0.001 * (1 - 1e-6)
    assert steps.max() <= 0.1 * (1 + 1e-6)
    dt = LogUniform(0.001, 0.1, 7)((1000,)).astype(np.float64).clip(1e-4)
    assert np.abs(bias((1000,)) - (dt + np.log(-np.expm1(-dt)))).max() < 2.0**-22  # one unit in the last place


def test_log_uniform_keeps_its_ends() -> None:
    beside_a_tie = (1.450339376926419, 1.4503393769264221)  # where the last bits of float64 reach over it
    for low, high in ((1e-3, 0.1), (1.0, 1.0), (2.0**-126, 3e38), (0.3, 0.30000001), beside_a_tie):
        w = LogUniform(low, high, 7)((4096,))
        assert np.float32(low) <= w.min() <= w.max() <= np.float32(high)
    u = RandomUniform(0.0, 1.0, 7)((4096,)).astype(np.float64)
    assert np.abs(LogUniform(1e-3, 0.1, 7)((4096,)) / (1e-3 * 100**u) - 1).max() < 2.0**-23
    log_mean = np.log(LogUniform(1e-3, 0.1, 7)((2**18,)).astype(np.float64)).mean()
    assert abs(log_mean - math.log(1e-2)) < 6 * math.log(100) / math.sqrt(12) / 2**9


def test_logarithms_of_states_are_those_of_mamba() -> None:
    expected = np.log(np.arange(1, 17, dtype=np.float64)).astype(np.float32)
    assert_same_bits(get("transformed(arange(1), 'log')")((3, 16)), np.tile(expected, (3, 1)))


def test_values_are_cut_before_the_transform() -> None:
    inside = RandomUniform(0.0, 16.0, 7)
    cut = Transformed(inside, "log", minimum=1.0, maximum=8.0)((4096,))
    assert_same_bits(cut, Transformed(Constant(inside((4096,)).clip(1, 8)), "log")((4096,)))
    assert cut.min() == 0
    assert cut.max() == np.float32(math.log(8))
    assert (cut == cut.max()).mean() == pytest.approx(0.5, abs=0.05)


def test_blocks_do_not_show() -> None:
    whole = Transformed(RandomNormal(seed=7), "exp")((BLOCK + 70,))
    parts = [Transformed(RandomNormal(seed=7), "exp").window((BLOCK + 70,), slice(a, b)) for a, b in
             itertools.pairwise([0, 3, BLOCK - 1, BLOCK + 70])]  # fmt: skip
    assert_same_bits(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    ("make", "fragments"),
    [
        (lambda: Transformed(RandomUniform(0.0, 16.0), "log"), ["log of 0.0 is no finite float32", "minimum="]),
        (lambda: Transformed(RandomNormal(5.0, 1.0), "log"), ["down to -1.3", "log of -1.3"]),
        (lambda: Transformed(RandomUniform(-1.0, 2.0), "sqrt"), ["sqrt of -1.0"]),
        (lambda: Transformed(RandomUniform(0.5, 1.0), "logit"), ["logit of 1.0", "maximum="]),
        (lambda: Transformed(RandomNormal(0.0, 20.0), "exp"), ["exp of 126.", "maximum="]),
        (lambda: Transformed(RandomNormal(0.0, 1e20), "square"), ["square of"]),
        (lambda: Transformed("zeros", "inverse_softplus"), ["inverse_softplus of 0.0"]),
        (lambda: Transformed(Arange(), "log")((3,)), ["Arange() has values down to 0.0", "log of 0.0"]),
        (lambda: Transformed(noise, "log")((99,)), ["is no finite float32"]),
        (lambda: Transformed("ones", "ln"), ["no transform 'ln'"]),
        (lambda: Transformed("ones", "soft_plus"), ["did you mean 'softplus'?"]),
        (lambda: Transformed("ones", 3), ["no transform 3"]),
        (lambda: Transformed("ones", "log", 2.0, 1.0), ["minimum=2.0 is above maximum=1.0"]),
        (lambda: Transformed("ones", "log", INF), ["minimum must be one finite real number"]),
        (lambda: LogUniform(0.0, 1.0), ["LogUniform: give 2**-126", "minval=0.0"]),
        (lambda: LogUniform(2.0, 1.0), ["minval <= maxval"]),
        (lambda: LogUniform(1.0, 1e39), ["maxval=1e+39"]),
        (lambda: LogUniform(1e-40, 1.0), ["minval=1e-40"]),
        (lambda: Scaled(RandomNormal(), 1e40), ["Scaled: gain=1e+40 of RandomNormal(): stddev"]),
        (lambda: Scaled(RandomNormal(), 1e-30), ["stddev is 5", "below 2**-90"]),
        (lambda: Scaled(Constant(1e300), 1e10), ["beyond float64"]),
        (lambda: Scaled(RandomNormal(), INF), ["gain must be one finite real number"]),
        (lambda: Scaled(RandomNormal(), True), ["gain must be one finite real number"]),
        (lambda: Scaled(LogUniform(1.0, 2.0), 3e38)((3,)), ["has values beyond float32"]),
        (lambda: Scaled(object(), 1), ["stands for no initializer"]),
        (lambda: Masked("ones", "lover"), ["mask must be one of lower, upper", "'lover'"]),
        (lambda: Masked("ones", [[1.0, math.nan]]), ["mask holds NaN"]),
        (lambda: Masked("ones", []), ["no elements"]),
        (lambda: Masked("ones", "band", -1), ["below must be an integer from 0, not -1"]),
        (lambda: Masked("ones", "band", 1.0), ["below must be an integer from 0, not 1.0"]),
        (lambda: Masked("ones", "band", above=True), ["above must be an integer"]),
        (lambda: Masked("ones", "lower", 1), ["below is an argument of mask='band' only"]),
        (lambda: Masked("ones", np.ones(2), groups=2), ["groups is an argument of mask='block_diagonal' only"]),
        (lambda: Masked("ones", "block_diagonal", groups=0), ["groups must be an integer from 1"]),
        (lambda: Arange(axis=1.0), ["axis must be an integer, not 1.0"]),
        (lambda: Arange("a"), ["start must be one finite real number"]),
        (lambda: Arange(1, INF), ["step must be one finite real number"]),
        (lambda: Arange(2**62)((2,)), ["more than 64 bits hold"]),
        (lambda: Arange(-(2**61), 2**61)((5,)), ["more than 64 bits hold"]),
        (lambda: Arange(0.0, 1e308)((5,)), ["reaches inf"]),
        (lambda: Sinusoids(1.0), ["max_timescale must be above 1"]),
        (lambda: Sinusoids(endpoint=1), ["endpoint must be True or False"]),
        (lambda: Sinusoids(grid=[3]), ["grid must be two counts"]),
        (lambda: Sinusoids(grid=[3, 0]), ["grid must be two counts"]),
        (lambda: Sinusoids(grid="ab"), ["grid must be two counts"]),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_are_told(make: Callable[[], object], fragments: list[str]) -> None:
    with pytest.raises(FaninError) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda: Masked("ones", "lower")((3,)), "needs two axes or more"),
        (lambda: Masked("ones", "causal")((3, 4)), "needs a window axis"),
        (lambda: Masked("ones", "causal")((3, 4), layout="o i"), "with layout 'o i' has none"),
        (lambda: Masked("ones", "block_diagonal", groups=4)((4, 6)), "do not divide the 4 rows and 6 columns"),
        (lambda: Masked("ones", np.ones((2, 3)))((3, 2)), "mask of shape (2, 3) does not broadcast to the shape (3, 2"),
        (lambda: Arange()(()), "axis=-1 is no axis of the shape ()"),
        (lambda: Arange(axis=2)((3, 4)), "axis=2 is no axis"),
        (lambda: Sinusoids()((4,)), "no two axes"),
        (lambda: Sinusoids()((4, 5)), "2 equal parts and cannot split the 5"),
        (lambda: Sinusoids(endpoint=True)((4, 2)), "2 equal parts, at least 4, and cannot split the 2"),
        (lambda: Sinusoids(grid=[2, 2])((4, 6)), "4 equal parts and cannot split the 6"),
        (lambda: Sinusoids(grid=[2, 2])((5, 8)), "has 4 positions, not 5"),
        (lambda: Sinusoids()((2**20 + 1, 2)), "1048577 positions"),
    ],
)  # fmt: skip
def test_shapes_that_cannot_be_are_told(make: Callable[[], object], fragment: str) -> None:
    with pytest.raises(ShapeError) as caught:
        make()
    assert fragment in str(caught.value)


# Ramps and sinusoids ---------------------------------------------------------------------------


def test_ramps() -> None:
    assert_same_bits(Arange(2, 3)((4,), "int32"), np.arange(2, 14, 3, dtype=np.int32))
    assert_same_bits(Arange()((1, 7), "int64"), np.arange(7)[None])
    assert_same_bits(Arange(5, -1, axis=0)((3, 2)), np.array([[5, 5], [4, 4], [3, 3]], np.float32))
    assert_same_bits(Arange(0.5)((2, 3), layout="o i"), Arange(0.5)((2, 3)))  # as stored, whatever the layout
    found = Arange(1.15, -0.1 / 11)((12,), "float64")  # nanochat's lambdas of 12 layers
    exact = [Fraction(1.15) + k * Fraction(-0.1 / 11) for k in range(12)]
    assert max(abs(Fraction(a) - b) for a, b in zip(found.tolist(), exact, strict=True)) < Fraction(1, 2**51)
    assert Arange()((0, 3)).shape == (0, 3)
    with pytest.raises(DTypeError, match="uint8 cannot hold"):
        Arange()((300,), "uint8")


def test_ramps_of_integers_in_plans() -> None:
    def resolved(text: str, length: int, dtype: str) -> None:
        Plan([Rule("ids", text)]).resolve([Parameter("ids", (1, length), dtype)])

    resolved("arange", 256, "uint8")
    resolved("arange(5, -1)", 6, "uint8")
    for text, length, dtype in (("arange", 257, "uint8"), ("arange(5, -1)", 7, "uint8"), ("arange(0, 0.5)", 3, "int8")):
        with pytest.raises(PlanError, match=f"{dtype} cannot hold"):
            resolved(text, length, dtype)


def test_sinusoids_are_those_of_whisper() -> None:
    from transformers.models.whisper.modeling_whisper import sinusoids

    theirs = sinusoids(1500, 384).numpy()
    ours = Sinusoids(endpoint=True)((1500, 384))
    difference = np.abs(ours - theirs)
    assert difference[:8].max() < 1e-6
    assert difference.max() < 2e-4  # their angles are float32
    doubled = np.arange(1500)[:, None] * np.exp(-math.log(10000) / 191 * np.arange(192))
    assert np.abs(ours - np.concatenate([np.sin(doubled), np.cos(doubled)], 1)).max() < 2.0**-24
    assert np.abs(Sinusoids()((1500, 384)) - theirs).max() > 0.1  # another endpoint shows


def test_sinusoids_on_a_grid_have_columns_first() -> None:
    """As MAE and DiT have them; transformers, computing in float64 as well, has rows first."""
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    theirs = build_2d_sinusoidal_position_embedding(7, 7, 64).numpy()
    ours = Sinusoids(grid=[7, 7])((1, 49, 64))
    assert np.abs(ours[0] - np.roll(theirs, 32, axis=1)).max() < 2.0**-23
    assert np.abs(ours[0] - theirs).max() > 0.1
    assert_same_bits(Sinusoids(grid=[7, 7]).window((2, 49, 64), (slice(1, 2), slice(3, 40), slice(30, 50))),
                     ours[:, 3:40, 30:50])  # fmt: skip


def test_interleaved_sinusoids_are_those_of_the_transformer() -> None:
    position, pair = np.arange(50)[:, None], np.arange(16)
    angles = position / 10000 ** (2 * pair / 32)
    ours = Sinusoids(interleaved=True)((50, 32))
    assert np.abs(ours[:, 0::2] - np.sin(angles)).max() < 2.0**-24
    assert np.abs(ours[:, 1::2] - np.cos(angles)).max() < 2.0**-24


# Configuration, equality, text, seeds --------------------------------------------------------------

INSTANCES = [
    Scaled(HeNormal(3), -0.5),
    Scaled(Constant([[1.5], [2.5]]), 2.0),
    Scaled(Masked(Orthogonal(2.0, 3), "lower"), 0.5),
    Masked("random_normal(seed=3)", "band", 1, None),
    Masked(TruncatedNormal(1.0, 0.5, 3, -INF, 1.0), [[True, False], [False, True]]),
    Masked("ones", "block_diagonal", groups=2),
    Transformed(LogUniform(0.001, 0.1, 3), "inverse_softplus", 1e-4),
    Transformed(Arange(1), "log"),
    LogUniform(0.5, 2.0, 3),
    Arange(1, 0.5, 0),
    Sinusoids(100.0, True, True, [2, 2]),
    Sinusoids(),
]


@pytest.mark.parametrize("initializer", INSTANCES, ids=repr)
def test_an_initializer_survives_every_kind_of_copy(initializer: Initializer) -> None:
    cls = type(initializer)
    copies = [
        initializer.clone(),
        cls.from_config(json.loads(json.dumps(initializer.get_config()))),
        initializers.deserialize(initializers.serialize(initializer)),
        eval(repr(initializer), {"float": float}, vars(initializers)),
        pickle.loads(pickle.dumps(initializer)),
        copy.deepcopy(initializer),
    ]
    if "float(" not in repr(initializer):
        copies.append(get(repr(initializer)))
    shape = (4, 8) if isinstance(initializer, Sinusoids) else (2, 2)
    for other in copies:
        assert type(other) is cls
        assert (other, hash(other), repr(other)) == (initializer, hash(initializer), repr(initializer))
        assert_same_bits(other(shape), initializer(shape))
    assert len(copies) >= 6


def test_different_wrappers_are_unequal() -> None:
    for a, one in enumerate(INSTANCES):
        for b, other in enumerate(INSTANCES):
            assert (one == other) is (a == b)
    assert Scaled(HeNormal(), 1.0) != Scaled(HeNormal(1), 1.0)
    assert Masked("ones", "lower") != Masked("ones", np.tri(2))


def test_wrappers_of_functions_are_told_apart_and_have_no_configuration() -> None:
    one = Scaled(noise, 2.0)
    assert one == one
    assert one != Scaled(noise, 2.0)
    assert hash(one) == object.__hash__(one)
    with pytest.raises(FaninError, match="has no configuration"):
        one.get_config()


def test_wrapping_is_bounded() -> None:
    inside: Initializer = HeNormal(3)
    for _ in range(32):
        inside = Scaled(inside, 1.0)
    assert inside((2, 2)).tolist() == HeNormal(3)((2, 2)).tolist()
    config = inside.get_config()
    with pytest.raises(ArgumentError, match="wrapped more than 32 deep"):
        Scaled(inside, 1.0)
    deep: dict[str, object] = {"initializer": {"class_name": "Scaled", "config": config}, "gain": 1.0}
    for _ in range(5000):
        deep = {"initializer": {"class_name": "Scaled", "config": deep}, "gain": 1.0}
    with pytest.raises(ArgumentError, match="wrapped more than 32 deep"):
        Scaled.from_config(deep)


def test_seeds_are_those_of_what_is_inside() -> None:
    for wrapped in (
        Scaled(HeNormal(3), 0.5),
        Masked(Scaled(HeNormal(3), 2), "lower"),
        Transformed(LogUniform(1, 2, 3), "log"),
    ):
        assert wrapped.seed == 3
        entries = Plan([Rule("*", wrapped)], layout="i o").resolve([Parameter("a", (4, 4))], seed=9)
        assert entries[0].seed == 3
        with pytest.raises(PlanError, match="two seeds, 3 in the initializer and 4 in the rule"):
            Plan([Rule("*", wrapped, seed=4)], layout="i o").resolve([Parameter("a", (4, 4))])
    for unseeded in (Scaled("he_normal", 0.5), Masked("he_normal", "lower"), Transformed("random_normal", "exp")):
        assert unseeded.seed is None
        assert not np.array_equal(unseeded((4, 4)), unseeded((4, 4)))
        with pytest.raises(SeedError, match="has no seed, so its windows"):
            unseeded.window((4, 4), slice(0, 2))
    assert Scaled(noise, 2).seed is None


# In plans --------------------------------------------------------------------------------------


def test_fans_are_needed_through_wrappers() -> None:
    for text, needs in (
        ("scaled(he_normal(), 2)", "fans"),
        ("masked(scaled(he_normal(), 2), 'lower')", "fans"),
        ("scaled(orthogonal(), 2)", "rows and columns"),
        ("masked(ones(), 'lower')", "rows and columns"),
        ("masked(ones(), 'causal')", "window axes"),
    ):
        with pytest.raises(PlanError, match=f"whose {needs} depend on which axis is which"):
            Plan([Rule("*", text)]).resolve([Parameter("w", (4, 4, 4))])
    Plan([Rule("*", Masked("ones", np.ones(4)))]).resolve([Parameter("w", (4, 4))])
    Plan([Rule("*", "transformed(arange(1), 'log')")]).resolve([Parameter("w", (4, 4))])


def of(initializer: object, shape: tuple[int, ...] = (4, 4), member: int | None = None, **more: object) -> str:
    plan = Plan([Rule("*", initializer, **more)])  # type: ignore[arg-type]
    return digest(plan.resolve([Parameter("a", shape)], seed=2, member=member))


def test_what_asks_for_the_same_has_the_same_digest() -> None:
    assert of("scaled(random_normal(stddev=1), 0.5)") == of("random_normal(stddev=0.5)")
    assert of("masked(scaled(ones(), 2), 'lower')", layout="i o") == of("masked(constant(2), 'lower')", layout="i o")
    assert of("transformed(scaled(random_normal(stddev=1), 0.5), 'exp')") == of(
        "transformed(random_normal(stddev=.5), 'exp')"
    )
    assert of("log_uniform(1, 2, seed=5)") == of("log_uniform(1, 2)", seed=5)
    assert of("random_normal", member=0) == of("random_normal")


def test_what_differs_has_another_digest() -> None:
    digests = [
        of("scaled(orthogonal(), 0.5)", layout="i o"),
        of("scaled(orthogonal(), 0.25)", layout="i o"),
        of("scaled(orthogonal(), 0.25)", layout="i o", seed=1),
        of("scaled(orthogonal(), 0.25)", layout="i o", member=1),
        of("masked(ones(), 'lower')", layout="i o"),
        of("masked(ones(), 'lower')", layout="o i"),
        of("masked(ones(), 'upper')", layout="i o"),
        of("masked(ones(), 'band', 1)", layout="i o"),
        of("masked(ones(), 'band', None)", layout="i o"),
        of(Masked("ones", np.eye(4))),
        of(Masked("ones", np.tri(4))),
        of("transformed(log_uniform(1, 2), 'log')"),
        of("transformed(log_uniform(1, 2), 'log')", seed=1),
        of("transformed(log_uniform(1, 2), 'exp')"),
        of("transformed(log_uniform(1, 2), 'exp', minimum=1.5)"),
        of("log_uniform(1, 2)"),
        of("log_uniform(1, 2)", member=1),
        of("arange"),
        of("arange(1)"),
        of("sinusoids"),
        of("sinusoids(endpoint=True)"),
        of("random_normal"),
        of("random_normal", member=1),
        of("random_normal", member=2),
        of(Scaled(noise, 2)),
        of(Scaled(noise, 3)),
        of(Scaled(noise, 3), member=1),
        of(noise),
        of(noise, member=1),
    ]
    assert len(set(digests)) == len(digests) == 29


def test_a_mamba_of_transformers_starts_as_its_authors_say() -> None:
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = MambaConfig(hidden_size=64, state_size=16, num_hidden_layers=4, vocab_size=8, time_step_rank=4)
    mixer = MambaMixer(config, layer_idx=0)
    plan = Plan.from_text(
        """
        [quantities]
        n_layer = 4
        dt_rank = 4

        [[rules]]
        match = "A_log"
        initializer = "transformed(arange(1), 'log')"

        [[rules]]
        match = "D"
        initializer = "ones"

        [[rules]]
        match = "dt_proj.weight"
        initializer = "random_uniform(-dt_rank ** -0.5, dt_rank ** -0.5)"

        [[rules]]
        match = "dt_proj.bias"
        initializer = "transformed(log_uniform(0.001, 0.1), 'inverse_softplus', minimum=1e-4)"

        [[rules]]
        match = "out_proj.weight"
        initializer = "scaled(variance_scaling(1 / 3, 'fan_in', 'uniform'), 1 / sqrt(n_layer))"

        [[rules]]
        match = ["conv1d.*", "*.weight"]
        initializer = "random_uniform(-1 / sqrt(fan_in), 1 / sqrt(fan_in))"
        """
    )
    plan.apply(mixer, seed=1)
    assert torch.allclose(mixer.A_log, torch.arange(1, 17).float().log().expand(128, -1), atol=1e-6)
    steps = torch.nn.functional.softplus(mixer.dt_proj.bias.detach())
    assert 0.001 * 0.9999 < float(steps.min()) < 0.0015
    assert 0.07 < float(steps.max()) < 0.1 * 1.0001
    bound = 1 / math.sqrt(128) / 2
    assert 0.98 * bound < float(mixer.out_proj.weight.detach().abs().max()) < bound


def test_xavier_on_a_weight_viewed_as_a_matrix() -> None:
    """DiT initializes its patch convolution as a matrix (out, the rest)."""
    layer = torch.nn.Conv2d(4, 32, 2)
    Plan([Rule("weight", "glorot_uniform", layout="o i1 i2 i3"), Rule("bias", "zeros")]).apply(layer, seed=1)
    bound = math.sqrt(6 / (4 * 2 * 2 + 32))
    twin = torch.empty(32, 4, 2, 2)
    torch.nn.init.xavier_uniform_(twin.view(32, -1), generator=torch.Generator().manual_seed(0))
    assert 0.98 * bound < float(layer.weight.detach().abs().max()) < bound
    assert float(twin.abs().max()) == pytest.approx(bound, rel=0.02)


# Members of ensembles --------------------------------------------------------------------------

BODY = [
    Rule("embed.weight", "random_normal(stddev=0.02)", layout="i o"),
    Rule("*.bias", "random_uniform(-0.1, 0.1)"),
    Rule("conv.weight", "masked(he_normal(), 'causal')"),
    Rule("head.weight", "scaled(orthogonal(), 2)"),
    Rule("steps", "transformed(log_uniform(0.001, 0.1), 'log')"),
    Rule("temperature", "random_normal(seed=3)"),
]


class Body(torch.nn.Module):
    """A model with a tensor of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.conv = torch.nn.Conv1d(6, 5, 3)
        self.head = torch.nn.Linear(5, 7)
        self.steps = torch.nn.Parameter(torch.empty(4))
        self.temperature = torch.nn.Parameter(torch.empty(()))


# The layouts of the same tensors with the members in front.
STACKED = {
    "embed.weight": "b i o", "conv.weight": "b o i k", "head.weight": "b o i",
    "conv.bias": "b o", "head.bias": "b o", "steps": "b o", "temperature": None,
}  # fmt: skip


def test_members_are_the_slices_of_the_stacked_ensemble() -> None:
    separate = [Body() for _ in range(3)]
    for k, model in enumerate(separate):
        Plan(BODY).apply(model, seed=5, member=k)
    arrays = dict(separate[0].named_parameters())
    rules = [Rule(rule.match, rule.initializer) for rule in BODY]
    parameters = [Parameter(name, (3, *arrays[name].shape), layout=STACKED[name]) for name in arrays]
    compared = 0
    for entry in Plan(rules).resolve(parameters, seed=5):
        stacked = np.empty(entry.shape, np.float32)
        filled(entry.recipe, stacked)
        for k, model in enumerate(separate):
            assert_same_bits(dict(model.named_parameters())[entry.name].detach().numpy(), stacked[k])
            compared += 1
        assert len({stacked[k].tobytes() for k in range(3)}) == 3, entry.name
    assert compared == 21
    plain = Body()
    Plan(BODY).apply(plain, seed=5)
    for name, tensor in plain.named_parameters():  # the first member is the model without members
        assert_same_bits(tensor.detach().numpy(), dict(separate[0].named_parameters())[name].detach().numpy())


def test_members_share_what_is_not_drawn_and_functions_draw_their_own() -> None:
    rules = [Rule("eye", "identity"), Rule("ramp", "arange"), Rule("own", noise), Rule("halved", Scaled(noise, 0.5))]
    parameters = [Parameter(name, (4, 4)) for name in ("eye", "ramp", "own", "halved")]
    made = []
    for member in (None, 1, 2):
        arrays = {}
        for entry in Plan(rules).resolve(parameters, seed=5, member=member):
            arrays[entry.name] = np.empty(entry.shape, np.float32)
            filled(entry.recipe, arrays[entry.name])
        made.append(arrays)
    assert_same_bits(made[1]["eye"], np.eye(4, dtype=np.float32))
    assert_same_bits(made[1]["ramp"], made[0]["ramp"])
    assert len({arrays["own"].tobytes() for arrays in made}) == 3
    assert len({arrays["halved"].tobytes() for arrays in made}) == 3


@pytest.mark.parametrize("member", [-1, 1.0, True, "1"])
def test_what_is_no_member_is_told(member: object) -> None:
    with pytest.raises(PlanError, match="is no member of an ensemble"):
        Plan([Rule("*", "zeros")]).resolve([Parameter("a", (3,))], member=member)  # type: ignore[arg-type]


def test_as_many_members_as_the_rows_allow() -> None:
    plan, parameter = Plan([Rule("*", "random_normal")]), [Parameter("a", (2**12, 3))]
    plan.resolve(parameter, member=2**20 - 1)
    with pytest.raises(PlanError, match="4096 rows, with those of 1048576 members before it"):
        plan.resolve(parameter, member=2**20)
