"""What recipes draw for the states of models, of a million heads or channels.

The real models of `recipe_sequences.py` have some hundred, of which no end of an interval is seen, nor a clamp that
few values reach. A million show an error of 0.6 % of a deviation in the mean.
"""

from typing import Any

import numpy as np
import pytest
from recipe_sequences import decays, steps
from reference import SEED, Law, check_law

from fanin import engines, recipes
from fanin.recipe import Window

MANY = 2**20
MAMBA: dict[str, Any] = {"num_hidden_layers": 1, "intermediate_size": MANY}
MAMBA2: dict[str, Any] = {"num_hidden_layers": 1, "num_heads": MANY}
NEXT: dict[str, Any] = {"num_hidden_layers": 1, "linear_num_value_heads": MANY}


@pytest.mark.parametrize(
    ("recipe", "quantities", "tensor", "law"),
    [
        ("mamba", MAMBA, "mixer.dt_proj.bias", steps()),
        ("mamba", MAMBA | {"time_step_floor": 0.01}, "mixer.dt_proj.bias", steps(0.01)),
        ("mamba2", MAMBA2, "mixer.dt_bias", steps()),
        ("mamba2", MAMBA2 | {"time_step_floor": 0.01}, "mixer.dt_bias", steps(0.01)),
        ("mamba2", MAMBA2, "mixer.A_log", decays(1)),
        ("gated_deltanet", NEXT, "linear_attn.dt_bias", steps()),
        ("gated_deltanet", NEXT, "linear_attn.A_log", decays(1e-6)),
        ("qwen3_next", NEXT, "linear_attn.A_log", decays(0.01)),
    ],
)
def test_states_are_drawn_as_the_reference_has_them(
    recipe: str, quantities: dict[str, Any], tensor: str, law: Law
) -> None:
    (entry,) = [each for each in recipes.load(recipe, **quantities).resolve(seed=SEED) if each.name.endswith(tensor)]
    assert entry.shape == (MANY,)
    values = np.full(entry.shape, np.nan, entry.dtype)
    engines.fill(entry.recipe, Window.whole(entry.shape), values)
    check_law(entry.name, values.astype(np.float64), law)


def test_a_wrong_end_is_seen() -> None:
    generator = np.random.default_rng(1)
    for low, law in ((0.01, decays(0.01)), (0.0, decays(1e-6)), (1.0, decays(1))):
        check_law("w", np.log(np.maximum(generator.uniform(low, 16, MANY), 1e-6)), law)
    for low, law in ((0.0, decays(0.01)), (0.01, decays(1e-6)), (1.02, decays(1))):
        with pytest.raises(AssertionError):
            check_law("w", np.log(np.maximum(generator.uniform(low, 16, MANY), 1e-6)), law)
