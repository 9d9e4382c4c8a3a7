"""The same weights in torch, Keras and Flax, whatever Keras' backend: outputs agree to 1e-5."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ARCHITECTURES = ("mlp", "cnn", "lstm", "transformer")
FRAMEWORKS = ("keras", "nnx", "linen")


@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_twins_give_the_same_outputs(backend: str) -> None:
    """An MLP, a CNN with grouped, depthwise and transposed convolutions, an LSTM and a transformer."""
    program = Path(__file__).with_name("twins.py")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pairs = [tuple(line.split()[:2]) for line in done.stdout.splitlines()]
    assert pairs == [(architecture, framework) for architecture in ARCHITECTURES for framework in FRAMEWORKS]
