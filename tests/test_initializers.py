"""The initializers: their distributions, their calls, their arguments, and their equality."""

import copy
import decimal
import fractions
import inspect
import json
import math
import os
import pickle
import subprocess
import sys
import warnings

import ml_dtypes
import numpy as np
import pytest
import scipy.signal
import scipy.stats
from harness import assert_same_bits, poisoned

import fanin
from fanin import initializers
from fanin.errors import (
    ArgumentError,
    DTypeError,
    FaninError,
    LayoutError,
    LogicalNameError,
    OutputError,
    SeedError,
    ShapeError,
    WindowError,
)
from fanin.initializers import tapers
from fanin.layouts import as_layout
from fanin.recipe import ConstantValue, Diagonal, Distribution, Draw, Normal, UniformInterval, Whole

INF = math.inf
TRUNCATED = 0.87962566103423978

CLASSES = [
    initializers.Zeros,
    initializers.Ones,
    initializers.Constant,
    initializers.RandomNormal,
    initializers.RandomUniform,
    initializers.TruncatedNormal,
    initializers.VarianceScaling,
    initializers.GlorotUniform,
    initializers.GlorotNormal,
    initializers.HeUniform,
    initializers.HeNormal,
    initializers.LecunUniform,
    initializers.LecunNormal,
    initializers.Orthogonal,
    initializers.Identity,
    initializers.STFT,
]
SEEDED = [cls for cls in CLASSES if "seed" in inspect.signature(cls).parameters]
ELEMENTWISE = [cls for cls in SEEDED if cls is not initializers.Orthogonal]

# Instances with every argument moved off its default.
INSTANCES = [
    initializers.Zeros(),
    initializers.Ones(),
    initializers.Constant(2.5),
    initializers.Constant(-0.0),
    initializers.Constant(True),
    initializers.Constant(2**60 + 1),
    initializers.Constant([[1.5], [2.5]]),
    initializers.RandomNormal(1.0, 0.5, 3),
    initializers.RandomUniform(-1.0, 2.0, 3),
    initializers.TruncatedNormal(1.0, 0.5, 3, -INF, 1.0),
    initializers.VarianceScaling(2.0, "fan_geo_avg", "uniform", 3, [0], [-1]),
    initializers.GlorotUniform(3),
    initializers.GlorotNormal(3),
    initializers.HeUniform(3),
    initializers.HeNormal(3, (0, 1), (2,)),
    initializers.LecunUniform(3),
    initializers.LecunNormal(2**64 - 1),
    initializers.Orthogonal(2.0, 3),
    initializers.Identity(0.5),
    initializers.STFT("imag", [1.0, 2.0], None, True),
]


def drawn(initializer: initializers.Initializer, shape: tuple[int, ...], layout: str | None = None) -> Distribution:
    recipe = initializer.recipe(shape, layout=layout, seed=0)
    assert isinstance(recipe, Draw)
    return recipe.distribution


# What is drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        (initializers.Zeros(), ConstantValue(0)),
        (initializers.Ones(), ConstantValue(1)),
        (initializers.Constant(2.5), ConstantValue(2.5)),
        (initializers.Identity(3), Diagonal(3.0)),
        (initializers.RandomNormal(), Normal(0.0, 0.05)),
        (initializers.RandomNormal(1.0, 2.0), Normal(1.0, 2.0)),
        (initializers.RandomUniform(), UniformInterval(-0.05, 0.05)),
        (initializers.RandomUniform(1.0, 2.0), UniformInterval(1.0, 2.0)),
        (initializers.TruncatedNormal(), Normal(0.0, 0.05, -2.0, 2.0)),
        (initializers.TruncatedNormal(1.0, 2.0, lower=-INF, upper=1), Normal(1.0, 2.0, -INF, 1.0)),
        (initializers.VarianceScaling(), Normal(0.0, math.sqrt(1 / 512) / TRUNCATED, -2.0, 2.0)),
        (initializers.GlorotUniform(), UniformInterval(-math.sqrt(6 / 768), math.sqrt(6 / 768))),
        (initializers.GlorotNormal(), Normal(0.0, math.sqrt(2 / 768) / TRUNCATED, -2.0, 2.0)),
        (initializers.HeUniform(), UniformInterval(-math.sqrt(6 / 512), math.sqrt(6 / 512))),
        (initializers.HeNormal(), Normal(0.0, math.sqrt(2 / 512) / TRUNCATED, -2.0, 2.0)),
        (initializers.LecunUniform(), UniformInterval(-math.sqrt(3 / 512), math.sqrt(3 / 512))),
        (initializers.LecunNormal(), Normal(0.0, math.sqrt(1 / 512) / TRUNCATED, -2.0, 2.0)),
    ],
    ids=repr,
)
def test_distributions_follow_their_formulas(initializer: initializers.Initializer, expected: Distribution) -> None:
    found = drawn(initializer, (512, 256))
    assert type(found) is type(expected)
    for field in expected.__slots__:
        assert getattr(found, field) == pytest.approx(getattr(expected, field), rel=1.2e-7), field


@pytest.mark.parametrize(
    ("mode", "n"), [("fan_in", 512), ("fan_out", 256), ("fan_avg", 384), ("fan_geo_avg", math.sqrt(512 * 256))]
)
@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_modes_and_distributions_of_variance_scaling(mode: str, n: float, spelling: type[str]) -> None:
    def of(distribution: str) -> Distribution:
        return drawn(initializers.VarianceScaling(0.5, spelling(mode), spelling(distribution)), (512, 256))

    s = math.sqrt(0.5 / n)
    assert of("untruncated_normal").stddev == pytest.approx(s, rel=1e-7)
    assert of("untruncated_normal").upper == INF
    assert of("normal") == of("truncated_normal")
    assert of("normal").stddev == pytest.approx(s / TRUNCATED, rel=1e-7)
    assert (of("normal").lower, of("normal").upper) == (-2.0, 2.0)
    assert of("uniform").maxval == pytest.approx(math.sqrt(3) * s, rel=1e-7)


