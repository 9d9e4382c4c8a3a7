"""fanin.torch's functions against those of the installed torch.nn.init: arguments, fans, gains, values, moments."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from harness import assert_same_bits
from torch import nn
from torch_tensors import DTYPES, array, assert_same_tensors, no_generator_advanced, poisoned, refused, std_error

import fanin.torch
from fanin import initializers
from fanin.errors import ArgumentError, LayoutError, ShapeError

NAMES = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip
NONLINEARITIES = [
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
    "tanh", "relu", "leaky_relu", "selu",
]  # fmt: skip

# Each function that draws, with arguments that give it values that float16 and float8 hold.
DRAWING: dict[str, Callable[..., torch.Tensor]] = {
    "uniform_": lambda t, **call: fanin.torch.uniform_(t, -0.5, 0.25, **call),
    "normal_": lambda t, **call: fanin.torch.normal_(t, 0.5, 0.1, **call),
    "trunc_normal_": lambda t, **call: fanin.torch.trunc_normal_(t, 0.1, 0.5, -0.7, 1.0, **call),
    "xavier_uniform_": lambda t, **call: fanin.torch.xavier_uniform_(t, 1.5, **call),
    "xavier_normal_": lambda t, **call: fanin.torch.xavier_normal_(t, **call),
    "kaiming_uniform_": lambda t, **call: fanin.torch.kaiming_uniform_(t, math.sqrt(5), **call),
    "kaiming_normal_": lambda t, **call: fanin.torch.kaiming_normal_(t, mode="fan_out", **call),
    "orthogonal_": lambda t, **call: fanin.torch.orthogonal_(t, 1.5, **call),
    "sparse_": lambda t, **call: fanin.torch.sparse_(t, 0.3, **call),
    "init_": lambda t, **call: fanin.torch.init_(t, "he_normal", **call),
}
CONSTANT: dict[str, Callable[..., torch.Tensor]] = {
    "constant_": lambda t, **call: fanin.torch.constant_(t, 0.3, **call),
    "ones_": fanin.torch.ones_,
    "zeros_": fanin.torch.zeros_,
    "eye_": fanin.torch.eye_,
    "dirac_": lambda t, **call: fanin.torch.dirac_(t.unsqueeze(-1), **call).squeeze(-1),
}
ALL = DRAWING | CONSTANT


# Arguments -----------------------------------------------------------------------------------------


def test_every_function_of_torch_is_there() -> None:
    theirs = {name for name in nn.init.__all__ if name.endswith("_") or name == "calculate_gain"}
    assert theirs == set(NAMES) <= set(fanin.torch.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_torch(name: str) -> None:
    def told(function: Callable[..., object]) -> list[tuple[str, object, object]]:
        given = inspect.signature(function).parameters.values()
        return [(each.name, each.default, each.kind) for each in given if each.kind is not each.VAR_KEYWORD]

    theirs, ours = told(getattr(nn.init, name)), told(getattr(fanin.torch, name))
    assert ours == theirs
    assert len(ours) >= 1


def test_arguments_are_told_apart() -> None:
    with pytest.raises(AssertionError):
        assert inspect.signature(fanin.torch.normal_) == inspect.signature(nn.init.normal_)  # seed=, name=, layout=


@pytest.mark.parametrize("name", DRAWING)
def test_the_tensor_itself_is_returned(name: str) -> None:
    tensor = nn.Parameter(poisoned(4, 6))
    assert DRAWING[name](tensor, seed=1) is tensor


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_",
                                  "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "sparse_"])  # fmt: skip
def test_a_generator_is_refused_with_what_to_pass_instead(name: str) -> None:
    tensor = poisoned(3, 4)
    arguments = [0.1] if name == "sparse_" else []
    for generator in (torch.Generator(), 7):
        refused(
            lambda generator=generator: getattr(fanin.torch, name)(tensor, *arguments, generator=generator),  # type: ignore[misc]
            ArgumentError, ValueError, "generator=", "Pass seed=", "name=",
        )  # fmt: skip
    assert_same_tensors(tensor, poisoned(3, 4))


# Gains and fans ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NONLINEARITIES)
@pytest.mark.parametrize("param", [None, 0, 0.2, 1, -3.5])
def test_gains_are_those_of_torch(name: str, param: float | None) -> None:
    assert fanin.torch.calculate_gain(name, param) == pytest.approx(nn.init.calculate_gain(name, param), rel=1e-15)


@pytest.mark.parametrize("name", ["gelu", "silu", "identity", "ReLU", "", None, 3, []])
def test_a_nonlinearity_that_torch_does_not_know_is_refused_by_both(name: Any) -> None:
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain(name)
    refused(lambda: fanin.torch.calculate_gain(name), ArgumentError, ValueError, repr(name), "relu", "leaky_relu")


@pytest.mark.parametrize("param", [True, "x", math.inf, math.nan])
def test_a_slope_that_is_no_finite_number_is_refused(param: Any) -> None:
    refused(lambda: fanin.torch.calculate_gain("leaky_relu", param), ArgumentError, ValueError, repr(param))


FAN_SHAPES = [(64, 48), (16, 24, 5), (16, 8, 3, 3), (6, 4, 3, 2, 5), (96, 1, 7, 7)]


def bound_of(function: Callable[..., torch.Tensor], shape: tuple[int, ...], *args: Any, **kwargs: Any) -> float:
    """The bound that torch itself passes on, read off a subclass that only listens."""
    heard: list[float] = []

    class Listening(torch.Tensor):
        def uniform_(self, a: float, b: float, generator: Any = None) -> torch.Tensor:
            heard.append(b)
            return self

        def normal_(self, mean: float, std: float, generator: Any = None) -> torch.Tensor:
            heard.append(std)
            return self

        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))

    function(torch.empty(shape).as_subclass(Listening), *args, **kwargs)
    assert len(heard) == 1
    return heard[0]


@pytest.mark.parametrize("shape", FAN_SHAPES)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "FAN_OUT"])
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_kaiming_scales_are_those_of_torch(shape: tuple[int, ...], mode: str, nonlinearity: str) -> None:
    """Bit for bit the draw with the scale that torch computes, which is nearer than any moment can tell."""
    for kind in ("uniform", "normal"):
        name = f"kaiming_{kind}_"
        scale = bound_of(getattr(nn.init, name), shape, 0.2, mode, nonlinearity)
        found = getattr(fanin.torch, name)(poisoned(*shape), 0.2, mode, nonlinearity, seed=5, name="w")
        assert_scaled(found, kind, scale)


@pytest.mark.parametrize("shape", FAN_SHAPES)
@pytest.mark.parametrize("gain", [1.0, 5 / 3, 0.1])
def test_xavier_scales_are_those_of_torch(shape: tuple[int, ...], gain: float) -> None:
    for kind in ("uniform", "normal"):
        name = f"xavier_{kind}_"
        scale = bound_of(getattr(nn.init, name), shape, gain)
        found = getattr(fanin.torch, name)(poisoned(*shape), gain, seed=5, name="w")
        assert_scaled(found, kind, scale)


def assert_scaled(found: torch.Tensor, kind: str, scale: float) -> None:
    """Check for the numbers of that bound or deviation, give or take the last bit of it as float32."""
    single = np.float32(scale)
    near = [float(single), *(float(np.nextafter(single, np.float32(end))) for end in (0, math.inf))]
    draws = [
        fanin.torch.uniform_(torch.empty(found.shape), -s, s, seed=5, name="w")
        if kind == "uniform"
        else fanin.torch.normal_(torch.empty(found.shape), 0.0, s, seed=5, name="w")
        for s in near
    ]
    assert any(torch.equal(found, draw) for draw in draws), f"no draw of scale {scale}"


def test_another_scale_is_told() -> None:
    with pytest.raises(AssertionError, match="no draw"):
        assert_scaled(fanin.torch.normal_(torch.empty(8, 8), 0.0, 1.001, seed=5, name="w"), "normal", 1.0)


@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
@pytest.mark.parametrize("shape", [(), (5,)])
def test_fewer_than_two_axes_have_no_fans_as_in_torch(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        getattr(nn.init, name)(torch.empty(shape))
    tensor = poisoned(*shape)
    refused(lambda: getattr(fanin.torch, name)(tensor), LayoutError, ValueError, repr(shape), "layout='i'")
    assert_same_tensors(tensor, poisoned(*shape))


def test_a_vector_with_a_layout_has_a_fan() -> None:
    found = fanin.torch.kaiming_normal_(poisoned(400), layout="i", seed=2, name="v")
    expected = fanin.torch.normal_(torch.empty(400), 0.0, math.sqrt(2 / 400), layout="i", seed=2, name="v")
    assert_same_tensors(found, expected)


@pytest.mark.parametrize("mode", ["fan_avg", "fan", "", None, 3])
def test_another_mode_is_refused(mode: Any) -> None:
    tensor = poisoned(3, 4)
    refused(lambda: fanin.torch.kaiming_normal_(tensor, mode=mode), ArgumentError, ValueError, repr(mode), "'fan_out'")
    assert_same_tensors(tensor, poisoned(3, 4))


@pytest.mark.parametrize(
    ("layer", "layout", "fan_in"),
    [
        (lambda: nn.Conv2d(32, 64, 3, groups=8), "o/8 i *k", 32 // 8 * 9),
        (lambda: nn.Conv1d(48, 48, 5, groups=48), "o/48 i *k", 5),
        (lambda: nn.ConvTranspose2d(32, 64, 3), "i o *k", 32 * 9),
        (lambda: nn.ConvTranspose2d(32, 64, 3, groups=4), "i/4 o *k", 32 // 4 * 9),
        (lambda: nn.ConvTranspose3d(8, 16, (3, 1, 2), groups=2), "i/2 o *k", 8 // 2 * 6),
    ],
)
def test_a_layout_gives_the_fans_of_the_operation(layer: Callable[[], nn.Module], layout: str, fan_in: int) -> None:
    """The fan is measured: of an input of ones and a weight of ones, most outputs sum as many as there are inputs."""
    module: Any = layer()
    nn.init.ones_(module.weight)
    nn.init.zeros_(module.bias)
    summed = module(torch.ones(1, module.in_channels, *[16] * (module.weight.dim() - 2)))
    assert summed.max().item() == fan_in
    found = fanin.torch.kaiming_normal_(module.weight, layout=layout, seed=3, name="w")
    expected = torch.empty_like(found)
    fanin.torch.normal_(expected, 0.0, math.sqrt(2 / fan_in), layout=layout, seed=3, name="w")
    assert_same_tensors(found, expected)


# Constants -----------------------------------------------------------------------------------------

ANY_DTYPE = [*DTYPES, torch.int64, torch.int8, torch.uint8]


@pytest.mark.parametrize("dtype", ANY_DTYPE, ids=str)
@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (1, 4)])
def test_eye_is_that_of_torch(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    expected = torch.eye(*shape).to(dtype)
    if dtype.itemsize > 1 or not dtype.is_floating_point:
        assert torch.equal(nn.init.eye_(poisoned(*shape, dtype=dtype)), expected)
    assert_same_tensors(fanin.torch.eye_(poisoned(*shape, dtype=dtype)), expected)


@pytest.mark.parametrize("dtype", ANY_DTYPE, ids=str)
def test_constants_are_those_of_torch(dtype: torch.dtype) -> None:
    assert_same_tensors(fanin.torch.ones_(poisoned(3, 5, dtype=dtype)), torch.ones(3, 5).to(dtype))
    assert_same_tensors(fanin.torch.zeros_(poisoned(3, 5, dtype=dtype)), torch.zeros(3, 5).to(dtype))
    assert_same_tensors(fanin.torch.constant_(poisoned(3, dtype=dtype), 3), torch.full((3,), 3).to(dtype))
    if dtype.is_floating_point:
        value = 0.1
        found = fanin.torch.constant_(poisoned(3, dtype=dtype), value)
        assert_same_tensors(found, nn.init.constant_(torch.empty(3, dtype=dtype), value))


def test_booleans_take_constants() -> None:
    assert fanin.torch.ones_(torch.zeros(3, dtype=torch.bool)).tolist() == [True] * 3
    assert fanin.torch.zeros_(torch.ones(3, dtype=torch.bool)).tolist() == [False] * 3


def test_a_scalar_is_filled() -> None:
    assert fanin.torch.constant_(torch.empty(()), 2.5).item() == 2.5
    assert_same_tensors(fanin.torch.normal_(torch.empty(()), seed=3), initializers.RandomNormal(0.0, 1.0, seed=3)(()))


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((6, 4, 3), 1), ((6, 4, 4), 2), ((4, 6, 5), 1), ((4, 6, 2), 4), ((6, 6, 3, 3), 1), ((6, 2, 4, 3), 3),
        ((8, 3, 1, 2), 2), ((3, 8, 5, 4), 3), ((4, 4, 3, 3, 3), 1), ((6, 4, 2, 3, 4), 2), ((2, 5, 4, 1, 2), 1),
        ((9, 1, 3, 3), 9), ((1, 1, 1), 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64], ids=str)
def test_dirac_is_that_of_torch(shape: tuple[int, ...], groups: int, dtype: torch.dtype) -> None:
    expected = nn.init.dirac_(poisoned(*shape, dtype=dtype), groups)
    assert_same_tensors(fanin.torch.dirac_(poisoned(*shape, dtype=dtype), groups), expected)
    assert int(expected.sum()) == groups * min(shape[0] // groups, shape[1])


def test_dirac_hands_its_inputs_through() -> None:
    for transposed in (False, True):
        layer: Any = (nn.ConvTranspose2d if transposed else nn.Conv2d)(4, 4, 3, padding=1, bias=False)
        fanin.torch.dirac_(layer.weight, layout="i o *k" if transposed else None)
        inputs = torch.arange(100.0).view(1, 4, 5, 5)
        assert torch.equal(layer(inputs), inputs)


@pytest.mark.parametrize(
    ("shape", "groups", "error", "fragment"),
    [
        ((3, 4), 1, ShapeError, "rank 3 to 5"),
        ((3, 4, 5, 6, 7, 8), 1, ShapeError, "rank 3 to 5"),
        ((3, 4, 5), 2, ShapeError, "groups=2 do not divide the 3 outputs"),
        ((3, 4, 5), 0, ArgumentError, "integer from 1"),
        ((3, 4, 5), 1.5, ArgumentError, "integer from 1"),
    ],
)
def test_dirac_refuses_what_torch_refuses(shape: tuple[int, ...], groups: Any, error: Any, fragment: str) -> None:
    with pytest.raises((ValueError, ZeroDivisionError, TypeError)):
        nn.init.dirac_(torch.empty(shape), groups)
    tensor = poisoned(*shape)
    refused(lambda: fanin.torch.dirac_(tensor, groups), error, ValueError, fragment)
    assert_same_tensors(tensor, poisoned(*shape))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("eye_", []), ("orthogonal_", []), ("sparse_", [0.1])],
    ids=["eye_", "orthogonal_", "sparse_"],
)
def test_a_rank_that_torch_refuses_is_refused(name: str, arguments: list[float]) -> None:
    ranks = [(5,), ()] if name == "orthogonal_" else [(5,), (), (2, 3, 4)]
    for shape in ranks:
        with pytest.raises(ValueError, match="Only tensors with 2"):
            getattr(nn.init, name)(torch.empty(shape), *arguments)
        tensor = poisoned(*shape)
        refused(lambda: getattr(fanin.torch, name)(tensor, *arguments), ShapeError, ValueError, repr(shape))  # noqa: B023
        assert_same_tensors(tensor, poisoned(*shape))


# Sparse and orthogonal -----------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("shape", [(30, 70), (7, 11), (1, 5)])
def test_sparse_has_as_many_zeros_per_column_as_torch(sparsity: float, shape: tuple[int, int]) -> None:
    found = fanin.torch.sparse_(poisoned(*shape), sparsity, seed=4, name="s")
    zeros = (found == 0).sum(dim=0)
    assert zeros.tolist() == (nn.init.sparse_(torch.empty(shape), sparsity) == 0).sum(dim=0).tolist()
    assert set(zeros.tolist()) == {math.ceil(sparsity * shape[0])}


def test_what_sparse_leaves_is_a_normal_and_where_is_uniform() -> None:
    found = fanin.torch.sparse_(poisoned(100, 20_000), 0.25, std=0.5, seed=4)
    kept = found[found != 0]
    assert kept.numel() == 75 * 20_000
    assert float(kept.std()) == pytest.approx(0.5, rel=std_error(kept))
    assert abs(float(kept.mean())) < 6 * 0.5 / math.sqrt(kept.numel())
    share = (found == 0).double().mean(dim=1)
    assert float((share - 0.25).abs().max()) < 6 * math.sqrt(0.25 * 0.75 / 20_000)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, math.nan, "half"])
def test_what_is_no_fraction_is_refused(sparsity: Any) -> None:
    tensor = poisoned(3, 4)
    refused(lambda: fanin.torch.sparse_(tensor, sparsity), ArgumentError, ValueError, "sparsity", repr(sparsity))
    assert_same_tensors(tensor, poisoned(3, 4))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(24, 24), (40, 17), (17, 40), (12, 5, 3, 3), (30, 2, 3)])
def test_orthogonal_is_orthonormal_in_every_dtype(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    found = fanin.torch.orthogonal_(poisoned(*shape, dtype=dtype), 1.5, seed=1, name="q")
    matrix = found.double().reshape(shape[0], -1) / 1.5
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    unit = {8: 1e-6, 4: 1e-6, 2: 0.02 if dtype == torch.bfloat16 else 0.003, 1: 0.3}[dtype.itemsize]
    assert float((gram - torch.eye(len(gram))).abs().max()) < unit
    single = fanin.torch.orthogonal_(poisoned(*shape), 1.5, seed=1, name="q")
    assert_same_bits(array(found), array(single).astype(DTYPES[dtype]))


def test_orthogonal_takes_a_negative_gain() -> None:
    found = fanin.torch.orthogonal_(poisoned(5, 5), -2.0, seed=1)
    assert torch.equal(found, -fanin.torch.orthogonal_(poisoned(5, 5), 2.0, seed=1))


# Moments and bounds --------------------------------------------------------------------------------

LARGE = (1024, 1024)


@pytest.mark.parametrize(
    ("draw", "std"),
    [
        (lambda t: fanin.torch.normal_(t, 0.0, 0.02, seed=1), 0.02),
        (lambda t: fanin.torch.normal_(t, 3.0, 2.0, seed=1), 2.0),
        (lambda t: fanin.torch.xavier_normal_(t, 2.0, seed=1), 2 / 32),
        (lambda t: fanin.torch.kaiming_normal_(t, seed=1), math.sqrt(2) / 32),
        (lambda t: fanin.torch.kaiming_normal_(t, 1.0, nonlinearity="leaky_relu", seed=1), 1 / 32),
        (lambda t: fanin.torch.kaiming_normal_(t, nonlinearity="tanh", mode="fan_out", seed=1), 5 / 3 / 32),
    ],
)
def test_normals_have_their_moments_and_are_not_cut(draw: Callable[..., torch.Tensor], std: float) -> None:
    found = draw(poisoned(*LARGE)).double()
    mean = 3.0 if std == 2.0 else 0.0
    scaled = (found - mean) / std
    assert float(found.std()) == pytest.approx(std, rel=std_error(found))
    assert abs(float(scaled.mean())) < 6 / math.sqrt(found.numel())
    assert abs(float((scaled**4).mean()) - 3) < 6 * math.sqrt(96 / found.numel())
    assert 4.0 < float(scaled.abs().max()) < 6.4


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (lambda t: fanin.torch.uniform_(t, seed=1), 0.0, 1.0),
        (lambda t: fanin.torch.uniform_(t, -3.0, 1.0, seed=1), -3.0, 1.0),
        (lambda t: fanin.torch.xavier_uniform_(t, seed=1), -math.sqrt(6 / 2048), math.sqrt(6 / 2048)),
        (lambda t: fanin.torch.kaiming_uniform_(t, math.sqrt(5), seed=1), -1 / 32, 1 / 32),
        (lambda t: fanin.torch.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu", seed=1),
         -math.sqrt(6) / 32, math.sqrt(6) / 32),
    ],
)  # fmt: skip
def test_uniforms_fill_their_interval(draw: Callable[..., torch.Tensor], low: float, high: float) -> None:
    found = draw(poisoned(*LARGE))
    values, span = found.double(), high - low
    assert np.float32(low) <= found.min().item() < low + span * 2e-5
    assert high - span * 2e-5 < found.max().item() < np.float32(high)
    assert abs(float(values.mean()) - (low + high) / 2) < 6 * span / math.sqrt(12 * values.numel())
    assert float(values.std()) == pytest.approx(span / math.sqrt(12), rel=std_error(values))


# The truncated normal ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.0, 1.0, -2.0, 2.0), (0.0, 0.02, -0.04, 0.04), (0.0, 0.3, -0.1, 0.7), (0.1, 0.3, -0.1, 0.7),
        (0.3, 0.013, 0.29, 0.31), (0.0, 1.0, 3.0, 4.0), (0.0, 1.0, 5.0, 5.5), (-0.7, 0.1, 0.1, 0.3),
        (100.0, 0.1, 99.9, 100.05), (0.1, 1e-7, 0.1 - 1e-7, 0.1 + 1e-7), (0.0, 1.0, 0.0, math.inf),
        (0.0, 1.0, -math.inf, -1.7), (1e6, 1e5, 0.9e6, 1.3e6), (0.0, 1.0, -0.001, 0.001),
    ],
)  # fmt: skip
def test_truncated_normals_stay_within_absolute_bounds(mean: float, std: float, a: float, b: float) -> None:
    found = fanin.torch.trunc_normal_(poisoned(256, 1024), mean, std, a, b, seed=9)
    low, high = float(np.float32(a)), float(np.float32(b))
    assert low <= found.min().item() <= found.max().item() <= high
    span = min(high, mean + 6 * std) - max(low, mean - 6 * std)
    if span > 1e-5 * abs(mean):  # what is there to fill is filled
        assert len(found.unique()) > 1000


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_narrower_dtypes_round_the_truncated_normal_once(dtype: torch.dtype) -> None:
    single = fanin.torch.trunc_normal_(poisoned(64, 64), 0.1, 0.3, -0.5, 0.9, seed=9)
    found = fanin.torch.trunc_normal_(poisoned(64, 64, dtype=dtype), 0.1, 0.3, -0.5, 0.9, seed=9)
    assert_same_bits(array(found), array(single).astype(DTYPES[dtype]))


@pytest.mark.parametrize(("lower", "upper"), [(-2.0, 2.0), (-1.0, 3.0), (0.5, 2.5), (-4.0, -3.0)])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.0, 0.5), (0.25, 0.5)])
def test_bounds_in_deviations_give_the_truncated_normal_of_fanin(
    lower: float, upper: float, mean: float, std: float
) -> None:
    found = fanin.torch.trunc_normal_(
        poisoned(50, 30), mean, std, mean + lower * std, mean + upper * std, seed=9, name="t"
    )
    initializer = initializers.TruncatedNormal(mean, std, lower=lower, upper=upper, seed=9)
    assert_same_tensors(found, initializer((50, 30), name="t", layout="o i"))


def test_bounds_that_cut_nothing_give_the_normal() -> None:
    for std, a, b in [(0.02, -2.0, 2.0), (0.02, -math.inf, 2.0), (1.0, -math.inf, math.inf)]:
        found = fanin.torch.trunc_normal_(poisoned(70, 50), std=std, a=a, b=b, seed=9)
        assert_same_tensors(found, fanin.torch.normal_(poisoned(70, 50), std=std, seed=9))


def test_the_truncated_normal_has_its_moments() -> None:
    found = fanin.torch.trunc_normal_(poisoned(*LARGE), 0.0, 1.0, -2.0, 2.0, seed=3).double()
    assert float(found.std()) == pytest.approx(0.87962566103423978, rel=std_error(found))
    assert abs(float(found.mean())) < 6 * 0.88 / 1024
    tail = fanin.torch.trunc_normal_(poisoned(*LARGE), 0.0, 1.0, 4.0, 8.0, seed=3).double()
    # E[z | 4 < z < 8] = (phi(4) - phi(8)) / (Phi(8) - Phi(4)), with Q(4) = erfc(4 / sqrt(2)) / 2.
    phi = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (4, 8)]
    q = [math.erfc(z / math.sqrt(2)) / 2 for z in (4, 8)]
    expected = (phi[0] - phi[1]) / (q[0] - q[1])
    assert float(tail.mean()) == pytest.approx(expected, abs=6 * float(tail.std()) / 1024)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ({"a": 1.0, "b": 1.0}, ["a must be below b", "a=1.0"]),
        ({"a": 2.0, "b": -2.0}, ["a must be below b"]),
        ({"a": math.nan}, ["a=nan"]),
        ({"b": "x"}, ["b='x'"]),
        ({"std": -1.0}, ["-1.0"]),
        ({"std": "x"}, ["stddev='x'"]),
        ({"mean": math.nan}, ["mean=nan"]),
        ({"std": 0.0, "mean": 3.0}, ["std=0 leaves only mean=3.0"]),
        ({"std": 1e-50, "a": 1e-50, "b": 2e-50}, ["2**-90"]),  # once a search among a thousand million bounds
        ({"a": 20.0, "b": 30.0}, ["next to nothing"]),
    ],
)
def test_a_truncated_normal_that_cannot_be_is_refused(arguments: dict[str, Any], fragments: list[str]) -> None:
    tensor = poisoned(3, 4)
    refused(lambda: fanin.torch.trunc_normal_(tensor, **arguments), ArgumentError, ValueError, *fragments)
    assert_same_tensors(tensor, poisoned(3, 4))


def test_a_mean_that_float32_moves_beyond_a_bound_is_told_quickly() -> None:
    """0.3 is 1.2e-8 more as float32, which is 12000 deviations here: nothing is left between the bounds."""
    tensor = poisoned(3, 4)
    refused(
        lambda: fanin.torch.trunc_normal_(tensor, 0.3, 1e-12, 0.3, 0.3 + 1e-11), ArgumentError, ValueError, "next to"
    )


def test_no_deviation_is_the_mean() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found = fanin.torch.trunc_normal_(poisoned(5, dtype=dtype), 0.3, 0.0, 0.1, 0.3)
        assert_same_tensors(found, torch.full((5,), 0.3, dtype=torch.float32).to(dtype))


# Every dtype, stride and seed ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_every_dtype_is_the_float32_result_rounded_once(name: str, dtype: torch.dtype) -> None:
    call = {} if name in CONSTANT else {"seed": 11, "name": "x"}
    single = array(ALL[name](poisoned(13, 22), **call))
    found = array(ALL[name](poisoned(13, 22, dtype=dtype), **call))
    expected = single if name != "constant_" else np.full((13, 22), 0.3)  # which is known beyond float32
    assert_same_bits(found, expected.astype(np.float64).astype(DTYPES[dtype]))


VIEWS: dict[str, Callable[[torch.dtype], torch.Tensor]] = {
    "transposed": lambda dtype: poisoned(22, 13, dtype=dtype).T,
    "stepped": lambda dtype: poisoned(26, 44, dtype=dtype)[::2, 1::2],
    "narrow": lambda dtype: poisoned(20, 30, dtype=dtype).narrow(0, 3, 13).narrow(1, 5, 22),
    "a column of blocks": lambda dtype: poisoned(13, 22, 3, dtype=dtype)[:, :, 1],
    "of a leaf": lambda dtype: nn.Parameter(poisoned(15, 22, dtype=dtype))[2:],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ALL)
def test_strides_do_not_matter(name: str, view: str) -> None:
    call = {} if name in CONSTANT else {"seed": 11, "name": "x"}
    for dtype in (torch.float32, torch.bfloat16):
        given = VIEWS[view](dtype)
        before = array(given)
        assert_same_tensors(ALL[name](given, **call), ALL[name](poisoned(13, 22, dtype=dtype), **call))
        root = given._base if given._base is not None else given
        poison = array(poisoned(1, dtype=dtype)).tobytes()
        untouched = array(root).tobytes().count(poison)
        assert untouched >= root.numel() - given.numel(), "something beside the view was written"
        assert not np.array_equal(before, array(given))


def test_channels_last_holds_the_same_numbers() -> None:
    plain = fanin.torch.kaiming_normal_(poisoned(8, 6, 3, 5), seed=1, name="c")
    last = poisoned(8, 6, 3, 5).to(memory_format=torch.channels_last)
    assert last.stride() != plain.stride()
    assert_same_tensors(fanin.torch.kaiming_normal_(last, seed=1, name="c"), plain)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", DRAWING)
def test_seed_and_name_decide_the_values(name: str) -> None:
    def made(**call: Any) -> torch.Tensor:
        return DRAWING[name](poisoned(20, 16), **call)

    assert_same_tensors(made(seed=1, name="a"), made(seed=1, name="a"))
    assert not torch.equal(made(seed=1, name="a"), made(seed=2, name="a"))
    assert not torch.equal(made(seed=1, name="a"), made(seed=1, name="b"))
    assert_same_tensors(made(seed=1), made(seed=1, name=""))
    assert not torch.equal(made(), made())  # fresh values each time
    torch.manual_seed(0)
    first = made(name="a")
    torch.manual_seed(0)
    assert not torch.equal(first, made(name="a")), "torch's seed has a say"


@pytest.mark.parametrize("name", ALL)
def test_no_global_generator_is_read_or_advanced(name: str) -> None:
    with no_generator_advanced():
        ALL[name](poisoned(20, 16), **({} if name in CONSTANT else {"seed": 1}))
        ALL[name](poisoned(20, 16))


def test_an_advanced_generator_is_told() -> None:
    for draw in (lambda: torch.rand(1), lambda: np.random.rand(1), __import__("random").random):
        with pytest.raises(AssertionError, match="advanced"), no_generator_advanced():
            draw()


@pytest.mark.parametrize("name", ALL)
def test_leaves_that_require_grad_are_written_and_autograd_is_told(name: str) -> None:
    leaf = nn.Parameter(poisoned(13, 22))
    version = leaf._version
    ALL[name](leaf, **({} if name in CONSTANT else {"seed": 11}))
    assert leaf.requires_grad
    assert leaf.is_leaf
    assert leaf.grad_fn is None
    assert leaf._version > version


def test_a_backward_pass_over_old_values_fails() -> None:
    leaf = nn.Parameter(torch.ones(3, 4))
    loss = (leaf * leaf).sum()
    fanin.torch.normal_(leaf, seed=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# One set of bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "initializer"),
    [
        (lambda t, **c: fanin.torch.uniform_(t, -0.1, 0.2, **c), initializers.RandomUniform(-0.1, 0.2)),
        (lambda t, **c: fanin.torch.normal_(t, 0.1, 0.2, **c), initializers.RandomNormal(0.1, 0.2)),
        (fanin.torch.xavier_uniform_, initializers.GlorotUniform()),
        (fanin.torch.xavier_normal_, initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal")),
        (lambda t, **c: fanin.torch.kaiming_uniform_(t, nonlinearity="relu", **c), initializers.HeUniform()),
        (fanin.torch.kaiming_normal_, initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")),
        (lambda t, **c: fanin.torch.orthogonal_(t, 2.0, **c), initializers.Orthogonal(2.0)),
        (lambda t, **c: fanin.torch.init_(t, "he_normal", **c), initializers.HeNormal()),
        (lambda t, **c: fanin.torch.init_(t, "normal(stddev=0.02)", **c), initializers.RandomNormal(0.0, 0.02)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("shape", "layout"),
    [((12, 20), None), ((12, 20), "i o"), ((8, 6, 3, 3), None), ((8, 6, 3, 3), "o/4 i *k"), ((8, 6, 3), "i/2 o *k")],
)
def test_values_are_those_of_fanin_initializers(
    function: Callable[..., torch.Tensor], initializer: Any, shape: tuple[int, ...], layout: str | None
) -> None:
    found = function(poisoned(*shape), seed=6, name="block.w", layout=layout)
    config = type(initializer).from_config({**initializer.get_config(), "seed": 6})
    assert_same_tensors(found, config(shape, name="block.w", layout=layout or "o i *k"))


def test_what_init_takes() -> None:
    expected = initializers.HeNormal(seed=3)((4, 5), layout="o i")
    for given in (
        "he_normal",
        "HeNormal",
        initializers.HeNormal,
        initializers.HeNormal(),
        {"class_name": "HeNormal", "config": {}},
    ):
        assert_same_tensors(fanin.torch.init_(poisoned(4, 5), given, seed=3), expected)
    own = initializers.HeNormal(seed=3)  # its seed wins
    assert_same_tensors(fanin.torch.init_(poisoned(4, 5), own, seed=8), expected)
    ramp = fanin.torch.init_(poisoned(4, 5), lambda shape, dtype=None: np.arange(20.0).reshape(shape))
    assert_same_tensors(ramp, torch.arange(20.0).view(4, 5))
    values = np.arange(20.0).reshape(4, 5)
    assert_same_tensors(fanin.torch.init_(poisoned(4, 5), values), torch.arange(20.0).view(4, 5))


# Shards in one process -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "kaiming_normal_",
                                  "orthogonal_", "sparse_", "init_", "constant_", "eye_"])  # fmt: skip
def test_shards_are_parts_of_the_whole(name: str) -> None:
    call = {} if name in CONSTANT else {"seed": 11, "name": "x"}
    whole = ALL[name](poisoned(14, 22), **call)
    cuts = [((0, 0), (5, 22)), ((5, 0), (9, 13)), ((5, 13), (9, 9)), ((14, 0), (0, 22)), ((3, 22), (2, 0))]
    for (row, column), (height, width) in cuts:
        part = poisoned(height, width)
        ALL[name](part, shard=((14, 22), (row, column)), **call)
        assert_same_tensors(part, whole[row : row + height, column : column + width])
    named = fanin.torch.Shard((14, 22), (5, 13))
    assert_same_tensors(ALL[name](poisoned(9, 9), shard=named, **call), whole[5:, 13:])


def test_a_shard_has_the_fans_of_the_whole() -> None:
    part = fanin.torch.kaiming_normal_(poisoned(512, 64), seed=1, shard=((512, 1024), (0, 128)))
    assert float(part.std()) == pytest.approx(math.sqrt(2 / 1024), rel=std_error(part))
