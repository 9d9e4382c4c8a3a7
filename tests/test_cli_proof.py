"""The commands that look: what they print, for people and for machines, and how they end."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import EXAMPLES, RULES, SMALL, environment, fanin, invoked, line
from stored import held, written
from test_cli import HEAVY, imported

import fanin as package
from fanin import Plan
from fanin.cli import ExitCode


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a plan, its rules alone, and the checkpoint that the plan makes with seed 9."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.toml").write_text(SMALL, "utf-8")
    (tmp_path / "rules.toml").write_text(RULES, "utf-8")
    assert invoked("init", "plan.toml", "-o", "model.safetensors", "--seed", 9, "--quiet").exit_code == 0
    return tmp_path


def flipped(path: str = "model.safetensors") -> str:
    """A copy with one bit of fc.weight changed, at [6, 1]."""
    arrays, metadata = held(Path(path))
    arrays["fc.weight"].view(np.uint32)[6, 1] ^= 1
    return str(written(Path("flipped.safetensors"), arrays, metadata))


def printed(*arguments: object) -> tuple[ExitCode, dict]:
    """The exit code and what was printed as JSON."""
    done = invoked(*arguments, "--json")
    assert done.stderr == ""
    return ExitCode(done.exit_code), json.loads(done.stdout)


# verify -----------------------------------------------------------------------------------------------------


def test_verify_passes_what_init_wrote(here: Path) -> None:
    done = invoked("verify", "model.safetensors", "plan.toml")
    assert (done.exit_code, done.stderr) == (ExitCode.OK, "")
    assert re.fullmatch(
        r"model\.safetensors: 3 tensors, 49 elements compared: every bit is the plan's; seed 9, plan [0-9a-f]{16}\n",
        done.stdout,
    )
    for dtype in ("bfloat16", "float8_e5m2"):
        assert invoked("init", "plan.toml", "-o", dtype, "--dtype", dtype, "--quiet").exit_code == 0
        assert invoked("verify", dtype, "plan.toml").exit_code == ExitCode.OK
    assert invoked("verify", "model.safetensors", "rules.toml").exit_code == ExitCode.OK


def test_verify_says_where_a_bit_differs(here: Path) -> None:
    done = invoked("verify", flipped(), "plan.toml")
    assert (done.exit_code, done.stderr) == (ExitCode.DIFFERS, "")
    assert "fc.weight  (8 5)  float32  differs  1 of 40 differ, first at [6, 1] (row 1, column 6): " in done.stdout
    assert "1 of 3 are not ok" in done.stdout
    code, data = printed("verify", "flipped.safetensors", "plan.toml")
    assert (code, data["ok"], data["seed"]) == (ExitCode.DIFFERS, False, 9)
    (wrong,) = [each for each in data["tensors"] if each["status"] != "ok"]
    assert (wrong["name"], wrong["index"], wrong["differing"]) == ("fc.weight", [6, 1], 1)
    assert int(wrong["found_bits"], 16) ^ int(wrong["expected_bits"], 16) == 1
    assert printed("verify", "model.safetensors", "plan.toml")[0] == ExitCode.OK


def test_quiet_prints_nothing_and_ends_alike(here: Path) -> None:
    for arguments, code in {
        ("verify", "model.safetensors", "plan.toml"): ExitCode.OK,
        ("verify", flipped(), "plan.toml"): ExitCode.DIFFERS,
        ("diff", "model.safetensors", "flipped.safetensors"): ExitCode.DIFFERS,
        ("fingerprint", "model.safetensors"): ExitCode.OK,
        ("explain", "plan.toml"): ExitCode.OK,
    }.items():
        done = invoked(*arguments, "--quiet")
        assert (done.exit_code, done.output) == (code, "")


def test_a_seed_that_is_given_wins_over_the_one_recorded(here: Path) -> None:
    done = invoked("verify", "model.safetensors", "plan.toml", "--seed", "0x1")
    assert done.exit_code == ExitCode.DIFFERS
    assert "the values that seed 9 gives" in done.stdout
    assert "note: the file says that it was made with seed 9" in done.stdout


# fingerprint --------------------------------------------------------------------------------------------------


def test_fingerprint_prints_every_tensor_and_a_line_for_all(here: Path) -> None:
    found = package.fingerprint("model.safetensors")
    done = invoked("fingerprint", "model.safetensors")
    assert (done.exit_code, done.stderr) == (ExitCode.OK, "")
    *rows, last = done.stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["name", "fc.bias", "fc.weight", "steps"]
    assert found["fc.weight"].hex in rows[2]
    assert last == f"array {found.digest[:32]}, 3 tensors"
    planned = package.fingerprint("model.safetensors", Plan.from_file("plan.toml"))
    code, data = printed("fingerprint", "model.safetensors", "--plan", "plan.toml")
    assert (code, data["digest"], data["coordinates"]) == (ExitCode.OK, planned.digest, "logical")
    assert data == json.loads(json.dumps(planned.to_dict()))


def test_fingerprint_compares_with_one_that_is_expected(here: Path) -> None:
    digest = package.fingerprint("model.safetensors").digest
    for expected in (digest, digest[:8], digest[:32].upper()):
        assert invoked("fingerprint", "model.safetensors", "--expect", expected, "--quiet").exit_code == ExitCode.OK
    told = invoked("fingerprint", flipped(), "--expect", digest[:12], "--quiet")
    assert (told.exit_code, told.stdout) == (ExitCode.DIFFERS, "")
    assert f"not {digest[:12]}" in told.stderr
    for wrong in ("0123", "xyzxyzxyz"):
        told = invoked("fingerprint", "model.safetensors", "--expect", wrong)
        assert (told.exit_code, told.stdout) == (ExitCode.USAGE, "")
        assert "is no hash" in told.stderr


# explain and diff -----------------------------------------------------------------------------------------------


def test_explain_prints_a_plan(here: Path) -> None:
    done = invoked("explain", "plan.toml")
    assert (done.exit_code, done.stderr) == (ExitCode.OK, "")
    assert re.search(
        r"fc\.weight +\(8 5\) +o i +float32 +HeNormal +5 +8 .* 0\.6325 +.*plan\.toml, line \d+", done.stdout
    )
    code, data = printed(
        "explain", "rules.toml", "--like", "model.safetensors", "--only", "fc.*", "--dtype", "bfloat16"
    )
    assert code == ExitCode.OK
    assert [(each["name"], each["dtype"]) for each in data["tensors"]] == [
        ("fc.bias", "bfloat16"), ("fc.weight", "bfloat16"),
    ]  # fmt: skip
    (here / "doubtful.toml").write_text(SMALL.replace("he_normal", "truncated_normal(lower=-50)"), "utf-8")
    assert "\nwarning: fc.weight: lower=-50 never bites" in invoked("explain", "doubtful.toml").stdout


def test_diff_of_files_and_plans(here: Path) -> None:
    assert invoked("diff", "model.safetensors", "model.safetensors").exit_code == ExitCode.OK
    done = invoked("diff", "model.safetensors", flipped())
    assert done.exit_code == ExitCode.DIFFERS
    assert "fc.weight  (8 5)  float32  differs  1 of 40 differ" in done.stdout
    assert invoked("diff", "model.safetensors", "plan.toml").exit_code == ExitCode.OK
    done = invoked("diff", "plan.toml", "model.safetensors", "--seed", 1)
    assert (done.exit_code, "1 as in the plan" in done.stdout) == (ExitCode.OK, True)
    (here / "other.toml").write_text(SMALL.replace("he_normal", "random_normal(stddev=9)"), "utf-8")
    done = invoked("diff", "plan.toml", "other.toml")
    assert done.exit_code == ExitCode.DIFFERS
    assert "N(0, 0.719^2) in [-2, 2] sd, std 0.6325 and N(0, 9^2), std 9" in done.stdout
    code, data = printed("diff", "model.safetensors", "other.toml")
    assert (code, data["ok"]) == (ExitCode.DIFFERS, False)


# What cannot be looked at ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (["verify", "none", "plan.toml"], ExitCode.CHECKPOINT, "none cannot be read: No such file"),
        (["verify", "cut", "plan.toml"], ExitCode.CHECKPOINT, "cut: not a safetensors file"),
        (["verify", "model.safetensors", "none.toml"], ExitCode.PLAN, "the plan 'none.toml' cannot be read"),
        (
            ["verify", "model.safetensors", "plan.toml", "--only", "nothing"],
            ExitCode.PLAN,
            "only='nothing' means no array",
        ),
        (["verify", "model.safetensors", "plan.toml", "--seed", "x"], ExitCode.USAGE, "'x' is no integer"),
        (["verify", "model.safetensors"], ExitCode.USAGE, "there is no plan; give the name of a TOML file"),
        (["verify", "later", "plan.toml"], ExitCode.STREAM, "written by the stream 'fanin-2'"),
        (["fingerprint", "later"], ExitCode.STREAM, "written by the stream 'fanin-2'"),
        (["fingerprint", "cut"], ExitCode.CHECKPOINT, "not a safetensors file"),
        (["fingerprint", "empty"], ExitCode.CHECKPOINT, "empty is a directory without a checkpoint"),
        (["fingerprint", "model.safetensors", "--plan", "partly.toml"], ExitCode.PLAN, "no rule claims"),
        (["diff", "model.safetensors", "cut"], ExitCode.CHECKPOINT, "not a safetensors file"),
        (["diff", "rules.toml", "rules.toml"], ExitCode.PLAN, "no parameters"),
        (["explain", "rules.toml"], ExitCode.USAGE, "lists no parameters"),
        (["explain", "plan.toml", "--like", "model.safetensors"], ExitCode.USAGE, "no use for --like"),
        (["explain", "model.safetensors"], ExitCode.PLAN, "the plan is no UTF-8 text"),
    ],
)
def test_what_cannot_be_looked_at_is_told(arguments: list[str], code: ExitCode, fragment: str, here: Path) -> None:
    (here / "empty").mkdir()
    (here / "cut").write_bytes((here / "model.safetensors").read_bytes()[:-4])
    arrays, metadata = held(here / "model.safetensors")
    written(here / "later", arrays, {**metadata, "fanin.stream": "fanin-2"})
    (here / "partly.toml").write_text('[[rules]]\nmatch = "fc.*"\ninitializer = "zeros"\n', "utf-8")
    for more in ([], ["--quiet"], ["--json"]):
        told = invoked(*arguments, *more)
        assert (told.exit_code, told.stdout) == (code, ""), told.output
        assert fragment in " ".join(told.stderr.split())


def test_a_file_that_lacks_the_plans_tensors_is_told(here: Path) -> None:
    arrays, metadata = held(here / "model.safetensors")
    del arrays["fc.bias"]
    written(here / "lacking", {**arrays, "more": np.zeros(2)}, metadata)
    done = invoked("verify", "lacking", "plan.toml")
    assert done.exit_code == ExitCode.DIFFERS
    assert re.search(r"fc\.bias +\(8\) +missing", done.stdout)
    assert re.search(r"more +\(2\) +float64 +unexpected", done.stdout)


# How they start, and where they print --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["verify", "fingerprint", "diff", "explain"])
def test_help_and_small_files_load_no_framework_and_no_compiler(command: str, here: Path) -> None:
    assert not {*HEAVY, "fanin.plan", "fanin.proof"} & imported(command, "--help")
    arguments = {
        "verify": ["model.safetensors", "plan.toml"],
        "fingerprint": ["model.safetensors"],
        "diff": ["model.safetensors", "plan.toml"],
        "explain": ["plan.toml"],
    }[command]
    found = imported(command, *arguments)
    assert not HEAVY & found
    assert "fanin.proof" in found


def test_a_terminal_gets_a_table_of_its_width(here: Path) -> None:
    screen = on_terminal("explain", EXAMPLES / "gpt2.toml", "--only", "*.h.0.*", columns=100)
    lines = screen.splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("transformer.h.0.attn.c_attn.weight ") for line in lines)
    assert "12 tensors, 7,087,872 parameters" in lines
    screen = on_terminal("verify", flipped(), "plan.toml", columns=60)
    assert max(map(len, screen.splitlines()[:-1])) <= 60
    assert "first at" in " ".join(screen.split())


def on_terminal(*arguments: object, columns: int) -> str:
    """What a terminal of so many columns shows, without colours."""
    main, other = pty.openpty()
    variables = environment(COLUMNS=str(columns), TERM="xterm")
    process = subprocess.Popen(line(*arguments), stdout=other, stderr=subprocess.DEVNULL, env=variables)
    os.close(other)
    data = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        data += piece
    os.close(main)
    process.wait(timeout=60)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode())
    return "\n".join(text.rstrip() for text in plain.replace("\r", "").splitlines())


@pytest.mark.parametrize("closed", ["1>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, here: Path) -> None:
    done = fanin("verify", "model.safetensors", "plan.toml", before=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert done.returncode == 0, done.stderr


def test_nothing_is_written_by_looking(here: Path) -> None:
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    for arguments in (["verify", "model.safetensors", "plan.toml"], ["diff", "model.safetensors", "plan.toml"]):
        assert invoked(*arguments).exit_code == 0
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


PEAK = """
import re, sys
from pathlib import Path
import fanin

found = []

def sample(done, total):
    found.append(int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))

plan = fanin.Plan.from_file(sys.argv[2])
with fanin.use(engine="numba", threads=2):
    fanin.verify(sys.argv[1], plan, progress=sample).check()
    fanin.fingerprint(sys.argv[1], plan, progress=sample)
print(max(found) // 1024)
"""


def test_memory_does_not_grow_with_the_file(here: Path) -> None:
    """The most that the process holds itself, in MiB; pages of the file are the system's to drop."""
    found = {}
    for blocks in (1, 8):
        (here / "large.toml").write_text(
            f'[[parameters]]\nname = "b.{{i}}"\nfor = {{ i = {blocks} }}\nshape = [2048, 2048]\n'
            f'[[rules]]\nmatch = "*"\ninitializer = "random_normal"\n',
            "utf-8",
        )
        assert fanin("init", "large.toml", "-o", "large", "--force", "--quiet").returncode == 0
        command = [sys.executable, "-c", PEAK, "large", "large.toml"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        found[blocks] = int(done.stdout)
    print(found)
    assert abs(found[8] - found[1]) < 24, found
