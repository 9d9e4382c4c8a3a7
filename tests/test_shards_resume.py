"""Going on with shards that were not finished, or not published; and who else may write there meanwhile."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import environment
from shard_files import COMPLETE, COUNT, FILES, INDEX, MOST, contents, failing, names, resolved, told, whole, write

import fanin
from fanin import Parameter, Plan, Rule, checkpoint
from fanin.checkpoint.staging import STAGING
from fanin.errors import CheckpointError

__all__ = ["whole"]  # a fixture

Change = Callable[[Path], object]


def stop(folder: Path, seed: int, **options: Any) -> BaseException:
    """Stop a resumable call when half of the shards are finished; return what it raises."""

    def progress(done: int, size: int) -> None:
        if done > 0.7 * size:  # so many are written, and on their way to the disk
            until = time.monotonic() + 60
            while len(finished(folder)) < COUNT // 2 and time.monotonic() < until:
                time.sleep(0.001)
            raise KeyboardInterrupt

    with fanin.use(threads=1), pytest.raises(KeyboardInterrupt) as caught:
        write(folder, resolved(seed), resume=True, progress=progress, **options)
    return caught.value


def stopped(folder: Path, *, seed: int = 7, **options: Any) -> list[str]:
    """Stop a resumable call in the middle; return which shards are finished."""
    stop(folder, seed, **options)
    return finished(folder)


def finished(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / STAGING).glob("*.safetensors"))


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("*.safetensors")}


def flip(path: Path, at: int = -9) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


# What is kept --------------------------------------------------------------------------------------


def test_resuming_works_where_nothing_is(whole: Path, tmp_path: Path) -> None:
    written = write(tmp_path / "out", resume=True)
    assert written.kept == ()
    assert contents(tmp_path / "out") == contents(whole)


def test_finished_shards_are_kept(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    left = stopped(out)
    assert COUNT > len(left) >= COUNT // 2
    assert names(out) == [STAGING]
    assert names(out / STAGING) == ["lock", *left]
    before = identities(out / STAGING)
    for threads in (1, 3):
        with fanin.use(threads=threads):
            written = write(out, resume=True)
        assert [path.name for path in written.kept] == (left if threads == 1 else FILES)
        assert contents(out) == contents(whole)
        after = identities(out)
        assert {name: after[name] for name in left} == before


def test_an_interrupt_says_what_is_kept_and_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    caught = stop(out, 7)
    count = len(finished(out))
    assert caught.__notes__ == [
        f"{count} finished files are kept in {out / STAGING}; the same command with --resume (resume=True) goes on."
    ]


def test_where_nothing_is_finished_nothing_is_kept(tmp_path: Path) -> None:
    plan = Plan([Rule("*", failing(KeyError("mine")))]).resolve([Parameter("a", (2,)), Parameter("b", (2,))], seed=1)
    with pytest.raises(KeyError) as caught:
        checkpoint.write_sharded(tmp_path / "out", plan, max_shard_size=8, resume=True)
    assert not hasattr(caught.value, "__notes__")
    assert not names(tmp_path)


CHANGES: dict[str, tuple[Change, int]] = {
    "nothing": (lambda path: None, 0),
    "a bit at the end": (flip, 1),
    "a bit in the middle": (lambda path: flip(path, 100_000), 1),
    "a bit of its header": (lambda path: flip(path, 30), 1),
    "a byte less": (lambda path: path.write_bytes(path.read_bytes()[:-1]), 1),
    "a byte more": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), 1),
    "no bytes": (lambda path: path.write_bytes(b""), 1),
    "it is missing": (Path.unlink, 1),
    "it is called partial": (lambda path: path.rename(f"{path}.partial"), 1),
    "the last tensor of another seed": (lambda path: path.write_bytes(other(path)), 1),
}


def other(path: Path) -> bytes:
    """The shard with half of what another seed draws."""
    write(path.parent.parent.parent / "other", resolved(8))
    there = (path.parent.parent.parent / "other" / path.name).read_bytes()
    return path.read_bytes()[: len(there) // 2] + there[len(there) // 2 :]


@pytest.mark.parametrize("change", CHANGES)
def test_a_finished_shard_that_is_not_what_is_drawn_is_written_again(change: str, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    left = stopped(out)
    action, lost = CHANGES[change]
    action(out / STAGING / left[1])
    seen: list[tuple[int, int]] = []
    written = write(out, resume=True, progress=lambda *both: seen.append(both))
    assert len(written.kept) == len(left) - lost
    assert (out / left[1] in written.kept) == (not lost)
    assert contents(out) == contents(whole)
    assert seen[-1][0] == seen[-1][1]


def test_a_tensor_that_is_computed_whole_is_compared_too(tmp_path: Path) -> None:
    plan = Plan([Rule("*", "orthogonal")]).resolve(
        [Parameter(str(n), (40, 30), layout="o i") for n in range(3)], seed=1
    )
    for change, kept in ((None, 3), (flip, 2)):
        checkpoint.write_sharded(tmp_path / "out", plan, max_shard_size=4800, overwrite=True)
        if change is not None:
            change(tmp_path / "out" / "model-00002-of-00003.safetensors")
        written = checkpoint.write_sharded(tmp_path / "out", plan, max_shard_size=4800, overwrite=True, resume=True)
        assert len(written.kept) == kept


@pytest.mark.parametrize("options", [{"metadata": {"seed": "8"}}, {"max_shard_size": MOST * 2}, {"metadata": None}])
def test_shards_of_another_call_are_not_kept(options: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out)
    written = write(out, resume=True, **options)
    assert written.kept == ()
    write(tmp_path / "expected", **options)
    assert contents(out) == contents(tmp_path / "expected")


def test_partial_files_are_never_trusted(whole: Path, tmp_path: Path) -> None:
    """Not even those that hold all that they should."""
    (tmp_path / STAGING).mkdir()
    for name in FILES:
        (tmp_path / STAGING / f"{name}.partial").write_bytes((whole / name).read_bytes())
    assert write(tmp_path).kept == ()  # nor do they stand in the way
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_finished_is_left_or_replaced_where_it_is_not_resumed(
    overwrite: bool, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    left = stopped(out)
    before = identities(out / STAGING)
    if overwrite:
        assert write(out, overwrite=True).kept == ()
        assert contents(out) == contents(whole)
        assert not set(identities(out).values()) & set(before.values())
        return
    told(lambda: write(out), errno.EEXIST, "holds a checkpoint that was not finished", "--resume", "--force")
    assert identities(out / STAGING) == before
    assert finished(out) == left
    told(lambda: checkpoint.shapes(out), None, "one that was not finished; go on with it by `fanin init --resume`")


def test_a_shard_in_the_directory_that_differs_is_left_unless_it_may_be_replaced(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out)
    assert len(write(out, resume=True).kept) == COUNT
    flip(out / FILES[3])
    before = contents(out)
    told(lambda: write(out, resume=True), errno.EEXIST, f"{FILES[3]} is there, is not what the plan makes", "--force")
    assert contents(out) == before
    kept = write(out, resume=True, overwrite=True).kept
    assert {path.name for path in kept} == set(FILES) - {FILES[3]}
    assert contents(out) == contents(whole)


def test_what_is_missing_of_a_finished_directory_is_added(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in (FILES[2], INDEX):
        write(out, resume=True)
        (out / name).unlink()
        assert len(write(out, resume=True).kept) == COUNT - (name != INDEX)
        assert contents(out) == contents(whole)


def test_copies_are_compared_too(tmp_path: Path) -> None:
    base = tmp_path / "base"
    write(base, resolved(1))
    options = {"base": base, "only": "h.1.*", "metadata": None}
    out = tmp_path / "out"
    write(tmp_path / "expected", **options)
    left = stopped(out, **options)
    flip(out / STAGING / left[2])
    assert len(write(out, resume=True, **options).kept) == len(left) - 1
    assert contents(out) == contents(tmp_path / "expected")


# A publication that is cut short -------------------------------------------------------------------

# Ends the process as a kill would, before or after it has moved so many files.
KILLED = """
import os, sys
from pathlib import Path
from fanin.checkpoint import staging
from shard_files import resolved, write

