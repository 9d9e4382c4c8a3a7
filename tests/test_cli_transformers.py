"""Files of the command are what transformers loads, and the files of transformers are what `--like` takes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import EXAMPLES, fanin
from harness import assert_same_bits
from transformers import GPT2Config, GPT2LMHeadModel

from fanin.initializers import RandomNormal

SMALL = GPT2Config(vocab_size=301, n_positions=32, n_embd=48, n_layer=3, n_head=4)
RULES = """
[[rules]]
match = ["*.ln_?.weight"]
initializer = "ones"

[[rules]]
match = "*.bias"
initializer = "zeros"

[[rules]]
match = "*.weight"
initializer = "random_normal(stddev=0.02)"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed, since a GPT-2 has half a gigabyte."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def loaded(folder: Path) -> GPT2LMHeadModel:
    """Load a model, and check that it takes every tensor of the file and misses none but the tied head."""
    model, information = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
    assert set(information["missing_keys"]) <= {"lm_head.weight"}
    assert not information["unexpected_keys"]
    assert not information["mismatched_keys"]
    assert model.lm_head.weight is model.transformer.wte.weight
    return model


def test_gpt2_is_loaded_from_the_file_of_its_plan(folder: Path) -> None:
    GPT2Config().save_pretrained(folder)
    done = fanin("init", EXAMPLES / "gpt2.toml", "-o", folder / "model.safetensors", "--seed", 42, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    model = loaded(folder)
    parameters = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    assert sum(array.size for array in parameters.values()) == 124_439_808
    draw = RandomNormal(stddev=0.02, seed=42)
    assert_same_bits(parameters["transformer.wte.weight"], draw((50257, 768), name="transformer.wte.weight"))
    name = "transformer.h.11.mlp.c_fc.weight"
    assert_same_bits(parameters[name], draw((768, 3072), name=name, layout="i o"))
    assert (parameters["transformer.ln_f.weight"] == 1).all()
    assert not parameters["transformer.h.5.attn.c_attn.bias"].any()


@pytest.mark.parametrize("size", ["40KB", "10MB"])
def test_shards_of_transformers_are_made_anew(size: str, folder: Path) -> None:
    """An index and its shards, or one file, as `save_pretrained` writes them."""
    torch.manual_seed(7)
    theirs = GPT2LMHeadModel(SMALL)
    theirs.save_pretrained(folder / "theirs", max_shard_size=size)
    shards = list((folder / "theirs").glob("*.safetensors"))
    assert (len(shards) > 3) == (size == "40KB")
    like = folder / "theirs" / ("model.safetensors.index.json" if len(shards) > 1 else "model.safetensors")
    (folder / "rules.toml").write_text(RULES, "utf-8")
    SMALL.save_pretrained(folder / "ours")
    output = folder / "ours" / "model.safetensors"
    done = fanin("init", folder / "rules.toml", "--like", like, "-o", output, "--seed", 7)
    assert (done.returncode, done.stderr) == (0, "")
    ours = dict(loaded(folder / "ours").named_parameters())
    compared = 0
    for name, parameter in theirs.named_parameters():
        assert ours[name].shape == parameter.shape, name
        if parameter.ndim > 1:
            array = RandomNormal(stddev=0.02, seed=7)(tuple(parameter.shape), name=name)
            assert_same_bits(ours[name].detach().numpy(), array)
            compared += 1
    assert compared == 2 + 4 * 3
    assert len(ours) == 2 + 12 * 3 + 2


def test_a_file_that_lacks_a_tensor_is_not_taken(folder: Path) -> None:
    """The check of what is loaded can fail."""
    text = (EXAMPLES / "gpt2.toml").read_text("utf-8")
    changes = {"50257": "301", "n_positions = 1024": "n_positions = 32", "768": "48", "n_layer = 12": "n_layer = 3"}
    for old, new in changes.items():
        text = text.replace(old, new)
    SMALL.save_pretrained(folder)
    plan = folder / "small.toml"
    for name, changed in {"good": text, "lacking": text.replace("transformer.ln_f", "transformer.ln_g")}.items():
        plan.write_text(changed, "utf-8")
        done = fanin("init", plan, "-o", folder / "model.safetensors", "--force")
        assert done.returncode == 0, done.stderr
        if name == "good":
            loaded(folder)
        else:
            with pytest.raises(AssertionError):
                loaded(folder)
