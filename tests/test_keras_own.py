"""Keras' own tests of its initializers pass with fanin's classes: all that pass with Keras' own, none left out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BACKENDS = ("jax", "torch")


@pytest.fixture(scope="module", params=BACKENDS)
def report(request: pytest.FixtureRequest) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("keras_own.py")],
        env={**os.environ, "KERAS_BACKEND": request.param},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert read["backend"] == request.param
    return read


def test_what_passes_with_keras_classes_passes_with_fanins(report: dict[str, Any]) -> None:
    passed = {name for name, outcome in report["keras"].items() if outcome == "passed"}
    assert len(passed) >= 20
    assert {name: report["fanin"][name] for name in passed} == dict.fromkeys(passed, "passed")


def test_fanins_classes_were_called(report: dict[str, Any]) -> None:
    """As many calls as the tests make: another class in the place of one would not be counted."""
    classes = {
        "Constant", "Identity", "LecunNormal", "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "STFT",
        "VarianceScaling", "Zeros",
    }  # fmt: skip
    assert classes <= set(report["calls"])
    assert report["calls"]["RandomNormal"] >= 10
