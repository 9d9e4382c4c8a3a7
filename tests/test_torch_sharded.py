"""Sharded tensors: what processes gather is, bit for bit, what one process has.

`sharded.py` runs in processes of its own, which talk over gloo, once for each number of them; what
they gathered is compared here with plans that this process applies alone. A hang is a failure.

DeepSpeed compiles extensions before it starts on the processor, so it is no requirement of the tests:
the layout of ZeRO-3 is made by hand there, as DeepSpeed 0.19.8 documents and makes it (`sharded.partition`).
"""

import contextlib
import functools
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
from fanin.models.arrays import Part, write
from fanin.models.torch.shards import chunk, stretches
from fanin.recipe import Piece, Whole, Window

LIMIT = 240.0  # seconds for all cases of one number of processes, which take 10 to 40 on two idle cores
# By the number of processes: cases, gathered tensors, and tensors that process 0 compared itself.
WORLDS = {1: (8, 472, 152), 2: (20, 861, 236), 4: (12, 1305, 336)}

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


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_gathered_is_what_one_process_has(world: int, tmp_path: Path) -> None:
    reports, gathered = launch(world, tmp_path)
    for report in reports:
        assert report["world"] == world
        assert report["cases"] == sharded.names(world)
    assert (len(sharded.names(world)), compare(gathered), reports[0]["tensors"]) == WORLDS[world]


def test_another_bit_would_be_told() -> None:
    for dtype in sharded.DTYPES:
        expected = array(sharded.whole("zoo", dtype)["dense.weight"])
        gathered = {f"zoo/{dtype}/case/dense.weight": expected.view(f"u{expected.itemsize}")}
        assert compare(gathered) == 1
        gathered[f"zoo/{dtype}/case/dense.weight"][3, 2] ^= 1
        with pytest.raises(AssertionError, match=r"1 of 60 elements differ, first at \(3, 2\)"):
            compare(gathered)


def test_a_process_takes_little_more_memory_than_its_shard(tmp_path: Path) -> None:
    for rank, report in enumerate(launch(4, tmp_path, "memory")[0]):
        assert report["memory"].keys() == {"fully_shard", "Shard(1)", "strided", "ZeRO-3"}
        for way, peak in report["memory"].items():
            print(f"process {rank} of 4, {way}: {peak:.1f} MiB at most, for a shard of 128 MiB")
            assert 120 < peak <= 128 + 64, way


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


def test_what_can_only_be_computed_whole_is_computed_once_and_where_it_is_needed() -> None:
    computed = []

    def compute(number: int) -> np.ndarray:
        computed.append(number)
        return np.full((2, 3), number, np.float32)

    whole = Window.whole((2, 3))
    pieces = [
        Piece(
            Whole(functools.partial(compute, number), (2, 3)), whole, (slice(2 * number, 2 * number + 2), slice(0, 3))
        )
        for number in range(3)
    ]
    array = np.zeros((6, 3), np.float32)  # the parts: rows 1 to 3, in three boxes
    parts = [Part(window, array[window.slices]) for window in stretches((6, 3), 4, 11)]
    write(pieces, parts)
    assert computed == [0, 1]
    assert array.reshape(-1).tolist() == [0] * 6 + [1] * 5 + [0] * 7
    write(pieces, parts[:0])
    assert computed == [0, 1]