# Moments: 2**20 values, so the standard error of the deviation is below 0.07 % and 6 of them are
# 0.42 %, where forgetting the truncation's correction would be 12 %.
@pytest.mark.parametrize(
    ("initializer", "variance", "bound"),
    [
        (initializers.RandomNormal(0.0, 1.0, 1), 1.0, 6.4),
        (initializers.RandomUniform(-1.0, 1.0, 1), 1 / 3, 1.0),
        (initializers.TruncatedNormal(0.0, 1.0, 1), TRUNCATED**2, 2.0),
        (initializers.VarianceScaling(1024.0, "fan_in", "untruncated_normal", 1), 1.0, 6.4),
        (initializers.GlorotUniform(1), 1 / 1024, math.sqrt(6 / 2048)),
        (initializers.GlorotNormal(1), 1 / 1024, 2 * math.sqrt(1 / 1024) / TRUNCATED),
        (initializers.HeUniform(1), 2 / 1024, math.sqrt(6 / 1024)),
        (initializers.HeNormal(1), 2 / 1024, 2 * math.sqrt(2 / 1024) / TRUNCATED),
        (initializers.LecunUniform(1), 1 / 1024, math.sqrt(3 / 1024)),
        (initializers.LecunNormal(1), 1 / 1024, 2 * math.sqrt(1 / 1024) / TRUNCATED),
    ],
    ids=repr,
)
def test_moments(initializer: initializers.Initializer, variance: float, bound: float) -> None:
    w = initializer((1024, 1024)).astype(np.float64)
    s = math.sqrt(variance)
    assert abs(w.mean()) < 6 * s / 1024
    fourth = np.mean(w**4) / variance**2  # kurtosis, for the standard error of the variance
    assert abs(w.var() / variance - 1) < 6 * math.sqrt(fourth - 1) / 1024
    assert 0.9 * min(bound, 3 * s) < np.abs(w).max() <= bound * (1 + 1e-7)


def test_truncation_constant_is_that_of_the_distribution() -> None:
    from fanin.initializers.scaling import TRUNCATED_STDDEV

    assert pytest.approx(scipy.stats.truncnorm(-2, 2).std(), rel=1e-14) == TRUNCATED_STDDEV


# Fans of real layers ---------------------------------------------------------------------------


def keras_kernels() -> list[tuple[tuple[int, ...], dict[str, list[int]]]]:
    import keras

    layers = keras.layers
    made = [
        (layers.Dense(7), (None, 5), {}),
        (layers.Conv1D(7, 3), (None, 9, 5), {}),
        (layers.Conv2D(7, (3, 2)), (None, 9, 9, 5), {}),
        (layers.EinsumDense("abc,cde->abde", (None, 4, 6)), (None, 3, 5), {}),
        (layers.EinsumDense("abc,cde->abde", (None, 4, 6)), (None, 3, 5), {"input_axes": [0], "output_axes": [1, 2]}),
    ]
    kernels = []
    for layer, shape, axes in made:
        layer.build(shape)
        kernels.append((tuple(layer.kernel.shape), axes))
    return kernels


def test_fans_are_those_of_keras_for_its_layers() -> None:
    from keras.src.initializers.random_initializers import compute_fans

    kernels = keras_kernels()
    for shape, axes in [*kernels, ((), {}), ((7,), {}), ((0, 3), {})]:
        fan_in, fan_out = compute_fans(shape, **axes)
        for mode, n in (("fan_in", fan_in), ("fan_out", fan_out), ("fan_avg", (fan_in + fan_out) / 2)):
            found = drawn(initializers.VarianceScaling(1.0, mode, "untruncated_normal", **axes), shape)
            assert found.stddev == pytest.approx(1 / math.sqrt(max(1.0, n)), rel=1e-7), (shape, axes, mode)
    assert len(kernels) == 5


def test_one_kind_of_axes_alone_is_not_used_as_in_keras() -> None:
    assert drawn(initializers.HeNormal(input_axes=[0]), (3, 5, 7)) == drawn(initializers.HeNormal(), (3, 5, 7))


