"""`fanin diff` says where the Mamba and Mamba-2 of transformers are not initialized as their authors' code does it.

Both are as transformers makes them by default, in checkpoints that transformers has written.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import recipe_sequences
import torch
from commands import invoked
from transformers import Mamba2ForCausalLM, MambaForCausalLM

import fanin
from fanin import recipes
from fanin.cli.codes import ExitCode

MODELS: dict[str, tuple[Any, Any]] = {
    "mamba": (MambaForCausalLM, recipe_sequences.MAMBA),
    "mamba2": (Mamba2ForCausalLM, recipe_sequences.MAMBA2),
}
# By tensor the deviation that transformers gives it, and that of the authors.
DEPARTURES: dict[str, dict[str, tuple[float, float]]] = {
    "mamba": {
        "embeddings.weight": (0.1, 0.02),
        "mixer.in_proj.weight": (0.1, (3 * 64) ** -0.5),
        "mixer.x_proj.weight": (0.1, (3 * 128) ** -0.5),
        "mixer.conv1d.bias": (0.0, (3 * 4) ** -0.5),
        "mixer.out_proj.weight": ((3 * 128) ** -0.5, (3 * 128 * 4) ** -0.5),
    },
    "mamba2": {
        "embeddings.weight": (0.1, 0.02),
        "lm_head.weight": (0.1, (3 * 128) ** -0.5),
        "mixer.in_proj.weight": (0.1, (3 * 128) ** -0.5),
        "mixer.conv1d.bias": (0.0, (3 * 4) ** -0.5),
        "mixer.A_log": (0.8976, 0.6733),  # of log(1), log(2) ... log(64), and of the logarithm of U(1, 16)
        "mixer.out_proj.weight": ((3 * 256) ** -0.5, (3 * 256 * 4) ** -0.5),
    },
}
LOOSELY = {"mixer.A_log": 0.25}  # of 64 values, those of the plan too


@pytest.mark.parametrize("name", MODELS)
def test_the_command_tells_where_transformers_departs_from_the_authors(name: str, tmp_path: Path) -> None:
    made, config = MODELS[name]
    torch.manual_seed(2)
    made(config).save_pretrained(tmp_path)
    recipe = ["--recipe", name, "--config", tmp_path / "config.json"]

    done = invoked("diff", tmp_path / "model.safetensors", *recipe, "--json")
    assert done.exit_code == ExitCode.DIFFERS
    found = fanin.diff(tmp_path / "model.safetensors", recipes.load(name, config))
    assert json.loads(done.stdout)["tensors"] == json.loads(json.dumps(found.to_dict()["tensors"]))
    told = {each["name"]: each for each in json.loads(done.stdout)["tensors"]}
    departing = {tensor for tensor, each in told.items() if each["status"] == "differs"}
    assert {each["status"] for each in told.values()} == {"same", "as in the plan", "differs"}
    kinds: dict[str, list[Any]] = {}
    for tensor in departing:
        kinds.setdefault(re.sub(r"^backbone\.(layers\.\d+\.)?", "", tensor), []).append(told[tensor]["stds"])
    assert set(kinds) == set(DEPARTURES[name])
    for kind, deviations in kinds.items():
        assert len(deviations) == (config.num_hidden_layers if kind.startswith("mixer.") else 1)
        for each in deviations:
            assert each == pytest.approx(DEPARTURES[name][kind], rel=LOOSELY.get(kind, 0.05)), kind


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_of_the_recipe_departs_nowhere(name: str, tmp_path: Path) -> None:
    MODELS[name][1].save_pretrained(tmp_path)
    recipe = ["--recipe", name, "--config", tmp_path / "config.json"]
    assert invoked("init", *recipe, "-o", tmp_path / "a.safetensors", "--seed", 5, "--quiet").exit_code == ExitCode.OK
    done = invoked("diff", tmp_path / "a.safetensors", *recipe, "--json")
    assert done.exit_code == ExitCode.OK
    assert {each["status"] for each in json.loads(done.stdout)["tensors"]} <= {"same", "as in the plan"}
