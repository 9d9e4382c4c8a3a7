"""Whole models as sharded arrays: eight devices, two processes, and the memory that it takes."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import fanin.jax as fj

HERE = Path(__file__).parent


def run(name: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", HERE / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_on_eight_devices() -> None:
    assert run("jax_models_sharded.py").split() == ["compared", "165"]


def test_two_processes_hold_their_shards_and_no_more() -> None:
    reports = json.loads(run("jax_distributed.py"))
    assert [report["compared"] for report in reports] == [36, 36]
    for report in reports:  # MiB, of 128 that a process has, and 256 in all; 24 for what else happens meanwhile
        assert 100 <= report["grown"] <= 152


@pytest.mark.parametrize(
    "init",
    [fj.normal(), fj.uniform(), fj.truncated_normal(dtype="bfloat16"), fj.zeros],
    ids=lambda init: type(init).__name__,
)
def test_a_program_needs_next_to_no_memory_beside_the_array(init: fj.Initializer) -> None:
    """Beyond some strips of it, whatever its size."""

    def temporary(rows: int) -> int:
        program = jax.jit(lambda key: init(key, (rows, 1024))).lower(jax.random.key(0)).compile()
        return int(program.memory_analysis().temp_size_in_bytes)

    assert temporary(65536) == temporary(8192) <= 2**22


def test_what_would_need_memory_is_seen() -> None:
    theirs = jax.nn.initializers.normal()
    program = jax.jit(lambda key: theirs(key, (8192, 1024), jnp.float32)).lower(jax.random.key(0)).compile()
    assert program.memory_analysis().temp_size_in_bytes > 8192 * 1024 * 4
