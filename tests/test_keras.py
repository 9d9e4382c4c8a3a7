"""The front door for Keras, on the backend of this process, and run by `test_keras_backends` on the others."""

import contextlib
import copy
import inspect
import itertools
import json
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from harness import DISTRIBUTIONS, FORMS, INF, Case, assert_same_bits, bits, filled
from keras import layers
from keras_tensors import array

import fanin.keras
from fanin import initializers as ours
from fanin.dtypes import FLOATS
from fanin.errors import ArgumentError, DTypeError, FaninError, SeedError, ShapeError
from fanin.initializers import custom
from fanin.recipe import Distribution, Draw, Normal, Stream, UniformInterval, Window

# Keras 3.15 with NumPy 2.4, whenever it reads a tensor of torch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

BACKEND = keras.backend.backend()
CLASSES = [name for name in fanin.keras.__all__ if inspect.isclass(getattr(fanin.keras, name))]

# Arguments off their defaults, and a shape.
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Constant": ({"value": 0.1}, (3, 4)),
    "GlorotNormal": ({"seed": 1}, (3, 2, 5, 4)),
    "GlorotUniform": ({"seed": 2}, (12, 8)),
    "HeNormal": ({"seed": 2**64 - 1}, (12, 8)),
    "HeUniform": ({"seed": 3, "input_axes": [0], "output_axes": [1, 2]}, (6, 2, 5)),
    "Identity": ({"gain": 0.3}, (3, 5)),
    "LecunNormal": ({"seed": 4}, (0, 4)),
    "LecunUniform": ({"seed": 5}, (7,)),
    "Ones": ({}, (3, 4)),
    "Orthogonal": ({"gain": 0.9, "seed": 6}, (6, 4)),
    "RandomNormal": ({"mean": 0.1, "stddev": 0.3, "seed": 7}, ()),
    "RandomUniform": ({"minval": -1.0, "maxval": 3.0, "seed": 8}, (33, 3)),
    "STFT": ({"side": "imag", "window": "hamming", "scaling": "spectrum", "periodic": True}, (8, 1, 5)),
    "TruncatedNormal": ({"mean": 0.1, "stddev": 0.3, "seed": 9}, (33, 3)),
    "VarianceScaling": ({"scale": 2.0, "mode": "fan_avg", "distribution": "untruncated_normal", "seed": 0}, (5, 6)),
    "Zeros": ({}, (3, 4)),
}
DTYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")
RECORDED = (4357591507570172422, 16508238800846908206)  # the first of install(3)
SEEDED = [name for name, (arguments, _) in CASES.items() if "seed" in arguments]


def make(name: str, **arguments: Any) -> Any:
    return getattr(fanin.keras, name)(**{**CASES[name][0], **arguments})


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Every test leaves Keras' table, and where seeds come from, as it was found."""
    table = sys.modules[keras.initializers.get.__module__]
    before = dict(vars(table))
    keras.utils.set_random_seed(0)
    yield
    assert dict(vars(table)) == before
    assert type(keras.initializers.get("he_normal")) is keras.initializers.HeNormal
    assert custom.fresh is custom.entropy


@pytest.fixture
def everywhere() -> Iterator[None]:
    fanin.keras.install()
    yield
    fanin.keras.uninstall()


# Classes ---------------------------------------------------------------------------------------


def test_there_is_a_case_for_each_class() -> None:
    assert sorted(CASES) == sorted(CLASSES)
    theirs = {value for value in vars(keras.initializers).values() if inspect.isclass(value)}
    assert {getattr(fanin.keras, name).__base__ for name in CLASSES} == theirs - {keras.initializers.Initializer}
    assert len(CLASSES) == 16


@pytest.mark.parametrize("name", CLASSES)
def test_values_are_fanins_own(name: str) -> None:
    arguments, shape = CASES[name]
    for dtype in DTYPES:
        tensor = make(name)(shape, dtype)
        assert keras.ops.is_tensor(tensor)
        assert keras.backend.standardize_dtype(tensor.dtype) == dtype
        assert tuple(tensor.shape) == shape
        assert_same_bits(bits(array(tensor)), bits(getattr(ours, name)(**arguments)(shape, dtype)))
    again = keras.ops.convert_to_numpy(make(name)(shape=list(shape)))
    assert_same_bits(bits(again), bits(getattr(ours, name)(**arguments)(shape)))


