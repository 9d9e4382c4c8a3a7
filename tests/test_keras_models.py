"""Plans on Keras models, on the backend of this process and, in a process for each, on the others."""

import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from harness import assert_same_bits
from keras import layers
from keras.src.backend.common import global_state
from keras_zoo import CASES, Transformer, Weight, contents, poison, unfilled

import fanin
from fanin import Plan, Rule, initializers
from fanin.errors import DTypeError, FaninError, OutputError, PlanError
from fanin.models.keras import arrays

# Keras 3.15 with NumPy 2.4, whenever it reads a tensor of torch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

BACKEND = keras.backend.backend()
HASHES = "FANIN_TEST_HASHES"  # of the weights of another backend, for the processes of these
KERNELS = ["*.kernel", "recurrent.recurrent_kernel"]
DRAWN = Plan(
    [
        Rule(role=KERNELS, initializer="he_normal", optional=True),
        Rule(role="norm.count", initializer="zeros", optional=True),
        Rule("*", "random_normal(stddev=1)", optional=True),
    ]
)
DEFAULTS = fanin.defaults("keras")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Variables that a test leaves without values: Keras would compute them at the end of the next scope."""
    yield
    global_state.set_global_attribute("uninitialized_variables", [])


def drawn(weight: Weight, dtype: Any = "float32") -> np.ndarray:
    """What a tensor has to be by `DRAWN`, for seed 7."""
    made: Any = initializers.RandomNormal(0.0, 1.0, seed=7)
    if weight.role.endswith("kernel"):
        made = initializers.HeNormal(seed=7)
    elif weight.role == "norm.count":
        made = initializers.Zeros()
    result: np.ndarray = made(weight.shape, dtype, name=weight.name, layout=weight.layout)
    return result


def names_of(model: Any) -> list[str]:
    return [array.name for array in arrays(model)]


def values(model: Any) -> list[bytes]:
    return [contents(weight).tobytes() for weight in model.weights]


def refused(call: Callable[[], Any], kind: type[FaninError], builtin: type[Exception], *fragments: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, builtin)
    for fragment in fragments:
        assert fragment in str(caught.value)


# Layers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CASES)
def test_each_tensor_has_its_name_layout_role_and_fans(kind: str) -> None:
    case = CASES[kind]
    layer = case.built()
    found = [parameter for array in arrays(layer) for parameter in array.parameters]
    assert [parameter.name for parameter in found] == [weight.name for weight in case.weights]
    for parameter, weight in zip(found, case.weights, strict=True):
        assert (parameter.shape, parameter.role) == (weight.shape, weight.role), weight.name
        mine, expected = parameter.layout, weight.layout
        axes = [None if each is None else fanin.layouts.as_layout(each).axes(weight.shape) for each in (mine, expected)]
        assert axes[0] == axes[1], (weight.name, mine, expected)
        assert parameter.facts.get("fan_in") == weight.fan_in, weight.name
        assert parameter.array == weight.array, weight.name


@pytest.mark.parametrize("kind", CASES)
def test_each_tensor_is_what_its_name_and_layout_say(kind: str) -> None:
    case = CASES[kind]
    layer = case.built()
    if not case.weights:
        assert not layer.weights
        return
    assert DRAWN.apply(layer, seed=7) is layer
    first = values(layer)
    assert DRAWN.apply(poison(layer), seed=7) is layer
    assert values(layer) == first
    expected: dict[str, np.ndarray] = {}
    variables = {array.name: array.handle for array in arrays(layer)}
    for weight in case.weights:
        name = weight.array or weight.name
        value = drawn(weight, variables[name].dtype)
        whole = expected.setdefault(name, np.full(tuple(variables[name].shape), 77, value.dtype))
        whole[weight.at or ...] = value
    assert len(expected) == len(layer.weights)
    assert {id(variable) for variable in variables.values()} == {id(weight) for weight in layer.weights}
    for name, value in expected.items():
        assert_same_bits(contents(variables[name]), value)


def test_every_layer_of_keras_that_has_weights_is_in_the_table() -> None:
    """Layers without a case have no weights, or hold other layers, or are the same as one with a case."""
    found = {value for value in vars(layers).values() if isinstance(value, type)}
    made = {cls.__name__ for cls in found if adds_weights(cls)}
    known = {type(case.make()).__name__ for case in CASES.values()}
    inner = {"GRUCell", "LSTMCell", "SimpleRNNCell", "ConvLSTM1D", "ConvLSTM3D"}
    theirs = {"JaxLayer", "FlaxLayer", "TFSMLayer", "TorchModuleWrapper", "STFTSpectrogram"}
    assert made - inner - theirs <= known, made - known - inner - theirs
    assert len(made & known) >= 25


def adds_weights(cls: type) -> bool:
    own = [each for each in cls.__mro__ if each.__module__.startswith("keras.src.layers.") and each is not layers.Layer]
    return any("add_weight(" in inspect.getsource(each) for each in own)


def kernels(layer: Any) -> list[Any]:
    return [each for each in fanin.parameters(layer) if each.role.endswith(".kernel")]


SUMMED = [
    kind
    for kind, case in CASES.items()
    if kind.startswith(("Dense", "Einsum", "Conv", "Depth")) and "LSTM" not in kind and "LoRA" not in kind
]


@pytest.mark.parametrize("kind", SUMMED)
def test_fan_in_is_what_an_output_sums(kind: str) -> None:
    """Measured: a layer of ones, given ones, returns how many inputs there are (where no edge cuts)."""
    case = CASES[kind]
    layer = case.built()
    Plan(
        [
            Rule("*.kernel", "ones", optional=True),
            Rule("kernel", "ones", optional=True),
            Rule("*", "zeros", optional=True),
        ]
    ).apply(layer)
    shape = [1 if n is None else n for n in case.shapes[0]]
    (kernel,) = kernels(layer)
    if BACKEND == "tensorflow" and "first" in kind:
        pytest.skip("TensorFlow convolves channels first on a GPU only")
    summed = keras.ops.convert_to_numpy(layer(np.ones(shape, np.float32)))
    assert kernel.layout.fans(kernel.shape).fan_in == kernel.facts["fan_in"] == summed.max()


def test_fans_are_those_of_keras_where_both_count_alike() -> None:
    """Those of groups, of depthwise and transposed convolutions, and of merged axes, Keras counts otherwise."""
    from keras.src.initializers.random_initializers import compute_fans

    same, others = [], []
    for kind, case in CASES.items():
        for parameter in fanin.parameters(case.built()) if case.weights else ():
            if parameter.role in ("dense.kernel", "conv.kernel", "conv_transpose.kernel"):
                theirs = compute_fans(parameter.shape)
                mine = (parameter.facts["fan_in"], parameter.facts["fan_out"])
                (same if mine == theirs else others).append(kind)
    assert {"Dense", "Conv1D", "Conv3D", "EinsumDense, one axis"} <= set(same)
    assert all(re.search("groups|Depth|Sep|Transpose|Attention|Einsum", kind) for kind in others), others


def test_a_subclass_that_makes_another_weight_of_that_name_has_none_of_its_roles() -> None:
    class Stacked(layers.Dense):
        def build(self, shape: Any) -> None:
            self._kernel = self.add_weight(shape=(2, shape[-1], self.units), name="kernel")
            self.bias = self.add_weight(shape=(self.units,), name="bias")

    class Wider(layers.Dense):
        def build(self, shape: Any) -> None:
            self._kernel = self.add_weight(shape=(shape[-1], 2 * self.units), name="kernel")
            self.bias = self.add_weight(shape=(2 * self.units,), name="bias")

    class More(layers.Conv2D):
        def build(self, shape: Any) -> None:
            super().build(shape)
            self.gain = self.add_weight(shape=(self.filters,), name="gain")

    stacked, wider, more = Stacked(3), Wider(3), More(3, 2)
    unfilled(lambda: (stacked.build((None, 4)), wider.build((None, 4)), more.build((None, 5, 5, 4))))
    for layer in (stacked, wider):
        kernel = fanin.parameters(layer)[0]
        assert (kernel.name, kernel.role, kernel.layout) == ("kernel", "", None)
    assert fanin.parameters(wider)[1].role == ""
    assert [(p.name, p.role) for p in fanin.parameters(more)] == [
        ("kernel", "conv.kernel"), ("bias", "conv.bias"), ("gain", ""),
    ]  # fmt: skip
    refused(lambda: Plan([Rule("*", "he_normal")]).apply(stacked), PlanError, ValueError, "kernel", "layout")


# The same layers in torch --------------------------------------------------------------------------


def twins(
    theirs: Any, ours: Any, names: dict[str, str], inputs: np.ndarray, zero: str = "none", images: bool = False
) -> None:
    """Check that a layer of torch and one of Keras compute the same, once they have the same logical weights.

    Args:
        theirs: the layer of torch.
        ours: that of Keras, which takes channels last.
        names: of ours, in theirs.
        inputs: as torch has them.
        zero: a pattern for weights that are to be zero.
        images: whether the inputs have channels, which torch has first.
    """
    import torch

    def applied() -> np.ndarray:
        several = (own,) * (3 if isinstance(ours, layers.MultiHeadAttention) else 1)
        result: np.ndarray = keras.ops.convert_to_numpy(ours(*several))
        return result

    own = np.moveaxis(inputs, 1, -1) if images else inputs
    before = applied()  # builds it
    plan = Plan([Rule(zero, "zeros", optional=True), Rule("*", "random_uniform(-0.5, 0.5)")])
    plan.apply(theirs, seed=7)
    plan.apply(ours, seed=7, names=names)
    with torch.no_grad():
        several = (torch.from_numpy(inputs),) * (3 if isinstance(theirs, torch.nn.MultiheadAttention) else 1)
        outputs = theirs(*several)
    expected = (outputs[0] if isinstance(outputs, tuple) else outputs).numpy()
    found = applied()
    assert np.abs(found - (np.moveaxis(expected, 1, -1) if images else expected)).max() < 1e-5
    assert np.abs(found - before).max() > 0.1


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("torch_class", "arguments", "make"),
    [
        ("Linear", (8, 6), lambda: layers.Dense(6)),
        ("Linear", (8, 6), lambda: layers.EinsumDense("ab,cb->ac", 6, bias_axes="c")),
        ("Conv2d", (8, 12, 3), lambda: layers.Conv2D(12, 3)),
        ("Conv2d", (8, 12, (3, 2), 1, 0, 1, 4), lambda: layers.Conv2D(12, (3, 2), groups=4)),
        ("Conv2d", (8, 16, 3, 1, 0, 1, 8), lambda: layers.DepthwiseConv2D(3, depth_multiplier=2)),
        ("ConvTranspose2d", (8, 6, (3, 4), 2), lambda: layers.Conv2DTranspose(6, (3, 4), 2)),
    ],
)
def test_a_layer_of_one_kernel_computes_what_that_of_torch_does(
    torch_class: str, arguments: tuple[Any, ...], make: Callable[[], Any]
) -> None:
    theirs = getattr(torch_layers(), torch_class)(*arguments)
    images = torch_class != "Linear"
    inputs = normal(2, 8, 7, 7) if images else normal(2, 8)
    twins(theirs, make(), {"kernel": "weight", "bias": "bias"}, inputs, images=images)


def torch_layers() -> Any:
    import torch

    return torch.nn


@pytest.mark.parametrize(
    ("ours", "theirs", "own", "other"),
    [("LSTM", "LSTM", "ifco", "ifgo"), ("GRU", "GRU", "rzh", "rzn"), ("SimpleRNN", "RNN", "", "")],
)
def test_a_recurrent_layer_computes_what_that_of_torch_does(ours: str, theirs: str, own: str, other: str) -> None:
    """Gate by gate under torch's names. torch has a bias of the state as well, for which only Keras' GRU has one."""
    layer = getattr(layers, ours)(4, return_sequences=True, name="r")
    cell = layer.cell.name
    names = {}
    for mine, gate in zip(own, other, strict=True) if own else [("", "")]:
        end, inputs, state = (f"_{mine}", f"i{gate}", f"h{gate}") if own else ("", "ih", "hh")
        names |= {
            f"{re.sub('_[0-9]+$', '', cell)}.{key}{end}": value
            for key, value in {
                "kernel": f"weight_{inputs}_l0",
                "recurrent_kernel": f"weight_{state}_l0",
                "bias": f"bias_{inputs}_l0",
                **({"recurrent_bias": f"bias_{state}_l0"} if ours == "GRU" else {}),
            }.items()
        }
    twin = getattr(torch_layers(), theirs)(5, 4, batch_first=True)
    twins(twin, layer, names, normal(2, 6, 5), zero="none" if ours == "GRU" else "bias_h*")


def test_attention_computes_what_that_of_torch_does() -> None:
    theirs = torch_layers().MultiheadAttention(8, 2, batch_first=True)
    names = {f"{name}.kernel": f"{name[0]}_proj_weight" for name in ("query", "key", "value")}
    names |= {"attention_output.kernel": "out_proj.weight"}
    names |= {f"{name}.bias": f"{name}.bias" for name in ("query", "key", "value", "attention_output")}
    twins(theirs, layers.MultiHeadAttention(2, 4), names, normal(2, 5, 8), zero="*bias")


def test_names_like_pairs_a_model_of_torch_with_one_of_keras() -> None:
    nn = torch_layers()
    theirs = nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, groups=8),
        nn.ConvTranspose2d(16, 4, 2), nn.Flatten(), nn.Linear(4, 6), nn.LSTM(6, 5),
    )  # fmt: skip
    own = [
        keras.Input((5, 5, 3)), layers.Conv2D(8, 3), layers.BatchNormalization(),
        layers.DepthwiseConv2D(3, depth_multiplier=2), layers.Conv2DTranspose(4, 2), layers.Flatten(),
        layers.Reshape((4, 4)), layers.Dense(6), layers.LSTM(5),
    ]  # fmt: skip
    ours = unfilled(lambda: keras.Sequential(own))
    names = fanin.names_like(theirs, ours, ignore="*.bias_h*")
    assert names["dense.kernel"] == "5.weight"
    assert names["lstm.lstm_cell.kernel_c"] == "6.weight_ig_l0"
    assert names["lstm.lstm_cell.bias_f"] == "6.bias_if_l0"
    DRAWN.apply(theirs, seed=7)
    DRAWN.apply(ours, seed=7, names=names)
    found = {array.name: contents(array.handle) for array in arrays(ours)}
    state = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    assert_same_bits(found["dense.kernel"], state["5.weight"].T)
    assert_same_bits(found["lstm.lstm_cell.recurrent_kernel"], state["6.weight_hh_l0"].T)
    assert_same_bits(found["conv2d.kernel"], state["0.weight"].transpose(2, 3, 1, 0))
    assert_same_bits(found["depthwise_conv2d.kernel"].reshape(3, 3, 1, 16), state["2.weight"].transpose(2, 3, 1, 0))
    assert_same_bits(found["conv2d_transpose.kernel"], state["3.weight"].transpose(2, 3, 1, 0))
    assert_same_bits(found["batch_normalization.moving_mean"], state["1.running_mean"])


# Names ---------------------------------------------------------------------------------------------


def functional() -> keras.Model:
    """Chosen names and automatic ones, a shared layer, a nested model, layers that copy others."""
    inputs = keras.Input((6,))
    shared = layers.Dense(6)
    inner = keras.Sequential([layers.Dense(6), layers.Dense(6, name="inside")], name="inner")
    first = shared(layers.Dense(6, name="first")(inputs))
    x = layers.Add()([inner(first), layers.Dense(6)(shared(inputs))])
    x = layers.Conv1D(2, 3)(layers.Reshape((6, 1))(x))
    return keras.Model(inputs, layers.LSTM(3)(layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)))


FUNCTIONAL = [
    "first.kernel", "first.bias", "dense.kernel", "dense.bias", "inner.dense.kernel", "inner.dense.bias",
    "inner.inside.kernel", "inner.inside.bias", "dense_1.kernel", "dense_1.bias", "conv1d.kernel", "conv1d.bias",
    *(f"bidirectional.{way}_lstm.lstm_cell.{key}" for way in ("forward", "backward")
      for key in ("kernel", "recurrent_kernel", "bias")),
    *(f"lstm.lstm_cell.{key}" for key in ("kernel", "recurrent_kernel", "bias")),
]  # fmt: skip


def transformer() -> keras.Model:
    model = Transformer()
    model(keras.Input((5,), dtype="int32"))
    return model


def initialized() -> keras.Model:
    return DEFAULTS.apply(unfilled(transformer), seed=1)


def block(prefix: str) -> list[str]:
    projections = ("query", "key", "value", "attention_output")
    return [
        *(f"{prefix}.multi_head_attention.{name}.{key}" for name in projections for key in ("kernel", "bias")),
        *(f"{prefix}.layer_normalization{end}.{key}" for end in ("", "_1") for key in ("gamma", "beta")),
        *(f"{prefix}.sequential.{name}.{key}" for name in ("up", "down") for key in ("kernel", "bias")),
    ]  # fmt: skip


TRANSFORMER = [
    "embedding.embeddings", *block("block"), *block("block_1"),
    "dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias",
]  # fmt: skip


@pytest.mark.parametrize(("make", "names"), [(functional, FUNCTIONAL), (transformer, TRANSFORMER)])
def test_names_are_those_of_the_layers_whenever_the_model_is_built(
    make: Callable[[], keras.Model], names: list[str], tmp_path: Path
) -> None:
    first = unfilled(make)
    assert names_of(first) == names
    layers.Dense(3), layers.LSTM(2), layers.Embedding(2, 2)
    second = unfilled(make)
    assert names_of(second) == names
    assert [weight.path for weight in first.weights] != [weight.path for weight in second.weights]
    keras.utils.clear_session()
    assert names_of(unfilled(make)) == names
    plan = DEFAULTS
    plan.apply(first, seed=7)
    plan.apply(second, seed=7)
    assert values(first) == values(second)
    if make is functional:
        second.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert names_of(loaded) == names
        clone = unfilled(lambda: keras.models.clone_model(loaded))
        assert names_of(clone) == names
        plan.apply(clone, seed=7)
        assert values(clone) == values(first)


def test_the_list_is_the_weights_of_the_model_and_nothing_else() -> None:
    model = initialized()
    model.compile("adam", "mse", metrics=["mae"])
    x, y = np.ones((4, 5), np.int32), np.ones((4, 5, 4))
    model.fit(x, y, verbose=0)
    assert len(model.variables) > len(model.weights) == len(TRANSFORMER)  # those of dropout
    assert model.metrics_variables
    assert model.optimizer.variables
    handles = [array.handle for array in arrays(model)]
    assert {id(handle) for handle in handles} == {id(weight) for weight in model.weights}
    assert len(handles) == len(model.weights)
    others = [*model.metrics_variables, *model.optimizer.variables]
    before = [np.asarray(keras.ops.convert_to_numpy(each)).tobytes() for each in others]
    DEFAULTS.apply(model, seed=7)
    assert [np.asarray(keras.ops.convert_to_numpy(each)).tobytes() for each in others] == before
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])


def test_a_chosen_name_stays_and_a_name_that_comes_twice_is_numbered() -> None:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [
                layers.Dense(2, name=name) for name in ("a", "a", "a_1", "dense_7", None, "my_dense_3", "x.y")
            ]
            self.other = layers.EinsumDense("ab,bc->ac", 2, name="dense_1")

        def call(self, x: Any) -> Any:
            for part in self.parts:
                x = part(x)
            return self.other(x)

    model = Model()
    unfilled(lambda: model(keras.Input((2,))))  # with values torch has no names with dots
    kernels = [name for name in names_of(model) if name.endswith("kernel")]
    assert kernels == [
        "a.kernel", "a_2.kernel", "a_1.kernel", "dense.kernel", "dense_2.kernel", "my_dense_3.kernel", r"x\.y.kernel",
        "dense_1.kernel",
    ]  # fmt: skip


def test_a_weight_without_a_name_has_that_of_its_attribute() -> None:
    class Mine(layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(2,))
            self._hidden = self.add_weight(shape=(2,))
            self.several = [self.add_weight(shape=(1,)), self.add_weight(shape=(1,), name="named")]
            self.nested = {"a.b": {"c": self.add_weight(shape=(1,))}}
            self._held = (self.add_weight(shape=()), self.add_weight(shape=()))
            self.offset = self.scale
            self.one, self.two = self.add_weight(shape=(), name="twice"), self.add_weight(shape=(), name="twice")

    first, second = Mine(), Mine()
    for layer in (first, second):
        layer.build((3,))
        assert names_of(layer) == [
            "scale", "_hidden", "several.0", "named", r"nested.a\.b.c", "variable", "variable_1", "twice", "twice_1",
        ]  # fmt: skip


def test_a_weight_of_several_layers_is_listed_once_under_the_one_that_is_inside() -> None:
    class Head(layers.Layer):
        def __init__(self, table: Any) -> None:
            super().__init__()
            self.table = table

    class Tied(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            inner = layers.Embedding(9, 4)
            inner.build()
            self.shared, self.inner, self.head = inner.embeddings, inner, Head(inner.embeddings)

    layer = Tied()
    assert len(layer.weights) == 1
    assert names_of(layer) == ["embedding.embeddings"]
    DEFAULTS.apply(layer, seed=7)
    expected = initializers.RandomUniform(-0.05, 0.05, seed=7)((9, 4), name="embedding.embeddings")
    assert_same_bits(contents(layer.head.table), expected)


def test_values_follow_names() -> None:
    """A layer added at the end, or a wider one, changes no other layer's weights."""

    def made(width: int, more: bool) -> dict[str, np.ndarray]:
        parts = [keras.Input((6,)), layers.Dense(4, name="a"), layers.Dense(width, name="b")]
        model = keras.Sequential([*parts, *([layers.Dense(3)] if more else [])])
        DEFAULTS.apply(model, seed=7)
        return {array.name: contents(array.handle) for array in arrays(model)}

    small, large = made(5, more=False), made(9, more=True)
    assert len(large) == len(small) + 2
    for name in ("a.kernel", "a.bias"):
        assert_same_bits(large[name], small[name])
    drawn = Plan([Rule("*", "random_normal(stddev=1)")])
    few, many = layers.Embedding(5, 3), layers.Embedding(8, 3)
    for layer in (few, many):
        layer.build()
        drawn.apply(layer, seed=7)
    assert_same_bits(contents(many.embeddings)[:5], contents(few.embeddings))