count, when, out, overwrite, resume = sys.argv[1:]
count, after = int(count), when == "after"
publish, done = staging.publish, 0

def publishing(here, there, replace):
    global done
    if done == count and not after:
        os._exit(9)
    publish(here, there, replace)
    done += 1
    if done > count and after:
        os._exit(9)

staging.publish = publishing
write(Path(out), overwrite=overwrite == "1", resume=resume == "1")
"""


def kill(out: Path, count: int, when: str, *, overwrite: bool, resume: bool = False) -> None:
    command = [sys.executable, "-c", KILLED, str(count), when, str(out), str(int(overwrite)), str(int(resume))]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    assert subprocess.run(command, check=False, env=environment(PYTHONPATH=path), timeout=120).returncode == 9


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("count", "when"), [(0, "before"), (2, "after"), (COUNT, "before"), (COUNT, "after")])
def test_a_publication_that_was_killed_is_finished(
    count: int, when: str, overwrite: bool, whole: Path, tmp_path: Path
) -> None:
    """Without the index it is no checkpoint yet; with it, it is the whole one."""
    out = tmp_path / "out"
    if overwrite:
        write(out, resolved(1), max_shard_size=MOST // 2)  # of other names
    kill(out, count, when, overwrite=overwrite)
    assert (INDEX in names(out)) == (count == COUNT and when == "after")
    if INDEX not in names(out):
        with pytest.raises(CheckpointError):
            checkpoint.shapes(out)
    told(lambda: write(out), errno.EEXIST, "is left as it is")
    before = identities(out) | identities(out / STAGING)
    written = write(out, resume=True, overwrite=overwrite)
    assert len(written.kept) == COUNT
    assert contents(out) == contents(whole)
    after = identities(out)
    assert {name: before[name] for name in FILES} == after


def test_a_killed_publication_can_be_settled_without_the_plan(whole: Path, tmp_path: Path) -> None:
    """The checkpoint that it replaces may be the base of the call that goes on."""
    out = tmp_path / "out"
    write(out, resolved(1))
    kill(out, 3, "after", overwrite=True)
    assert checkpoint.settle(out)
    assert contents(out) == contents(whole)
    assert not checkpoint.settle(out)


def test_a_bit_that_flipped_before_the_publication_was_finished_is_found(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kill(out, 2, "after", overwrite=False)
    flip(out / STAGING / FILES[5])
    told(lambda: write(out, resume=True), errno.EEXIST, f"{FILES[5]} is there, is not what the plan makes")
    assert len(write(out, resume=True, overwrite=True).kept) == COUNT - 1
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("resume", [False, True])
def test_a_name_that_is_taken_meanwhile_is_left_as_it_is(resume: bool, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def progress(done: int, size: int) -> None:
        (out / FILES[4]).write_bytes(b"precious")

    told(lambda: write(out, resume=resume, progress=progress), errno.EEXIST, f"{FILES[4]} exists")
    assert names(out) == ([STAGING] if resume else []) + [FILES[4]]
    assert (out / FILES[4]).read_bytes() == b"precious"
    if resume:
        assert finished(out) == FILES
        (out / FILES[4]).unlink()
        assert len(write(out, resume=True).kept) == COUNT
        assert contents(out) == contents(whole)


def test_a_name_that_is_taken_after_a_kill_is_left_as_it_is_too(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kill(out, 2, "after", overwrite=False)
    (out / FILES[4]).write_bytes(b"precious")
    for _ in range(2):
        told(lambda: write(out, resume=True), errno.EEXIST, f"{FILES[4]} exists")
        assert names(out) == [STAGING, FILES[4]]
        assert (out / FILES[4]).read_bytes() == b"precious"
        assert finished(out) == FILES
    assert len(write(out, resume=True, overwrite=True).kept) == COUNT
    assert contents(out) == contents(whole)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{}",
        b'{"files": ["../a"]}',
        b'{"files": [""], "before": ["/etc/passwd"]}',
        b'{"files": ["model.safetensors"], "before": ["tokenizer.json"]}',
        b'{"files": "abc"}',
        b'{"files": 3}',
        b"[" * 9,
        b"[" * 99_999,
    ],
    ids=range(9),
)
def test_a_note_that_is_none_is_told(note: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out)
    (out / STAGING / "publication.json").write_bytes(note)
    before = contents(out / STAGING)
    for options in ({"resume": True}, {"overwrite": True}):
        told(lambda options=options: write(out, **options), errno.EINVAL, "publication.json is no note of fanin's")
    assert contents(out / STAGING) == before


# Two at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_of_two_that_write_one_directory_the_second_is_refused_at_once(
    options: dict[str, Any], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    refused = 0

    def progress(done: int, size: int) -> None:
        nonlocal refused
        told(lambda: write(out, **options), errno.EBUSY, "out is being written by another process, and left to it")
        refused += 1

    with fanin.use(threads=1):
        write(out, progress=progress)
    assert refused >= COUNT
    assert contents(out) == contents(whole)


def test_the_end_of_one_and_the_beginning_of_another_do_not_meet(tmp_path: Path) -> None:
    """Some threads write one directory over and over; each is refused, or writes all of it alone."""
    plan = Plan([Rule("*", "random_normal")]).resolve([Parameter(str(n), (16,)) for n in range(3)], seed=1)
    checkpoint.write_sharded(tmp_path / "expected", plan, max_shard_size=64)
    out = tmp_path / "out"
    wrote, failures = [0] * 4, list[BaseException]()

    def work(number: int) -> None:
        while sum(wrote) < 60 and not failures:
            try:
                checkpoint.write_sharded(out, plan, max_shard_size=64, overwrite=True)
                wrote[number] += 1
            except CheckpointError as error:
                if error.errno != errno.EBUSY:
                    failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert contents(out) == contents(tmp_path / "expected")


def test_a_lock_that_nobody_holds_is_no_lock(whole: Path, tmp_path: Path) -> None:
    (tmp_path / STAGING).mkdir()
    (tmp_path / STAGING / "lock").touch()
    write(tmp_path)
    assert names(tmp_path) == COMPLETE
    assert np.array_equal(checkpoint.opened(tmp_path).arrays[0].handle, checkpoint.opened(whole).arrays[0].handle)
