"""The command line: what each option does, and what is said, with which exit code, of what cannot be done."""

import json
import os
import re
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import BLOCK, RULES, SMALL, device, environment, fanin, invoked, large, line
from harness import assert_same_bits
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import fanin as package
from fanin import Plan, checkpoint, engines
from fanin.cli import MEANINGS, ExitCode, exit_code
from fanin.dtypes import FLOATS
from fanin.errors import (
    CheckpointError,
    DTypeError,
    EngineError,
    FaninError,
    LayoutError,
    PlanError,
    SeedError,
    SelftestError,
)
from fanin.initializers import HeNormal
from fanin.plan import digest
from fanin.spec import STREAM

HEAVY = {"numba", "llvmlite", "torch", "jax", "keras", "tensorflow", "flax", "transformers", "scipy", "rich", "pandas"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a plan, its rules alone, and what they can be given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(SMALL, "utf-8")
    (tmp_path / "rules.toml").write_text(RULES, "utf-8")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def check_refused(code: ExitCode, fragments: list[str], *arguments: object) -> None:
    """Check exit code and message, and that nothing is said elsewhere, nor anything made or touched.

    With `--force` too, over a file that is there; and with `--quiet`, which silences no error.
    """
    output = Path("out.safetensors")
    for force in (False, True):
        if force:
            output.write_bytes(b"precious")
        before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path().rglob("*")}
        told = invoked("init", "-o", output, *arguments, *(["--force", "--quiet"] if force else []))
        after = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path().rglob("*")}
        assert (told.exit_code, told.stdout) == (code, ""), told.output
        for fragment in fragments:
            assert fragment in told.stderr, f"{fragment!r} is not in {told.stderr!r}"
        assert after == before
        assert not force or output.read_bytes() == b"precious"
        output.unlink(missing_ok=True)


# What is written -----------------------------------------------------------------------------------


def test_init_writes_the_plan(here: Path) -> None:
    done = invoked("init", "plan.toml", "-o", "out.safetensors", "--seed", 42)
    assert (done.exit_code, done.stderr) == (ExitCode.OK, "")
    size = (here / "out.safetensors").stat().st_size
    hashed = metadata(here / "out.safetensors")["fanin.plan"]
    assert re.fullmatch(
        rf"out\.safetensors: 3 tensors, 49 parameters, {size:,} bytes in \d+\.\d\d s \([\d,]+ MB/s\); seed 42, "
        rf"plan {hashed[:16]}\n",
        done.stdout,
    )
    arrays = load_file(here / "out.safetensors")
    assert_same_bits(arrays.pop("fc.weight"), HeNormal(seed=42)((8, 5), name="fc.weight", layout="o i"))
    assert_same_bits(arrays.pop("fc.bias"), np.zeros(8, np.float32))
    assert_same_bits(arrays.pop("steps"), np.zeros((), np.int64))
    assert not arrays
    assert names(here) == ["out.safetensors", "plan.toml", "rules.toml"]


def test_a_process_writes_what_a_call_in_python_writes(here: Path) -> None:
    done = fanin("init", "plan.toml", "-o", "process", "--seed", 42)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("process: 3 tensors")
    entries = Plan.from_file("plan.toml").resolve(seed=42)
    checkpoint.write("library", entries, metadata=metadata(here / "process"))
    assert (here / "process").read_bytes() == (here / "library").read_bytes()