def test_fans_are_those_of_torch_for_its_layers() -> None:
    import torch

    layers = [torch.nn.Linear(5, 7), torch.nn.Conv1d(5, 7, 3), torch.nn.Conv3d(5, 7, (1, 2, 3))]
    for layer in layers:
        fan_in, fan_out = torch.nn.init._calculate_fan_in_and_fan_out(layer.weight)
        shape = tuple(layer.weight.shape)
        found = drawn(initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal"), shape, "o i *k")
        assert found.stddev == pytest.approx(1 / math.sqrt(fan_in), rel=1e-7)
        found = drawn(initializers.VarianceScaling(1.0, "fan_out", "untruncated_normal"), shape, "o i *k")
        assert found.stddev == pytest.approx(1 / math.sqrt(fan_out), rel=1e-7)
    depthwise = torch.nn.Conv2d(64, 64, 3, groups=64).weight
    found = drawn(
        initializers.VarianceScaling(1.0, "fan_out", "untruncated_normal"), tuple(depthwise.shape), "o/64 i *k"
    )
    assert found.stddev == pytest.approx(1 / 3, rel=1e-7)


# The signature that Keras has ------------------------------------------------------------------


def test_signatures_are_those_of_keras() -> None:
    import keras

    differing = set()
    for cls in CLASSES:
        theirs = inspect.signature(getattr(keras.initializers, cls.__name__)).parameters
        ours = inspect.signature(cls).parameters
        assert list(ours)[: len(theirs)] == list(theirs), cls
        differing |= {(cls.__name__, name) for name in list(ours)[len(theirs) :]}
        differing |= {(cls.__name__, name) for name in theirs if ours[name].default != theirs[name].default}
    assert differing == {
        ("TruncatedNormal", "lower"),
        ("TruncatedNormal", "upper"),
        ("VarianceScaling", "distribution"),  # "normal" is Keras 2's word for the same
    }


def test_hierarchy_is_that_of_keras() -> None:
    for cls in CLASSES:
        assert issubclass(cls, initializers.Initializer)
    for name in ("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"):
        assert issubclass(getattr(initializers, name), initializers.VarianceScaling)


def test_a_keras_layer_takes_them() -> None:
    import keras

    layer = keras.layers.Dense(
        4, kernel_initializer=initializers.HeNormal(seed=7), bias_initializer=initializers.Ones()
    )
    layer.build((None, 3))
    kernel, bias = np.asarray(layer.kernel), np.asarray(layer.bias)
    assert_same_bits(kernel, initializers.HeNormal(seed=7)((3, 4)))
    assert_same_bits(bias, np.ones(4, np.float32))


DISTRIBUTED = """
import keras, numpy
from fanin import initializers

class Dense(keras.layers.Dense):
    def __init__(self):
        super().__init__(4, kernel_initializer=initializers.HeNormal(seed=1), bias_initializer=initializers.Ones())

def told(distribution):
    keras.distribution.set_distribution(distribution)
    layer = Dense()
    layer.build((None, 8))
    for variable, values in ((layer.kernel, initializers.HeNormal(seed=1)((8, 4))), (layer.bias, numpy.ones(4))):
        assert numpy.array_equal(variable.value, values)
        print(sorted(shard.data.shape for shard in variable.value.addressable_shards))

told(keras.distribution.DataParallel())
mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"])
layouts = keras.distribution.LayoutMap(mesh)
layouts[".*kernel"] = (None, "model")
layouts[".*bias"] = ("model",)
told(keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch"))
for layout in (layouts[".*kernel"], layouts[".*kernel"].backend_layout):
    made = initializers.Orthogonal(seed=1)((8, 4), "bfloat16", layout=layout)
    assert numpy.array_equal(made, initializers.Orthogonal(seed=1)((8, 4), "bfloat16"))
    print(sorted(shard.data.shape for shard in made.addressable_shards))
"""


def test_keras_distributes_what_a_layer_takes() -> None:
    """Values are those without a distribution, and each device has its shard only."""
    done = subprocess.run(
        [sys.executable, "-c", DISTRIBUTED],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
    )
    assert done.returncode == 0, done.stderr
    whole, sharded, direct = [[(8, 4)] * 4, [(4,)] * 4], [[(8, 2)] * 4, [(2,)] * 4], [[(8, 2)] * 4] * 2
    assert done.stdout.splitlines() == [repr(shapes) for shapes in (*whole, *sharded, *direct)]


# Calls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("initializer", INSTANCES, ids=repr)
def test_calls_return_an_array_of_shape_and_dtype(initializer: initializers.Initializer) -> None:
    shape = (2, 1, 3) if isinstance(initializer, initializers.STFT) else (2, 3)
    if isinstance(initializer, initializers.HeNormal):
        shape = (2, 3, 4)
    w = initializer(shape)
    assert (type(w), w.shape, w.dtype, w.flags.writeable) == (np.ndarray, shape, np.float32, True)
    for dtype in ("float64", "bfloat16"):
        narrow = initializer(shape, dtype)
        assert narrow.dtype.name == dtype
        if not isinstance(initializer, initializers.Orthogonal | initializers.STFT | initializers.Constant):
            assert_same_bits(narrow, w.astype(dtype))
    w[...] = 9  # what is returned belongs to the caller
    assert not np.array_equal(initializer(shape), w)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("cls", [*ELEMENTWISE, initializers.Zeros, initializers.Orthogonal])
def test_empty_shapes(cls: type[initializers.Initializer], shape: tuple[int, ...]) -> None:
    if cls is initializers.Orthogonal and len(shape) < 2:
        return
    assert cls()(shape).shape == shape


def test_shapes_are_read_alike() -> None:
    init = initializers.HeNormal(seed=7)
    expected = init((4, 6))
    import torch

    for shape in ([4, 6], np.array([4, 6]), (np.int64(4), 6), torch.Size([4, 6]), torch.tensor([4, 6])):
        assert_same_bits(init(shape), expected)
    for shape in (4, np.int64(4), np.array(4), torch.tensor(4)):
        assert_same_bits(init(shape), init((4,)))
    init((2, 1))
    texts_and_sets = ["", "ab", b"ab", bytearray(b"ab"), {2: 1}, {2, 1}, set()]
    for shape in ((2.0, 1), (2, True), (2, -1), (2, None), (2, "1"), ([2], 1), None, 2.5, np.ones((2, 2)), 2**63,
                  (2**62, 2), (10**30,), *texts_and_sets):  # fmt: skip
        with pytest.raises(ShapeError, match="shape"):
            init(shape)


@pytest.mark.parametrize("cls", SEEDED)
def test_seeds_and_names_decide(cls: type[initializers.Initializer]) -> None:
    init = cls(seed=7)
    w = init((8, 8))
    assert_same_bits(init((8, 8)), w)
    assert_same_bits(cls(seed=np.int64(7))((8, 8)), w)
    assert_same_bits(init((8, 8), name=""), w)
    for other in (cls(seed=8)((8, 8)), init((8, 8), name="a"), cls()((8, 8))):
        assert not np.array_equal(other, w)
    assert not np.array_equal(cls()((8, 8)), cls()((8, 8)))
    assert not np.array_equal(init((8, 8), name="a"), init((8, 8), name="b"))


@pytest.mark.parametrize("cls", SEEDED)
def test_a_recipe_takes_the_callers_seed_only_where_there_is_none(cls: type[initializers.Initializer]) -> None:
    def values(initializer: initializers.Initializer, seed: int | None) -> np.ndarray:
        recipe = initializer.recipe((4, 6), name="w", seed=seed)
        view = poisoned((4, 6), np.dtype(np.float32))
        fanin.engines.fill(recipe, fanin.recipe.Window.whole((4, 6)), view)
        return view

    assert_same_bits(values(cls(), 5), cls(seed=5)((4, 6), name="w"))
    assert_same_bits(values(cls(seed=5), 6), cls(seed=5)((4, 6), name="w"))
    assert not np.array_equal(values(cls(), None), values(cls(), None))
    with pytest.raises(SeedError, match=r"not 1\.5"):
        cls().recipe((4, 6), seed=1.5)


def test_recipes_say_whether_windows_cost_the_window() -> None:
    whole = (initializers.Orthogonal, initializers.STFT)
    for initializer in INSTANCES:
        shape = (2, 1, 3) if isinstance(initializer, initializers.STFT) else (2, 3, 4)
        shape = (2, 3) if isinstance(initializer, initializers.Identity) else shape
        shape = (2, 2, 3) if isinstance(initializer, initializers.Constant) else shape
        recipe = initializer.recipe(shape, seed=0)
        assert recipe.windowable is not isinstance(initializer, whole), initializer
        assert recipe.shape == shape


@pytest.mark.parametrize("layout", [None, "o i"])
@pytest.mark.parametrize("cls", [*SEEDED, initializers.Identity, initializers.Ones])
def test_a_window_is_that_slice_of_the_whole(cls: type[initializers.Initializer], layout: str | None) -> None:
    init = cls(seed=7) if cls in SEEDED else cls()
    whole = init((9, 11), "float16", name="w", layout=layout)
    slices = (slice(2, 7), slice(3, 8))
    assert_same_bits(init.window((9, 11), slices, "float16", name="w", layout=layout), whole[slices])
    assert_same_bits(init((9, 11), "float16", name="w", layout=layout, window=slices), whole[slices])
    assert_same_bits(init.window((9, 11), slice(2, 7), "float16", name="w", layout=layout), whole[2:7])
    assert_same_bits(init.window((9, 11), None, "float16", name="w", layout=layout), whole)
    view = poisoned((5, 5), np.dtype(np.float16), order="strided")
    assert init.window((9, 11), slices, name="w", layout=layout, out=view) is view
    assert_same_bits(view, whole[slices])


@pytest.mark.parametrize("cls", SEEDED)
def test_windows_of_what_has_no_seed_are_refused(cls: type[initializers.Initializer]) -> None:
    for ask in (
        lambda: cls().window((4, 4), slice(0, 2)),
        lambda: cls().window((4, 4), None),
        lambda: cls()((4, 4), window=slice(0, 2)),
    ):
        with pytest.raises(SeedError, match=rf"{cls.__name__}\(\) has no seed.*{cls.__name__}\(seed=0\)"):
            ask()


def test_out_is_written_in_place_whatever_its_strides() -> None:
    init = initializers.HeNormal(seed=7)
    for dtype in ("float32", "bfloat16", "float64"):
        expected = init((5, 7), dtype)
        for order in ("C", "F", "strided"):
            view = poisoned((5, 7), np.dtype(expected.dtype), order=order)
            assert init((5, 7), out=view) is view
            assert_same_bits(view, expected)
        view = poisoned((5, 7), expected.dtype)
        assert init((5, 7), dtype, out=view) is view
        assert_same_bits(view, expected)


def read_only(shape: tuple[int, ...]) -> np.ndarray:
    array = np.zeros(shape, np.float32)
    array.flags.writeable = False
    return array


def overlapping(strides: tuple[int, int]) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(np.zeros(6, np.float32), (2, 3), strides)


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        ({"out": [1.0]}, OutputError, "not a list"),
        ({"out": np.broadcast_to(np.zeros(3, np.float32), (2, 3))}, OutputError, "read-only"),
        (
            {"out": overlapping((0, 4))},
            OutputError,
            "strides (0, 4) with shape (2, 3), so that some of its elements are",
        ),
        ({"out": overlapping((4, 4))}, OutputError, "the same memory; give an array in which each has its own"),
        ({"out": overlapping((8, 4))}, OutputError, "the same memory"),
        ({"out": overlapping((4, 2))}, OutputError, "the same memory"),
        ({"out": np.zeros((3, 2), np.float32)}, OutputError, "has shape (3, 2), but the result has shape (2, 3)"),
        ({"out": np.zeros((2, 3), np.float32), "window": slice(0, 1)}, OutputError, "the result has shape (1, 3)"),
        ({"out": np.zeros((2, 3)), "dtype": "float32"}, OutputError, "out has dtype float64, but dtype='float32'"),
        ({"out": read_only((2, 3))}, OutputError, "read-only"),
        ({"out": np.zeros((2, 3), ">f4")}, OutputError, "byte order"),
        ({"out": np.zeros((2, 3), np.int32)}, DTypeError, "int32 cannot hold random values"),
        ({"out": np.zeros((2, 3), complex)}, DTypeError, "unknown dtype"),
        ({"dtype": "int8"}, DTypeError, "int8 cannot hold random values"),
        ({"dtype": "float31"}, DTypeError, "unknown dtype 'float31'"),
        ({"layout": "o x"}, LayoutError, "cannot read 'x'"),
        ({"layout": "i"}, LayoutError, "is for rank 1"),
        ({"layout": 3}, LayoutError, "layout must be a text"),
        ({"layout": np.ones(2)}, LayoutError, "layout must be a text"),
        ({"name": 3}, LogicalNameError, "name must be a text"),
        ({"name": "\ud800"}, LogicalNameError, "no UTF-8 form"),
        ({"window": slice(0, 9)}, WindowError, "asks for 0:9 of 2"),
        ({"window": slice(None, None, 2)}, WindowError, "without a step"),
        ({"window": slice(None, None, np.ones(2))}, WindowError, "no integers; give a slice"),
        ({"window": slice(0.0, 1)}, WindowError, "no integers; give a slice"),
        ({"window": 3}, WindowError, "axis 0 is 3"),
    ],
)
def test_calls_that_cannot_be_met(call: dict[str, object], error: type[Exception], fragment: str) -> None:
    before = np.copy(call["out"]) if isinstance(call.get("out"), np.ndarray) else None
    with pytest.raises(error) as caught:
        initializers.HeNormal(seed=7)((2, 3), **call)
    assert fragment in str(caught.value)
    assert isinstance(caught.value, FaninError)
    if before is not None:
        assert call["out"].tobytes() == before.tobytes()