@pytest.mark.parametrize("name", CLASSES)
def test_signature_attributes_and_configuration_are_those_of_keras(name: str) -> None:
    cls, theirs = getattr(fanin.keras, name), getattr(keras.initializers, name)
    assert inspect.signature(cls) == inspect.signature(theirs)
    mine, other = make(name), theirs(**CASES[name][0])
    assert isinstance(mine, theirs)
    assert vars(mine) == vars(other)
    forgotten = {"gain": 0.3} if name == "Identity" else {}  # by Keras 3.15
    assert mine.get_config() == {**other.get_config(), **forgotten}
    if name != "Constant":
        assert list(inspect.signature(cls).parameters.items()) == list(inspect.signature(theirs).parameters.items())
        assert {**cls().get_config(), "gain": 1.0} == {**theirs().get_config(), "gain": 1.0}


@pytest.mark.parametrize("name", CLASSES)
def test_round_trips(name: str) -> None:
    shape = CASES[name][1]
    initializer = make(name)
    expected = bits(array(initializer(shape)))
    config = keras.initializers.serialize(initializer)
    assert config["registered_name"] == f"fanin>{name}"
    for again in (
        initializer.clone(),
        type(initializer).from_config(initializer.get_config()),
        keras.initializers.deserialize(json.loads(json.dumps(config))),
        keras.initializers.get(config),
        keras.saving.deserialize_keras_object(config),
        copy.deepcopy(initializer),
        pickle.loads(pickle.dumps(initializer)),
    ):
        assert type(again) is type(initializer)
        assert_same_bits(bits(array(again(shape))), expected)


def twin(distribution: Distribution) -> Any:
    """The initializer of a distribution of the shared table; None where Keras' classes have no such arguments."""
    match distribution:
        case UniformInterval(minval, maxval):
            return fanin.keras.RandomUniform(minval, maxval, seed=7)
        case Normal(mean, stddev, lower, upper) if (lower, upper) == (-INF, INF):
            return fanin.keras.RandomNormal(mean, stddev, seed=7)
        case Normal(mean, stddev, lower, upper) if (lower, upper) == (-2.0, 2.0):
            return fanin.keras.TruncatedNormal(mean, stddev, seed=7)
    return None


def test_the_shared_cases_have_the_bits_of_every_engine() -> None:
    """Those of engine numpy, whose bits `test_same_bits` compares with the reference."""
    compared = 0
    shapes = [shape for shape, layout in FORMS if layout is None]
    held = [dtype for name, dtype in FLOATS.items() if (BACKEND, name) != ("jax", "float64")]  # it has no such dtype
    for distribution, shape, dtype in itertools.product(DISTRIBUTIONS, shapes, held):
        draw = Draw(distribution, shape, stream=Stream("", 7))
        try:
            draw.check_dtype(dtype)
        except DTypeError:
            continue
        if (initializer := twin(distribution)) is not None:
            expected = filled(Case(draw, Window.whole(shape), dtype), "numpy, 1 thread")
            assert_same_bits(array(initializer(shape, dtype.name)), expected)
            compared += 1
    assert compared == (280 if BACKEND == "jax" else 336)


def test_a_constant_is_an_array_too() -> None:
    value = np.arange(6.0).reshape(2, 3)
    for given in (value, value.tolist(), keras.ops.convert_to_tensor(value, "float32")):
        initializer = fanin.keras.Constant(given)
        assert (array(initializer((2, 3))) == value).all()
        config = keras.initializers.serialize(initializer)
        assert (array(keras.initializers.deserialize(config)((2, 3))) == value).all()
    assert float(fanin.keras.RandomNormal(keras.ops.convert_to_tensor(3.0), 0.0, seed=1)(())) == 3


def test_integers_and_floatx() -> None:
    assert keras.backend.standardize_dtype(fanin.keras.Ones()((2,), "int32").dtype) == "int32"
    assert keras.backend.standardize_dtype(fanin.keras.Zeros()((2,), "bool").dtype) == "bool"
    keras.config.set_floatx("float16")
    try:
        assert keras.backend.standardize_dtype(fanin.keras.HeNormal(1)((2, 2)).dtype) == "float16"
    finally:
        keras.config.set_floatx("float32")


