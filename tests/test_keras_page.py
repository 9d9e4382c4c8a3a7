"""The examples of the page of Keras 2.3's initializers, word for word after their imports, on real Keras.

Run on the backend of this process, and by `test_keras_backends` on the others.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from harness import assert_same_bits, bits
from keras.layers import Dense
from keras_tensors import array

import fanin.keras
from fanin import backend, initializers

# Keras 3.15 with NumPy 2.4, whenever it reads a tensor of torch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

# As they stand there, but for the lines that import `initializers` and `K`, and their `model`.
PAGE = [
    """
model.add(Dense(64,
                kernel_initializer='random_uniform',
                bias_initializer='zeros'))
""",
    """
model.add(Dense(64, kernel_initializer=initializers.random_normal(stddev=0.01)))

# also works; will use the default parameters.
model.add(Dense(64, kernel_initializer='random_normal'))
""",
    """
def my_init(shape, dtype=None):
    return K.random_normal(shape, dtype=dtype)

model.add(Dense(64, kernel_initializer=my_init))
""",
]
WIDTH = 64
DOORS = {"fanin.keras": fanin.keras, "fanin.initializers": initializers}


@pytest.fixture(autouse=True)
def everywhere() -> Iterator[None]:
    fanin.keras.install()
    yield
    fanin.keras.uninstall()


def page(door: ModuleType, policy: str = "float32") -> tuple[keras.Model, dict[str, Any]]:
    """A model of the page's layers, and the names of its script."""
    model = keras.Sequential([keras.Input((12,))])
    script = {"model": model, "Dense": Dense, "initializers": door, "K": backend}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        for example in PAGE:
            exec(example, script)
    finally:
        keras.config.set_dtype_policy(before)
    return model, script


def values(model: keras.Model) -> list[np.ndarray]:
    return [array(weight.value) for weight in model.weights]


def trained(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x, y = np.linspace(-1, 1, 96).reshape(8, 12), np.linspace(0, 1, 8 * WIDTH).reshape(8, WIDTH)
    history = model.fit(x, y, epochs=1, batch_size=4, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    return model


@pytest.mark.parametrize("door", DOORS)
def test_the_examples_train_and_are_saved(door: str, tmp_path: Path) -> None:
    model, script = page(DOORS[door])
    kinds = [layer.kernel_initializer for layer in model.layers]
    strings = [type(kinds[0]), type(kinds[2]), *{type(layer.bias_initializer) for layer in model.layers}]
    assert strings == [fanin.keras.RandomUniform, fanin.keras.RandomNormal, fanin.keras.Zeros]
    assert type(kinds[1]) is DOORS[door].RandomNormal
    assert kinds[1].stddev == 0.01
    assert kinds[3] is script["my_init"]
    before = values(model)
    after = values(trained(model))
    assert [(old != new).any() for old, new in zip(before, after, strict=True)] == [True] * 8
    model.save(tmp_path / "page.keras")
    loaded = keras.saving.load_model(tmp_path / "page.keras", custom_objects={"my_init": script["my_init"]})
    assert [type(layer.kernel_initializer) for layer in loaded.layers] == [type(kind) for kind in kinds]
    for mine, theirs in zip(values(loaded), after, strict=True):
        assert_same_bits(bits(mine), bits(theirs))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16", "float16"])
def test_the_examples_hold_what_fanin_draws(policy: str) -> None:
    dtype = "float32" if policy.startswith("mixed") else policy
    keras.utils.set_random_seed(3)
    model, _ = page(fanin.keras, policy)
    kernels = [array(layer.kernel.value) for layer in model.layers]
    uniform, small, normal = (layer.kernel_initializer.seed for layer in model.layers[:3])
    keras.utils.set_random_seed(3)
    seeds = []
    for drawn in (uniform, small, normal):  # Keras' own stream: layers take one each, biases none
        seeds.append(keras.initializers.RandomNormal().seed)
        assert seeds[-1] == drawn
    custom = keras.initializers.RandomNormal().seed
    for kernel, expected in zip(
        kernels,
        [
            initializers.RandomUniform(seed=uniform)((12, WIDTH), dtype),
            initializers.RandomNormal(0.0, 0.01, small)((WIDTH, WIDTH), dtype),
            initializers.RandomNormal(seed=normal)((WIDTH, WIDTH), dtype),
            initializers.RandomNormal(0.0, 1.0, custom)((WIDTH, WIDTH), dtype),
        ],
        strict=True,
    ):
        assert_same_bits(bits(kernel), bits(expected))


@pytest.mark.parametrize("door", DOORS)
def test_a_script_is_reproduced_by_keras_seed(door: str) -> None:
    runs = []
    for seed in (5, 5, 6):
        keras.utils.set_random_seed(seed)
        runs.append(values(trained(page(DOORS[door])[0])))
    for first, second in zip(*runs[:2], strict=True):
        assert_same_bits(bits(first), bits(second))
    kernels = zip(runs[0][::2], runs[2][::2], strict=True)
    assert [(first != other).any() for first, other in kernels] == [True] * 4


def test_a_seed_of_the_installation_does_as_well() -> None:
    runs = []
    for seed in (5, 5, 6):
        keras.utils.set_random_seed(len(runs))
        with fanin.keras.installed(seed):
            runs.append(values(page(initializers)[0])[::2])
    for first, second, other in zip(*runs, strict=True):
        assert_same_bits(bits(first), bits(second))
        assert (first != other).any()


def test_what_has_no_seed_is_fresh_without_an_installation() -> None:
    fanin.keras.uninstall()
    try:
        drawn = []
        for _ in range(2):
            keras.utils.set_random_seed(5)
            drawn += [backend.random_normal((4,)), initializers.HeNormal()((4, 4))]
        assert (drawn[0] != drawn[2]).any()
        assert (drawn[1] != drawn[3]).any()
    finally:
        fanin.keras.install()
