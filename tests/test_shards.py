"""Checkpoints of several files: which tensor goes where, what the files say, and what is there meanwhile."""

import errno
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import assert_same_bits
from huggingface_hub.serialization import split_state_dict_into_shards_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from shard_files import (
    COUNT,
    FILES,
    INDEX,
    MOST,
    SINGLE,
    arrays,
    contents,
    failing,
    names,
    resolved,
    told,
    whole,
    write,
)  # fmt: skip
from stored import held
from transformers import LlamaConfig, LlamaForCausalLM

import fanin
from fanin import Parameter, Plan, Rule, checkpoint
from fanin.checkpoint import Written, staging
from fanin.checkpoint.header import Output
from fanin.checkpoint.shards import arranged, bytes_of, index_of
from fanin.checkpoint.staging import STAGING
from fanin.errors import ArgumentError
from fanin.initializers import Orthogonal, RandomNormal
from fanin.plan import Resolved

__all__ = ["whole"]  # a fixture

# Which tensor goes where ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1, 1), (np.int64(2**40), 2**40), ("5GB", 5 * 10**9), ("500MB", 500 * 10**6), ("2GiB", 2**31), ("1.5 kb", 1500),
        (" 3TB ", 3 * 10**12), ("7", 7), ("8B", 8), ("0.5KiB", 512), ("1tib", 2**40), ("0.1MB", 100_000),
    ],
)  # fmt: skip
def test_a_size_is_bytes_or_a_text(text: Any, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "5 apples", "-5GB", 0, -1, "0", "0.3B", 5e9, True, None, "5GBs", "1e9", "\u0665GB", "5iB", "nan"]
)
def test_what_is_no_size_is_told(text: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        write(tmp_path / "out", max_shard_size=text)
    assert f"{text!r} is no size of a shard; give bytes, or a text such as '5GB'" in str(caught.value)
    assert not names(tmp_path)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 60))
@settings(max_examples=300, deadline=None)
def test_tensors_go_where_transformers_puts_them(sizes: list[int], most: int) -> None:
    outputs = [Output(str(number), (size,), np.dtype(np.uint8)) for number, size in enumerate(sizes)]
    shards = arranged(outputs, most, None)
    theirs = split_state_dict_into_shards_factory(
        {output.name: output for output in outputs},
        get_storage_size=lambda output: output.size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=most,
    )
    ours = {shard.name: sorted(placed.stored.name for placed in shard.placed) for shard in shards}
    assert ours == {name: sorted(held) for name, held in theirs.filename_to_tensors.items()}
    if theirs.is_sharded:
        index = json.loads(index_of(shards))
        assert index["weight_map"] == theirs.tensor_to_filename
        assert index["metadata"]["total_size"] == theirs.metadata["total_size"] == sum(sizes)


LLAMA = LlamaConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


@pytest.mark.parametrize("most", ["10KB", "1GB"])
def test_transformers_loads_them_and_would_have_written_the_same_index(most: str, tmp_path: Path) -> None:
    theirs = LlamaForCausalLM(LLAMA)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=most)
    LLAMA.save_pretrained(tmp_path / "ours")
    plan = Plan([Rule("*norm.weight", "ones"), Rule("*", "random_normal(stddev=0.02)")])
    entries = plan.resolve(fanin.parameters(theirs), seed=3)
    written = checkpoint.write_sharded(tmp_path / "ours", entries, max_shard_size=most, metadata={"format": "pt"})
    assert (len(written.files) > 5) == (most == "10KB")
    files = {path.name for path in (tmp_path / "theirs").glob("*.safetensors*")}
    assert files == {path.name for path in (tmp_path / "ours").glob("*.safetensors*")}
    if written.index is not None:
        assert written.index.read_bytes() == (tmp_path / "theirs" / INDEX).read_bytes()
    ours, information = LlamaForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(information.values()), information
    compared = 0
    for entry in entries:
        array = ours.get_parameter(entry.name).detach().numpy()
        assert_same_bits(array, drawn(entry))
        compared += 1
    assert compared == 21