def test_lower_case_names() -> None:
    assert fanin.keras.he_normal is fanin.keras.HeNormal
    assert fanin.keras.OrthogonalInitializer is fanin.keras.Orthogonal
    with pytest.raises(AttributeError, match="he_norml"):
        fanin.keras.he_norml  # noqa: B018


# Seeds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEDED)
def test_no_seed_is_one_of_keras_own_stream(name: str) -> None:
    keras.utils.set_random_seed(5)
    theirs = [getattr(keras.initializers, name)().seed for _ in range(3)]
    keras.utils.set_random_seed(5)
    mine = [getattr(fanin.keras, name)() for _ in range(3)]
    assert [each.seed for each in mine] == theirs
    assert [each.get_config()["seed"] for each in mine] == [None] * 3
    shape = CASES[name][1]
    assert_same_bits(bits(array(mine[0](shape))), bits(array(mine[0](shape))))
    assert_same_bits(bits(array(mine[1](shape))), bits(array(make_seeded(name, theirs[1])(shape))))


def make_seeded(name: str, seed: Any) -> Any:
    return getattr(fanin.keras, name)(seed=seed)


@pytest.mark.parametrize("name", SEEDED)
def test_a_generator_advances_and_round_trips(name: str) -> None:
    shape = (8, 9)
    initializer = make_seeded(name, keras.random.SeedGenerator(7))
    first, second = array(initializer(shape)), array(initializer(shape))
    assert_same_bits(bits(first), bits(array(make_seeded(name, 7)(shape))))
    assert_same_bits(bits(second), bits(array(make_seeded(name, (1 << 32) + 7)(shape))))
    assert (first != second).any()
    again = initializer.clone()
    assert isinstance(again.seed, keras.random.SeedGenerator)
    assert_same_bits(bits(array(again(shape))), bits(first))
    shared = keras.random.SeedGenerator(7)
    one, two = (array(make_seeded(name, shared)(shape)) for _ in range(2))
    assert_same_bits(bits(one), bits(first))
    assert_same_bits(bits(two), bits(second))


def test_numpy_integers_are_seeds() -> None:
    initializer = fanin.keras.HeNormal(np.uint64(2**63))
    assert type(initializer.seed) is int
    assert json.loads(json.dumps(initializer.get_config()))["seed"] == 2**63


# Layers ----------------------------------------------------------------------------------------


def values(model: keras.Model) -> list[bytes]:
    return [array(weight.value).tobytes() for weight in model.weights]


