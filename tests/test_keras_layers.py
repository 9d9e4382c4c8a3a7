"""Keras models that are initialized by `fanin.initializers`, on its three backends.

`keras_layers.py` builds, trains, saves and loads them, in a process per backend; here is what their
first weights must be, from fanin alone.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from harness import assert_same_bits, bits

from fanin import initializers
from fanin.initializers import Initializer

BACKENDS = ("jax", "torch", "tensorflow")
SCRIPT = Path(__file__).with_name("keras_layers.py")
WIDTH = 12

# Every class that makes a matrix, with arguments off their defaults.
DENSE = {
    "Zeros": initializers.Zeros(),
    "Ones": initializers.Ones(),
    "Constant": initializers.Constant(0.1),
    "Constant of an array": initializers.Constant([[0.1]] * WIDTH),
    "RandomNormal": initializers.RandomNormal(mean=0.0, stddev=0.05, seed=1),
    "RandomUniform": initializers.RandomUniform(minval=-0.05, maxval=0.1, seed=2),
    "TruncatedNormal": initializers.TruncatedNormal(mean=0.1, stddev=0.05, seed=3, lower=-1.0, upper=2.5),
    "VarianceScaling": initializers.VarianceScaling(0.5, "fan_geo_avg", "untruncated_normal", 4),
    "Orthogonal": initializers.Orthogonal(gain=0.9, seed=5),
    "Identity": initializers.Identity(gain=0.5),
    "LecunUniform": initializers.LecunUniform(seed=6),
    "GlorotNormal": initializers.GlorotNormal(seed=7),
    "GlorotUniform": initializers.GlorotUniform(seed=8),
    "HeNormal": initializers.HeNormal(seed=9),
    "LecunNormal": initializers.LecunNormal(seed=10),
    "HeUniform": initializers.HeUniform(seed=2**64 - 1, input_axes=[0], output_axes=[1]),
}
BIAS = initializers.RandomNormal(stddev=0.5, seed=11)

Expected = list[tuple[Initializer, tuple[int, ...]]]


def weights(model: str) -> Expected:
    """The initializer and the shape of every weight, in the order of `model.weights`."""
    zeros, ones = initializers.Zeros(), initializers.Ones()
    match model.partition(",")[0]:
        case "page":
            normal = initializers.RandomNormal(stddev=0.01, seed=1)
            custom = initializers.RandomNormal(0.0, 1.0, seed=7)  # as `page\#0`: the first call of a drawing
            return [(normal, (12, 64)), (initializers.Constant(0.1), (64,)), (custom, (64, 64)), (zeros, (64,))]
        case "dense":
            return [pair for init in DENSE.values() for pair in ((init, (WIDTH, 8)), (BIAS, (8,)))]
        case "images":
            return [
                (initializers.HeNormal(seed=1), (3, 2, 3, 4)),
                (BIAS, (4,)),
                (initializers.LecunNormal(seed=2), (3, 3, 4, 2)),
                (zeros, (8,)),
                (initializers.GlorotUniform(seed=3), (2, 2, 5, 8)),
                (zeros, (5,)),
                (initializers.TruncatedNormal(1.0, 0.1, seed=4), (5,)),
                *((init, (5,)) for init in (zeros, zeros, ones)),
            ]
        case "sequences":
            return [
                (initializers.RandomUniform(seed=1), (11, 8)),
                (initializers.GlorotUniform(seed=2), (8, 24)),
                (initializers.Orthogonal(seed=3), (6, 24)),
                (BIAS, (24,)),
                (initializers.HeUniform(seed=5), (6, 12)),
                (initializers.Orthogonal(2.0, 4), (4, 12)),
                (zeros, (2, 12)),
                (initializers.HeNormal(6, [0], [1, 2]), (4, 2, 3)),
                (BIAS, (2, 3)),
            ]
        case "attention":
            glorot = initializers.GlorotNormal(seed=1)
            heads = [pair for _ in range(3) for pair in ((glorot, (8, 2, 4)), (zeros, (2, 4)))]
            return [*heads, (glorot, (2, 4, 8)), (zeros, (8,))]
        case "spectra":
            return [(initializers.STFT(side, "hamming", "spectrum", True), (8, 1, 5)) for side in ("real", "imag")]
    raise AssertionError(model)


def expected(model: str) -> list[np.ndarray]:
    """The first weights, from fanin alone."""
    dtype = np.dtype(ml_dtypes.bfloat16 if model.endswith(", bfloat16") else np.float32)
    dtype = np.dtype(np.float16) if model.endswith(", float16") else dtype
    arrays = []
    for number, (initializer, shape) in enumerate(weights(model)):
        name = "page\\#0" if (model, number) == ("page", 2) else None
        array = initializer(shape, dtype, name=name)
        if model.startswith("sequences") and number == 3:  # Keras draws an LSTM's bias in three pieces
            array = np.concatenate([BIAS((6,), dtype), np.ones(6, dtype), BIAS((12,), dtype)])
        arrays.append(array)
    return arrays


MODELS = {
    "page": 4,
    "dense": 32,
    "images": 10,
    "sequences": 9,
    "attention": 8,
    "spectra": 2,
    "dense, bfloat16": 32,
    "images, mixed_bfloat16": 10,
    "sequences, bfloat16": 9,
    "dense, float16": 32,
}

Run = tuple[dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture(scope="module", params=BACKENDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The report of a backend, and the bits of its first weights."""
    return backend_run(request.param, tmp_path_factory)