def drawn(entry: Any) -> np.ndarray:
    """What the library draws of a tensor, into an array of its own."""
    array = np.empty(entry.shape, entry.dtype)
    fanin.engines.fill(entry.recipe, fanin.recipe.Window.whole(entry.shape), array)
    return array


# What is in the files ------------------------------------------------------------------------------


def test_shards_hold_what_one_file_would(whole: Path, tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "one", resolved(), metadata={"format": "pt", "seed": "7"})
    expected, metadata = held(tmp_path / "one")
    found = {}
    for name in FILES:
        arrays, said = held(whole / name)
        assert said == metadata
        found.update(arrays)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert_same_bits(found[name], array)
    assert found["h.3.weight"].std() > 0.01
    index = json.loads((whole / INDEX).read_bytes())
    assert index["metadata"]["total_parameters"] == sum(array.size for array in expected.values())
    assert index["metadata"]["total_size"] == sum(array.nbytes for array in expected.values())
    assert {name: file for file in FILES for name in held(whole / file)[0]} == index["weight_map"]
    assert not np.array_equal(found["whole.weight"], np.eye(30, 20))
    assert isinstance(resolved()[10].initializer, Orthogonal)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_neither_engine_nor_threads_change_the_files(engine: str, threads: int, whole: Path, tmp_path: Path) -> None:
    seen: set[str] = set()
    large = Plan([Rule("*", RandomNormal())]).resolve([Parameter(str(n), (2**20 + n,)) for n in range(4)], seed=1)
    checkpoint.write_sharded(tmp_path / "expected", large, max_shard_size="5MB")
    with fanin.use(engine=engine, threads=threads):
        write(tmp_path / "out")
        checkpoint.write_sharded(
            tmp_path / "large",
            large,
            max_shard_size="5MB",
            progress=lambda done, size: seen.add(threading.current_thread().name),
        )
    assert contents(tmp_path / "out") == contents(whole)
    assert contents(tmp_path / "large") == contents(tmp_path / "expected")
    assert len(contents(tmp_path / "large")) == 5
    assert (len(seen) > 1) == (threads > 1)  # several did take part


def test_one_shard_has_no_index(tmp_path: Path) -> None:
    written = write(tmp_path / "out", max_shard_size="1GB")
    checkpoint.write(tmp_path / "one", resolved(), metadata={"format": "pt", "seed": "7"})
    assert contents(tmp_path / "out") == {SINGLE: (tmp_path / "one").read_bytes()}
    assert written == Written((tmp_path / "out" / SINGLE,), (), None, (tmp_path / "one").stat().st_size)
    checkpoint.write_sharded(tmp_path / "none", ())
    assert names(tmp_path / "none") == [SINGLE]
    assert checkpoint.shapes(tmp_path / "none") == ()


def test_what_was_written_is_told(whole: Path, tmp_path: Path) -> None:
    written = write(str(tmp_path / "out"))  # type: ignore[arg-type]  # a text
    files = tuple(tmp_path / "out" / name for name in FILES)
    assert written == Written(files, (), tmp_path / "out" / INDEX, sum(path.stat().st_size for path in files))


def test_progress_grows_to_the_size_one_call_at_a_time(whole: Path, tmp_path: Path) -> None:
    size = sum((whole / name).stat().st_size for name in FILES)
    for resume in (False, True, True):
        seen: list[tuple[int, int]] = []
        with fanin.use(threads=3):
            write(tmp_path / "out", resume=resume, progress=lambda *both, add=seen.append: add(both))
        assert seen == sorted(seen)
        assert seen[-1] == (size, size)
        assert len(seen) >= 2 * COUNT


def test_what_no_checkpoint_can_hold_is_told_before_anything_is_made(tmp_path: Path) -> None:
    twice = Resolved([*resolved(), *resolved()])
    told(lambda: write(tmp_path / "out", twice), None, "tensor 'h.0.weight' comes twice")
    huge = Plan([Rule("*", "zeros")]).resolve([Parameter(str(n), (2**30, 2**30)) for n in range(3)])
    told(
        lambda: write(tmp_path / "out", huge), errno.ENOSPC, "out needs 13,835,058,055,282,164,", "are free. Make room"
    )
    assert not names(tmp_path)