# Real models ---------------------------------------------------------------------------------------

APPLICATIONS: dict[str, Callable[[], Any]] = {
    "MobileNetV2": lambda: keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3),
    "MobileNetV3Small": lambda: keras.applications.MobileNetV3Small((32, 32, 3), 0.35, weights=None, classes=3),
    "EfficientNetB0": lambda: keras.applications.EfficientNetB0(input_shape=(32, 32, 3), weights=None, classes=3),
    "Xception": lambda: keras.applications.Xception(input_shape=(72, 72, 3), weights=None, classes=3),
}


@pytest.mark.parametrize("kind", APPLICATIONS)
def test_models_of_keras_applications_take_a_plan(kind: str) -> None:
    model, again = unfilled(APPLICATIONS[kind]), unfilled(APPLICATIONS[kind])
    parameters = fanin.parameters(model)
    assert [each.name for each in parameters] == names_of(again)
    assert len({each.name for each in parameters}) == len(parameters) == len(model.weights) > 200
    assert all(each.role for each in parameters)
    for framework in ("keras", "torch", "flax"):
        fanin.defaults(framework).resolve(parameters)
    if kind == "MobileNetV2":
        DEFAULTS.apply(model, seed=7)
        DEFAULTS.apply(again, seed=7)
        assert values(model) == values(again)


