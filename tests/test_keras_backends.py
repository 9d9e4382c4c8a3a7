"""Keras' other backends pass the files that this process runs on its own: each in one process, as Keras wants it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

HERE = Path(__file__).parent
FILES = ["test_keras.py", "test_keras_arguments.py", "test_keras_own.py", "test_keras_page.py"]
ALONE = {"tensorflow": ["keras_tensorflow.py"]}  # for one backend only
LEAST = {"jax": 210, "torch": 210, "tensorflow": 240}  # tests that must pass
OTHERS = [name for name in LEAST if name != keras.backend.backend()]


def run(*arguments: object, backend: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=HERE.parent,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("backend", OTHERS)
def test_another_backend_passes_the_files(backend: str) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    files = [HERE / name for name in FILES + ALONE.get(backend, [])]
    done = run("-m", "pytest", *options, *files, backend=backend)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {outcome: int(count) for count, outcome in re.findall(r"(\d+) (passed|skipped)", done.stdout)}
    assert counts["passed"] >= LEAST[backend], done.stdout
    assert counts.get("skipped", 0) == (0 if backend == "jax" else 3), done.stdout


def test_three_backends_are_tested() -> None:
    assert len(OTHERS) == 2


def test_keras_distribution_gets_sharded_arrays() -> None:
    done = run(HERE / "keras_sharded.py", backend="jax")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["finite"]
    shards = [shape for shape in report["drawn"] if len(shape) == 2]
    assert shards.count([8, 8]) >= 8, "the kernel of (16, 32), for each device its own"
    assert [16, 32] not in shards
    assert report["misfit"].startswith("ValueError: Sharding NamedSharding"), report["misfit"]
    assert report["weights"] == {
        "sequential/dense/kernel": [[8, 8], "float32", True],
        "sequential/dense/bias": [[8], "float32", True],
        "sequential/dense_1/kernel": [[16, 2], "float32", True],
        "sequential/dense_1/bias": [[2], "float32", True],
        "sequential/dense_2/kernel": [[4, 2], "bfloat16", True],
    }
