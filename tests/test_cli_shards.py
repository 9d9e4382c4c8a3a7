"""``fanin init`` to a directory: what is one, what its options do, what is said, and with which exit code."""

import json
from pathlib import Path

import pytest
from commands import RULES, SMALL, invoked
from safetensors.numpy import load_file

from fanin import Plan, checkpoint
from fanin.cli import ExitCode

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
SIZE = ["--max-shard-size", "170"]  # bytes: fc.weight has 160


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a plan, its rules alone, and a directory."""
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(SMALL, "utf-8")
    Path("rules.toml").write_text(RULES, "utf-8")
    Path("folder").mkdir()
    return tmp_path


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.mark.parametrize(
    ("output", "folder", "options", "files"),
    [
        ("out/", "out", [], [SINGLE]),
        ("folder", "folder", [], [SINGLE]),
        ("folder/", "folder", [], [SINGLE]),
        ("out/", "out", SIZE, [*SHARDS, INDEX]),
        ("out", "out", SIZE, [*SHARDS, INDEX]),
        ("out", "out", ["--resume"], [SINGLE]),
        ("out", "out", ["--resume", "--force", *SIZE], [*SHARDS, INDEX]),
        ("out.safetensors/", "out.safetensors", SIZE, [*SHARDS, INDEX]),
    ],
)
def test_what_is_a_directory(output: str, folder: str, options: list[str], files: list[str], here: Path) -> None:
    told = invoked("init", "plan.toml", "-o", output, *options, "--seed", 3)
    assert told.exit_code == 0, told.output
    assert names(folder) == files
    digest = Plan.from_file("plan.toml").resolve(seed=3).digest[:16]
    count = len(files) - (INDEX in files)
    kept = ", 0 of them kept," if "--resume" in options else ""
    size = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
    assert told.stdout.startswith(
        f"{folder}: 3 tensors, 49 parameters, {size:,} bytes in {count} {'file' if count == 1 else 'files'}{kept} in 0."
    )
    assert told.stdout.endswith(f" MB/s); seed 3, plan {digest}\n")


def test_a_directory_holds_what_a_file_would(here: Path) -> None:
    for output in ("file", "shards/", "single/"):
        more = SIZE if output == "shards/" else []
        assert invoked("init", "plan.toml", "-o", output, *more, "--seed", 5).exit_code == 0
    expected = load_file("file")
    found = {name: array for shard in SHARDS for name, array in load_file(f"shards/{shard}").items()}
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    assert Path("single", SINGLE).read_bytes() == Path("file").read_bytes()
    assert json.loads(Path("shards", INDEX).read_bytes())["metadata"] == {"total_parameters": 49, "total_size": 200}


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["-o", "out.safetensors", *SIZE], "--max-shard-size is of a directory of shards, and 'out.safetensors' names"),
        (["-o", "out.safetensors", "--resume"], "--resume is of a directory of shards, and 'out.safetensors' names"),
        (["-o", "rules.toml", "--resume"], "--resume is of a directory of shards, and 'rules.toml' names a file"),
        (["-o", "out/", "--max-shard-size", "5 apples"], "'5 apples' is no size of a shard; give bytes, or a text"),
        (["-o", "out/", "--max-shard-size", "0"], "'0' is no size of a shard"),
        (["-o", "-", "--resume"], "the output cannot be a pipe"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], fragment: str, here: Path) -> None:
    before = names(".")
    told = invoked("init", "plan.toml", *arguments)
    assert (told.exit_code, told.stdout) == (ExitCode.USAGE, "")
    assert fragment in " ".join(told.stderr.split())
    assert names(".") == before


def test_a_checkpoint_that_is_there_stays_unless_forced(here: Path) -> None:
    for number, more in enumerate(([], SIZE, [])):
        output = ["init", "plan.toml", "-o", "folder", *more, "--seed", number]
        if number:
            before = {name: Path("folder", name).read_bytes() for name in names("folder")}
            for resume in ([], ["--resume"]):
                told = invoked(*output, *resume)
                assert (told.exit_code, told.stdout) == (ExitCode.EXISTS, "")
                assert "is left as it is" in told.stderr
                assert {name: Path("folder", name).read_bytes() for name in names("folder")} == before
        assert invoked(*output, *(["--force"] if number else [])).exit_code == 0
        assert names("folder") == ([*SHARDS, INDEX] if more else [SINGLE])


def test_a_command_that_is_run_again_keeps_what_is_there(here: Path) -> None:
    command = ["init", "plan.toml", "-o", "out/", *SIZE, "--resume"]
    for kept in (0, 2):
        told = invoked(*command)
        assert told.exit_code == 0
        assert f" in 2 files, {kept} of them kept, in 0." in told.stdout
    assert invoked(*command, "--quiet").output == ""
    told = invoked(*command, "--seed", 9)
    assert told.exit_code == ExitCode.EXISTS
    assert f"{SHARDS[0]} is there, is not what the plan makes, and is left as it is" in told.stderr


def test_some_tensors_of_a_directory_are_drawn_anew_in_place(here: Path) -> None:
    assert invoked("init", "plan.toml", "-o", "folder", *SIZE).exit_code == 0
    before = {array.name: array.handle.copy() for array in checkpoint.opened("folder").arrays}
    command = ["init", "rules.toml", "--like", "folder", "-o", "folder", "--only", "*.weight", "--seed", 4, *SIZE]
    assert invoked(*command).exit_code == ExitCode.EXISTS
    for resume in ([], ["--resume"]):
        assert invoked(*command, "--force", *resume).exit_code == 0
        after = {array.name: array.handle for array in checkpoint.opened("folder").arrays}
        same = {name for name, array in before.items() if array.tobytes() == after[name].tobytes()}
        assert (same, after.keys()) == ({"fc.bias", "steps"}, before.keys())


def test_a_directory_that_cannot_be_made_is_told(here: Path) -> None:
    told = invoked("init", "plan.toml", "-o", "no/out/")
    assert (told.exit_code, told.stdout) == (ExitCode.CHECKPOINT, "")
    assert "no/out cannot be made: no is no directory; make it first." in told.stderr
    told = invoked("init", "plan.toml", "-o", "plan.toml/")
    assert told.exit_code == ExitCode.CHECKPOINT
    assert "plan.toml is no directory; give another name" in told.stderr
