"""The command that writes shards, as a process: kills, signals, full disks, memory, and two of them. All are real."""

import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import SMALL, environment, fanin, large
from safetensors.numpy import load_file, save_file
from test_cli_processes import LIMIT, PATIENCE, mounted, on_a_disk, running

from fanin.checkpoint.staging import STAGING
from fanin.cli import ExitCode

INDEX = "model.safetensors.index.json"
BLOCKS, SHARDS = 8, 4  # of 16 MiB, and of two blocks
SIZE = ["--max-shard-size", "34MB"]
KILLS = 10


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with plans of 128 MiB and of nothing much."""
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(large(BLOCKS), "utf-8")
    Path("small.toml").write_text(SMALL, "utf-8")
    yield tmp_path
    shutil.rmtree(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """What tells whether a finished shard was written again."""
    files = [path for folder in (out / STAGING, out) for path in folder.glob("*.safetensors")]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def wait(out: Path, shards: int, process: subprocess.Popen[str]) -> None:
    """Wait until a process is writing, and so many shards are finished."""
    until = time.monotonic() + PATIENCE
    while not list((out / STAGING).glob("*.partial")) or len(finished(out)) < shards:
        assert process.poll() is None, f"ended with {process.returncode}: {process.communicate()}"
        assert time.monotonic() < until
        time.sleep(0.002)


def test_what_is_killed_at_any_point_ends_with_the_same_bytes(here: Path) -> None:
    """Ten kills; each command goes on with what those before it finished."""
    out = here / "out"
    command = ["init", "plan.toml", *SIZE, "--threads", 1, "-o"]
    started = time.monotonic()
    assert fanin(*command, "whole/", FANIN_ENGINE="numpy").returncode == 0
    duration = time.monotonic() - started
    expected = contents(here / "whole")
    assert len(expected) == SHARDS + 1
    points = random.Random(7)
    kills = kept = 0
    while kills < KILLS:
        before = finished(out)
        with running(*command, "out/", "--resume", FANIN_ENGINE="numpy") as process:
            time.sleep(points.uniform(0.2, 1.1) * duration)
            process.kill()
            said = process.communicate(timeout=PATIENCE)[0]
        after = finished(out)
        assert before.items() <= after.items()  # nothing that was finished is written again
        kept += len(before)
        if process.returncode == 0:
            assert f" in {SHARDS} files, {len(before)} of them kept, in" in said
            assert contents(out) == expected
            shutil.rmtree(out)
            continue
        assert process.returncode == -signal.SIGKILL
        kills += 1
        assert INDEX not in names(out) or contents(out).keys() == expected.keys()
    told = fanin(*command, "out/", "--resume", FANIN_ENGINE="numpy")
    assert f" in {SHARDS} files, {len(after)} of them kept, in" in told.stdout, told
    assert contents(out) == expected
    assert kept >= KILLS // 2, "little was finished before the kills, so the test shows little"


def test_a_bit_that_flipped_in_a_finished_shard_is_found(here: Path) -> None:
    out = here / "out"
    command = ["init", "plan.toml", "-o", "out/", *SIZE, "--resume"]
    with running(*command, "--threads", 1, FANIN_ENGINE="numpy") as process:
        wait(out, 2, process)
        process.kill()
        process.communicate()
    left = finished(out)
    first, second, *_ = sorted(left)
    with (out / STAGING / first).open("r+b") as file:
        file.seek(20_000_000)
        byte = file.read(1)[0]
        file.seek(20_000_000)
        file.write(bytes([byte ^ 1]))
    told = fanin(*command, FANIN_ENGINE="numpy")
    assert re.search(rf" bytes in {SHARDS} files, {len(left) - 1} of them kept, in \d", told.stdout), told
    after = finished(out)
    assert (after[second], after[first] != left[first]) == (left[second], True)
    fanin("init", "plan.toml", "-o", "whole/", *SIZE, FANIN_ENGINE="numpy")
    assert contents(out) == contents(here / "whole")


@pytest.mark.parametrize(("number", "resume"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_leaves_nothing_or_what_can_be_resumed(number: signal.Signals, resume: bool, here: Path) -> None:
    command = ["init", "plan.toml", "-o", "out/", *SIZE, *(["--resume"] if resume else [])]
    with running(*command, "--threads", 1, FANIN_ENGINE="numpy") as process:
        wait(here / "out", 2, process)
        process.send_signal(number)
        said, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (128 + number, "")
    assert told.startswith(f"fanin: ended by {number.name}; no half-written file is left.")
    if not resume:
        assert told.endswith("is left.\n")
        assert names(here) == ["plan.toml", "small.toml"]
        return
    left = finished(here / "out")
    assert len(left) >= 2
    assert names(here / "out") == [STAGING]
    assert names(here / "out" / STAGING) == ["lock", *sorted(left)]
    assert f" {len(left)} finished files are kept in out/{STAGING}; the same command with --resume" in told
    again = fanin(*command, FANIN_ENGINE="numpy")
    assert f"{SHARDS} files, {len(left)} of them kept," in again.stdout
    assert left.items() <= finished(here / "out").items()


def test_the_second_of_two_commands_is_refused(here: Path) -> None:
    command = ["init", "plan.toml", "-o", "out/", *SIZE]
    with running(*command, "--threads", 1, FANIN_ENGINE="numpy") as process:
        wait(here / "out", 0, process)
        process.send_signal(signal.SIGSTOP)
        try:
            for more in ([], ["--resume"], ["--force"]):
                told = fanin(*command, *more)
                assert (told.returncode, told.stdout) == (ExitCode.BUSY, "")
                assert "error: out is being written by another process, and left to it" in told.stderr
        finally:
            process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=PATIENCE)[1] == ""
    assert process.returncode == 0
    assert len(load_file(here / "out" / "model-00001-of-00004.safetensors")) == 2


# No room -------------------------------------------------------------------------------------------


def test_a_limit_on_files_is_told_before_anything_is_drawn(here: Path) -> None:
    limited = [sys.executable, "-c", LIMIT, str(2**20)]
    told = fanin("init", "plan.toml", "-o", "out/", *SIZE, before=limited)
    assert (told.returncode, told.stdout) == (ExitCode.NO_SPACE, "")
    assert re.search(
        r"error: out/model-00001-of-00004\.safetensors needs 33,55\d,\d+ bytes: File too large, after 0 bytes\.",
        told.stderr,
    )
    assert names(here) == ["plan.toml", "small.toml"]
    assert fanin("init", "small.toml", "-o", "out/", before=limited).returncode == 0  # it is the size


@pytest.mark.parametrize("resume", [False, True])
def test_a_limit_that_comes_in_the_middle_is_told(resume: bool, here: Path) -> None:
    command = ["init", "plan.toml", "-o", "out/", *SIZE, *(["--resume"] if resume else [])]
    with running(*command, "--threads", 1, FANIN_ENGINE="numpy") as process:
        wait(here / "out", 1, process)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2**20, 2**20))
        said, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (ExitCode.NO_SPACE, "")
    assert re.search(r"out/model-0000\d-of-00004\.safetensors needs 33,55\d,\d+ bytes: File too large, after \d", told)
    assert names(here) == (["out"] if resume else []) + ["plan.toml", "small.toml"]
    if resume:
        assert finished(here / "out")
        assert fanin(*command, FANIN_ENGINE="numpy").returncode == 0


@mounted
@pytest.mark.parametrize("more", [[], ["--force"], ["--resume"]])
def test_a_disk_without_room_is_told(more: list[str], here: Path) -> None:
    (here / "out").mkdir()
    told = on_a_disk("size=40m", "rw", "init", "plan.toml", "-o", "out", *SIZE, *more)
    assert told.returncode == ExitCode.NO_SPACE, told.stderr
    assert re.search(r"error: out needs 134,21\d,\d+ bytes: 4\d,\d+,\d+ are free\. Make room, or write to", told.stderr)
    assert told.stdout == "old\nprecious"


# Memory --------------------------------------------------------------------------------------------

PEAK = """
import re, sys
from pathlib import Path
from fanin.cli import main
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