# What is there meanwhile ---------------------------------------------------------------------------


def test_nothing_is_in_the_directory_until_all_is(whole: Path, tmp_path: Path) -> None:
    out, expected = tmp_path / "out", contents(whole)
    finished: set[str] = set()

    def progress(done: int, size: int) -> None:
        until = time.monotonic() + 60
        while done > 0.7 * size and len(finished) < 2 and time.monotonic() < until:
            finished.update(path.name for path in (out / STAGING).glob("*.safetensors"))
        assert names(out) == [STAGING]
        for path in (out / STAGING).glob("*.safetensors"):
            finished.add(path.name)
            assert path.read_bytes() == expected[path.name]

    with fanin.use(threads=1):
        write(out, progress=progress)
    assert len(finished) >= 2
    assert contents(out) == expected


def test_a_shard_is_on_the_disk_before_it_is_called_finished_and_the_index_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    flush, replace, publish = os.fsync, Path.replace, staging.publish

    def flushed(descriptor: int) -> None:
        flush(descriptor)
        events.append(("flush", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def replaced(path: Path, target: Path) -> Path:
        events.append(("finish", target.name))
        return replace(path, target)

    def published(here: Path, there: Path, overwrite: bool) -> None:
        events.append(("publish", there.name))
        publish(here, there, overwrite)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setattr(staging, "publish", published)
    write(tmp_path / "out")
    for name in FILES:
        places = [events.index(each) for each in (("flush", f"{name}.partial"), ("finish", name), ("publish", name))]
        assert places == sorted(places)
    first = next(number for number, (what, _) in enumerate(events) if what == "publish")
    assert {name for what, name in events[:first] if what == "finish"} >= {*FILES, INDEX}
    assert events[-3:] == [("flush", "out"), ("publish", INDEX), ("flush", "out")]


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), OSError(errno.EIO, "mine")])
@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_everything_as_it_was(error: BaseException, there: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "config.json").write_text("{}")
    with fanin.use(threads=1), pytest.raises(type(error)) as caught:
        write(out, resolved(more=[("z", failing(error))]))
    assert not hasattr(caught.value, "__notes__")
    assert names(tmp_path) == (["out"] if there else [])
    assert not there or contents(out) == {"config.json": b"{}"}


# What is there already -----------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", [INDEX, SINGLE, "model-00001-of-00009.safetensors", FILES[2]])
def test_a_checkpoint_that_is_there_is_left_as_it_is(name: str, resume: bool, tmp_path: Path) -> None:
    before = {name: b"precious", "config.json": b"{}", "other.safetensors": b"precious", ".hidden": b""}
    for each, data in before.items():
        (tmp_path / each).write_bytes(data)
    why = "is there, is not what the plan makes" if resume else "exists"
    told(lambda: write(tmp_path, resume=resume), errno.EEXIST, f"{tmp_path / name} {why}", "--force (overwrite=True)")
    assert contents(tmp_path) == before


def test_other_files_stay(whole: Path, tmp_path: Path) -> None:
    others = {"config.json": b"{}", "other.safetensors": b"precious", "model-1-of-2.safetensors": b"", "model.bin": b""}
    for name, data in others.items():
        (tmp_path / name).write_bytes(data)
    write(tmp_path)
    write(tmp_path, overwrite=True)
    assert contents(tmp_path) == {**others, **contents(whole)}


KINDS = {"shards": MOST, "other shards": MOST * 2, "one file": "1GB"}