def test_metadata_says_how_to_make_the_file_again(here: Path) -> None:
    assert invoked("init", "plan.toml", "-o", "a", "--seed", 2**64 - 1).exit_code == 0
    assert metadata(here / "a") == {
        "format": "pt",
        "fanin.version": package.__version__,
        "fanin.stream": STREAM,
        "fanin.seed": "18446744073709551615",
        "fanin.plan": digest(Plan.from_file("plan.toml").resolve(seed=2**64 - 1)),
    }
    assert STREAM == "fanin-1"
    # Another seed and another dtype are another digest, another spelling of the plan is not.
    (here / "spelled.toml").write_text(SMALL.replace("he_normal", "variance_scaling(4 / 2)"), "utf-8")
    invoked("init", "spelled.toml", "-o", "b", "--seed", "0xffffffffffffffff")
    assert (here / "a").read_bytes() == (here / "b").read_bytes()
    others = [["--seed", 1], ["--dtype", "bfloat16"], []]
    for number, options in enumerate(others):
        invoked("init", "plan.toml", "-o", str(number), *options)
    digests = {metadata(here / name)["fanin.plan"] for name in ("a", "0", "1", "2")}
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        ("0", 0),
        ("42", 42),
        ("007", 7),
        ("0x2a", 42),
        ("0X2A", 42),
        ("18446744073709551615", 2**64 - 1),
        ("0xFFFFFFFFFFFFFFFF", 2**64 - 1),
    ],
)
def test_a_seed_is_decimal_or_hexadecimal(text: str, seed: int, here: Path) -> None:
    assert invoked("init", "plan.toml", "-o", "out", f"--seed={text}").exit_code == 0
    assert metadata(here / "out")["fanin.seed"] == str(seed)
    weight = load_file(here / "out")["fc.weight"]
    assert_same_bits(weight, HeNormal(seed=seed)((8, 5), name="fc.weight", layout="o i"))


def test_without_a_seed_it_is_zero(here: Path) -> None:
    invoked("init", "plan.toml", "-o", "none")
    invoked("init", "plan.toml", "-o", "zero", "--seed", 0)
    assert (here / "none").read_bytes() == (here / "zero").read_bytes()


@pytest.mark.parametrize(
    "text",
    ["-1", "1.0", "1e3", "", " ", "text", "True", "None", "0b11", "0x", "0xg", "-0x1", "18446744073709551616",
     "0x10000000000000000", "9" * 5000],
)  # fmt: skip
def test_a_bad_seed_is_told(text: str, here: Path) -> None:
    fragments = ["'--seed'", repr(text)[:60], "no integer from 0 to 2**64 - 1", "hexadecimal after 0x"]
    check_refused(ExitCode.USAGE, fragments, "plan.toml", "--seed", text)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_dtype_takes_the_place_of_all_floats(dtype: str, here: Path) -> None:
    assert invoked("init", "plan.toml", "-o", "out", "--dtype", dtype, "--seed", 7).exit_code == 0
    found = {parameter.name: parameter.dtype for parameter in checkpoint.shapes("out")}
    assert found == {"fc.weight": dtype, "fc.bias": dtype, "steps": "int64"}
    weight = HeNormal(seed=7)((8, 5), dtype, name="fc.weight", layout="o i")
    assert weight.tobytes() in (here / "out").read_bytes()


def test_threads_are_as_many_as_asked_and_change_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "plan.toml").write_text(large(2), "utf-8")
    monkeypatch.setenv("FANIN_NUM_THREADS", "3")
    started = 0
    start = threading.Thread.start

    def counting(thread: threading.Thread) -> None:
        nonlocal started
        started += thread.name.startswith("fanin-write-")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counting)
    monkeypatch.setattr(engines, "_settings", None)  # so that the environment is read
    counts, written = {}, set()
    for options in ([], ["--threads", 1], ["--threads", 2], ["--threads", 64]):
        started = 0
        done = invoked("init", "plan.toml", "-o", "out", "--force", *options)
        assert done.exit_code == 0, done.output
        counts[str(options)] = started + 1
        written.add((here / "out").read_bytes())
    assert list(counts.values()) == [3, 1, 2, 8]  # never more than eight write
    assert len(written) == 1
    assert len(written.pop()) > 2 * 4 * BLOCK


def test_quiet_prints_nothing(here: Path) -> None:
    done = invoked("init", "plan.toml", "-o", "out", "--quiet")
    assert (done.exit_code, done.output) == (0, "")
    assert (here / "out").is_file()


