"""The command as a process: signals, kills, full disks, terminals, memory. All of them are real."""

import contextlib
import functools
import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import BLOCK, SMALL, environment, fanin, large, line
from safetensors.numpy import load_file

import fanin as package
from fanin.cli import ExitCode

PACKAGE = Path(package.__file__).parent
PATIENCE = 60.0  # seconds
MIDDLE = 2**26  # bytes; of 2**30 that `large(64)` makes


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with plans of 1 GiB, of 64 MiB and of nothing much, and with an empty one for the output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large.toml").write_text(large(64), "utf-8")
    (tmp_path / "medium.toml").write_text(large(4), "utf-8")
    (tmp_path / "small.toml").write_text(SMALL, "utf-8")
    (tmp_path / "out").mkdir()
    yield tmp_path
    shutil.rmtree(tmp_path / "out")  # large


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def running(
    *arguments: object, before: list[str] | None = None, **variables: str | None
) -> Iterator[subprocess.Popen[str]]:
    """A process that is there during the block, and gone after it."""
    command = [*(before or []), *line(*arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**variables)
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def reach(process: subprocess.Popen, folder: Path, offset: int = MIDDLE) -> Path:
    """Wait until a process has written that far; return the file that it writes to."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, f"ended with {process.returncode} before it was in the middle"
        for path in folder.glob(".*.partial"):
            with path.open("rb") as file:
                file.seek(offset)
                if any(file.read(64)):
                    return path
        time.sleep(0.002)
    raise AssertionError(f"does not get to byte {offset}")


# Signals -------------------------------------------------------------------------------------------

CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.HANGUP,
}


@pytest.mark.parametrize(("engine", "force"), [("numpy", False), ("numba", True)])
@pytest.mark.parametrize("number", CODES)
def test_a_signal_in_the_middle_leaves_everything_as_it_was(
    number: signal.Signals, engine: str, force: bool, here: Path
) -> None:
    output = here / "out" / "model.safetensors"
    if force:
        output.write_bytes(b"precious")
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (here / "out").iterdir()}
    options = ["--threads", 2, *(["--force"] if force else [])]
    with running("init", "large.toml", "-o", output, *options, FANIN_ENGINE=engine) as process:
        reach(process, here / "out")
        process.send_signal(number)
        said, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (CODES[number], "")
    assert told == f"fanin: ended by {number.name}; no half-written file is left.\n"
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (here / "out").iterdir()} == before
    assert not force or output.read_bytes() == b"precious"


@pytest.mark.parametrize("first", CODES)
def test_signals_that_follow_the_first_disturb_nothing(first: signal.Signals, here: Path) -> None:
    """An impatient Ctrl-C, or a system that sends SIGTERM and SIGHUP at shutdown.

    Of those that come in one instant Python may take any for the first.
    """
    with running("init", "large.toml", "-o", "out/file", FANIN_ENGINE="numpy") as process:
        reach(process, here / "out")
        process.send_signal(first)
        until = time.monotonic() + PATIENCE
        sent = 0
        while process.poll() is None and time.monotonic() < until:
            process.send_signal(list(CODES)[sent % 3])
            sent += 1
            time.sleep(0.0005)
        said, told = process.communicate(timeout=PATIENCE)
    taken = {code: number for number, code in CODES.items()}[ExitCode(process.returncode)]
    assert told == f"fanin: ended by {taken.name}; no half-written file is left.\n"
    assert said == ""
    assert sent > 3
    assert not names(here / "out")


# What a handler raises in a callback from C goes nowhere but to the standard error.
LOST = """
import ctypes, os, signal
from fanin import engines
from fanin.cli import main

fill, fills = engines.fill, 0
callback = ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM))

def filling(*arguments):
    global fills
    fill(*arguments)
    fills += 1
    if fills == 8:
        callback()