def test_a_saved_model_needs_no_installation(tmp_path: Path) -> None:
    with fanin.keras.installed(seed=1):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.LayerNormalization(), layers.Dense(2)])
    first = values(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert values(loaded) == first
    for again in (keras.models.clone_model(loaded), keras.Sequential.from_config(model.get_config())):
        assert values(again) == first  # drawn anew, by the seeds of the configuration
        assert type(again.layers[0].kernel_initializer) is fanin.keras.GlorotUniform


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_dtype_policies(policy: str) -> None:
    layer = layers.Dense(6, kernel_initializer=fanin.keras.HeNormal(3), dtype=policy)
    layer.build((None, 5))
    dtype = "bfloat16" if policy == "bfloat16" else "float32"
    assert_same_bits(bits(array(layer.kernel.value)), bits(ours.HeNormal(3)((5, 6), dtype)))


@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_projections_of_attention_have_the_deviation_of_their_fans(distribution: str) -> None:
    width, heads = 512, 8
    initializer = fanin.keras.VarianceScaling(1.0, "fan_in", distribution, seed=keras.random.SeedGenerator(1))
    layer = layers.MultiHeadAttention(heads, width // heads, kernel_initializer=initializer)
    layer.build((None, 4, width), (None, 4, width))
    projections = {weight.path.split("/")[-2]: weight for weight in layer.weights if weight.path.endswith("kernel")}
    assert set(projections) == {"query", "key", "value", "attention_output"}
    for name, weight in projections.items():
        # 2**18 values: the deviation is known to 0.14 % (six sigma: 0.8 %)
        assert array(weight.value).std() == pytest.approx(width**-0.5, rel=0.02), name


def test_einsum_dense_takes_its_axes_from_the_equation() -> None:
    with fanin.keras.installed(seed=4):
        layer = layers.EinsumDense("abc,cde->abde", (5, 2, 3))
        layer.build((None, 5, 4))
    kernel = ours.GlorotUniform(layer.kernel_initializer.seed, [0], [1, 2])((4, 2, 3))
    assert_same_bits(bits(array(layer.kernel.value)), bits(kernel))


def test_a_layer_may_draw_in_its_call() -> None:
    class Mixed(layers.Layer):
        def call(self, x: Any) -> Any:
            return x @ fanin.keras.HeNormal(1)((x.shape[1], 4))

    symbolic = keras.Input((3,))
    model = keras.Model(symbolic, Mixed()(symbolic))
    expected = np.ones((2, 3), np.float32) @ ours.HeNormal(1)((3, 4))
    assert model.output_shape == (None, 4)
    np.testing.assert_allclose(array(model(np.ones((2, 3)))), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(np.ones((2, 3)), verbose=0), expected, rtol=1e-5)


# Strings ---------------------------------------------------------------------------------------


def names() -> list[str]:
    """Every string that `keras.initializers.get` takes."""
    table = sys.modules[keras.initializers.get.__module__].ALL_OBJECTS_DICT
    return sorted(name for name, cls in table.items() if cls is not keras.initializers.Initializer)


@pytest.mark.usefixtures("everywhere")
def test_every_name_means_fanins() -> None:
    table = sys.modules[keras.initializers.get.__module__].ALL_OBJECTS_DICT
    for name in names():
        found = keras.initializers.get(name)
        assert type(found).__module__ == "fanin.keras", name
        assert type(found).__base__ is table[name], name
        assert type(keras.initializers.get({"class_name": name, "config": {}})) is type(found)
    assert len(names()) >= 37
    assert keras.initializers.get({"class_name": "HeNormal", "config": {"seed": 3}}).seed == 3
    assert keras.initializers.get(None) is None
    with pytest.raises(ValueError, match="Could not interpret"):
        keras.initializers.get("typo")


@pytest.mark.usefixtures("everywhere")
def test_what_is_no_name_means_what_it_meant() -> None:
    theirs = keras.initializers.HeNormal(1)
    assert keras.initializers.get(theirs) is theirs
    assert type(keras.initializers.get(keras.initializers.serialize(theirs))) is keras.initializers.HeNormal
    assert type(layers.deserialize(layers.serialize(layers.Identity()))) is layers.Identity
    padded = layers.deserialize(layers.serialize(layers.RandomRotation(0.1, fill_mode="constant")))
    assert padded.fill_mode == "constant"
    with keras.saving.custom_object_scope({"he_normal": fanin.keras.Ones}):
        assert type(keras.initializers.get("he_normal")) is fanin.keras.Ones


@pytest.mark.usefixtures("everywhere")
def test_every_layer_initializes_by_fanin() -> None:
    made = [
        layers.Dense(3), layers.Conv2D(3, 3, groups=1), layers.DepthwiseConv2D(3), layers.SeparableConv1D(3, 2),
        layers.Conv2DTranspose(3, 3), layers.Embedding(5, 3), layers.LSTM(3), layers.GRU(3), layers.SimpleRNN(3),
        layers.BatchNormalization(), layers.LayerNormalization(), layers.PReLU(), layers.EinsumDense("ab,bc->ac", 3),
        layers.MultiHeadAttention(2, 3), layers.GroupQueryAttention(4, 2, 2),
    ]  # fmt: skip
    found = 0
    for layer in made:
        for name, value in [*vars(layer).items(), *vars(getattr(layer, "cell", keras.Layer())).items()]:
            if name.endswith("_initializer") and value is not None:
                assert type(value).__module__ == "fanin.keras", (layer, name)
                found += 1
    assert found >= 30


@pytest.mark.usefixtures("everywhere")
def test_a_script_is_reproduced_by_keras_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((6,)), layers.Dense(6), layers.Dense(6, kernel_initializer="he_normal")])
        runs.append(values(model))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]