def test_force_replaces_and_nothing_else_does(here: Path) -> None:
    (here / "out").write_bytes(b"precious")
    told = invoked("init", "plan.toml", "-o", "out")
    assert (told.exit_code, told.stdout) == (ExitCode.EXISTS, "")
    assert "error: out exists, and is left as it is; give another name, or replace it by --force" in told.stderr
    assert (here / "out").read_bytes() == b"precious"
    assert invoked("init", "plan.toml", "-o", "out", "--force").exit_code == 0
    assert invoked("init", "plan.toml", "-o", "new", "--force").exit_code == 0
    assert (here / "out").read_bytes() == (here / "new").read_bytes()
    assert names(here) == ["new", "out", "plan.toml", "rules.toml"]


# --like --------------------------------------------------------------------------------------------


def test_like_takes_names_shapes_and_dtypes(here: Path) -> None:
    invoked("init", "plan.toml", "-o", "out", "--seed", 3)
    save_file({name: np.zeros_like(array) for name, array in load_file("out").items()}, "old.safetensors")
    done = invoked("init", "rules.toml", "-o", "again", "--seed", 3, "--like", "old.safetensors")
    assert done.exit_code == 0, done.output
    assert (here / "again").read_bytes() == (here / "out").read_bytes()


def test_like_takes_an_index_and_its_shards(here: Path) -> None:
    invoked("init", "plan.toml", "-o", "out", "--seed", 3)
    arrays = load_file("out")
    weights = {}
    for number, name in enumerate(arrays):
        shard = f"model-{number + 1:05}-of-00003.safetensors"
        save_file({name: np.zeros_like(arrays[name])}, shard)
        weights[name] = shard
    index = here / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 200}, "weight_map": weights}), "utf-8")
    assert invoked("init", "rules.toml", "-o", "again", "--seed", 3, "--like", index).exit_code == 0
    assert (here / "again").read_bytes() == (here / "out").read_bytes()
    assert len(weights) == 3
    (here / "model-00002-of-00003.safetensors").unlink()
    fragments = ["index.json lists a shard that cannot be used", "model-00002-of-00003.safetensors cannot be read"]
    check_refused(ExitCode.CHECKPOINT, fragments, "rules.toml", "--like", index)


def test_a_checkpoint_can_be_made_anew_over_itself(here: Path) -> None:
    invoked("init", "plan.toml", "-o", "out", "--seed", 3)
    first = (here / "out").read_bytes()
    assert invoked("init", "rules.toml", "-o", "out", "--like", "out", "--seed", 4, "--force").exit_code == 0
    assert (here / "out").read_bytes() != first
    assert invoked("init", "rules.toml", "-o", "out", "--like", "out", "--seed", 3, "--force").exit_code == 0
    assert (here / "out").read_bytes() == first


def raw(fields: object, data: bytes = b"") -> bytes:
    text = json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(name: str, dtype: str = "F32", size: int = 8) -> dict[str, Any]:
    return {name: {"dtype": dtype, "shape": [2], "data_offsets": [0, size]}}


UNFIT = {name: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for name in ("a.weight", "a.bias", "steps")}


