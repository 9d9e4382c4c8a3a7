"""Cases of recipes of methods rather than of one architecture: SIREN, LoRA, policies."""

import math
import warnings
from typing import Any

import gymnasium
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from reference import Case, Orthogonal, constant, normal, within
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from transformers import LlamaConfig, LlamaForCausalLM

# SIREN ------------------------------------------------------------------------------------------------------


class Sines(torch.nn.Module):
    """A linear layer and a sine, as the SIREN paper initializes them."""

    def __init__(self, in_features: int, out_features: int, bound: float) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(in_features, out_features)
        torch.nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(30 * self.linear(x))


class Siren(torch.nn.Module):
    """A network of sines under the names of the authors' notebook, which is in no package."""

    def __init__(self, inputs: int, width: int, depth: int, outputs: int, outermost_linear: bool, omega: float) -> None:
        super().__init__()
        bound = math.sqrt(6 / width) / omega
        last: torch.nn.Module = Sines(width, outputs, bound)
        if outermost_linear:
            last = torch.nn.Linear(width, outputs)
            torch.nn.init.uniform_(last.weight, -bound, bound)
        layers = [Sines(inputs, width, 1 / inputs), *(Sines(width, width, bound) for _ in range(depth)), last]
        self.net = torch.nn.Sequential(*layers)


SIREN: dict[str, Any] = {"in_features": 40, "hidden_features": 60, "hidden_layers": 2, "out_features": 30}


def siren_expected(omega: float) -> dict[str, Any]:
    return {
        "net.0.linear.weight": within(1 / 40),
        "net.0.linear.bias": within(40**-0.5),
        "*.weight": within((6 / 60) ** 0.5 / omega),
        "*.bias": within(60**-0.5),
    }


# LoRA -------------------------------------------------------------------------------------------------------

LLAMA = LlamaConfig(
    num_hidden_layers=2,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=301,
)


class Convolutional(torch.nn.Module):
    """Two convolutions and a table."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(12, 24, 3)
        self.second = torch.nn.Conv1d(24, 24, 5)
        self.table = torch.nn.Embedding(100, 48)


def adapted(**options: Any) -> Any:
    """A Llama with adapters, as peft makes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers 5.24 deprecates what peft 0.21 asks it for
        return get_peft_model(LlamaForCausalLM(LLAMA), LoraConfig(**options))


def convolutional(*targets: str, **options: Any) -> torch.nn.Module:
    """Convolutions with adapters."""
    return get_peft_model(Convolutional(), LoraConfig(target_modules=list(targets), **options))  # type: ignore[arg-type]  # any module is adapted


LORA_EXPECTED = {
    "*.embed_tokens.lora_embedding_A.default": constant(0),
    "*.embed_tokens.lora_embedding_B.default": normal(1),
    "*.down_proj.lora_A.default.weight": within(96**-0.5),
    "*.lora_A.default.weight": within(64**-0.5),
    "*.lora_B.default.weight": constant(0),
}

# Policies ---------------------------------------------------------------------------------------------------

VECTOR = gymnasium.spaces.Box(-1, 1, (40,), np.float32)
IMAGE = gymnasium.spaces.Box(0, 255, (2, 36, 36), np.uint8)
CHOICES = gymnasium.spaces.Discrete(6)


def policy(kind: type[ActorCriticPolicy], seen: gymnasium.Space, done: gymnasium.Space, **options: Any) -> Any:
    return kind(seen, done, lambda _: 1e-3, **options)


HEADS = {
    "action_net.weight": Orthogonal(0.01),
    "value_net.weight": Orthogonal(1),
    "*.weight": Orthogonal(math.sqrt(2)),
    "*.bias": constant(0),
}

CASES = [
    Case("siren", lambda: Siren(40, 60, 2, 30, True, 30), siren_expected(30), SIREN | {"first_omega_0": 50}),
    Case(
        "siren",
        lambda: Siren(40, 60, 2, 30, False, 20),
        siren_expected(20),
        quantities=SIREN | {"outermost_linear": 0, "hidden_omega_0": 20},
        tag="all-sines",
    ),
    Case(
        "lora",
        lambda: adapted(r=16, target_modules=["q_proj", "v_proj", "down_proj", "embed_tokens"]),
        LORA_EXPECTED,
        lists=False,
        only="*lora_*",
    ),
    Case(
        "lora",
        lambda: adapted(r=16, target_modules=["q_proj", "down_proj"], init_lora_weights="gaussian"),
        {"*.lora_A.*": normal(1 / 16), "*.lora_B.*": constant(0)},
        quantities={"gaussian": 1, "r": 16},
        lists=False,
        only="*lora_*",
        tag="gaussian",
    ),
    Case(
        "lora",
        lambda: convolutional("first", "second", "table", r=16),
        {
            "*.first.lora_A.*": within((12 * 9) ** -0.5),
            "*.second.lora_A.*": within((24 * 5) ** -0.5),
            "*.lora_B.*": constant(0),
            "*.lora_embedding_A.*": constant(0),
            "*.lora_embedding_B.*": normal(1),
        },
        lists=False,
        only="*lora_*",
        tag="convolutions",
    ),
    Case(
        "lora",
        lambda: convolutional("first", r=16, lora_bias=True),
        {"*.lora_A.*": within((12 * 9) ** -0.5), "*.lora_B.*": constant(0)},
        lists=False,
        only="*lora_*",
        tag="biases",
    ),
    Case("ppo", lambda: policy(ActorCriticPolicy, VECTOR, CHOICES), HEADS, lists=False),
    Case(
        "ppo",
        lambda: policy(ActorCriticPolicy, VECTOR, VECTOR, log_std_init=-1.5),
        {"log_std": constant(-1.5), **HEADS},
        quantities={"log_std_init": -1.5},
        lists=False,
        tag="continuous",
    ),
    Case(
        "ppo",
        lambda: policy(ActorCriticPolicy, VECTOR, VECTOR, use_sde=True, full_std=True),
        {"log_std": constant(0), **HEADS},
        lists=False,
        tag="state-dependent-noise",
    ),
    Case("ppo", lambda: policy(ActorCriticCnnPolicy, IMAGE, CHOICES), HEADS, lists=False, tag="images"),
    Case(
        "ppo",
        lambda: policy(ActorCriticCnnPolicy, IMAGE, CHOICES, share_features_extractor=False),
        HEADS,
        lists=False,
        tag="images-apart",
    ),
]
