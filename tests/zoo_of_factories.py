"""Functions that make models, for the option `--model`."""

import functools

import torch
from flax import nnx
from transformers import LlamaConfig, LlamaForCausalLM

CONFIG = LlamaConfig(
    num_hidden_layers=2, hidden_size=32, intermediate_size=48, num_attention_heads=4, vocab_size=64, pad_token_id=3
)


class Small(torch.nn.Sequential):
    """An embedding with padding, a layer, running statistics, and a buffer that no checkpoint holds."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(
            torch.nn.Embedding(10, width, padding_idx=2), torch.nn.Linear(width, 4), torch.nn.BatchNorm1d(4)
        )
        self.register_buffer("frequencies", torch.ones(3), persistent=False)


wide = functools.partial(Small, 16)
made = Small()


class Inner:
    """A name inside of a name."""

    small = Small


def llama() -> LlamaForCausalLM:
    return LlamaForCausalLM(CONFIG)


def flax() -> nnx.Linear:
    return nnx.eval_shape(lambda: nnx.Linear(6, 5, rngs=nnx.Rngs(0)))


def leaving() -> None:
    raise SystemExit("nothing to do")


def broken() -> None:
    raise KeyError("width")


def needy(width: int) -> int:
    return width


def nothing() -> None:
    pass