engines.fill = filling
main()
"""


def test_a_signal_that_a_callback_swallows_counts_all_the_same(here: Path) -> None:
    arguments = ["init", "medium.toml", "-o", "out/file", "--threads", "1"]
    told = subprocess.run(
        [sys.executable, "-c", LOST, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "Exception ignored on calling ctypes callback" in told.stderr  # it was lost indeed
    assert told.stderr.endswith("fanin: ended by SIGTERM; no half-written file is left.\n")
    assert (told.returncode, told.stdout) == (ExitCode.TERMINATED, "")
    assert not names(here / "out")


def test_a_signal_that_is_ignored_stays_ignored(here: Path) -> None:
    """As `nohup` does it."""
    nohup = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
    with running("init", "medium.toml", "-o", "out/file", before=nohup, FANIN_ENGINE="numpy") as process:
        reach(process, here / "out", 2**24)
        process.send_signal(signal.SIGHUP)
        said, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (ExitCode.OK, "")
    assert said.startswith("out/file: 4 tensors, 16,777,216 parameters")
    assert names(here / "out") == ["file"]


@pytest.mark.parametrize("force", [False, True])
def test_a_kill_never_leaves_half_a_file_under_the_name(force: bool, here: Path) -> None:
    output = here / "out" / "file"
    if force:
        output.write_bytes(b"precious")
    command = ["init", "large.toml", "-o", output, *(["--force"] if force else [])]
    with running(*command, FANIN_ENGINE="numpy") as process:
        for offset in range(0, MIDDLE + 1, MIDDLE // 8):
            reach(process, here / "out", max(offset, 2**16))
            assert output.exists() == force
            assert not force or output.read_bytes() == b"precious"
        process.kill()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    left = names(here / "out")
    assert [name for name in left if not name.startswith(".")] == (["file"] if force else [])
    assert [bool(re.fullmatch(r"\.file\.[0-9a-f]{16}\.partial", name)) for name in left if name != "file"] == [True]
    assert not force or output.read_bytes() == b"precious"
    again = fanin("init", "small.toml", "-o", output, *(["--force"] if force else []))  # what is left is in no way
    assert again.returncode == 0
    assert len(load_file(output)) == 3


def test_of_two_that_write_one_name_one_wins(here: Path) -> None:
    codes = []
    with (
        running("init", "medium.toml", "-o", "out/file", "--quiet", FANIN_ENGINE="numpy") as one,
        running("init", "medium.toml", "-o", "out/file", "--quiet", FANIN_ENGINE="numpy") as other,
    ):
        for process in (one, other):
            told = process.communicate(timeout=PATIENCE)[1]
            codes.append(process.returncode)
            assert (process.returncode == 0) == (told == "")
    assert sorted(codes) == [ExitCode.OK, ExitCode.EXISTS]
    assert names(here / "out") == ["file"]
    arrays = load_file("out/file")
    assert len(arrays) == 4
    assert all(0.04 < array.std() < 0.06 for array in arrays.values())


# No space ------------------------------------------------------------------------------------------

LIMIT = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""
PRESENT = ["old"]


@pytest.mark.parametrize("force", [False, True])
def test_a_limit_on_files_is_told_before_anything_is_drawn(force: bool, here: Path) -> None:
    """What a disk without room is to others, a limit of the process is to whoever may not mount one."""
    (here / "out" / "old").write_bytes(b"precious")
    limited = [sys.executable, "-c", LIMIT, str(2**20)]
    output = ["out/old", "--force"] if force else ["out/new"]
    told = fanin("init", "medium.toml", "-o", *output, before=limited)
    assert (told.returncode, told.stdout) == (ExitCode.NO_SPACE, "")
    assert re.search(
        rf"error: {output[0]} needs 67,1\d\d,\d+ bytes: File too large, after 0 bytes\. Make room, or write to",
        told.stderr,
    )
    assert names(here / "out") == PRESENT
    assert (here / "out" / "old").read_bytes() == b"precious"
    assert force or fanin("init", "small.toml", "-o", *output, before=limited).returncode == 0  # it is the size


@pytest.mark.parametrize("threads", [1, 3])
def test_a_limit_that_comes_in_the_middle_is_told(threads: int, here: Path) -> None:
    (here / "out" / "old").write_bytes(b"precious")
    command = ["init", "large.toml", "-o", "out/old", "--force", "--threads", threads]
    with running(*command, FANIN_ENGINE="numpy") as process:
        reach(process, here / "out")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MIDDLE, MIDDLE))
        said, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (ExitCode.NO_SPACE, "")
    found = re.search(r"out/old needs 1,073,7\d\d,\d+ bytes: File too large, after ([\d,]+) bytes\.", told)
    assert found, told
    assert int(found[1].replace(",", "")) > MIDDLE // 2
    assert names(here / "out") == PRESENT
    assert (here / "out" / "old").read_bytes() == b"precious"


@functools.cache
def mounting() -> list[str]:
    """What runs a command that may mount, seen by nobody else; empty where that is not permitted."""
    with tempfile.TemporaryDirectory() as folder:
        for unshare in (["unshare", "--mount", "--map-root-user"], ["unshare", "--mount"]):
            command = [*unshare, "mount", "-t", "tmpfs", "tmpfs", folder]
            if shutil.which("unshare") and not subprocess.run(command, capture_output=True, check=False).returncode:
                return unshare
    return []


mounted = pytest.mark.skipif(not mounting(), reason="may not mount; the limits above, and permissions, stand in")

# Mounts a file system of some options on "out", runs the command, and prints what is there then.
MOUNT = """
mount -t tmpfs -o "$1" tmpfs out && printf precious > out/old && mount -o "remount,$2" out || exit 99
shift 2
"$@"
code=$?
ls -A out
cat out/old
exit $code
"""


def on_a_disk(options: str, remount: str, *arguments: object) -> subprocess.CompletedProcess:
    return fanin(*arguments, before=[*mounting(), "sh", "-c", MOUNT, "sh", options, remount], FANIN_ENGINE="numpy")


@mounted
@pytest.mark.parametrize("output", [["out/new"], ["out/old", "--force"]])
@pytest.mark.parametrize(
    ("options", "remount", "code", "message"),
    [
        ("size=8m", "rw", ExitCode.NO_SPACE, r"needs 67,1\d\d,\d+ bytes: 8,3\d\d,\d+ are free\. Make room"),
        ("nr_inodes=2", "rw", ExitCode.NO_SPACE, r"needs .* bytes: No space left on device, after 0 bytes\. Make"),
        ("size=1g", "ro", ExitCode.CHECKPOINT, r"cannot be written: Read-only file system\."),
    ],
)
def test_a_disk_without_room_is_told(
    options: str, remount: str, code: ExitCode, message: str, output: list[str], here: Path
) -> None:
    """Too small, without room for another name, and read-only."""
    told = on_a_disk(options, remount, "init", "medium.toml", "-o", *output)
    assert told.returncode == code, told.stderr
    assert re.search(rf"error: {output[0]} {message}", told.stderr), told.stderr
    assert told.stdout == "old\nprecious"


@mounted
def test_a_disk_with_room_is_written(here: Path) -> None:
    done = on_a_disk("size=8m", "rw", "init", "small.toml", "-o", "out/new", "--quiet")
    assert (done.returncode, done.stdout) == (0, "new\nold\nprecious"), done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root, who may mount a read-only disk instead")
def test_a_directory_without_permission_is_told(here: Path) -> None:
    (here / "out").chmod(0o555)
    told = fanin("init", "small.toml", "-o", "out/file")
    (here / "out").chmod(0o755)
    assert told.returncode == ExitCode.CHECKPOINT
    assert "out/file cannot be written: Permission denied." in told.stderr
    assert not names(here / "out")


# Terminals -----------------------------------------------------------------------------------------

# Makes the standard error the terminal of a session, so that what is typed there becomes signals.
SESSION = """
import fcntl, os, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