LIKES: dict[str, tuple[bytes | None, ExitCode, list[str]]] = {
    "missing.safetensors": (None, ExitCode.CHECKPOINT, ["missing.safetensors cannot be read: No such file"]),
    "truncated.safetensors": (raw(tensor("fc.bias"), bytes(7)), ExitCode.CHECKPOINT, ["not a safetensors file"]),
    "corrupt.safetensors": (b"\xff" * 64, ExitCode.CHECKPOINT, ["corrupt.safetensors: not a safetensors file"]),
    "pickle.bin": (b"\x80\x02}q\x00.", ExitCode.CHECKPOINT, ["pickle.bin: not a safetensors file"]),
    "dtype.safetensors": (raw(tensor("fc.bias", "C64", 16), bytes(16)), ExitCode.CHECKPOINT, ["'fc.bias'", "'C64'"]),
    "unknown.safetensors": (raw(tensor("fc.bias", "F7"), bytes(8)), ExitCode.CHECKPOINT, ["not a safetensors", "F7"]),
    "axes.safetensors": (
        raw({"fc.bias": {"dtype": "U8", "shape": [1] * 65, "data_offsets": [0, 1]}}, bytes(1)),
        ExitCode.CHECKPOINT,
        ["axes.safetensors: a shape of 65 axes is beyond the 64"],
    ),
    "empty.safetensors": (raw({}), ExitCode.USAGE, ["empty.safetensors holds no tensors, so there is nothing"]),
    "text.index.json": (b"weights", ExitCode.CHECKPOINT, ["text.index.json: not JSON", "line 1 column 1"]),
    "config.json": (b'{"n_layer": 12}', ExitCode.CHECKPOINT, ["config.json: no index of a checkpoint", "weight_map"]),
    "nothing.index.json": (b'{"weight_map": {}}', ExitCode.USAGE, ["nothing.index.json holds no tensors"]),
    "up.index.json": (b'{"weight_map": {"a": "../a"}}', ExitCode.CHECKPOINT, ["'../a' of 'a' does not lie beside"]),
    "lie.index.json": (b'{"weight_map": {"fc.weight": "good"}}', ExitCode.CHECKPOINT, ["holds 'fc.weight', and it"]),
    "unfit.safetensors": (raw(UNFIT), ExitCode.PLAN, ["claims a.weight, shape (0,)", "no input axis"]),
    "unclaimed.safetensors": (raw(tensor("other"), bytes(8)), ExitCode.PLAN, ["no rule claims 1 of 1", "other, shape"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LIKES)
def test_a_bad_checkpoint_to_be_like_is_told(name: str, here: Path) -> None:
    data, code, fragments = LIKES[name]
    (here / "good").write_bytes(raw(tensor("fc.bias"), bytes(8)))
    if data is not None:
        (here / name).write_bytes(data)
    check_refused(code, fragments, "rules.toml", "--like", name)


def test_a_pipe_to_be_like_is_told_and_not_waited_for(here: Path) -> None:
    os.mkfifo("fifo")
    check_refused(ExitCode.CHECKPOINT, ["fifo is no regular file"], "rules.toml", "--like", "fifo")


def test_like_and_parameters_do_not_go_together(here: Path) -> None:
    invoked("init", "plan.toml", "-o", "old")
    check_refused(ExitCode.USAGE, ["plan.toml lists its own parameters"], "plan.toml", "--like", "old")
    check_refused(ExitCode.USAGE, ["rules.toml lists no parameters", "by --like"], "rules.toml")


# Bad plans -----------------------------------------------------------------------------------------

WEIGHT = '[[parameters]]\nname = "fc.weight"\nshape = [8, 5]\n'
RULE = '[[rules]]\nmatch = "*"\ninitializer = "random_normal"\n'

PLANS: dict[str, tuple[str, list[str]]] = {
    "malformed": ("[plan]\nlayout = = 1\n", ["no TOML that can be read", "column 10", "(bad.toml, line 2)"]),
    "empty": ("", ["the plan has no rules"]),
    "an unknown key": (SMALL + "wheer = 1", ["no key 'wheer'", "bad.toml, line"]),
    "an unknown table": (SMALL + "[[rulez]]", ["a plan has no key 'rulez'; did you mean 'rules'?"]),
    "a rule that matches nothing": (SMALL + RULE.replace("*", "lm.*"), ['rule 3 (match "lm.*"', "matches no param"]),
    "an unclaimed parameter": (WEIGHT + RULE.replace("*", "b"), ["no rule claims 1 of 1", "fc.weight, shape (8, 5)"]),
    "no layout": (WEIGHT + RULE.replace("random", "he"), ["fans depend on which axis is which", "(bad.toml, line 4)"]),
    "no arithmetic": (
        WEIGHT + RULE.replace("normal", "normal(stddev=open('/etc/passwd'))"), ["open", "(bad.toml, line 4)"]
    ),
    "no initializer": (WEIGHT + RULE.replace("random", "randm"), ["randm_normal", "(bad.toml, line 4)"]),
    "a negative deviation": (WEIGHT + RULE.replace("normal", "normal(stddev=-1)"), ["stddev", "-1"]),
    "a negative length": (WEIGHT.replace("8", "-8") + RULE, ["-8, which is no integer from 0", "(bad.toml, line 1)"]),
    "too many elements": (WEIGHT.replace("8", "'2 ** 62'") + RULE, ["2**63 elements"]),
    "a count that is off": (WEIGHT + RULE + "expect = 2", ["claims 1", "expects 2"]),
    "random integers": (WEIGHT + "dtype = 'int8'\n" + RULE, ["int8 cannot hold random values"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_bad_plan_is_told(name: str, here: Path) -> None:
    text, fragments = PLANS[name]
    (here / "bad.toml").write_text(text, "utf-8")
    check_refused(ExitCode.PLAN, fragments, "bad.toml")


def test_the_good_plan_under_the_bad_ones_is_written(here: Path) -> None:
    (here / "good.toml").write_text(WEIGHT + RULE, "utf-8")
    assert invoked("init", "good.toml", "-o", "out").exit_code == 0
    with pytest.raises(AssertionError):
        check_refused(ExitCode.PLAN, [], "good.toml")
    with pytest.raises(AssertionError):
        check_refused(ExitCode.PLAN, ["something else"], "nothing.toml")


def test_a_plan_that_cannot_be_read_is_told(here: Path) -> None:
    (here / "latin.toml").write_bytes(b"# caf\xe9")
    for name, fragment in {
        "no.toml": "the plan 'no.toml' cannot be read: No such file or directory.",
        ".": "the plan '.' cannot be read: Is a directory.",
        "latin.toml": "(latin.toml, line 1)",
        "x" * 256: "cannot be read: File name too long.",
    }.items():
        check_refused(ExitCode.PLAN, [fragment], name)


def test_a_value_beyond_the_dtype_is_told(here: Path) -> None:
    (here / "bad.toml").write_text(WEIGHT + RULE.replace("normal", "normal(stddev=100)"), "utf-8")
    check_refused(ExitCode.PLAN, ["float8_e4m3fn", "fc.weight"], "bad.toml", "--dtype", "float8_e4m3fn")


# Arguments and exit codes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--dtype", "float24"], "'float24' is not one of 'float64', 'float32'"),
        (["--dtype", "int8"], "'int8' is not one of"),
        (["--threads", "0"], "0 is not in the range x>=1"),
        (["--threads", "-3"], "-3 is not in the range"),
        (["--threads", "many"], "'many' is not a valid integer"),
        (["--sede", "1"], "No such option"),
        (["other.toml"], "unexpected extra argument"),
    ],
)
def test_a_bad_argument_is_told(arguments: list[str], fragment: str, here: Path) -> None:
    check_refused(ExitCode.USAGE, [fragment], "plan.toml", *arguments)


def test_missing_arguments_are_told(here: Path) -> None:
    for arguments, fragment in {
        ("init",): "Missing option '-o' / '--output'",
        ("init", "-o", "x.safetensors"): "there is no plan; give the name of a TOML file, or of a recipe",
        ("init", "plan.toml"): "Missing option '-o' / '--output'",
        ("init", "plan.toml", "-o", "-"): "the output cannot be a pipe; give the name of a file",
        ("inti",): "No such command 'inti'",
        ("--frobnicate",): "No such option",
    }.items():
        told = invoked(*arguments)
        assert (told.exit_code, told.stdout) == (ExitCode.USAGE, "")
        assert fragment in told.stderr
    assert names(here) == ["plan.toml", "rules.toml"]


@pytest.mark.parametrize(
    ("variable", "value", "fragment"),
    [
        ("FANIN_ENGINE", "cuda", "FANIN_ENGINE='cuda' is no engine; choose one of reference, numpy, numba"),
        ("FANIN_NUM_THREADS", "many", "FANIN_NUM_THREADS='many': the number of threads is an integer from 1"),
    ],
)
def test_a_bad_environment_is_told(variable: str, value: str, fragment: str, here: Path) -> None:
    told = fanin("init", "plan.toml", "-o", "out", **{variable: value})
    assert (told.returncode, told.stdout) == (ExitCode.ENGINE, "")
    assert fragment in told.stderr
    assert "Traceback" not in told.stderr
    assert names(here) == ["plan.toml", "rules.toml"]


def test_every_exit_code_has_its_number_and_its_meaning() -> None:
    """A number, once published, stays."""
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0, "DEFECT": 1, "USAGE": 2, "PLAN": 3, "EXISTS": 4, "NO_SPACE": 5, "CHECKPOINT": 6, "ENGINE": 7,
        "SELFTEST": 8, "NO_MEMORY": 9, "DIFFERS": 10, "STREAM": 11, "BUSY": 12, "HANGUP": 129,
        "INTERRUPTED": 130, "TERMINATED": 143,
    }  # fmt: skip
    assert MEANINGS.keys() == set(ExitCode)
    told = invoked("--help").stdout
    assert all(f"{code:3}  {meaning}" in told for code, meaning in MEANINGS.items())


def test_every_error_has_an_exit_code() -> None:
    classes = [PlanError, LayoutError, DTypeError, SeedError, FaninError]
    assert {exit_code(cls("")) for cls in classes} == {ExitCode.PLAN}
    others = {exit_code(cls("")) for cls in (EngineError, CheckpointError, SelftestError)}
    assert others == {ExitCode.ENGINE, ExitCode.CHECKPOINT, ExitCode.SELFTEST}


def test_a_defect_is_no_error_of_the_user(here: Path) -> None:
    """Something that is not raised on purpose shows where it comes from."""
    broken = "import fanin.plan; fanin.plan.Plan.from_file = lambda path, **others: 1 / 0"
    command = [sys.executable, "-c", f"{broken}; from fanin.cli import main; main()", "init", "plan.toml", "-o", "out"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == ExitCode.DEFECT
    assert "ZeroDivisionError" in told.stderr
    assert names(here) == ["plan.toml", "rules.toml"]


# Where the output can be ---------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("output", "codes", "fragment"),
    [
        ("", (ExitCode.CHECKPOINT, ExitCode.CHECKPOINT), "is a directory"),
        ("-", (ExitCode.USAGE, ExitCode.USAGE), "the output cannot be a pipe"),
        ("no/out", (ExitCode.CHECKPOINT, ExitCode.CHECKPOINT), "no is no directory; make it first"),
        ("plan.toml/out", (ExitCode.CHECKPOINT, ExitCode.CHECKPOINT), "plan.toml is no directory"),
        ("/proc/out", (ExitCode.CHECKPOINT, ExitCode.CHECKPOINT), "/proc/out cannot be written: No such file"),
        ("device", (ExitCode.EXISTS, ExitCode.CHECKPOINT), ""),
        ("fifo", (ExitCode.EXISTS, ExitCode.CHECKPOINT), "fifo"),
        ("dangling", (ExitCode.EXISTS, ExitCode.OK), "dangling"),
        ("link", (ExitCode.EXISTS, ExitCode.OK), "link"),
        ("x" * 256, (ExitCode.CHECKPOINT, ExitCode.CHECKPOINT), "File name too long"),
    ],
)
def test_what_the_output_can_be(
    output: str, codes: tuple[ExitCode, ExitCode], fragment: str, force: bool, here: Path
) -> None:
    (here / "folder").mkdir()
    (here / "target").write_bytes(b"precious")
    (here / "dangling").symlink_to("nothing")
    (here / "link").symlink_to("target")
    os.mkfifo("fifo")
    before = names(here)
    with device() as terminal:
        path = terminal if output == "device" else output
        told = invoked("init", "plan.toml", "-o", path, *(["--force"] if force else []))
        assert terminal.is_char_device()
        assert output != "device" or str(terminal) in told.stderr
    assert told.exit_code == codes[force]
    assert fragment in told.output
    assert (told.stdout == "") == (told.exit_code != 0)
    assert names(here) == before
    assert not names(here / "folder")
    assert (here / "target").read_bytes() == b"precious"
    for link in ("dangling", "link"):
        assert (here / link).is_symlink() != (force and output == link)


def test_a_name_that_is_no_text_is_no_error(here: Path) -> None:
    name = os.fsdecode(b"caf\xe9.safetensors")
    for force in ([], ["--force"]):
        done = fanin("init", "plan.toml", "-o", name, *force)
        assert (done.returncode, done.stderr) == (0, "")
    told = fanin("init", "plan.toml", "-o", name)
    assert told.returncode == ExitCode.EXISTS
    assert b"caf\xe9.safetensors" in os.listdir(os.fsencode(here))  # noqa: PTH208 - as bytes
    assert fanin("init", "rules.toml", "-o", "again", "--like", name).returncode == 0
    assert (here / "again").read_bytes() == (here / name).read_bytes()


# Streams -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, here: Path) -> None:
    done = fanin("init", "plan.toml", "-o", "out", before=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(load_file(here / "out")) == 3
    told = fanin("init", "plan.toml", "-o", "out", before=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert told.returncode == ExitCode.EXISTS


def test_errors_go_to_the_standard_error(here: Path) -> None:
    told = fanin("init", "no.toml", "-o", "out")
    assert (told.returncode, told.stdout) == (ExitCode.PLAN, "")
    assert told.stderr == "fanin: error: the plan 'no.toml' cannot be read: No such file or directory.\n"


# Help, version, and what starting costs ------------------------------------------------------------


def imported(*arguments: object) -> set[str]:
    """The modules that a command loads, as Python itself lists them."""
    command = [sys.executable, "-X", "importtime", *line(*arguments)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    found = {text.split("|")[-1].strip() for text in done.stderr.splitlines() if text.startswith("import time:")}
    assert {"click", "numpy", "fanin.cli"} <= found
    return found


@pytest.mark.parametrize("arguments", [["--help"], ["init", "--help"], ["--version"]])
def test_help_loads_nothing_that_it_does_not_need(arguments: list[str]) -> None:
    found = imported(*arguments)
    assert not HEAVY & found
    assert not {"fanin.plan", "fanin.checkpoint", "fanin.selftest", "safetensors"} & found


def test_a_small_plan_loads_no_framework_and_no_compiler(here: Path) -> None:
    found = imported("init", "plan.toml", "-o", "out")
    assert not HEAVY & found
    assert {"fanin.plan", "fanin.checkpoint", "safetensors"} <= found


def test_the_list_of_modules_sees_a_compiler(here: Path) -> None:
    (here / "plan.toml").write_text(large(1), "utf-8")
    assert {"numba", "llvmlite"} <= imported("init", "plan.toml", "-o", "out")


def test_help_answers_at_once() -> None:
    """Beyond what NumPy takes to load; in seconds of the processor, which a busy machine stretches least."""

    def seconds(*command: str) -> float:
        best = float("inf")
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return best

    base = seconds(sys.executable, "-c", "import numpy")
    assert seconds(*line("--help")) - base < 0.5
    busy = f"import time\nwhile time.process_time() < {base + 0.6}: pass"
    assert seconds(sys.executable, "-c", busy) - base > 0.5  # what would be too slow is seen


def test_every_way_to_start_is_the_same_command() -> None:
    script = Path(sys.executable).parent / "fanin"
    for arguments in (["init", "-h"], ["nothing"]):
        ways = [
            subprocess.run([*start, *arguments], capture_output=True, text=True, check=False)
            for start in ([str(script)], [sys.executable, "-m", "fanin"])
        ]
        assert len({(way.returncode, way.stdout, way.stderr) for way in ways}) == 1
    assert invoked("--version").stdout == f"fanin {package.__version__}\n"
    options = ["--output", "--seed", "--dtype", "--like", "--threads", "--force", "--quiet"]
    assert all(option in invoked("init", "--help").stdout for option in options)
    assert {"init", "selftest"} <= set(re.findall(r"^  (\w+) ", invoked("--help").stdout, re.MULTILINE))
