"""Experts in recipes: by the names of published checkpoints, or packed as models have them, with the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from recipe_decoders import DEEPSEEK, MIXTRAL
from safetensors import safe_open
from transformers import DeepseekV3ForCausalLM, MixtralForCausalLM

from fanin import checkpoint, recipes

MODELS = {
    "mixtral": (MixtralForCausalLM, MIXTRAL),
    "deepseek_v3": (DeepseekV3ForCausalLM, DEEPSEEK),
    "deepseek_v3_torchtitan": (DeepseekV3ForCausalLM, DEEPSEEK),
}


def shapes(file: Path) -> dict[str, list[int]]:
    """The tensors of a checkpoint."""
    with safe_open(file, "pt") as opened:
        return {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118  # no mapping


def loaded(recipe: str, folder: Path, **quantities: int) -> dict[str, torch.Tensor]:
    """What transformers makes of a checkpoint of a recipe."""
    model, config = MODELS[recipe]
    config.save_pretrained(folder)
    entries = recipes.load(recipe, config, **quantities).resolve(seed=5)
    checkpoint.write(folder / "model.safetensors", entries, metadata={"format": "pt"})
    read, told = model.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    return dict(read.state_dict())


@pytest.mark.parametrize("recipe", MODELS)
def test_a_recipe_lists_the_experts_that_save_pretrained_writes(recipe: str, tmp_path: Path) -> None:
    model, config = MODELS[recipe]
    model(config).save_pretrained(tmp_path)
    listed = {each.name: list(each.shape) for each in recipes.load(recipe, config).parameters}
    assert listed == shapes(tmp_path / "model.safetensors")
    assert sum(".experts." in name for name in listed) >= 2 * 3 * 4


@pytest.mark.parametrize("recipe", MODELS)
def test_packed_experts_have_the_numbers_of_separate_ones(recipe: str, tmp_path: Path) -> None:
    separate = loaded(recipe, tmp_path / "separate")
    packed = loaded(recipe, tmp_path / "packed", packed=1)
    assert set(shapes(tmp_path / "separate" / "model.safetensors")) != set(packed)
    assert set(shapes(tmp_path / "packed" / "model.safetensors")) == set(packed) == set(separate)
    model, config = MODELS[recipe]
    applied: Any = recipes.load(recipe, config).apply(model(config), seed=5)
    for name, tensor in applied.state_dict().items():
        assert torch.equal(tensor, separate[name]), name
        assert torch.equal(tensor, packed[name]), name