def test_out_may_be_any_view_and_any_subclass() -> None:
    init = initializers.HeNormal(seed=7)
    expected = init((3, 4))
    big = np.zeros((9, 8), np.float32)
    views = [big[::3, ::2], big[8::-3, 7::-2], big.T[:3, :4], big[2:5, 4:8], np.zeros((3, 4, 0), np.float32),
             np.zeros((1, 1), np.float32), np.lib.stride_tricks.as_strided(big, (1, 4), (0, 4))]  # fmt: skip
    for view in views:
        assert init(view.shape, out=view) is view
        assert_same_bits(view, init(view.shape))
    for engine in ("numpy", "numba"):
        with warnings.catch_warnings(), fanin.use(engine=engine):
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # of np.matrix, whose rows stay matrices
            masked = np.ma.array(np.zeros((3, 4), np.float32), mask=np.eye(3, 4))
            for out in (
                np.matrix(np.zeros((3, 4), np.float32)),
                masked,
                np.zeros((3, 4), np.float32).view(np.recarray),
            ):
                assert init((3, 4), out=out) is out
                assert_same_bits(out.view(np.ndarray), expected)


@pytest.mark.parametrize("shape", [(1,) * 65, (2**31, 2**31), (2**61,)])
def test_an_array_that_numpy_cannot_make_is_told(shape: tuple[int, ...]) -> None:
    said = r"NumPy makes no float64 array of shape|does not broadcast|65 axes is beyond the 64"
    for initializer in (initializers.Zeros(), initializers.Constant([1.0])):
        with pytest.raises(ShapeError, match=said):
            initializer(shape, "float64")