def test_a_seed_of_the_installation_reproduces_and_keeps_layers_apart() -> None:
    def kernels(seed: int) -> list[bytes]:
        with fanin.keras.installed(seed):
            return values(keras.Sequential([keras.Input((6,)), layers.Dense(6), layers.Dense(6)]))[::2]

    keras.utils.set_random_seed(1)
    first = kernels(3)
    keras.utils.set_random_seed(2)
    assert kernels(3) == first
    assert first[0] != first[1]
    assert kernels(4)[0] != first[0]
    with fanin.keras.installed(3):
        seeds = [keras.initializers.get("he_normal").seed for _ in range(100)]
        assert keras.initializers.get({"class_name": "HeNormal", "config": {"seed": 5}}).seed == 5
    assert len(set(seeds)) == 100
    # Recorded: a saved configuration must mean the same in the next version.
    assert tuple(seeds[:2]) == RECORDED


def test_installations_nest_and_are_undone() -> None:
    def kind() -> tuple[str, bool]:
        found = keras.initializers.get("he_normal")
        return type(found).__module__.partition(".")[0], found.get_config()["seed"] is None

    assert kind() == ("keras", True)
    fanin.keras.install()
    assert kind() == ("fanin", True)
    fanin.keras.install(7)
    assert kind() == ("fanin", False)
    with fanin.keras.installed():
        assert kind() == ("fanin", True)
        with contextlib.suppress(KeyError), fanin.keras.installed(1):
            assert kind() == ("fanin", False)
            raise KeyError
        assert kind() == ("fanin", True)
    fanin.keras.uninstall()
    assert kind() == ("fanin", True)
    fanin.keras.uninstall()
    assert kind() == ("keras", True)
    with pytest.raises(ArgumentError, match="nothing is installed"):
        fanin.keras.uninstall()
    with pytest.raises(SeedError):
        fanin.keras.install(-1)


def test_a_block_is_of_its_thread_and_an_installation_of_all() -> None:
    found: dict[str, str] = {}

    def look(when: str) -> None:
        found[when] = type(keras.initializers.get("he_normal")).__module__.partition(".")[0]

    def elsewhere(when: str) -> None:
        thread = threading.Thread(target=look, args=(when,))
        thread.start()
        thread.join()

    with fanin.keras.installed():
        look("here")
        elsewhere("in a block")
    fanin.keras.install()
    elsewhere("installed")
    fanin.keras.uninstall()
    elsewhere("after")
    assert found == {"here": "fanin", "in a block": "keras", "installed": "fanin", "after": "keras"}


def test_threads_in_blocks_do_not_meet() -> None:
    rounds: list[bool] = []

    def work() -> None:
        for _ in range(50):
            with fanin.keras.installed(3):
                found = keras.initializers.get("he_normal")
                rounds.append(found.seed == RECORDED[0])
            rounds.append(type(keras.initializers.get("he_normal")) is keras.initializers.HeNormal)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rounds == [True] * 400


# Bad input -------------------------------------------------------------------------------------

HE = fanin.keras.HeNormal
LOADED = {"module": "fanin.keras", "class_name": "HeNormal", "registered_name": "fanin>HeNormal"}

BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: fanin.keras.VarianceScaling(-1.0),
        ValueError,
        r"scale must be positive, .*`scale` must be positive float",
    ),
    (lambda: fanin.keras.VarianceScaling("a"), ValueError, "scale must be one finite real number"),
    (lambda: fanin.keras.VarianceScaling(mode="x"), ValueError, "mode must be one of .*Invalid `mode` argument"),
    (lambda: fanin.keras.VarianceScaling(distribution=3), ValueError, "distribution must be one of"),
    (lambda: fanin.keras.VarianceScaling(mode="fan_geo_avg"), ValueError, "Invalid `mode`"),  # which Keras has not
    (lambda: fanin.keras.RandomNormal(stddev=-1.0), ArgumentError, "stddev must be at least 0"),
    (lambda: fanin.keras.RandomNormal(keras.KerasTensor(())), ArgumentError, "mean=<KerasTensor .* is a KerasTensor"),
    (lambda: fanin.keras.RandomUniform(1.0, 0.0), ArgumentError, "RandomUniform"),
    (lambda: fanin.keras.Constant("a"), ArgumentError, "value must be one finite real number"),
    (lambda: fanin.keras.STFT(window="unknown"), ValueError, "unknown window 'unknown'"),
    (lambda: HE("a"), SeedError, "SeedGenerator, or None for a seed of Keras' own, not 'a'"),
    (lambda: HE(-1), SeedError, "0 to 2"),
    (lambda: HE(2**64), SeedError, "0 to 2"),
    (lambda: HE(True), SeedError, "not True"),
    (lambda: HE(1.5), SeedError, "not 1.5"),
    (lambda: HE(keras.ops.convert_to_tensor(1.5)), SeedError, "0 to 2"),
    (lambda: HE(keras.ops.convert_to_tensor([1, 2])), SeedError, "0 to 2"),
    (lambda: HE(keras.KerasTensor((), "int32")), SeedError, "not <KerasTensor"),
    (lambda: HE({"a": 1}), SeedError, "not {'a': 1}"),
    (lambda: HE(keras.initializers.serialize(HE(1))), SeedError, "not {'module': 'fanin.keras'"),
    (lambda: HE(keras.random.SeedGenerator(1.5)), ValueError, "`seed` must be an integer"),
    (lambda: HE(1, 2, 3, 4), TypeError, "too many positional"),
    (lambda: HE(sed=1), TypeError, "sed"),
    (lambda: HE(1)((2, None)), ShapeError, "dimension None"),
    (lambda: HE(1)(keras.KerasTensor((None, 3)).shape), ShapeError, "dimension None"),
    (lambda: HE(1)((2, keras.KerasTensor((), "int32"))), ShapeError, "dimension <KerasTensor"),
    (lambda: HE(1)(keras.KerasTensor((2, 3))), NotImplementedError, "symbolic KerasTensor"),  # Keras'
    (lambda: HE(1)((2, keras.ops.convert_to_tensor(1.5))), ShapeError, "is not an integer"),
    (lambda: HE(1)((2, -1)), ShapeError, "dimension -1"),
    (lambda: HE(1)((2**31, 2**30, 2)), ShapeError, r"no float32 array of shape \(2147483648, 1073741824, 2\)"),
    (lambda: layers.Layer().add_weight((None, 2), HE(1)), ValueError, "fully-defined"),  # Keras'
    (lambda: HE(1)((2, 3), "foo"), ValueError, "Invalid dtype: foo"),
    (lambda: HE(1)((2, 3), "int32"), DTypeError, "int32 cannot hold random values"),
    (lambda: HE(1)((2, 3), "bool"), DTypeError, "bool cannot hold random values"),
    (lambda: HE(1)((2, 3), "complex64"), DTypeError, "unknown dtype 'complex64'"),
    (lambda: HE(1)((2, 3), "string"), DTypeError, "unknown dtype 'string'"),
    (lambda: layers.Dense(2, kernel_initializer=HE(1), dtype="int32").build((None, 2)), DTypeError, "int32 cannot"),
    (lambda: HE(1)((2, 3), layout="o i"), ArgumentError, "is no sharding of JAX"),
    (lambda: HE(1)((2, 3), layout=3), ArgumentError, "is no sharding of JAX"),
    (lambda: fanin.keras.Orthogonal()((3,)), ShapeError, "needs two axes"),
    (lambda: fanin.keras.Identity()((3,)), ShapeError, "rank 1"),
    (lambda: fanin.keras.Constant(0.5)((3,), "int32"), DTypeError, "int32"),
    (lambda: fanin.keras.Constant([1.0, 2.0])((3,)), ValueError, "shape"),
    (lambda: keras.initializers.get({**LOADED, "config": {"sed": 1}}), TypeError, "could not be deserialized"),
    (lambda: keras.initializers.get({**LOADED, "config": {"seed": -1}}), SeedError, "not -1"),
    (
        lambda: keras.initializers.get({**LOADED, "class_name": "X", "registered_name": "fanin>X", "config": {}}),
        ValueError,
        "Could not interpret",
    ),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_input(number: int) -> None:
    call, kind, fragment = BAD[number]
    with pytest.raises(kind, match=fragment) as caught:
        call()
    assert isinstance(caught.value, ValueError | TypeError | NotImplementedError)


def test_a_tensor_of_the_backend_may_be_a_seed_and_a_dimension() -> None:
    three = keras.ops.convert_to_tensor(3, "int32")
    assert_same_bits(array(HE(three)((three, 2))), ours.HeNormal(3)((3, 2)))


class Unregistered(fanin.keras.HeNormal):
    """A class of one's own that Keras is not told of."""


