"""Sharded tensors: what processes gather is, bit for bit, what one process has.

`sharded.py` runs in processes of its own, which talk over gloo, once for each number of them; what
they gathered is compared here with plans that this process applies alone. A hang is a failure.

DeepSpeed compiles extensions before it starts on the processor, so it is no requirement of the tests:
the layout of ZeRO-3 is made by hand there, as DeepSpeed 0.19.8 documents and makes it (`sharded.partition`).
"""

import contextlib
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharded
import torch
from harness import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from torch_tensors import array

from fanin.errors import WindowError
from fanin.models.torch.shards import chunk, stretches

LIMIT = 240.0  # seconds for all cases of one number of processes, which take 10 to 40 on two idle cores
WORLDS = {1: 8, 2: 19, 4: 13}  # cases
GATHERED = {1: 0, 2: 0, 4: 0}  # tensors
COMPARED = {1: 0, 2: 0, 4: 0}  # tensors that were compared in the processes only, by process 0

Run = tuple[list[dict[str, Any]], dict[str, np.ndarray]]


def launch(world: int, directory: Path, *cases: str, limit: float = LIMIT) -> Run:
    """What so many processes report, and what they gathered; all are ended where one fails or hangs."""
    command = [sys.executable, sharded.__file__, str(world), str(directory), *cases]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"after {limit} s the processes are still at work") from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # where all have ended by themselves
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert process.returncode == 0, output
    with np.load(directory / "gathered.npz") as arrays:
        return [json.loads((directory / f"{rank}.json").read_text()) for rank in range(world)], dict(arrays)


@pytest.fixture(scope="module", params=WORLDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return launch(request.param, tmp_path_factory.mktemp(f"world{request.param}"))


def compare(gathered: dict[str, np.ndarray]) -> int:
    """Compare what was gathered with what this process has."""
    compared = 0
    for key, found in gathered.items():
        kind, dtype, _, name = key.split("/")
        tensor = sharded.whole(kind, getattr(torch, dtype.removeprefix("torch.")))[name]
        expected = array(tensor)
        assert_same_bits(found, expected.view(found.dtype))
        compared += 1
    return compared


def test_what_is_gathered_is_what_one_process_has(run: Run) -> None:
    reports, gathered = run
    world = len(reports)
    print(world, len(gathered), reports[0]["tensors"])
    for report in reports:
        assert report["cases"] == sharded.names(world)
        assert report["world"] == world
    assert len(sharded.names(world)) == WORLDS[world]
    assert compare(gathered) == GATHERED[world]
    assert reports[0]["tensors"] == COMPARED[world]


def test_a_process_takes_little_more_memory_than_its_shard(run: Run) -> None:
    reports, _ = run
    for rank, report in enumerate(reports):
        for way, peak in report.get("memory", {}).items():
            print(f"process {rank} of 4, {way}: {peak:.1f} MiB for 128 MiB")
            assert 120 < peak <= 128 + 64, (rank, way)
    assert len(reports) != 4 or all(len(report["memory"]) == 4 for report in reports)


def test_another_bit_would_be_told(run: Run) -> None:
    for key in list(run[1])[:: len(run[1]) // 3]:
        spoiled = run[1][key].copy()
        spoiled.reshape(-1)[-1] ^= 1
        with pytest.raises(AssertionError, match=r"1 of \d+ elements differ"):
            compare({key: spoiled})


def test_a_process_that_waits_in_vain_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?is)lonely.*(timeout|timed out)"):
        launch(2, tmp_path, "lonely")


def test_processes_that_hang_are_ended(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"after 0\.2 s the processes are still at work"):
        launch(1, tmp_path, limit=0.2)


# Where shards lie -----------------------------------------------------------------------------------


@st.composite
def flat_ranges(draw: st.DrawFn) -> tuple[tuple[int, ...], int, int]:
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    ends = st.integers(0, math.prod(shape))
    start, stop = sorted((draw(ends), draw(ends)))
    return shape, start, stop


@given(flat_ranges())
def test_stretches_tile_a_flat_range_in_order(case: tuple[tuple[int, ...], int, int]) -> None:
    shape, start, stop = case
    windows = list(stretches(shape, start, stop))
    numbers = np.arange(math.prod(shape)).reshape(shape)
    found = [int(number) for window in windows for number in numbers[window.slices].reshape(-1)]
    assert found == list(range(start, stop))
    assert all(math.prod(window.shape) for window in windows)
    assert len(windows) <= max(1, 2 * len(shape) - 1)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 13)])
def test_a_range_outside_of_the_shape_is_told(start: int, stop: int) -> None:
    with pytest.raises(WindowError, match=r"not all in the shape \(3, 4\)"):
        list(stretches((3, 4), start, stop))


@given(st.integers(0, 40), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), max_size=3), st.data())
def test_chunks_of_chunks_are_those_of_torch(length: int, cuts: list[tuple[int, int]], data: st.DataObject) -> None:
    """Strided or not (split 1), on one axis after another: as torch cuts the numbers from 0."""
    expected, runs = torch.arange(length), [(0, length)]
    for split, number in cuts:
        index = data.draw(st.integers(0, number - 1))
        outer = expected.chunk(split) if len(expected) else ()
        inner = [each.chunk(number)[index : index + 1] if len(each) else () for each in outer]
        expected = torch.cat([*itertools.chain(*inner), expected[:0]])
        runs = chunk(runs, split, number, index)
    assert [each for start, stop in runs for each in range(start, stop)] == expected.tolist()