def test_too_many_rows_are_refused_before_anything_is_allocated() -> None:
    with pytest.raises(ShapeError, match=r"2\*\*32 rows"):
        initializers.HeNormal(seed=7).recipe((2**33, 4))


def test_layout_gives_the_same_numbers_to_both_orders() -> None:
    for cls in [*SEEDED, initializers.Identity]:
        init = cls(seed=7) if cls in SEEDED else cls()
        dense = init((5, 7), name="w")
        assert_same_bits(init((7, 5), name="w", layout="o i"), dense.T.copy())
        assert_same_bits(init((5, 7), name="w", layout=as_layout("i o")), dense)


# Arguments -------------------------------------------------------------------------------------


def scalars() -> list[object]:
    import jax.numpy
    import torch

    half = fractions.Fraction(1, 2)
    arrays = [np.array(0.5), np.array(0.5, ml_dtypes.bfloat16), torch.tensor(0.5), jax.numpy.array(0.5)]
    return [0.5, np.float32(0.5), np.float64(0.5), half, decimal.Decimal("0.5"), *arrays]


def test_scalar_arguments_take_every_kind_of_scalar() -> None:
    for value in scalars():
        assert initializers.RandomNormal(value, value).get_config() == {"mean": 0.5, "stddev": 0.5, "seed": None}
        assert initializers.RandomUniform(value, 1).minval == 0.5
        assert initializers.VarianceScaling(value).scale == 0.5
        assert initializers.Identity(value).gain == 0.5
        assert initializers.Orthogonal(value).gain == 0.5
        assert initializers.Constant(value).value == 0.5
    assert initializers.RandomNormal(np.int8(1), 2).get_config()["mean"] == 1.0


def not_scalars() -> list[object]:
    import torch

    return [True, np.True_, math.nan, INF, -INF, "0.5", b"1", None, 1j, np.complex64(1), [0.5], (0.5,), {},
            np.array([0.5]), np.zeros(0), torch.tensor([0.5]), torch.tensor(True), torch.empty((), device="meta"),
            10**400, object(), np.float32]  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "argument"),
    [
        (initializers.RandomNormal, "mean"),
        (initializers.RandomNormal, "stddev"),
        (initializers.RandomUniform, "minval"),
        (initializers.RandomUniform, "maxval"),
        (initializers.TruncatedNormal, "mean"),
        (initializers.TruncatedNormal, "stddev"),
        (initializers.TruncatedNormal, "lower"),
        (initializers.TruncatedNormal, "upper"),
        (initializers.VarianceScaling, "scale"),
        (initializers.Orthogonal, "gain"),
        (initializers.Identity, "gain"),
    ],
)
def test_scalar_arguments_refuse_everything_else(cls: type[initializers.Initializer], argument: str) -> None:
    refused = 0
    for value in not_scalars():
        if argument in ("lower", "upper") and isinstance(value, float) and math.isinf(value):
            continue  # an open bound
        with pytest.raises(ArgumentError) as caught:
            cls(**{argument: value})
        assert f"{cls.__name__}: {argument} must be one finite real number; {argument}={value!r}" in str(caught.value)
        refused += 1
    assert refused == (19 if argument in ("lower", "upper") else 21)