def unregistered(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return HE(1)(shape, dtype)


@pytest.mark.parametrize("initializer", [Unregistered(1), unregistered], ids=["class", "function"])
def test_what_is_not_registered_is_told_when_a_model_is_read(initializer: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_initializer=initializer)])
    model.save(tmp_path / "model.keras")
    for scope in (contextlib.nullcontext(), fanin.keras.installed()):
        with (
            scope,
            pytest.raises(TypeError, match=r"Could not (locate|interpret|deserialize)|could not be deserialized"),
        ):
            keras.saving.load_model(tmp_path / "model.keras")
    named = {"Unregistered": Unregistered, "unregistered": unregistered}
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=named)
    assert values(loaded) == values(model)


NESTED = ours.Scaled(ours.Masked(ours.HeNormal(seed=3), "lower"), 0.5)


def test_initializers_of_fanin_come_back_as_themselves(tmp_path: Path) -> None:
    """Without a scope: before `fanin.keras` was imported Keras took its own class of that name."""
    made = [
        layers.Dense(3, kernel_initializer=ours.HeNormal(1), bias_initializer=ours.TruncatedNormal(seed=2, upper=1.0)),
        layers.Bidirectional(layers.LSTM(2, kernel_initializer=ours.GlorotNormal(seed=1))),
        layers.Dense(4, kernel_initializer=NESTED, bias_initializer=ours.LogUniform(0.1, 1.0, seed=2)),
    ]
    model = keras.Sequential([keras.Input((4, 3)), *made])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = keras.models.clone_model(loaded)
    for each in (loaded, again):
        assert each.layers[0].kernel_initializer == ours.HeNormal(1)
        assert each.layers[0].bias_initializer == ours.TruncatedNormal(seed=2, upper=1.0)
        assert each.layers[1].forward_layer.cell.kernel_initializer == ours.GlorotNormal(seed=1)
        assert each.layers[2].kernel_initializer == NESTED
        assert each.layers[2].bias_initializer == ours.LogUniform(0.1, 1.0, seed=2)
    assert values(loaded) == values(model)
    assert values(again)[:2] == values(model)[:2]
    config = keras.initializers.serialize(ours.HeNormal(1))
    assert keras.initializers.deserialize(config) == ours.HeNormal(1) == ours.deserialize(config)
    assert type(keras.initializers.get("he_normal")) is keras.initializers.HeNormal


@pytest.mark.skipif(BACKEND != "jax", reason="the same of TensorFlow is in `keras_tensorflow`")
def test_a_generator_inside_a_trace_is_told() -> None:
    import jax

    initializer = fanin.keras.HeNormal(keras.random.SeedGenerator(1))

    def traced(state: Any) -> Any:
        with keras.StatelessScope(state_mapping=[(initializer.seed.state, state)]):
            return initializer((2, 2))

    with pytest.raises(SeedError, match="without a value"):
        jax.jit(traced)(initializer.seed.state.value)
    assert issubclass(SeedError, FaninError)


@pytest.mark.skipif(BACKEND != "jax", reason="the same of TensorFlow is in `keras_tensorflow`")
def test_a_shape_and_a_seed_that_are_traced_are_told() -> None:
    import jax

    with pytest.raises(ShapeError, match="is not an integer"):
        jax.jit(lambda n: HE(1)((n, 3)))(2)
    with pytest.raises(SeedError, match="not JitTracer"):
        jax.jit(lambda seed: HE(seed)((2, 3)))(2)
    compiled = jax.jit(lambda x: x @ HE(1)((3, 4)))
    np.testing.assert_allclose(compiled(np.ones((2, 3))), np.ones((2, 3)) @ ours.HeNormal(1)((3, 4)), rtol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="shardings are JAX'")
def test_a_sharding_is_taken_by_itself() -> None:
    import jax

    mesh = jax.make_mesh((1,), ("model",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("model"))
    tensor = fanin.keras.HeNormal(1)((4, 4), layout=sharding)
    assert tensor.sharding == sharding
    assert_same_bits(bits(array(tensor)), bits(ours.HeNormal(1)((4, 4))))
    named = keras.distribution.TensorLayout((None, "model"), keras.distribution.DeviceMesh((1,), ["model"], ["cpu:0"]))
    assert_same_bits(bits(array(fanin.keras.HeNormal(1)((4, 4), layout=named))), bits(ours.HeNormal(1)((4, 4))))