class Terminal:
    """A command whose input and standard error are a terminal of 120 columns."""

    def __init__(self, *arguments: object, **variables: str | None) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 120))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SESSION, *line(*arguments)],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
            start_new_session=True,
            env=environment(TERM="xterm", COLUMNS=None, NO_COLOR=None, **variables),
        )
        os.close(slave)
        self.seen = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
        if self.master >= 0:
            self.hang_up()

    def hang_up(self) -> None:
        os.close(self.master)
        self.master = -1

    def read(self, pattern: str = "") -> bool:
        """Read until a pattern was seen, or the terminal is left; say whether it was."""
        until = time.monotonic() + PATIENCE
        while not (pattern and re.search(pattern, self.seen)):
            assert time.monotonic() < until, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    data = os.read(self.master, 4096)
                except OSError:  # how Linux says that nobody holds it any more
                    return False
                self.seen += data.decode("utf-8", "replace")
        return True

    def end(self) -> tuple[int, str]:
        """The exit code, and what went to the standard output."""
        self.read()
        said = self.process.communicate(timeout=PATIENCE)[0].decode()
        return self.process.returncode, said


def test_a_terminal_shows_a_bar_with_rate_and_remaining_time(here: Path) -> None:
    (here / "plan.toml").write_text(large(8), "utf-8")
    with Terminal("init", "plan.toml", "-o", "out/file", "--threads", 1, FANIN_ENGINE="numpy") as terminal:
        code, said = terminal.end()
    assert code == 0, terminal.seen
    assert said.startswith("out/file: 8 tensors")
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.seen)
    assert re.search(r"file \S+ \d+\.\d/134\.2 MB [1-9]\d*\.\d MB/s 0:00:\d\d", plain), plain
    assert "\u2501" in plain  # the bar itself
    assert terminal.seen.index(HIDE) < terminal.seen.rindex(SHOW)


