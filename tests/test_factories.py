"""Models of the option `--model`: made by a function, on the meta device, and written without values of their own."""

import json
import sys
from pathlib import Path

import pytest
import zoo_of_factories as zoo
from commands import fanin
from harness import assert_same_bits
from stored import held

from fanin import Plan, Rule, models, recipes
from fanin.errors import FactoryError
from fanin.models.factories import built

RULES = """
[[rules]]
module = "Embedding"
initializer = "random_normal"

[[rules]]
role = "dense.kernel"
initializer = "he_normal"

[[rules]]
role = "norm.{part}"
initializer = "ones"
"""
RULES = RULES.replace("norm.{part}", "norm.*") + '\n[[rules]]\nrole = "dense.bias"\ninitializer = "zeros"\n'


@pytest.mark.parametrize("name", ["Small", "wide", "Inner.small", "made"])
def test_a_factory_is_a_function_a_class_a_partial_or_a_model(name: str) -> None:
    model = built(f"zoo_of_factories:{name}")
    assert isinstance(model, zoo.Small)
    assert model[0].weight.shape[1] == (16 if name == "wide" else 8)
    assert model[0].weight.is_meta == (name != "made")


def test_what_no_checkpoint_holds_is_not_listed_as_such() -> None:
    arrays = {array.name: array.persistent for array in models.opened(built("zoo_of_factories:Small")).arrays}
    assert arrays.pop("frequencies") is False
    assert set(arrays) == set(zoo.Small().state_dict())
    assert all(arrays.values())


def test_the_command_writes_what_the_plan_gives_the_model_itself(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES, "utf-8")
    model = zoo.Small()
    Plan.from_file(tmp_path / "rules.toml").apply(model, seed=5)
    done = fanin(
        "init", tmp_path / "rules.toml", "--model", "zoo_of_factories:Small", "-o", tmp_path / "x.safetensors",
        "--seed", 5, PYTHONPATH=str(Path(__file__).parent),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    arrays, _ = held(tmp_path / "x.safetensors")
    assert set(arrays) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert_same_bits(arrays[name], tensor.numpy())
    assert not arrays["0.weight"][2].any()  # the row of padding
    assert arrays["0.weight"][1].any()


def test_a_recipe_fits_a_factory_of_its_model() -> None:
    arrays = [array for array in models.opened(built("zoo_of_factories:llama")).arrays if array.persistent]
    plan = recipes.llama(zoo.CONFIG)
    assert plan.of_arrays(arrays, seed=3) == plan.resolve(seed=3)


def test_a_factory_of_flax_gives_shapes() -> None:
    arrays = models.opened(built("zoo_of_factories:flax")).arrays
    assert {array.name: array.shape for array in arrays} == {"kernel": (6, 5), "bias": (5,)}


BAD = {
    "torch.nn.Linear": "names no factory; give package.module:factory",
    "torch.nn:": "names no factory",
    ":Small": "names no factory",
    "zoo_of_factories:Smal": "zoo_of_factories has no 'Smal'",
    "zoo_of_nothing:Small": "there is no module 'zoo_of_nothing'",
    "zoo_of_factories.inside:Small": "there is no module 'zoo_of_factories.inside'",
    "zoo_of_factories:broken": "it raises KeyError: 'width'",
    "zoo_of_factories:needy": "it raises TypeError: needy() missing 1 required positional argument",
    "bad_module:x": "it raises ZeroDivisionError",
    "needs_another:x": "it raises ModuleNotFoundError: No module named 'not_installed'",
    "script:main": "it raises SystemExit: 0",
    "zoo_of_factories:leaving": "it raises SystemExit: nothing to do",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_factory_is_told(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_module.py").write_text("1 / 0", "utf-8")
    (tmp_path / "needs_another.py").write_text("import not_installed", "utf-8")
    (tmp_path / "script.py").write_text("import sys\nsys.exit(0)", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(FactoryError) as caught:
        built(text)
    assert BAD[text] in str(caught.value)
    assert repr(text) in str(caught.value)


def test_the_command_tells_a_bad_factory(tmp_path: Path) -> None:
    (tmp_path / "factory.py").write_text("def make(): return 3", "utf-8")
    arguments = ["init", "--dummy", "-o", "x.safetensors", "--model"]
    done = fanin(*arguments, "factory:mak", before=["env", "-C", str(tmp_path)])
    assert done.returncode == 2
    assert "factory has no 'mak'" in done.stderr
    done = fanin(*arguments, "factory:make", before=["env", "-C", str(tmp_path)])
    assert done.returncode == 3
    assert "There are no arrays in this int" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []


def test_a_module_that_ends_the_process_ends_no_command_as_if_it_were_done(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nsys.exit(0)", "utf-8")
    (tmp_path / "stopped.py").write_text("raise KeyboardInterrupt", "utf-8")
    arguments = ["init", "--dummy", "-o", "x.safetensors", "--model"]
    done = fanin(*arguments, "script:main", before=["env", "-C", str(tmp_path)])
    assert done.returncode == 2
    assert "it raises SystemExit: 0" in done.stderr
    done = fanin(*arguments, "stopped:main", before=["env", "-C", str(tmp_path)])
    assert (done.returncode, done.stderr) == (130, "fanin: ended by SIGINT; no half-written file is left.\n")


def test_a_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FactoryError, match="FileNotFoundError"):
        built("zoo_of_factories:Small")


def test_what_a_factory_prints_is_no_part_of_a_report(tmp_path: Path) -> None:
    text = "import torch\ndef make():\n    print('hello')\n    return torch.nn.Linear(3, 2)\n"
    (tmp_path / "noisy.py").write_text(text + "def empty():\n    return torch.nn.ReLU()\n", "utf-8")
    (tmp_path / "rules.toml").write_text('[[rules]]\nmatch = "*"\ninitializer = "zeros"', "utf-8")
    here = ["env", "-C", str(tmp_path)]
    done = fanin("explain", "rules.toml", "--json", "--model", "noisy:make", before=here)
    assert len(json.loads(done.stdout)["tensors"]) == 2
    assert done.stderr == "hello\n"
    done = fanin("init", "--dummy", "--model", "noisy:empty", "-o", "x.safetensors", before=here)
    assert done.returncode == 2
    assert "noisy:empty has no tensors, so there is nothing to write" in done.stderr
    assert not (tmp_path / "x.safetensors").exists()


def test_a_plan_for_the_model_alone_has_rules_for_what_checkpoints_do_not_hold() -> None:
    """Beside `--model`: on the meta device a plan has to fill these buffers as well."""
    model = built("zoo_of_factories:Small")
    plan = Plan([Rule("frequencies", "ones"), *Plan.from_text(RULES).rules])
    assert "frequencies" in {entry.name for entry in plan.of_arrays(models.opened(model).arrays)}