# Variables without values --------------------------------------------------------------------------


class Refusing(keras.initializers.Initializer):
    """An initializer that is not to be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the first value was computed")


def deferred(bias: Any = Refusing) -> Any:
    def make() -> Any:
        return keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(4, kernel_initializer=Refusing(), bias_initializer=bias()),
                layers.Dropout(0.5),
                layers.BatchNormalization(),
            ]
        )

    # Shapes of layers are computed by calling them, which reads a variable by its initializer.
    Refusing.__call__, call = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype), Refusing.__call__
    try:
        return unfilled(make)
    finally:
        Refusing.__call__ = call  # type: ignore[method-assign]


def test_a_variable_without_a_value_gets_its_first_one() -> None:
    model, plain = deferred(), keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.BatchNormalization()])
    assert all(weight._value is None for weight in model.weights)
    assert DRAWN.apply(model, seed=7) is model
    DRAWN.apply(plain, seed=7)
    assert values(model) == values(plain)
    assert all(variable._value is not None for variable in model.variables)
    keras.Sequential([keras.Input((6,)), layers.Dense(4)])  # ends a scope, at which Keras looks for such variables
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 6)), np.ones((4, 4)), verbose=0)
    assert values(model) != values(plain)
    DRAWN.apply(model, seed=7)
    assert values(model) == values(plain)


def test_what_only_leaves_out_gets_the_value_that_keras_gives_it() -> None:
    model = deferred(keras.initializers.Ones)
    DRAWN.apply(model, seed=7, only=["dense.kernel"])
    assert (contents(model.layers[0].bias) == 1).all()
    assert_same_bits(contents(model.layers[0].kernel), drawn(Weight("dense.kernel", (6, 4), "i o", "dense.kernel")))


def test_a_deferred_model_of_torch_has_leaves_that_take_gradients() -> None:
    if BACKEND != "torch":
        pytest.skip("autograd is torch's")
    model = deferred()
    DRAWN.apply(model, seed=7)
    assert [weight.value.requires_grad for weight in model.weights] == [weight.trainable for weight in model.weights]
    assert all(weight.value.is_leaf for weight in model.weights)


# Writing -------------------------------------------------------------------------------------------


def test_twice_is_once_and_only_writes_what_it_says() -> None:
    model = initialized()
    DEFAULTS.apply(model, seed=7)
    once = values(model)
    DEFAULTS.apply(model, seed=7)
    assert values(model) == once
    DEFAULTS.apply(model, seed=8, only="*.query.kernel")
    changed = [
        array.name for array, before, after in zip(arrays(model), once, values(model), strict=True) if before != after
    ]
    assert changed == [name for name in TRANSFORMER if name.endswith("query.kernel")]
    DEFAULTS.apply(model, seed=7)
    seen: list[str] = []
    DEFAULTS.apply(
        model, seed=9, only=lambda name, variable: seen.append(variable.name) or name == "embedding.embeddings"
    )  # type: ignore[func-returns-value]
    assert [a != b for a, b in zip(values(model), once, strict=True)] == [True, *[False] * (len(once) - 1)]
    assert set(seen) == {"embeddings", "kernel", "bias", "gamma", "beta"}


def test_a_part_of_a_gate_is_meant_by_its_own_name_and_by_that_of_the_array() -> None:
    layer = layers.LSTM(4)
    layer.build((None, 5, 3))
    plan = Plan([Rule("*.bias_f", "ones"), Rule("*.bias", "constant(2)"), Rule("*", "zeros")])
    plan.apply(layer)
    assert contents(layer.cell.bias).tolist() == [2] * 4 + [1] * 4 + [2] * 8


def test_no_global_generator_is_advanced() -> None:
    model = initialized()
    keras.utils.set_random_seed(7)
    expected = [
        keras.ops.convert_to_numpy(keras.random.normal((2,))).tolist(),
        np.random.random(),
        keras.initializers.HeNormal().seed,
    ]
    keras.utils.set_random_seed(7)
    DEFAULTS.apply(model, seed=7)
    found = [
        keras.ops.convert_to_numpy(keras.random.normal((2,))).tolist(),
        np.random.random(),
        keras.initializers.HeNormal().seed,
    ]
    assert found == expected


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_bfloat16", "mixed_float16", "float64"])
def test_the_dtype_of_a_variable_is_what_counts(policy: str) -> None:
    """One rounding of the float32 values; of a mixed policy the variables are float32."""
    if policy == "float64" and BACKEND == "jax":
        pytest.skip("JAX has no float64 without x64")
    made = []
    for dtype in ("float32", policy):
        layer = layers.GRU(4, dtype=dtype)
        unfilled(lambda layer=layer: layer.build((None, 5, 6)))
        made.append(DRAWN.apply(layer, seed=7))
    for plain, mine in zip(*(layer.weights for layer in made), strict=True):
        assert mine.dtype == ("float32" if policy.startswith("mixed") else policy)
        assert_same_bits(contents(mine), contents(plain).astype(contents(mine).dtype))


def test_every_dtype_is_written() -> None:
    floats = [
        "float32",
        "float16",
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
        *(["float64"] if BACKEND != "jax" else []),
    ]
    others = ["int8", "uint8", "int32", "bool"]

    class Mixed(layers.Layer):
        def build(self, shape: Any) -> None:
            self.held = {
                dtype: self.add_weight(shape=(5, 7), initializer="ones", dtype=dtype, name=dtype, trainable=False)
                for dtype in floats + others
            }

    layer = Mixed()
    unfilled(lambda: layer.build((1,)))  # Keras itself makes no float8 on TensorFlow
    plan = Plan([Rule("*float*", "random_normal(stddev=1)"), Rule("*", "zeros")])
    for seed in (7, 8, 7):
        plan.apply(layer, seed=seed)
        for dtype in floats:
            expected = initializers.RandomNormal(0.0, 1.0, seed=seed)((5, 7), dtype, name=dtype)
            assert_same_bits(contents(layer.held[dtype]), expected)
        for dtype in others:
            assert_same_bits(contents(layer.held[dtype]), np.zeros((5, 7), dtype))


def test_normalization_computes_with_what_was_written() -> None:
    layer = layers.Normalization()
    layer.adapt(np.array([[1.0], [3.0]]))
    Plan([Rule("mean", "constant(5)"), Rule("variance", "constant(4)"), Rule("count", "zeros")]).apply(layer)
    assert keras.ops.convert_to_numpy(layer(np.array([[9.0]]))).tolist() == [[2.0]]


def test_a_module_of_torch_inside_is_listed_by_its_own_names() -> None:
    if BACKEND != "torch":
        pytest.skip("Keras holds modules on the torch backend only")
    import torch

    inner = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    alone = torch.nn.ModuleDict(
        {"torch_module_wrapper": torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))}
    )
    model = keras.Sequential([keras.Input((4,)), layers.TorchModuleWrapper(inner)])
    assert [str(each) for each in fanin.parameters(model)][:3] == [
        "torch_module_wrapper.0.weight, shape (3, 4), dense.kernel of Linear",
        "torch_module_wrapper.0.bias, shape (3,), dense.bias of Linear",
        "torch_module_wrapper.1.weight, shape (3,), norm.scale of BatchNorm1d",
    ]
    DEFAULTS.apply(model, seed=7)
    DEFAULTS.apply(alone, seed=7)
    state = alone.state_dict()
    assert len(state) == 7
    for name, tensor in inner.state_dict().items():
        assert torch.equal(tensor, state[f"torch_module_wrapper.{name}"])


# Bad input -----------------------------------------------------------------------------------------


def test_a_model_that_is_not_built_is_told() -> None:
    refused(
        lambda: DEFAULTS.apply(Transformer()), OutputError, ValueError,
        "not built", "embedding (Embedding), block (Block), block.multi_head_attention (MultiHeadAttention) and ",
        "more. Call the model once", "keras.Input(shape)",
    )  # fmt: skip
    refused(lambda: DEFAULTS.apply(keras.Sequential([layers.Dense(3)])), OutputError, ValueError, "(Sequential)")
    refused(lambda: fanin.parameters(layers.Dense(3)), OutputError, ValueError, "itself (Dense)")


def test_a_layer_that_was_never_called_is_told_and_one_without_weights_is_not() -> None:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.plain = layers.Dense(2), layers.Dense(2), Double()

        def build(self, shape: Any) -> None:
            self.used.build(shape)

        def call(self, x: Any) -> Any:
            return self.used(x)

    class Double(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + x

    model = Model()
    model(keras.Input((3,)))
    before = values(model)
    refused(lambda: DEFAULTS.apply(model), OutputError, ValueError, "have no weights yet: dense_1 (Dense).")
    assert values(model) == before
    model.unused.build((None, 3))
    DEFAULTS.apply(model)


def test_a_plan_that_does_not_fit_writes_nothing() -> None:
    model = poison(initialized())
    before = values(model)
    refused(
        lambda: Plan([Rule("*.kernel", "he_normal")]).apply(model), PlanError, ValueError, "no rule claims", "gamma"
    )
    refused(lambda: DEFAULTS.apply(model, only="*.kernal"), PlanError, ValueError, "*.kernal", ".kernel")
    refused(lambda: DEFAULTS.apply(model, names={"a": "b"}), PlanError, ValueError, "names=")
    refused(lambda: DEFAULTS.apply(model, shards={"a": ((2,), (0,))}), PlanError, ValueError, "modules of torch")
    assert values(model) == before


def test_quantized_weights_take_constants() -> None:
    layer = layers.Dense(8)
    layer.build((None, 4))
    layer.quantize("int8")
    rules = [Rule("*_scale", "ones"), Rule("bias", "zeros")]
    before = values(layer)
    refused(
        lambda: Plan([Rule("kernel", "he_normal"), *rules]).apply(layer),
        PlanError,
        ValueError,
        "kernel",
        "int8 cannot hold random values",
    )
    assert values(layer) == before
    Plan([Rule("kernel", "zeros"), *rules]).apply(layer)
    assert not contents(layer._kernel).any()


def test_a_dtype_that_is_not_written_is_told() -> None:
    class Complex(layers.Layer):
        def build(self, shape: Any) -> None:
            self.phase = self.add_weight(shape=(2,), initializer="zeros", dtype="complex64", name="phase")

    layer = Complex()
    layer.build((3,))
    refused(lambda: DEFAULTS.apply(layer), DTypeError, TypeError, "'phase'", "complex64")


def test_where_values_would_not_stay_a_plan_is_refused() -> None:
    model = initialized()
    before = values(model)
    with keras.StatelessScope():
        refused(lambda: DEFAULTS.apply(model), OutputError, ValueError, "StatelessScope", "outside")
        assert len(fanin.parameters(model)) == len(TRANSFORMER)

    def traced(x: Any) -> Any:
        refused(lambda: DEFAULTS.apply(model), OutputError, ValueError, "being traced", "before")
        return x

    if BACKEND == "jax":
        import jax

        assert jax.jit(traced)(1.0) == 1
    if BACKEND == "tensorflow":
        import tensorflow as tf

        assert tf.function(traced, autograph=False)(1.0) == 1
    assert values(model) == before


def test_a_variable_that_torch_cannot_write_is_told() -> None:
    if BACKEND != "torch":
        pytest.skip("variables of torch are written in place")
    import torch

    layer = layers.Dense(3)
    layer.build((None, 4))
    layer._kernel._value = torch.nn.Parameter(torch.empty(1, 3).expand(4, 3))
    refused(lambda: DEFAULTS.apply(layer), OutputError, ValueError, "'kernel' is an expanded view")


def test_variables_that_are_replaced_meanwhile_are_told() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])

    def replacing(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        model.pop()
        model.add(layers.Dense(2))
        return np.zeros(shape, dtype)

    refused(
        lambda: Plan([Rule("*.bias", replacing), Rule("*", "ones")]).apply(model), PlanError, ValueError, "replaced"
    )


def test_what_is_no_model_is_told() -> None:
    for other in (keras.Input((3,)), keras.Variable(np.ones(3)), [layers.Dense(3)]):
        refused(lambda other=other: DEFAULTS.apply(other), PlanError, ValueError, "keras.Model")  # type: ignore[misc]


# Backends ------------------------------------------------------------------------------------------


def hashes() -> dict[str, str]:
    """Of all layers and of a model, in bits that no backend may change."""
    made: Iterator[tuple[str, Any]] = ((kind, case.built()) for kind, case in CASES.items() if case.weights)
    found = {}
    for name, layer in (*made, ("transformer", unfilled(transformer)), ("functional", unfilled(functional))):
        DRAWN.apply(layer, seed=2**64 - 1)
        floats = [contents(weight) for weight in layer.weights if "float" in weight.dtype]
        found[name] = hashlib.sha256(b"".join(value.tobytes() for value in floats)).hexdigest()
    return found


@pytest.mark.skipif(HASHES not in os.environ, reason="this is the process that starts the others")
def test_the_bits_are_those_of_the_other_backend() -> None:
    assert json.loads(os.environ[HASHES]) == hashes()


@pytest.mark.skipif(HASHES in os.environ, reason="this is such a process")
@pytest.mark.parametrize("backend", sorted({"jax", "torch", "tensorflow"} - {BACKEND}))
def test_another_backend_passes_this_file_with_the_same_bits(backend: str) -> None:
    found = hashes()
    assert len(found) >= len(set(found.values())) >= 45
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "KERAS_BACKEND": backend, HASHES: json.dumps(found)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed, (\d+) skipped", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) >= 140
    assert int(passed[2]) <= 7


@pytest.mark.skipif(HASHES in os.environ, reason="has a process of its own, on JAX")
def test_a_distributed_model_gets_shards_that_are_drawn_by_themselves() -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("keras_distributed.py")],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report.pop("trains")
    assert list(report) == ["without values", "with values"]
    for facts in report.values():
        assert facts["weights"] == {
            "lstm_cell/kernel": [[8, 8], True],
            "lstm_cell/recurrent_kernel": [[4, 8], True],
            "lstm_cell/bias": [[8], True],
            "dense/kernel": [[4, 8], True],
            "dense/bias": [[8], True],
            "dense_1/kernel": [[16, 2], True],
            "dense_1/bias": [[2], True],
            "dense_2/kernel": [[4, 2], True],
            "dense_2/bias": [[2], True],
        }
        drawn = facts["drawn"]
        assert drawn.count([16, 2]) == 8
        assert drawn.count([32, 8]) == 1, "the normals of an orthogonal matrix, once"
        assert drawn.count([8, 8]) == 8, "of a device the part of one gate"
        assert max(map(len, drawn)) == 2
        assert [8, 32] not in drawn
        assert [16, 32] not in drawn