@pytest.mark.parametrize(
    ("make", "error", "fragment"),
    [
        (lambda: initializers.RandomNormal(stddev=-1), ArgumentError, "RandomNormal: stddev must be at least 0"),
        (lambda: initializers.RandomNormal(stddev=1e-30), ArgumentError, "RandomNormal: stddev is 1e-30, below 2**-90"),
        (lambda: initializers.RandomNormal(mean=1e39), ArgumentError, "mean must be a finite float32"),
        (lambda: initializers.RandomUniform(1, 0), ArgumentError, "RandomUniform: minval must not exceed maxval"),
        (lambda: initializers.TruncatedNormal(lower=2, upper=2), ArgumentError, "lower must be below upper"),
        (lambda: initializers.TruncatedNormal(lower=10, upper=11), ArgumentError, "next to nothing"),
        (lambda: initializers.VarianceScaling(0), ArgumentError, "VarianceScaling: scale must be positive, not 0"),
        (lambda: initializers.VarianceScaling(-1.0), ArgumentError, "scale must be positive, not -1.0"),
        (lambda: initializers.VarianceScaling(mode="fan"), ArgumentError, "mode must be one of fan_in, fan_out"),
        (lambda: initializers.VarianceScaling(mode=1), ArgumentError, "not 1"),
        (lambda: initializers.VarianceScaling(distribution="x"), ArgumentError, "distribution must be one of normal,"),
        (lambda: initializers.HeNormal(input_axes=0), ArgumentError, "HeNormal: input_axes must be a list of axis"),
        (lambda: initializers.HeNormal(output_axes=[0.5]), ArgumentError, "output_axes must be a list of axis"),
        (lambda: initializers.HeNormal(output_axes=""), ArgumentError, "output_axes must be a list of axis"),
        (lambda: initializers.HeNormal(output_axes={0: 1}), ArgumentError, "output_axes must be a list of axis"),
        (lambda: initializers.Orthogonal(1e39), ArgumentError, "Orthogonal: gain is 1e+39; give 0, or a magnitude"),
        (
            lambda: initializers.Orthogonal(-1e-28),
            ArgumentError,
            "from 2**-90 (about 8e-28) to the greatest of float32",
        ),
        (lambda: initializers.STFT(window=[1e39]), ArgumentError, "reaches 1e+39, beyond float32"),
        (lambda: initializers.HeNormal(output_axes=[True]), ArgumentError, "output_axes must be a list of axis"),
        (lambda: initializers.HeNormal(seed=-1), SeedError, "not -1"),
        (lambda: initializers.HeNormal(seed=2**64), SeedError, "2**64 - 1"),
        (lambda: initializers.HeNormal(seed=True), SeedError, "not True"),
        (lambda: initializers.Orthogonal(seed="7"), SeedError, "not '7'"),
        (lambda: initializers.Constant("a"), ArgumentError, "Constant: value must be one finite real number"),
        (lambda: initializers.Constant(None), ArgumentError, "value=None is a NoneType"),
        (lambda: initializers.Constant(math.nan), ArgumentError, "value=nan is not a number"),
        (lambda: initializers.Constant(INF), ArgumentError, "value=inf is not finite"),
        (lambda: initializers.Constant([1.0, math.nan]), ArgumentError, "holds NaN or infinity"),
        (lambda: initializers.Constant([]), ArgumentError, "has shape (0,), and so no elements"),
        (lambda: initializers.Constant([1j]), ArgumentError, "must be an array of real numbers"),
        (lambda: initializers.Constant([[1], [1, 2]]), ArgumentError, "must be an array of real numbers"),
        (lambda: initializers.STFT(side="left"), ArgumentError, "side must be one of 'real', 'imag', not 'left'"),
        (lambda: initializers.STFT(scaling="x"), ArgumentError, "scaling must be one of 'density', 'spectrum', None"),
        (lambda: initializers.STFT(periodic="yes"), ArgumentError, "periodic must be one of True, False"),
        (lambda: initializers.STFT(window="hannn"), ArgumentError, "STFT: unknown window 'hannn', perhaps 'hann'"),
        (lambda: initializers.STFT(window="kaiser"), ArgumentError, "'kaiser' has parameters"),
        (lambda: initializers.STFT(window=[[1.0]]), ArgumentError, "rank 1"),
        (lambda: initializers.HeNormal.from_config({"sed": 1}), ArgumentError, "called as HeNormal(seed=None,"),
        (lambda: initializers.STFT()((4, 2, 3)), ShapeError, "(samples, 1, frequencies), not (4, 2, 3)"),
        (lambda: initializers.STFT(window=[1.0])((4, 1, 3)), ShapeError, "window has 1 samples"),
        (lambda: initializers.STFT()((2, 1, 3)), ArgumentError, "window='hann' is zero at all of its 2 samples"),
        (lambda: initializers.Orthogonal()((4,)), ShapeError, "the shape (4,) has 1"),
        (lambda: initializers.Orthogonal()(()), ShapeError, "the shape () has 0"),
        (lambda: initializers.Orthogonal()((4, 4), layout="b o"), ShapeError, "with layout 'b o' has 1"),
        (lambda: initializers.Orthogonal()((4, 3), "int8"), DTypeError, "int8"),
        (lambda: initializers.Identity()((4,)), ShapeError, "the shape (4,) has rank 1"),
        (
            lambda: initializers.Constant([1, 2])((2, 3)),
            ShapeError,
            "shape (2,) does not broadcast to the shape (2, 3)",
        ),
        (lambda: initializers.Constant([1, 2])(()), ShapeError, "does not broadcast"),
        (lambda: initializers.Constant(0.5)((2,), "int8"), DTypeError, "int8 cannot hold 0.5"),
        (lambda: initializers.Constant(300)((2,), "uint8"), DTypeError, "uint8 cannot hold 300"),
        (lambda: initializers.Constant([300])((2,), "uint8"), DTypeError, "uint8"),
        (lambda: initializers.Zeros()((2,), layout="o i"), LayoutError, "has rank 1"),
        (lambda: initializers.HeNormal(0, [5], [0])((2, 3)), ShapeError, "axes (5,) are not all axes of the shape"),
        (lambda: initializers.HeNormal(0, [0, -2], [1])((2, 3)), ShapeError, "twice"),
    ],
)
def test_unusable_arguments(make: object, error: type[Exception], fragment: str) -> None:
    with pytest.raises(error) as caught:
        make()  # type: ignore[operator]
    assert fragment in str(caught.value)
    assert type(caught.value) is error


def test_bounds_beyond_float32_are_none() -> None:
    assert drawn(initializers.TruncatedNormal(lower=-1e300, upper=1e300), (2,)) == Normal(0.0, 0.05)


# Constants -------------------------------------------------------------------------------------