def test_without_a_terminal_there_is_no_bar(here: Path) -> None:
    """A plan of any size shows one to whoever looks, if only for a moment."""
    done = fanin("init", "small.toml", "-o", "out/file")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"out/file: [^\x1b\n]+\n", done.stdout)
    with Terminal("init", "small.toml", "-o", "out/file", "--force") as terminal:
        assert terminal.end()[0] == 0
        assert "file" in terminal.seen
        assert "\u2501" in terminal.seen


def test_quiet_shows_no_bar_on_a_terminal(here: Path) -> None:
    with Terminal("init", "small.toml", "-o", "out/file", "--quiet") as terminal:
        assert terminal.end() == (0, "")
        assert terminal.seen == ""
    with Terminal("init", "no.toml", "-o", "out/file", "--force", "--quiet") as terminal:
        assert terminal.end() == (ExitCode.PLAN, "")
        assert "the plan 'no.toml' cannot be read" in terminal.seen


def test_an_interrupt_from_the_keyboard_gives_the_terminal_back(here: Path) -> None:
    with Terminal("init", "large.toml", "-o", "out/file", FANIN_ENGINE="numpy") as terminal:
        assert terminal.read(r"[MG]B/s")
        reach(terminal.process, here / "out")
        os.write(terminal.master, b"\x03")
        assert terminal.end() == (ExitCode.INTERRUPTED, "")
    assert "fanin: ended by SIGINT; no half-written file is left." in terminal.seen
    assert "Traceback" not in terminal.seen
    assert terminal.seen.rindex(SHOW) > terminal.seen.rindex(HIDE)
    assert not names(here / "out")


def test_an_interrupt_while_kernels_are_compiled_leaves_nothing(here: Path) -> None:
    """The bar says why nothing happens; an empty cache makes it the first run of an installation."""
    with Terminal(
        "init", "large.toml", "-o", "out/file", FANIN_ENGINE="numba", NUMBA_CACHE_DIR=str(here / "cache")
    ) as terminal:
        assert terminal.read("compiling, once per installation")
        assert [name[-8:] for name in names(here / "out")] == [".partial"]
        started = time.monotonic()
        os.write(terminal.master, b"\x03")
        assert terminal.end() == (ExitCode.INTERRUPTED, "")
        assert time.monotonic() - started < 15
    assert not names(here / "out")


def test_a_terminal_that_hangs_up_leaves_nothing(here: Path) -> None:
    with Terminal("init", "large.toml", "-o", "out/file", FANIN_ENGINE="numpy") as terminal:
        assert terminal.read(r"[MG]B/s")
        reach(terminal.process, here / "out")
        terminal.hang_up()
        assert terminal.process.communicate(timeout=PATIENCE)[0] == b""
    assert terminal.process.returncode == ExitCode.HANGUP
    assert not names(here / "out")


