"""Every `*_initializer` argument of every Keras layer takes fanin's, in each form that Keras takes.

Run on the backend of this process, and by `test_keras_backends` on the others.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from harness import assert_same_bits, bits
from keras import layers
from keras_tensors import array

import fanin.keras
from fanin import backend as K  # noqa: N812 - as the page of Keras' initializers writes it
from fanin import initializers as ours

# Keras 3.15 with NumPy 2.4, whenever it reads a tensor of torch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

# Arguments, and the shapes to build with.
LAYERS: dict[str, tuple[dict[str, Any], list[tuple[int | None, ...]]]] = {
    "BatchNormalization": ({}, [(None, 5)]),
    "Conv1D": ({"filters": 4, "kernel_size": 3}, [(None, 6, 2)]),
    "Conv1DTranspose": ({"filters": 4, "kernel_size": 3}, [(None, 6, 2)]),
    "Conv2D": ({"filters": 4, "kernel_size": (3, 2), "groups": 2}, [(None, 6, 5, 2)]),
    "Conv2DTranspose": ({"filters": 4, "kernel_size": 3}, [(None, 6, 5, 2)]),
    "Conv3D": ({"filters": 4, "kernel_size": 2}, [(None, 4, 4, 4, 2)]),
    "Conv3DTranspose": ({"filters": 4, "kernel_size": 2}, [(None, 4, 4, 4, 2)]),
    "ConvLSTM1D": ({"filters": 2, "kernel_size": 2, "unit_forget_bias": False}, [(None, 3, 6, 2)]),
    "ConvLSTM2D": ({"filters": 2, "kernel_size": 2, "unit_forget_bias": False}, [(None, 3, 6, 5, 2)]),
    "ConvLSTM3D": ({"filters": 2, "kernel_size": 2, "unit_forget_bias": False}, [(None, 3, 4, 4, 4, 2)]),
    "Dense": ({"units": 4}, [(None, 5)]),
    "DepthwiseConv1D": ({"kernel_size": 3, "depth_multiplier": 2}, [(None, 6, 2)]),
    "DepthwiseConv2D": ({"kernel_size": 3}, [(None, 6, 5, 2)]),
    "EinsumDense": ({"equation": "abc,cde->abde", "output_shape": (5, 2, 3), "bias_axes": "de"}, [(None, 5, 4)]),
    "Embedding": ({"input_dim": 7, "output_dim": 3}, [(None, 5)]),
    "GRU": ({"units": 3}, [(None, 4, 2)]),
    "GRUCell": ({"units": 3}, [(None, 2)]),
    "GroupNormalization": ({"groups": 2}, [(None, 4)]),
    "GroupQueryAttention": (
        {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2},
        [(None, 3, 8), (None, 3, 8)],
    ),
    "LSTM": ({"units": 3, "unit_forget_bias": False}, [(None, 4, 2)]),
    "LSTMCell": ({"units": 3, "unit_forget_bias": False}, [(None, 2)]),
    "LayerNormalization": ({}, [(None, 5)]),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 3}, [(None, 3, 8), (None, 3, 8)]),
    "PReLU": ({}, [(None, 5)]),
    "ReversibleEmbedding": ({"input_dim": 7, "output_dim": 3, "tie_weights": False}, [(None, 5)]),
    "SeparableConv1D": ({"filters": 4, "kernel_size": 3}, [(None, 6, 2)]),
    "SeparableConv2D": ({"filters": 4, "kernel_size": 3}, [(None, 6, 5, 2)]),
    "SimpleRNN": ({"units": 3}, [(None, 4, 2)]),
    "SimpleRNNCell": ({"units": 3}, [(None, 2)]),
}

NO_FUNCTION = {
    "GroupQueryAttention",
    "MultiHeadAttention",
}  # of Keras 3.15, whose own functions they do not take either


def arguments(cls: type) -> list[str]:
    return [name for name in inspect.signature(cls.__init__).parameters if name.endswith("_initializer")]


def built(name: str, given: dict[str, Any]) -> Any:
    config, shapes = LAYERS[name]
    layer = getattr(layers, name)(**config, **given)
    layer.build(*shapes)
    return layer


Request = tuple[int, tuple[int, ...], Any]


class Recorder:
    """An initializer of one's own that notes what it is asked for: the number of the argument, a shape, a dtype."""

    def __init__(self, number: int, requests: list[Request]) -> None:
        self.number, self.requests = number, requests

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        self.requests.append((self.number, tuple(shape), dtype))
        return K.random_normal(shape, dtype=dtype, seed=self.number)

    def get_config(self) -> dict[str, Any]:
        return vars(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Recorder":
        return cls(**config)


def function(recorder: Recorder) -> Callable[..., Any]:
    def my_init(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        return recorder(shape, dtype)

    return my_init


def asked(name: str, form: Callable[[Recorder], Any]) -> list[Request]:
    """What a layer asks its initializers for; what they return is in the weights."""
    requests: list[Request] = []
    names = arguments(getattr(layers, name))
    recorders = [Recorder(number, requests) for number in range(len(names))]
    layer = built(name, {argument: form(each) for argument, each in zip(names, recorders, strict=True)})
    assert {number for number, *_ in requests} == set(range(len(names)))
    check(layer, requests, [ours.RandomNormal(0.0, 1.0, number) for number in range(len(names))])
    return requests


def check(layer: Any, requests: list[Request], expected: list[ours.Initializer]) -> None:
    """Each request's array is one of the weights, and no two are the same weight."""
    left = [array(weight.value) for weight in layer.weights]
    for number, shape, dtype in requests:
        wanted = expected[number](shape, dtype)
        found = [index for index, each in enumerate(left) if bits(each).tobytes() == bits(wanted).tobytes()]
        assert found, f"no weight of {layer.name} is the {shape} of argument {number}"
        assert_same_bits(bits(left.pop(found[0])), bits(wanted))


def test_every_layer_with_such_an_argument_is_in_the_table() -> None:
    classes = {value for value in vars(layers).values() if inspect.isclass(value) and issubclass(value, keras.Layer)}
    assert {cls for cls in classes if arguments(cls)} == {getattr(layers, name) for name in LAYERS}
    assert sum(len(arguments(getattr(layers, name))) for name in LAYERS) == 68


@pytest.mark.parametrize("name", LAYERS)
def test_each_form_of_an_initializer_is_taken(name: str) -> None:
    requests = asked(name, lambda recorder: recorder)
    names = arguments(getattr(layers, name))
    seeded = [ours.RandomNormal(0.1, 0.5, 7 + number) for number in range(len(names))]
    twins = [fanin.keras.RandomNormal(0.1, 0.5, 7 + number) for number in range(len(names))]
    configurations = [keras.initializers.serialize(twin) for twin in twins]
    plain = [{"class_name": "RandomNormal", "config": twin.get_config()} for twin in twins]
    check(built(name, dict(zip(names, seeded, strict=True))), requests, seeded)
    check(built(name, dict(zip(names, twins, strict=True))), requests, seeded)
    check(built(name, dict(zip(names, configurations, strict=True))), requests, seeded)
    with fanin.keras.installed(seed=3):
        check(built(name, dict(zip(names, plain, strict=True))), requests, seeded)
        layer = built(name, dict.fromkeys(names, "random_normal"))
    config = layer.get_config()
    made = [keras.initializers.deserialize(config[argument]) for argument in names]
    assert [type(each) for each in made] == [fanin.keras.RandomNormal] * len(names)
    assert len({each.seed for each in made}) == len(names)
    check(layer, requests, [ours.RandomNormal(seed=each.seed) for each in made])
    again = type(layer).from_config(config)
    again.build(*LAYERS[name][1])
    check(again, requests, [ours.RandomNormal(seed=each.seed) for each in made])


@pytest.mark.parametrize("name", LAYERS)
def test_functions_are_taken_where_keras_takes_them(name: str) -> None:
    if name in NO_FUNCTION:
        with pytest.raises(AttributeError, match="'function' has no attribute 'from_config'"):
            asked(name, function)
    else:
        assert asked(name, function) == asked(name, lambda recorder: recorder)


def test_another_weight_would_be_told() -> None:
    layer = built("Dense", {"kernel_initializer": ours.HeNormal(seed=1)})
    check(layer, [(0, (5, 4), "float32")], [ours.HeNormal(seed=1)])
    with pytest.raises(AssertionError, match=r"no weight of dense\w* is the \(5, 4\) of argument 0"):
        check(layer, [(0, (5, 4), "float32")], [ours.HeNormal(seed=2)])