def test_constants_in_every_dtype() -> None:
    for dtype in ("bool", "int8", "uint64", "float16", "float8_e4m3fn", "float64"):
        assert_same_bits(initializers.Zeros()((2, 3), dtype), np.zeros((2, 3), initializers.Zeros()((), dtype).dtype))
        assert_same_bits(initializers.Ones()((2,), dtype), np.ones(2, initializers.Ones()((), dtype).dtype))
    assert_same_bits(initializers.Constant(0.1)((2,), "float64"), np.full(2, 0.1))
    assert_same_bits(initializers.Constant(-0.0)((2,)), np.full(2, -0.0, np.float32))
    assert_same_bits(initializers.Constant(0.0)((2,)), np.full(2, 0.0, np.float32))
    assert_same_bits(initializers.Constant(2**60 + 1)((1,), "int64"), np.array([2**60 + 1]))
    assert_same_bits(initializers.Constant(True)((1,), "bool"), np.array([True]))
    assert_same_bits(initializers.Constant(np.True_)((1,)), np.ones(1, np.float32))


def test_constant_arrays_broadcast_and_are_kept() -> None:
    source = np.array([[1.0], [2.0]], np.float16)
    init = initializers.Constant(source)
    source[...] = 9
    assert_same_bits(init((3, 2, 2)), np.array([[[1, 1], [2, 2]]] * 3, np.float32))
    assert_same_bits(init.window((3, 2, 2), (slice(1, 3), slice(1, 2)), "int8"), np.array([[[2, 2]]] * 2, np.int8))
    big = initializers.Constant(np.array([2**63], np.uint64))
    assert_same_bits(big((1,), "uint64"), np.array([2**63], np.uint64))
    recipe = init.recipe((3, 2, 2))
    assert isinstance(recipe, Whole)


def test_constant_takes_arrays_of_other_libraries() -> None:
    import jax.numpy
    import torch

    for array in (torch.tensor([1.0, 2.0]), jax.numpy.array([1.0, 2.0], "bfloat16"), (1.0, 2.0)):
        assert initializers.Constant(array) == initializers.Constant([1.0, 2.0])


def test_identity_is_padded_with_zeros() -> None:
    for shape in ((3, 3), (2, 4), (4, 2)):
        assert_same_bits(initializers.Identity(0.1)(shape, "float64"), 0.1 * np.eye(*shape))
        assert_same_bits(initializers.Identity()(shape, "int32"), np.eye(*shape, dtype=np.int32))


# Orthogonal ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (1, 5), (5, 1), (1, 1), (3, 2, 4)])
def test_orthogonal_is_the_q_of_a_gaussian_with_positive_diagonal_r(shape: tuple[int, ...]) -> None:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q = initializers.Orthogonal(gain=2.0, seed=3)(shape, "float64", name="w").reshape(rows, columns) / 2.0
    q = q.T if rows < columns else q
    # Values up to 1 are float32: each is off by 2**-25, and the sums are of at most 9 products of up to 4.
    assert np.abs(q.T @ q - np.eye(q.shape[1])).max() < 2**-22
    gaussian = initializers.RandomNormal(0.0, 1.0, seed=3)(q.shape, "float64", name="w")
    r = q.T @ gaussian
    assert np.abs(np.tril(r, -1)).max() < 2**-21
    assert np.diag(r).min() > 0
    assert np.abs(q @ r - gaussian).max() < 2**-20


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((6, 4), "o i"),
        ((5, 3, 2, 4), "*k i o"),
        ((4, 5, 3, 3), "o i *k"),
        ((4, 5, 3, 2), "o i *~k"),
        ((4, 2, 3), "i o2 o1"),
        ((3, 4, 5), "b i o"),
        ((4, 3, 5), "o b i"),
    ],
)
def test_orthogonal_follows_the_layout(shape: tuple[int, ...], layout: str) -> None:
    read = as_layout(layout)
    coordinates, canonical = read.coordinates(shape), read.canonical_shape(shape)
    array = initializers.Orthogonal(seed=3)(shape, "float64", layout=layout)
    flat = np.full((math.prod(canonical[:-1]), canonical[-1]), np.nan)
    for index in np.ndindex(*shape):
        row = coordinates.row_start + sum(map(int.__mul__, coordinates.row_steps, index))
        flat[row, coordinates.column_start + sum(map(int.__mul__, coordinates.column_steps, index))] = array[index]
    plain = initializers.Orthogonal(seed=3)(canonical, "float64", layout="b i o" if "b" in layout else None)
    assert_same_bits(flat, plain.reshape(flat.shape))


def test_orthogonal_batches_are_independent() -> None:
    w = initializers.Orthogonal(seed=3)((3, 5, 4), "float64", layout="b i o")
    for matrix in w:
        assert np.abs(matrix.T @ matrix - np.eye(4)).max() < 2**-22
    assert not np.allclose(w[0], w[1])


def test_orthogonal_is_computed_in_float64_and_rounded_to_float32() -> None:
    gaussian = initializers.RandomNormal(0.0, 1.0, seed=3)((40, 40), "float64")
    exact, r = np.linalg.qr(gaussian)
    exact = exact * np.sign(np.diagonal(r))
    found = initializers.Orthogonal(seed=3)((40, 40))
    assert np.abs(found - exact).max() <= 2**-25  # half the spacing below 1
    assert np.mean(found == exact.astype(np.float32)) > 0.99  # float32 arithmetic hits few of them


# STFT ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["real", "imag"])
@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
@pytest.mark.parametrize("window", ["hann", "hamming", None, [1.0, -2.0, 3.0, 0.5, 0.25, 1.0, 1.0, 1.0]])
@pytest.mark.parametrize("periodic", [False, True])
def test_stft_is_that_of_keras(side: str, scaling: str | None, window: object, periodic: bool) -> None:
    import keras

    ours = initializers.STFT(side, window, scaling, periodic)((8, 1, 9))
    window = np.array(window, np.float32) if isinstance(window, list) else window
    theirs = np.asarray(keras.initializers.STFT(side, window, scaling, periodic)((8, 1, 9)))
    assert np.abs(ours - theirs).max() < 4e-6


