"""What a dry run tells: the files that would be written, to the byte, whether they could be, and how long it takes."""

import errno
from pathlib import Path

import pytest
from commands import large
from test_cli_recipes import LLAMA, ended

from fanin import Parameter, Plan, Rule, checkpoint, recipes
from fanin.cli import ExitCode
from fanin.errors import CheckpointError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_forecast_of_a_directory_is_what_is_written_then(here: Path) -> None:
    entries = recipes.llama(LLAMA).resolve()
    told = checkpoint.forecast(here / "out", entries, max_shard_size="50KB")
    assert not list(here.iterdir())
    written = checkpoint.write_sharded(here / "out", entries, max_shard_size="50KB")
    assert len(told.files) > 3
    assert [each.name for each in told.files] == [path.name for path in written.files]
    assert [each.size for each in told.files] == [path.stat().st_size for path in written.files]
    assert told.size == written.size
    assert told.tensors == sum(each.tensors for each in told.files) == len(entries)
    assert told.parameters == 46_704
    assert (told.rate, told.seconds, told.whole) == (None, None, 0)  # too little to tell
    assert told.free > 10**6


def test_a_forecast_of_a_file_is_what_is_written_then(here: Path) -> None:
    entries = recipes.llama(LLAMA).resolve()
    told = checkpoint.forecast(here / "out.safetensors", entries)
    assert told.size == checkpoint.write(here / "out.safetensors", entries)
    assert [each.name for each in told.files] == ["out.safetensors"]


def test_the_rate_is_measured(here: Path) -> None:
    entries = Plan.from_text(large(8)).resolve()
    told = checkpoint.forecast(here / "out.safetensors", entries)
    assert told.rate is not None
    assert 10**6 < told.rate < 10**11
    assert told.seconds == told.size / told.rate
    assert told.to_dict()["seconds"] == told.seconds
    assert not list(here.iterdir())


def test_tensors_that_are_computed_whole_are_told_and_not_computed(here: Path) -> None:
    plan = Plan([Rule("w", "orthogonal")], parameters=[Parameter("w", (9000, 9000), layout="i o")])
    told = checkpoint.forecast(here / "out.safetensors", plan.resolve())
    assert told.whole == 1
    assert "1 tensors have to be computed whole" in str(told)


def test_a_forecast_fails_as_writing_would(here: Path) -> None:
    entries = recipes.llama(LLAMA).resolve()
    checkpoint.write(here / "out.safetensors", entries)
    checkpoint.write_sharded(here / "out", entries)
    huge = Plan([Rule("w", "ones")], parameters=[Parameter("w", (1_000_000_000, 100_000))])
    (here / "begun" / ".fanin-partial").mkdir(parents=True)
    (here / "begun" / ".fanin-partial" / "model.safetensors").touch()
    (here / "foreign").mkdir()
    (here / "foreign" / ".fanin-partial").touch()
    cases = [
        ({"path": here / "begun", "max_shard_size": "1GB"}, errno.EEXIST),
        ({"path": here / "foreign", "max_shard_size": "1GB"}, errno.EEXIST),
        ({"path": here / "out.safetensors", "max_shard_size": "1GB"}, errno.ENOTDIR),
        ({"path": here / "out.safetensors"}, errno.EEXIST),
        ({"path": here / "out", "max_shard_size": "1GB"}, errno.EEXIST),
        ({"path": here / "none" / "out.safetensors"}, errno.ENOENT),
        ({"path": here / "none" / "out", "max_shard_size": "1GB"}, errno.ENOENT),
        ({"path": here / "huge", "entries": huge.resolve()}, errno.ENOSPC),
        ({"path": here / "huge", "entries": huge.resolve(), "max_shard_size": "1GB"}, errno.ENOSPC),
    ]
    for arguments, number in cases:
        with pytest.raises(CheckpointError) as caught:
            checkpoint.forecast(**{"entries": entries, **arguments})  # type: ignore[arg-type]  # of several types
        assert caught.value.errno == number, arguments
    checkpoint.forecast(here / "out.safetensors", entries, overwrite=True)
    checkpoint.forecast(here / "out", entries, max_shard_size="1GB", resume=True)


def test_the_command_tells_and_writes_nothing(here: Path) -> None:
    LLAMA.save_pretrained(here)
    arguments = ["init", "--recipe", "llama", "--config", "config.json", "--max-shard-size", "50KB", "-o", "out/"]
    said = ended(*arguments, "--dry-run")
    assert "model-00001-of-0000" in said
    assert "nothing was written" in said
    assert [path.name for path in here.iterdir()] == ["config.json"]
    ended(*arguments)
    assert "out/model-" in ended(*arguments, "--dry-run", code=ExitCode.EXISTS)
    assert not ended(*arguments, "--dry-run", "--force", "--quiet")
