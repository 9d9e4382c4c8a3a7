"""Some tensors of an existing checkpoint drawn anew, all others copied, byte for byte."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import invoked
from harness import assert_same_bits
from safetensors.numpy import load_file, save_file

from fanin import Parameter, Plan, Rule, checkpoint, initializers
from fanin.cli.codes import ExitCode
from fanin.errors import ArgumentError, CheckpointError, PlanError

RULES = """
[[rules]]
match = "*.weight"
initializer = "random_normal(stddev=0.02)"

[[rules]]
match = "*.bias"
initializer = "zeros"
"""
PLAN = Plan.from_text(RULES)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    generator = np.random.default_rng(7)
    shapes = {"body.weight": (700, 600), "body.bias": (700,), "head.weight": (10, 700), "head.bias": (10,)}
    arrays = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["head.bias"] = arrays["head.bias"].astype(np.float16)
    save_file(arrays, tmp_path / "trained.safetensors", metadata={"by": "someone"})
    return tmp_path / "trained.safetensors"


def check(found: Path, trained: Path) -> None:
    new, old = load_file(found), load_file(trained)
    assert new.keys() == old.keys()
    for name in ("body.weight", "body.bias"):
        assert_same_bits(new[name], old[name])
    assert_same_bits(new["head.weight"], initializers.RandomNormal(stddev=0.02, seed=7)((10, 700), name="head.weight"))
    assert new["head.bias"].dtype == np.float16
    assert not new["head.bias"].any()


def test_only_some_tensors_are_drawn(trained: Path, tmp_path: Path) -> None:
    resolved = PLAN.resolve(checkpoint.shapes(trained), seed=7)
    for number, only in enumerate(("head.*", ["head.weight", "head.bias"], lambda name, array: "head" in name)):
        checkpoint.write(tmp_path / f"{number}", resolved, base=trained, only=only)
        check(tmp_path / f"{number}", trained)
    checkpoint.write(tmp_path / "same", resolved, base=trained, only=lambda name, array: False)
    assert {name: array.tobytes() for name, array in load_file(tmp_path / "same").items()} == {
        name: array.tobytes() for name, array in load_file(trained).items()
    }


def test_the_command_does_so_in_place(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    before = tmp_path / "before.safetensors"
    before.write_bytes(trained.read_bytes())
    arguments = ["init", tmp_path / "rules.toml", "-o", trained, "--like", trained, "--only", "head.*", "--seed", 7]
    assert invoked(*arguments).exit_code == ExitCode.EXISTS
    result = invoked(*arguments, "--force")
    assert result.exit_code == 0, result.output
    check(trained, before)
    assert b"fanin.seed" not in trained.read_bytes()[:2000]  # not all of it is of this seed


def test_what_is_copied_needs_no_rules_and_may_lie_in_shards(trained: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\nmatch = "head.*"\ninitializer = "random_normal(stddev=0.02)"\nrank = 2\n', "utf-8")
    with rules.open("a", encoding="utf-8") as file:
        file.write('[[rules]]\nmatch = "head.bias"\ninitializer = "zeros"\n')
    arguments = ["init", rules, "--like", trained, "--seed", 7]
    result = invoked(*arguments, "-o", tmp_path / "out.safetensors")
    assert "no rule claims 2 of 4 parameters" in result.stderr
    result = invoked(*arguments, "--only", "head.*", "-o", tmp_path / "out.safetensors")
    assert result.exit_code == 0, result.output
    check(tmp_path / "out.safetensors", trained)

    directory = tmp_path / "shards"
    everything = ["--only", "head.bias", "--max-shard-size", "1MB", "-o", directory]
    assert invoked(*arguments, *everything).exit_code == 0
    assert len(list(directory.glob("*.safetensors"))) == 2
    arguments[3] = directory  # the shards are what is copied from, and what is replaced
    assert invoked(*arguments, "--only", "head.*", "-o", directory, "--force").exit_code == 0
    check(directory / "model.safetensors", trained)


def test_members_of_an_ensemble(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    for member in (0, 2):
        output = tmp_path / f"{member}.safetensors"
        arguments = ["init", tmp_path / "rules.toml", "-o", output, "--like", trained, "--member", member]
        assert invoked(*arguments).exit_code == 0
        expected = PLAN.resolve(checkpoint.shapes(trained), member=member)
        checkpoint.write(tmp_path / "expected", expected, overwrite=True)
        for name, array in load_file(tmp_path / "expected").items():
            assert_same_bits(load_file(output)[name], array)


@pytest.mark.parametrize(
    ("change", "error", "fragment"),
    [
        ({"base": None, "only": "head.*"}, ArgumentError, "leaves tensors as they are in base="),
        ({"only": "haed.*"}, PlanError, "only='haed.*' means no array; the nearest names are head"),
        ({"base": "nowhere.safetensors", "only": "head.*"}, CheckpointError, "nowhere.safetensors"),
    ],
)
def test_what_cannot_be_is_told(
    change: dict[str, Any], error: Any, fragment: str, trained: Path, tmp_path: Path
) -> None:
    resolved = PLAN.resolve(checkpoint.shapes(trained))
    with pytest.raises(error) as caught:
        checkpoint.write(tmp_path / "out", resolved, **{"base": trained, **change})
    assert fragment in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_is_to_be_copied_has_to_be_there(trained: Path, tmp_path: Path) -> None:
    for parameters, fragment in (
        ([Parameter("tail.weight", (2, 2))], "'tail.weight', shape (2, 2), is to be copied"),
        ([Parameter("body.weight", (600, 700))], "where it has the shape (700, 600)"),
    ):
        rules = Plan([Rule("*.weight", "random_normal")])
        resolved = rules.resolve([Parameter("head.weight", (10, 700)), *parameters])
        with pytest.raises(CheckpointError) as caught:
            checkpoint.write(tmp_path / "out", resolved, base=trained, only="head.*")
        assert fragment in str(caught.value)
    for more in ([], ["--like", trained, "--dtype", "float16"]):
        (tmp_path / "plan.toml").write_text(RULES)
        result = invoked("init", tmp_path / "plan.toml", "-o", tmp_path / "out", "--only", "head.*", *more)
        assert result.exit_code == ExitCode.USAGE
        assert "--only needs the checkpoint" in result.output