def peak(*arguments: object) -> int:
    """The most memory in bytes that a command held; what it maps and reads counts."""
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(FANIN_ENGINE="numpy"), timeout=120
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr) * 1024


def test_memory_does_not_grow_with_what_is_drawn_compared_or_copied(here: Path) -> None:
    Path("rules.toml").write_text('[[rules]]\nmatch = "*"\ninitializer = "random_normal"\n', "utf-8")
    Path("tiny.toml").write_text(large(1).replace("4096", "1"), "utf-8")
    least = peak("init", "tiny.toml", "-o", "tiny/", "--threads", 2)
    most = least + 48 * 2**20  # of 128 MiB
    command = ["init", "plan.toml", "-o", "out/", *SIZE, "--threads", 2]
    assert peak(*command) < most
    assert peak(*command, "--resume") < most
    copy = ["init", "rules.toml", "--like", "out", "--only", "block.3.*", "--threads", 2]
    assert peak(*copy, "-o", "copy/", *SIZE) < most
    assert peak(*copy, "-o", "copy.safetensors") < most
    assert len(load_file("copy.safetensors")) == BLOCKS


def test_the_measure_of_memory_sees_what_is_mapped(here: Path) -> None:
    save_file({"a": np.zeros(2**24, np.float32)}, "zeros.safetensors")
    code = PEAK.replace("    main()", "    np.asarray(np.memmap('zeros.safetensors', np.uint8, 'r')).sum()")
    done = subprocess.run(
        [sys.executable, "-c", f"import numpy as np\n{code}"], capture_output=True, text=True, check=True
    )
    assert int(done.stderr) * 1024 > 2**26
