"""Recipes, configurations, quantities, dummies and the list of recipes on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import recipe_decoders
import recipe_sequences
import recipe_vision
import torch
from commands import SMALL, fanin, invoked
from harness import assert_same_bits
from reference import Case
from stored import held, written
from transformers import LlamaConfig, LlamaForCausalLM

from fanin import checkpoint, recipes
from fanin.cli import ExitCode
from fanin.initializers import RandomNormal

LLAMA = LlamaConfig(
    num_hidden_layers=2, hidden_size=48, intermediate_size=64, num_attention_heads=4, vocab_size=100
)  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    LLAMA.save_pretrained(tmp_path)
    return tmp_path


def ended(*arguments: object, code: ExitCode = ExitCode.OK) -> str:
    """Run the command, check how it ends, and return what it says."""
    done = invoked(*arguments)
    assert done.exit_code == code, done.stderr
    return done.stderr if code not in (ExitCode.OK, ExitCode.DIFFERS) else done.stdout


def test_a_recipe_and_a_configuration_make_a_checkpoint(here: Path) -> None:
    said = ended("init", "--recipe", "llama", "--config", "config.json", "-o", "x.safetensors", "--seed", 9)
    assert "21 tensors" in said
    arrays, metadata = held(here / "x.safetensors")
    assert set(arrays) == set(LlamaForCausalLM(LLAMA).state_dict())
    name = "model.layers.1.mlp.up_proj.weight"
    assert_same_bits(arrays[name], RandomNormal(0.0, 0.02, seed=9)((64, 48), name=name, layout="o i"))
    assert metadata["fanin.plan"] == recipes.llama(LLAMA).resolve(seed=9).digest
    for command in ("verify", "diff"):
        ended(command, "x.safetensors", "--recipe", "llama", "--config", "config.json")
    shown = ended("fingerprint", "x.safetensors", "--recipe", "llama", "--config", "config.json")
    assert "logical" in shown
    explained = ended("explain", "--recipe", "llama", "--config", "config.json", "--json")
    assert len(json.loads(explained)["tensors"]) == 21


def test_a_directory_gets_the_configuration_and_is_loaded(here: Path) -> None:
    arguments = ["init", "--recipe", "llama", "--config", "config.json", "--max-shard-size", "50KB"]
    said = ended(*arguments, "-o", "model/")
    assert " in 4 files in " in said
    assert (here / "model" / "config.json").read_bytes() == (here / "config.json").read_bytes()
    model, told = LlamaForCausalLM.from_pretrained(here / "model", output_loading_info=True)
    assert not any(told.values())
    assert_same_bits(model.model.norm.weight.detach().numpy(), np.ones(48, np.float32))
    (here / "model" / "config.json").write_text("{}", "utf-8")
    done = invoked(*arguments, "-o", "model/", "--force")
    assert "model/config.json is another configuration than was given, and is left as it is" in done.stderr
    assert (here / "model" / "config.json").read_text("utf-8") == "{}"  # of the user, who may have changed it
    done = invoked(*arguments, "-o", "other/", "--set", "tie_word_embeddings=true")
    assert "there is no other/config.json: --set makes other weights" in done.stderr
    assert not (here / "other" / "config.json").exists()
    assert "lm_head.weight" not in {each.name for each in checkpoint.shapes(here / "other")}
    ended(*arguments[:-2], "-o", "one.safetensors")
    assert not list(here.glob("one*/config.json"))


def test_a_configuration_may_come_through_a_pipe(here: Path) -> None:
    arguments = ["init", "--recipe", "llama", "--config", "/dev/stdin", "-o", "model/"]
    done = fanin(*arguments, before=["sh", "-c", 'cat config.json | "$@"', "sh"])
    assert (done.returncode, done.stderr) == (0, "")
    assert (here / "model" / "config.json").read_bytes() == (here / "config.json").read_bytes()


def test_a_link_to_nothing_in_the_place_of_the_configuration_is_left(here: Path) -> None:
    (here / "model").mkdir()
    (here / "model" / "config.json").symlink_to("elsewhere")
    ended("init", "--recipe", "llama", "--config", "config.json", "-o", "model/")
    assert (here / "model" / "config.json").is_symlink()
    assert not (here / "model" / "elsewhere").exists()


def test_the_summary_tells_all_that_was_written(here: Path) -> None:
    ended("init", "--recipe", "llama", "--config", "config.json", "-o", "x.safetensors")
    (here / "head.toml").write_text('[[rules]]\nmatch = "lm_head.weight"\ninitializer = "zeros"', "utf-8")
    arguments = ["init", "head.toml", "--like", "x.safetensors", "--only", "lm_head.*", "-o", "y.safetensors"]
    assert "21 tensors, 46,704 parameters" in ended(*arguments, "--dry-run")
    assert "21 tensors, 46,704 parameters" in ended(*arguments)


def test_quantities_can_be_set(here: Path) -> None:
    arguments = ["--recipe", "llama", "--config", "config.json", "--set", "num_hidden_layers=3"]
    ended("init", *arguments, "--set", "vocab_size = 10 * 8", "-o", "x.safetensors")
    arrays, _ = held(here / "x.safetensors")
    assert arrays["model.layers.2.mlp.up_proj.weight"].shape == (64, 48)
    assert arrays["lm_head.weight"].shape == (80, 48)


def test_plans_take_configurations_and_quantities_too(here: Path) -> None:
    text = SMALL.replace("[8, 5]", '["rows", 5]').replace("[8]", '["rows"]')
    (here / "plan.toml").write_text("[quantities]\nrows = 8\n" + text, "utf-8")
    (here / "rows.json").write_text('{"rows": 6}', "utf-8")
    ended("init", "plan.toml", "--config", "rows.json", "-o", "x.safetensors")
    assert held(here / "x.safetensors")[0]["fc.bias"].shape == (6,)
    ended("verify", "x.safetensors", "plan.toml", "--set", "rows=6")
    ended("diff", "plan.toml", "plan.toml", "--set", "rows=4")
    ended("verify", "x.safetensors", "plan.toml", code=ExitCode.DIFFERS)


def test_a_recipe_takes_the_tensors_of_a_checkpoint(here: Path) -> None:
    ended("init", "--recipe", "llama", "--config", "config.json", "-o", "x.safetensors")
    ended("init", "--recipe", "llama", "--config", "config.json", "--like", "x.safetensors", "-o", "y.safetensors")
    ended("diff", "x.safetensors", "y.safetensors")
    said = ended("init", "--recipe", "llama", "--like", "x.safetensors", "-o", "z.safetensors", code=ExitCode.PLAN)
    assert "claims 14 parameters" in said
    assert "expects 7 * num_hidden_layers = 224" in said


def test_dummies_need_no_plan_and_have_any_dtype(here: Path) -> None:
    arrays = {"w": np.ones((40, 50), np.float32), "half": np.ones(3000, np.float16), "steps": np.ones(3, np.int64)}
    written(here / "old.safetensors", arrays)
    ended("init", "--dummy", "--like", "old.safetensors", "-o", "x.safetensors")
    made, _ = held(here / "x.safetensors")
    assert {name: (array.shape, array.dtype) for name, array in made.items()} == {
        name: (array.shape, array.dtype) for name, array in arrays.items()
    }
    assert not made["steps"].any()
    for name in ("w", "half"):
        values = made[name].astype(np.float64)
        assert 0.0009 < np.abs(values).max() <= 0.001
        assert abs(values.std() - 0.001 / 3**0.5) < 1e-4
    ended("init", "--dummy", "--like", "old.safetensors", "-o", "y.safetensors", "--dtype", "float8_e4m3fn")
    made, _ = held(here / "y.safetensors")
    assert np.isfinite(made["w"].astype(np.float64)).all()
    assert made["steps"].dtype == np.int64
    ended("init", "--dummy", "--recipe", "llama", "--config", "config.json", "-o", "z.safetensors")
    made, _ = held(here / "z.safetensors")
    assert abs(made["model.norm.weight"]).max() <= 0.001


REFUSED = {
    "two plans": (["init", "plan.toml", "--recipe", "llama"], ExitCode.USAGE, "give a plan, plan.toml, or a recipe"),
    "no plan": (["init"], ExitCode.USAGE, "there is no plan"),
    "no recipe": (["init", "--recipe", "lama"], ExitCode.PLAN, "no recipe 'lama'; did you mean 'llama'"),
    "another architecture": (
        ["init", "--recipe", "gpt2", "--config", "config.json"],
        ExitCode.PLAN,
        "the configuration is of model_type 'llama', and the recipe gpt2 is for gpt2",
    ),
    "no configuration": (
        ["init", "--recipe", "llama", "--config", "none.json"],
        ExitCode.PLAN,
        "'none.json' cannot be read: No such file",
    ),
    "no number": (["init", "--recipe", "llama", "--set", "n_layer"], ExitCode.USAGE, "'n_layer' sets nothing"),
    "no quantity": (["init", "--recipe", "llama", "--set", "layers=3"], ExitCode.PLAN, "no quantity 'layers'"),
    "two lists": (
        ["init", "--recipe", "llama", "--like", "x", "--model", "y:z"],
        ExitCode.USAGE,
        "--like and --model both say which tensors there are",
    ),
    "nothing for dummies": (["init", "--dummy"], ExitCode.USAGE, "there is no plan that lists parameters"),
    "a configuration for nothing": (
        ["init", "--dummy", "--like", "x", "--config", "config.json"],
        ExitCode.USAGE,
        "--config and --set are for a plan or a recipe",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_told_and_nothing_is_written(name: str, here: Path) -> None:
    (here / "plan.toml").write_text(SMALL, "utf-8")
    arguments, code, fragment = REFUSED[name]
    before = sorted(path.name for path in here.iterdir())
    assert fragment in ended(*arguments, "-o", "out.safetensors", code=code)
    assert sorted(path.name for path in here.iterdir()) == before


def test_comparisons_need_two_sides(here: Path) -> None:
    (here / "plan.toml").write_text(SMALL, "utf-8")
    assert "give what to compare with" in ended("diff", "plan.toml", code=ExitCode.USAGE)
    said = ended("diff", "plan.toml", "plan.toml", "--recipe", "llama", code=ExitCode.USAGE)
    assert "there are three sides, plan.toml, plan.toml and --recipe llama; drop one" in said
    said = ended("diff", "a.safetensors", "b.safetensors", "--set", "n=3", code=ExitCode.USAGE)
    assert "for a plan or a recipe" in said
    said = ended("fingerprint", "a.safetensors", "--set", "n=3", code=ExitCode.USAGE)
    assert "for a plan or a recipe" in said


def test_the_list_has_every_recipe(here: Path) -> None:
    said = ended("list")
    assert set(recipes.NAMES) <= {line.split(" ")[0] for line in said.splitlines()}
    assert "GPT-2" in said
    data = json.loads(ended("list", "--json"))
    assert [each["name"] for each in data["recipes"]] == list(recipes.NAMES)


def test_one_recipe_is_told_whole(here: Path) -> None:
    said = ended("list", "gpt2")
    for fragment in (
        "n_layer",
        "50257",
        "names of: transformers.GPT2LMHeadModel",
        "source: ",
        "nanoGPT",
        "124,439,808",
    ):
        assert fragment in said
    text = ended("list", "gpt2", "--toml")
    (here / "own.toml").write_text(text, "utf-8")
    ended("diff", "own.toml", "--recipe", "gpt2")
    assert "no recipe 'gpt'; did you mean 'gpt2'" in ended("list", "gpt", code=ExitCode.PLAN)
    assert "name the recipe" in ended("list", "--toml", code=ExitCode.USAGE)


WRITTEN = ("llama", "mixtral", "vit", "whisper", "mamba")
LOADED = [
    case
    for case in (*recipe_decoders.CASES, *recipe_vision.CASES, *recipe_sequences.CASES)
    if case.forward is not None and case.config is not None and str(case) in WRITTEN
]


@pytest.mark.parametrize("case", LOADED, ids=str)
def test_transformers_loads_what_the_command_writes(case: Case, here: Path) -> None:
    assert case.forward is not None
    case.config.save_pretrained(here)
    arguments = ["init", "--recipe", case.recipe, "--config", "config.json", "--max-shard-size", "100KB"]
    ended(*arguments, "-o", "model", "--seed", 5, "--dtype", "bfloat16")
    assert len(list((here / "model").glob("*.safetensors"))) > 1
    model, told = type(case.built()).from_pretrained(here / "model", output_loading_info=True)
    assert not any(told.values())
    assert model.dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.isfinite(case.forward(model.float().eval())).all()


def test_each_architecture_was_loaded() -> None:
    assert {str(case) for case in LOADED} == set(WRITTEN)
