"""Cases of recipes of language models that transformers has."""

from typing import Any

import torch
from reference import Case, constant, normal
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

GPT2 = GPT2Config(n_layer=3, n_embd=48, n_head=4, vocab_size=301, n_positions=32)
LLAMA = LlamaConfig(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=301,
)
LLAMA_BIASES = LlamaConfig(**LLAMA.to_dict() | {"tie_word_embeddings": True, "attention_bias": True, "head_dim": 32})


def logits(model: Any) -> torch.Tensor:
    """What a language model makes of some tokens."""
    return model(torch.arange(8)[None]).logits  # type: ignore[no-any-return]


CASES = [
    Case(
        "gpt2",
        lambda: GPT2LMHeadModel(GPT2),
        {
            "*.ln_?.weight": constant(1),
            "*.bias": constant(0),
            "*.c_proj.weight": normal(0.02 / 6**0.5),
            "*.weight": normal(0.02),
        },
        GPT2,
        forward=logits,
    ),
    Case(
        "llama",
        lambda: LlamaForCausalLM(LLAMA),
        {"*norm.weight": constant(1), "*.weight": normal(0.02)},
        LLAMA,
        forward=logits,
    ),
    Case(
        "llama",
        lambda: LlamaForCausalLM(LLAMA_BIASES),
        {"*norm.weight": constant(1), "*.bias": constant(0), "*.weight": normal(0.02)},
        LLAMA_BIASES,
        forward=logits,
        tag="tied-biases",
    ),
]