# The self-test -------------------------------------------------------------------------------------


def test_the_self_test_passes() -> None:
    done = fanin("selftest")
    assert (done.returncode, done.stderr) == (0, "")
    *files, last = done.stdout.splitlines()
    assert re.fullmatch(r"fanin selftest: all agree, in \d+\.\d s", last)
    found = [re.fullmatch(r"(\w+\.txt) +(\w+) +(\d+) vectors agree", text) for text in files]
    assert all(found)
    assert {match[1] for match in found if match} == {path.name for path in (PACKAGE / "vectors").glob("*.txt")}
    assert {"spec", "reference", "numpy", "numba"} <= {match[2] for match in found if match}
    assert sum(int(match[3]) for match in found if match) > 2000


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("words.txt", r"^[0-9a-f]{8} [0-9a-f ]+$"),  # the last word of a block of Philox
        ("tensors.txt", r'"hex": ?"[0-9a-f]+(?=")'),  # the last byte of a tensor
    ],
)
def test_the_self_test_sees_a_digit_that_differs(file: str, pattern: str, tmp_path: Path) -> None:
    """In a copy of the package, as an engine that is off by one bit would look."""
    copy = tmp_path / "fanin"
    shutil.copytree(PACKAGE, copy)
    path = copy / "vectors" / file
    text = path.read_text("utf-8")
    *_, last = re.finditer(pattern, text, re.MULTILINE)
    at = last.end() - 1
    changed = text[:at] + f"{int(text[at], 16) ^ 1:x}" + text[at + 1 :]
    path.write_text(changed, "utf-8")
    told = fanin("selftest", PYTHONPATH=str(tmp_path))
    assert told.returncode == ExitCode.SELFTEST, told.stdout + told.stderr
    assert "this machine does not write the stream: found" in told.stdout + told.stderr
    vector = changed[changed.rindex("\n", 0, at) + 1 : changed.index("\n", at)]
    assert vector in told.stdout + told.stderr  # that one, and no other
    assert "Traceback" not in told.stderr


# Memory --------------------------------------------------------------------------------------------

PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*command: str, **variables: str | None) -> float:
    """The most memory that a command held, in MiB; measured by a small process, since a large one's would count."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment(**variables),
    )
    code, kib = done.stdout.split()
    assert code == "0", done.stderr
    return int(kib) / 1024


def test_memory_does_not_grow_with_the_file(here: Path) -> None:
    found = {}
    for blocks in (2, 64):
        (here / "plan.toml").write_text(large(blocks), "utf-8")
        command = line("init", "plan.toml", "-o", "out/file", "--force", "--quiet", "--threads", 2)
        found[blocks] = peak(*command)
        assert (here / "out" / "file").stat().st_size > blocks * 4 * BLOCK
    assert found[64] - found[2] < 24, found
    assert found[64] < 512, found


def test_the_measure_of_memory_sees_what_is_held() -> None:
    code = "held = bytearray(32 << 20); held[::4096] = bytes([1]) * (len(held) // 4096)"
    assert 28 < peak(sys.executable, "-c", code) - peak(sys.executable, "-c", "") < 40


STARVED = """
import resource, sys
from fanin.cli import main
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
main(["init", "plan.toml", "-o", "output", "--quiet"])
"""


def test_a_tensor_that_finds_no_memory_is_told(here: Path) -> None:
    """It takes 512 MiB in float64, and some more."""
    parameters = '[[parameters]]\nname = "w"\nshape = [8192, 8192]\nlayout = "i o"\n'
    (here / "plan.toml").write_text(parameters + '[[rules]]\nmatch = "w"\ninitializer = "orthogonal"\n', "utf-8")
    before = names(here)
    done = subprocess.run(
        [sys.executable, "-c", STARVED],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == ExitCode.NO_MEMORY, done.stderr
    assert "there is no memory for 'w', shape (8192, 8192), which has to be computed whole" in done.stderr
    assert names(here) == before