def test_stft_is_a_fourier_transform() -> None:
    x = initializers.RandomNormal(0.0, 1.0, seed=1)((16,), "float64")
    real = initializers.STFT("real", None)((16, 1, 9), "float64")[:, 0].T @ x
    imag = initializers.STFT("imag", None)((16, 1, 9), "float64")[:, 0].T @ x
    assert np.abs(real + 1j * imag - np.fft.rfft(x)).max() < 16 * 2**-25 * np.abs(x).max()
    assert_same_bits(initializers.STFT(window=None)((4, 1, 1)), np.ones((4, 1, 1), np.float32))
    assert initializers.STFT()((0, 1, 3)).shape == (0, 1, 3)


@pytest.mark.parametrize(("scaling", "expected"), [("density", math.sqrt(1 / 2)), ("spectrum", 1 / 2)])
def test_stft_scales_tapers_of_any_size(scaling: str, expected: float) -> None:
    for size in (1e-300, 1.0, 3e38):
        w = initializers.STFT("real", [size, size], scaling)((2, 1, 1))
        assert w.reshape(-1).tolist() == pytest.approx([expected] * 2, rel=1e-7)


@pytest.mark.parametrize("name", tapers.NAMES)
@pytest.mark.parametrize("periodic", [False, True])
def test_tapers_are_those_of_scipy(name: str, periodic: bool) -> None:
    for length in range(1, 34):
        expected = scipy.signal.get_window(name, length, fftbins=periodic)
        assert np.abs(tapers.taper(name, length, periodic=periodic) - expected).max() < 4e-15, length


def test_every_taper_of_scipy_is_answered() -> None:
    made, refused = 0, 0
    for name in scipy.signal.windows.__all__:
        if name in ("get_window", "dpss_windows", "kaiser_atten", "kaiser_beta"):
            continue
        try:
            tapers.taper(name, 8, periodic=False)
        except ArgumentError as error:
            refused += "has parameters" in str(error)
        else:
            made += 1
    assert (made, refused) == (len(tapers.NAMES), 8)


# Configuration, equality, text -----------------------------------------------------------------


@pytest.mark.parametrize("initializer", INSTANCES, ids=repr)
def test_an_initializer_survives_every_kind_of_copy(initializer: initializers.Initializer) -> None:
    cls = type(initializer)
    copies = [
        initializer.clone(),
        cls.from_config(initializer.get_config()),
        cls.from_config(json.loads(json.dumps(initializer.get_config()))),
        initializers.deserialize(initializers.serialize(initializer)),
        eval(repr(initializer), {"float": float}, vars(initializers)),
        pickle.loads(pickle.dumps(initializer)),
        copy.deepcopy(initializer),
    ]
    assert len(copies) == 7
    for other in copies:
        assert type(other) is cls
        assert other == initializer
        assert hash(other) == hash(initializer)
        assert repr(other) == repr(initializer)


def test_different_initializers_are_unequal() -> None:
    assert len({repr(i) for i in INSTANCES}) == len(INSTANCES) == len(set(INSTANCES)) == 20
    for a, one in enumerate(INSTANCES):
        for b, other in enumerate(INSTANCES):
            assert (one == other) is (a == b)
    assert initializers.Constant(0.0) != initializers.Constant(-0.0)
    assert initializers.HeNormal(seed=1) != initializers.VarianceScaling(2.0, seed=1)
    assert initializers.HeNormal() != "HeNormal()"


def test_configurations_are_those_of_keras() -> None:
    import keras

    for cls in CLASSES:
        theirs = getattr(keras.initializers, cls.__name__)().get_config()
        ours = cls().get_config()
        lost = {"gain"} if cls is initializers.Identity else set()  # Keras 3.15 forgets the gain
        assert ours.keys() == theirs.keys() | lost, cls
        assert {key for key in theirs if ours[key] != theirs[key]} <= {"distribution"}
    assert initializers.TruncatedNormal(lower=-1).get_config()["lower"] == -1.0


def test_repr_leaves_out_defaults() -> None:
    assert repr(initializers.HeNormal(seed=7)) == "HeNormal(seed=7)"
    assert repr(initializers.RandomNormal(stddev=1)) == "RandomNormal(stddev=1.0)"
    assert repr(initializers.TruncatedNormal(lower=-INF)) == "TruncatedNormal(lower=float('-inf'))"


# Initializers of one's own ---------------------------------------------------------------------


class Plain(initializers.Initializer):
    """What Keras asks of a subclass."""

    def __call__(self, shape: tuple[int, ...], dtype: object = None) -> np.ndarray:  # type: ignore[override]
        return np.full(shape, 3, np.float32)


class Undescribed(Plain):
    """One with state that it does not tell."""

    def __init__(self, state: int) -> None:
        self.state = state


class Described(Undescribed):
    """One that does."""

    def get_config(self) -> dict[str, int]:
        return {"state": self.state}


def test_subclasses_need_only_a_call() -> None:
    assert Plain()((2,)).tolist() == [3.0, 3.0]
    assert (repr(Plain()), Plain() == Plain()) == ("Plain()", True)
    assert Undescribed(1) != Undescribed(1)
    assert len({Undescribed(1), Undescribed(1)}) == 2
    assert "Undescribed object" in repr(Undescribed(1))
    assert (repr(Described(1)), Described(1) == Described(1), Described(1) == Described(2)) == (
        "Described(state=1)",
        True,
        False,
    )
    assert Described(1).clone() == Described(1)
    with pytest.raises(NotImplementedError, match="only the whole array is known"):
        Plain().window((2,), slice(0, 1))
    with pytest.raises(ShapeError):
        Plain().recipe((2.0,))


def test_the_base_class_has_no_values() -> None:
    for ask in (
        lambda: initializers.Initializer()((2,)),
        lambda: initializers.Initializer().recipe((2,)),
        lambda: initializers.Initializer().window((2,), None),
    ):
        with pytest.raises(NotImplementedError, match="Initializer defines no values") as caught:
            ask()
        assert isinstance(caught.value, FaninError)