def backend_run(backend: str, tmp_path_factory: pytest.TempPathFactory, runs: dict[str, Run] = {}) -> Run:  # noqa: B006
    if backend not in runs:
        directory = tmp_path_factory.mktemp(backend)
        done = subprocess.run(
            [sys.executable, SCRIPT, directory],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        assert report["backend"] == backend
        assert set(report["models"]) == set(MODELS)
        with np.load(directory / "weights.npz") as arrays:
            runs[backend] = report, dict(arrays)
    return runs[backend]


NOT_OF_KERAS = ("Arange", "LogUniform", "Masked", "Scaled", "Sinusoids", "Transformed")


def test_every_class_is_in_a_model() -> None:
    used = {type(initializer) for model in MODELS for initializer, _ in weights(model)}
    values = [getattr(initializers, name) for name in initializers.__all__]
    exported = {value for value in values if isinstance(value, type) and issubclass(value, Initializer)}
    ours = {getattr(initializers, name) for name in NOT_OF_KERAS}
    assert used == exported - {Initializer} - ours
    assert len(used) == 16


@pytest.mark.parametrize("model", MODELS)
def test_the_first_weights_are_fanins_own(run: Run, model: str) -> None:
    report, arrays = run
    facts = report["models"][model]
    compared = 0
    for number, array in enumerate(expected(model)):
        assert facts["dtypes"][number] == array.dtype.name, facts["paths"][number]
        found = arrays[f"{model}/{number}"]
        assert found.shape == array.shape, facts["paths"][number]
        assert_same_bits(found, bits(array))
        compared += 1
    assert compared == len(facts["paths"]) == MODELS[model]


def test_backends_hold_the_same_weights(tmp_path_factory: pytest.TempPathFactory) -> None:
    first, *others = (backend_run(backend, tmp_path_factory)[1] for backend in BACKENDS)
    assert len(others) == 2
    for other in others:
        assert first.keys() == other.keys()
        for key, array in first.items():
            assert_same_bits(array, other[key])
    assert len(first) == sum(MODELS.values()) == 148


@pytest.mark.parametrize("model", MODELS)
def test_training_changes_the_weights(run: Run, model: str) -> None:
    facts = run[0]["models"][model]
    assert 0 < facts["loss"] < 100
    assert facts["finite"]
    still = [path for path, moved in zip(facts["paths"], facts["changed"], strict=True) if not moved]
    # no bias of an attention key reaches the output: softmax takes no notice of a shift
    assert {path.partition("/")[2] for path in still} <= {"key/bias"}
    assert len(facts["changed"]) == MODELS[model]


@pytest.mark.parametrize("model", MODELS)
def test_a_saved_model_comes_back(run: Run, model: str) -> None:
    facts = run[0]["models"][model]
    assert facts["same predictions"]
    assert facts["same weights"]
    # Built again from its configuration, it has its first weights again.
    assert facts["first weights again"] == [True] * MODELS[model]


def test_outside_the_scope_keras_takes_its_own_class_of_that_name(run: Run) -> None:
    """Why models with these initializers are read inside `custom_object_scope(vars(initializers))`.

    Keras looks a class up by its name, and finds its own: silently, and with other numbers.
    """
    assert run[0]["traps"] == {"outside": ["keras"], "inside": ["fanin"]}


def test_another_weight_would_be_told(run: Run) -> None:
    report, arrays = run
    spoiled = {key: array.copy() for key, array in arrays.items()}
    spoiled["images/0"][2, 1, 2, 3] ^= 1
    with pytest.raises(AssertionError, match="1 of 72 elements differ"):
        test_the_first_weights_are_fanins_own((report, spoiled), "images")
