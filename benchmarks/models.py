"""Whole torch models: built by their own code, accelerated and not, and materialized from the meta device."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

import fanin
import fanin.torch
from benchmarks.timing import Row, best

LLAMA = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
CONFIGS: Mapping[str, Any] = {"GPT-2, 124 M": GPT2Config(), "Llama, 0.4 B": LlamaConfig(**LLAMA)}


def frequencies(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
    """The rotary frequencies of a Llama, which its code computes rather than draws."""
    return 1.0 / 10000.0 ** (np.arange(shape[0]) / shape[0])


PLANS: Mapping[str, fanin.Plan] = {
    "GPT-2, 124 M": fanin.Plan(
        [
            fanin.Rule("*.c_proj.weight", "random_normal(stddev=0.02 / sqrt(24))"),
            fanin.Rule(["*.weight"], "random_normal(stddev=0.02)", role=["dense.kernel", "embedding.table"]),
            fanin.Rule(role="norm.scale", initializer="ones"),
            fanin.Rule("*.bias", "zeros"),
        ]
    ),
    "Llama, 0.4 B": fanin.Plan(
        [
            fanin.Rule(role=["dense.kernel", "embedding.table"], initializer="random_normal(stddev=0.02)"),
            fanin.Rule(module="*RMSNorm", initializer="ones"),
            fanin.Rule("*inv_freq", frequencies),
        ]
    ),
}
_DRAWING = {
    torch.nn.init.uniform_, torch.nn.init.normal_, torch.nn.init.kaiming_uniform_, torch.Tensor.uniform_,
    torch.Tensor.normal_,
}  # fmt: skip


class _Filling(TorchFunctionMode):  # type: ignore[misc]  # torch has no type for it
    """Every draw replaced by a plain fill: what no initialization can be faster than."""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWING:
            return (args[0] if args else kwargs["tensor"]).data.fill_(0.5)
        return func(*args, **kwargs)


def building(rounds: int) -> Iterator[Row]:
    """``from_config`` with torch's draws, with fanin's, and with plain fills in their place."""
    for name, config in CONFIGS.items():

        def build(config: Any = config, inside: Callable[[], Any] = contextlib.nullcontext) -> None:
            with inside():
                AutoModelForCausalLM.from_config(config)

        contenders = {
            "fanin": lambda build=build: build(inside=lambda: fanin.torch.accelerate(seed=7)),
            "torch": build,
            "plain fills": lambda build=build: build(inside=_Filling),
        }
        times = best(contenders, max(2, rounds // 4))
        share = times["plain fills"] / times["fanin"]
        note = f"{share:.2f} of the speed-up that plain fills give"
        yield Row(f"{name}, from_config accelerated", times.pop("fanin"), times, note=note)


def materializing(rounds: int) -> Iterator[Row]:
    """From meta, beside allocating and zeroing the same tensors and filling them again, warm."""
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            tensors = list(AutoModelForCausalLM.from_config(config).parameters())
        warm = torch.ones(max(tensor.numel() for tensor in tensors))
        shapes = [tensor.shape for tensor in tensors if tensor.dim() > 1]

        def ours(config: Any = config, plan: fanin.Plan = PLANS[name]) -> None:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(config)
            fanin.torch.materialize(model, plan, seed=7, device="cpu")

        def skeleton(config: Any = config) -> None:
            with torch.device("meta"):
                AutoModelForCausalLM.from_config(config)

        def zeros(tensors: list[torch.Tensor] = tensors) -> None:
            [torch.empty_like(tensor, device="cpu").zero_() for tensor in tensors]

        def kernels(shapes: list[torch.Size] = shapes, warm: torch.Tensor = warm) -> None:
            for number, shape in enumerate(shapes):
                fanin.torch.normal_(warm[: shape.numel()].view(shape), 0.0, 0.02, seed=7, name=str(number))

        times = best({"fanin": ours, "skeleton": skeleton, "zeros": zeros, "kernels": kernels}, max(3, rounds // 2))
        taken = times["fanin"] - times["skeleton"]
        limit = times["zeros"] + times["kernels"]
        note = f"{taken / limit:.2f} x the two together; meta model {times['skeleton'] * 1e3:.0f} ms, not counted"
        peers = {"allocating and zeroing": times["zeros"], "warm kernels": times["kernels"]}
        elements = sum(tensor.numel() for tensor in tensors)
        yield Row(f"{name}, materialized from meta", taken, peers, elements, note)