@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("resume", [False, True])
def test_a_checkpoint_is_replaced_when_the_new_one_is_complete(
    old: str, new: str, resume: bool, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(out, resolved(1), max_shard_size=KINDS[old])
    (out / "model-00003-of-00077.safetensors").write_bytes(b"not of it")
    before = contents(out)
    write(tmp_path / "expected", max_shard_size=KINDS[new])

    def progress(done: int, size: int) -> None:
        assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before

    write(out, max_shard_size=KINDS[new], overwrite=True, resume=resume, progress=progress)
    assert contents(out) == {**contents(tmp_path / "expected"), "model-00003-of-00077.safetensors": b"not of it"}


def test_a_stale_single_file_does_not_stay_beside_shards(whole: Path, tmp_path: Path) -> None:
    for resume in (False, True):
        (tmp_path / SINGLE).write_bytes(b"stale")
        written = write(tmp_path, overwrite=True, resume=resume)
        assert contents(tmp_path) == contents(whole)
        assert len(written.kept) == (COUNT if resume else 0)


def test_a_replacement_that_fails_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, resolved(1))
    before = contents(out)
    with pytest.raises(KeyError):
        write(out, resolved(more=[("z", failing(KeyError()))]), overwrite=True)
    assert contents(out) == before


@pytest.mark.parametrize("index", [b"", b"[]", b'{"weight_map": 3}', b'{"weight_map": {"a": "../precious", "b": 1}}'])
def test_an_old_index_that_is_none_removes_nothing_else(index: bytes, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (out / INDEX).write_bytes(index)
    write(out, overwrite=True)
    assert contents(out) == contents(whole)
    assert names(tmp_path) == ["out", "precious"]


def test_the_base_may_be_what_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, resolved(1))
    before = {
        name: array.copy() for path in sorted(tmp_path.glob("*.safetensors")) for name, array in held(path)[0].items()
    }
    for base in (tmp_path, tmp_path / INDEX):
        checkpoint.write_sharded(
            tmp_path, resolved(2), max_shard_size=MOST * 2, base=base, only="h.1.*", overwrite=True
        )
        after = arrays(tmp_path)
        assert after.keys() == before.keys()
        for name, array in before.items():
            expected = RandomNormal(seed=2)((200, 251), "bfloat16", name=name) if name == "h.1.weight" else array
            assert_same_bits(after[name], expected)


@pytest.mark.parametrize(
    ("name", "number", "fragment"),
    [
        ("file", errno.ENOTDIR, "file is no directory; give another name for one of shards"),
        ("no/out", errno.ENOENT, "no is no directory; make it first"),
        ("file/out", errno.ENOENT, "file is no directory; make it first"),
        ("dangling", errno.ENOTDIR, "dangling is no directory"),
        ("x" * 256, errno.ENAMETOOLONG, "cannot be written: File name too long."),
        ("/proc/out", errno.ENOENT, "/proc/out cannot be written: No such file or directory."),
        ("odd", errno.EISDIR, f"{SINGLE} is a directory, and in the way; move it"),
        ("taken", errno.EEXIST, f"{STAGING} is no directory of fanin's, and is left as it is; remove it"),
        ("linked", errno.EEXIST, f"{STAGING} is no directory of fanin's, and is left as it is; remove it"),
    ],
)
def test_where_no_directory_can_be_is_told(name: str, number: int, fragment: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "odd" / SINGLE).mkdir(parents=True)
    for folder in ("taken", "linked", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "taken" / STAGING).write_bytes(b"precious")
    (tmp_path / "linked" / STAGING).symlink_to("../elsewhere")
    told(lambda: write(tmp_path / name, overwrite=True), number, fragment)
    assert names(tmp_path) == ["dangling", "elsewhere", "file", "linked", "odd", "taken"]
    assert not names(tmp_path / "elsewhere")
    assert names(tmp_path / "odd") == [SINGLE]
    assert (tmp_path / "taken" / STAGING).read_bytes() == b"precious"


def test_a_directory_may_be_a_link(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    write(tmp_path / "link")
    assert contents(tmp_path / "there") == contents(whole)


def test_shards_are_loaded_by_their_own_library(whole: Path) -> None:
    assert sum(len(load_file(whole / name)) for name in FILES if b"BF16" not in (whole / name).read_bytes()[:500]) > 0
    assert len(checkpoint.opened(whole).arrays) == 11
