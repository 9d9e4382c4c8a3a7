"""What only TensorFlow has: functions that are traced, data sets, devices, memory. Run by `test_keras_backends`.

KERAS_BACKEND=tensorflow python -m pytest tests/keras_tensorflow.py
"""

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from harness import assert_same_bits, bits
from keras import layers
from keras_tensors import array

import fanin.keras
from fanin import initializers as ours
from fanin.dtypes import FLOATS
from fanin.errors import SeedError, ShapeError
from fanin.keras import tensors, twins

CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)  # before any is used

WIDTH = 200  # a square of which is more than what TensorFlow makes a constant by itself
EXPECTED = ours.HeNormal(7)((WIDTH, WIDTH))
MIB = 2**20


def drawn() -> Any:
    return fanin.keras.HeNormal(7)((WIDTH, WIDTH))


def test_memory_is_handed_over() -> None:
    """Six of 64 MiB one after another, and never two at once; a copy of one would show."""
    initializer, shape = fanin.keras.HeNormal(7), (2**12, 2**12)
    initializer((2**9, 2**12))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(6):
        tensor = initializer(shape)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 2 * 64 + 48
    assert tensor.shape == shape
    assert tensor.device.endswith("CPU:0")


@pytest.mark.parametrize("dtype", [*FLOATS, "bool", "int8", "uint64"])
def test_tensors_stay_what_they_are_when_variables_change(dtype: str) -> None:
    initializer = fanin.keras.Ones()
    tensor = initializer((33,), dtype)
    variables = [tf.Variable(tensor), tf.Variable(lambda: initializer((33,), dtype)), tf.Variable(tensor)]
    for variable in variables[:2]:
        variable.assign(tf.zeros((33,), dtype) if "float8" not in dtype else tf.cast(tf.zeros((33,)), dtype))
        assert not array(variable).any()
    for one in (tensor, variables[2]):
        assert_same_bits(bits(array(one)), bits(ours.Ones()((33,), dtype)))


def test_a_device_is_kept() -> None:
    with tf.device("CPU:1"):
        assert drawn().device.endswith("CPU:1")
        layer = layers.Dense(WIDTH, kernel_initializer=fanin.keras.HeNormal(7))
        layer.build((None, WIDTH))
    assert layer.kernel.value.device.endswith("CPU:1")
    assert_same_bits(bits(array(layer.kernel.value)), bits(EXPECTED))


# Functions that are traced ---------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
def test_a_traced_function_is_handed_the_tensor(compiled: bool) -> None:
    """A constant would be written into its graph, as 160 kB."""
    function = tf.function(drawn, jit_compile=compiled)
    for _ in range(2):
        assert_same_bits(bits(array(function())), bits(EXPECTED))
    concrete = function.get_concrete_function()
    assert [tensor.shape for tensor in concrete.captured_inputs] == [(WIDTH, WIDTH)]
    assert concrete.graph.as_graph_def().ByteSize() < 2000


def test_a_traced_function_does_not_rewrite_initializers(monkeypatch: pytest.MonkeyPatch) -> None:
    callers = []

    def recorded(*arguments: Any) -> Any:
        callers.append(sys._getframe(1).f_code.co_filename)
        return tensors.tensor(*arguments)

    monkeypatch.setattr(twins, "tensor", recorded)
    tf.function(drawn)()
    assert callers == [twins.__file__]  # not a file that AutoGraph has written


@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("initializer", [fanin.keras.HeNormal(7), ours.HeNormal(7)], ids=["fanin.keras", "fanin"])
def test_a_traced_function_builds_a_layer(initializer: Any, compiled: bool) -> None:
    layer = layers.Dense(WIDTH, kernel_initializer=initializer)
    function = tf.function(lambda x: layer(x), jit_compile=compiled)
    result = function(tf.ones((2, WIDTH)))
    assert_same_bits(bits(array(layer.kernel.value)), bits(EXPECTED))
    np.testing.assert_allclose(array(result), np.ones((2, WIDTH)) @ EXPECTED, rtol=1e-3, atol=1e-4)
    graph = function.get_concrete_function(tf.ones((2, WIDTH))).graph.as_graph_def()
    assert graph.ByteSize() < 4000  # so that the first value is not in it


def test_a_data_set_draws_and_builds() -> None:
    layer = layers.Dense(WIDTH, kernel_initializer=fanin.keras.HeNormal(7))
    maps: list[Callable[[Any], Any]] = [lambda _: drawn(), lambda x: layer(tf.ones((2, WIDTH)))]
    first, second = (list(tf.data.Dataset.range(2).map(function)) for function in maps)
    for tensor in first:
        assert_same_bits(bits(array(tensor)), bits(EXPECTED))
    assert len(first) == len(second) == 2
    assert_same_bits(bits(array(layer.kernel.value)), bits(EXPECTED))


def test_a_graph_without_functions_holds_the_constant() -> None:
    with tf.Graph().as_default():
        tensor = drawn()
        with tf.compat.v1.Session() as session:
            assert_same_bits(bits(session.run(tensor)), bits(EXPECTED))


UNKNOWN: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda x: fanin.keras.HeNormal(1)((tf.shape(x)[0], 3)), ShapeError, "dimension <tf.Tensor .* is not an integer"),
    (lambda x: fanin.keras.HeNormal(1)(tf.shape(x)), ShapeError, "dimension <tf.Tensor .* is not an integer"),
    (lambda x: fanin.keras.HeNormal(1)(x.shape), ShapeError, "dimension None"),
    (lambda x: fanin.keras.HeNormal(tf.shape(x)[0]), SeedError, "not <tf.Tensor"),
    (lambda x: ours.HeNormal(1)(tf.shape(x)), ShapeError, "dimension <tf.Tensor .* is not an integer"),
]


@pytest.mark.parametrize("number", range(len(UNKNOWN)))
def test_what_a_traced_function_does_not_know_is_told(number: int) -> None:
    call, kind, fragment = UNKNOWN[number]
    with pytest.raises(kind, match=fragment) as caught:
        tf.function(call)(tf.ones((2, 3))) if number != 2 else tf.function(
            call, input_signature=[tf.TensorSpec((None, 3))]
        )(tf.ones((2, 3)))
    assert isinstance(caught.value, ValueError)


def test_a_generator_inside_a_trace_is_told() -> None:
    initializer = fanin.keras.HeNormal(keras.random.SeedGenerator(1))
    layer = layers.Dense(3, kernel_initializer=initializer)
    for call in (lambda: initializer((2, 2)), lambda: layer(tf.ones((2, 3)))):
        with pytest.raises(SeedError, match="without a value"):
            tf.function(call)()


# Models ----------------------------------------------------------------------------------------


def test_replicas_hold_the_same() -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope(), fanin.keras.installed(seed=3):
        generator = fanin.keras.HeNormal(keras.random.SeedGenerator(1))
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(8),
                layers.Dense(8, kernel_initializer=generator),
                layers.BatchNormalization(),
            ]
        )
        model.compile("sgd", "mse")
    compared = 0
    for weight in model.weights:
        first, second = (array(replica) for replica in weight.value.values)
        assert_same_bits(first, second)
        compared += first.any()
    assert compared == 4
    model.fit(np.ones((8, 6)), np.ones((8, 8)), batch_size=4, verbose=0)


def test_an_exported_model_computes_the_same(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, kernel_initializer=fanin.keras.HeNormal(7))])
    model.export(tmp_path / "model", verbose=False)
    x = np.ones((2, 6), np.float32)
    loaded = tf.saved_model.load(tmp_path / "model")
    assert_same_bits(bits(array(loaded.serve(x))), bits(array(model(x))))
