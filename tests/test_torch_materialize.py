"""Modules from the meta device: each tensor allocated once, with the values that plan.apply gives a real module."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch_tensors import assert_same_tensors, memory, no_generator_advanced, poisoned, refused

import fanin
import fanin.torch
from fanin import Plan, Rule
from fanin.errors import ArgumentError, OutputError, PlanError, SeedError, ShapeError

TORCH = fanin.defaults("torch")
LLAMA = Plan(
    [
        Rule("*norm.weight", "ones"),
        Rule("*inv_freq", lambda shape, dtype=None: 10_000.0 ** -(torch.arange(shape[0]) / shape[0])),
        *TORCH.rules,
    ]
)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=12, n_embd=16, n_layer=2, n_head=2))


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=2, max_position_embeddings=32))


def recurrent() -> nn.Module:
    return nn.Sequential(nn.LSTM(5, 4, 2, proj_size=3), nn.Embedding(6, 4, padding_idx=2), nn.MultiheadAttention(8, 2))


MODELS: dict[str, tuple[Callable[[], nn.Module], Plan]] = {
    "encoder": (encoder, TORCH),
    "gpt2": (gpt2, TORCH),
    "llama": (llama, LLAMA),
    "recurrent": (recurrent, TORCH),
    "norms": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6)), TORCH),
}


def on_meta(make: Callable[[], nn.Module]) -> Any:
    with torch.device("meta"):
        return make()


def everything(module: nn.Module) -> dict[str, torch.Tensor]:
    held = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return dict(held)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_from_meta_is_the_model_that_a_plan_is_applied_to(name: str) -> None:
    make, plan = MODELS[name]
    model = on_meta(make)
    assert all(tensor.is_meta for tensor in everything(model).values())
    with no_generator_advanced():
        assert fanin.torch.materialize(model, plan, seed=7) is model
    real = make()
    only_persistent = Plan([rule for rule in plan.rules if rule.match != "*inv_freq"])
    only_persistent.apply(real, seed=7)
    found, expected = everything(model), everything(real)
    assert list(found) == list(expected)
    for each, tensor in found.items():
        assert tensor.device.type == "cpu"
        if "inv_freq" in each:  # by torch's own power, and by transformers'
            assert torch.allclose(tensor, expected[each], rtol=1e-5)
        else:
            assert_same_tensors(tensor, expected[each])


def test_buffers_that_no_checkpoint_holds_need_a_rule_and_get_their_values() -> None:
    """Once they were allocated and never written."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("kept", torch.zeros(3))
            self.register_buffer("cache", torch.zeros(4000), persistent=False)

    model = on_meta(Scaled)
    refused(
        lambda: fanin.torch.materialize(model, Plan([Rule("kept", "ones")])), PlanError, ValueError,
        "no rule claims 1 of 2", "cache, shape (4000,)",
    )  # fmt: skip
    fanin.torch.materialize(model, Plan([Rule("kept", "ones"), Rule("cache", "constant(2)")]))
    assert model.kept.tolist() == [1] * 3
    assert model.cache.unique().tolist() == [2]
    assert list(model.state_dict()) == ["kept"]


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("make", [llama, gpt2, recurrent])
def test_what_is_materialized_computes(make: Callable[[], nn.Module]) -> None:
    model = on_meta(make)
    fanin.torch.materialize(model, LLAMA if make is llama else TORCH, seed=7)
    real = make()
    if make is recurrent:
        TORCH.apply(real, seed=7)
        inputs = torch.linspace(-1, 1, 30).view(3, 2, 5)
        found, expected = model[0](inputs)[0], real[0](inputs)[0]  # type: ignore[index]
    else:
        real.load_state_dict(model.state_dict())
        tokens = torch.arange(8).view(1, 8)
        found, expected = model.eval()(tokens).logits, real.eval()(tokens).logits
    assert torch.allclose(found, expected, atol=1e-6)
    assert bool(found.isfinite().all())


def test_ties_stay_ties() -> None:
    model: Any = on_meta(gpt2)
    assert model.lm_head.weight is model.transformer.wte.weight
    fanin.torch.materialize(model, TORCH, seed=7)
    assert model.lm_head.weight is model.transformer.wte.weight
    assert not model.lm_head.weight.is_meta


def test_all_that_a_parameter_has_is_kept() -> None:
    model: Any = on_meta(lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)))
    model[0].weight.mark = "here"
    model[0].bias.requires_grad_(False)
    model[1].to(torch.bfloat16)
    model[0].weight.register_hook(lambda grad: grad * 0 + 5)
    model[0].weight.register_post_accumulate_grad_hook(lambda leaf: setattr(leaf, "told", True))
    model[0].register_forward_hook(lambda module, inputs, output: output + 100)
    stepped = torch.empty(4, 3, device="meta").T[:2, ::2]
    model[1].weight = nn.Parameter(stepped)
    fanin.torch.materialize(model, TORCH, seed=7)
    assert model[0].weight.mark == "here"
    assert [each.requires_grad for each in model.parameters()] == [True, False, True, True]
    assert all(type(each) is nn.Parameter and each.is_leaf for each in model.parameters())
    assert model[1].bias.dtype == torch.bfloat16
    assert model[1].weight.shape == (2, 2)
    output = model[0](torch.ones(1, 3))
    output.sum().backward()
    assert output.min() > 90
    assert model[0].weight.grad.tolist() == [[5] * 3] * 2
    assert model[0].weight.told


def test_no_reset_parameters_is_called() -> None:
    class Refusing(nn.Linear):
        def reset_parameters(self) -> None:
            raise AssertionError("called")

    model = on_meta(lambda: bare(Refusing))
    fanin.torch.materialize(model, TORCH, seed=7)
    assert not model.weight.is_meta


def bare(cls: type[nn.Linear]) -> nn.Module:
    """A layer made without its own initialization."""
    layer = cls.__new__(cls)
    nn.Module.__init__(layer)
    layer.in_features, layer.out_features = 3, 2
    layer.weight, layer.bias = nn.Parameter(torch.empty(2, 3)), nn.Parameter(torch.empty(2))
    return layer


def test_what_has_memory_is_filled_where_it_is() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2, device="meta"))
    kept = model[0].weight
    fanin.torch.materialize(model, TORCH, seed=7)
    assert model[0].weight is kept
    real = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    TORCH.apply(real, seed=7)
    for found, expected in zip(model.parameters(), real.parameters(), strict=True):
        assert_same_tensors(found, expected)


def test_shards_are_allocated_as_they_are() -> None:
    whole, part = nn.Linear(4, 6), on_meta(lambda: nn.Linear(4, 6))
    with torch.device("meta"):
        part.weight = nn.Parameter(torch.empty(2, 4))
    TORCH.apply(whole, seed=7)
    fanin.torch.materialize(part, TORCH, seed=7, shards={"weight": ((6, 4), (3, 0))})
    assert_same_tensors(part.weight, whole.weight[3:5])
    assert_same_tensors(part.bias, whole.bias)


def unclaimed() -> tuple[nn.Module, Plan]:
    return on_meta(gpt2), Plan([Rule("*.weight", "zeros")])


def idle() -> tuple[nn.Module, Plan]:
    return on_meta(gpt2), Plan([Rule("*.wieght", "zeros"), Rule("*", "ones")])


def unfit() -> tuple[nn.Module, Plan]:
    return on_meta(lambda: nn.BatchNorm1d(3)), Plan([Rule("*", "random_normal")])


def beside_what_cannot_be_written() -> tuple[nn.Module, Plan]:
    model = nn.Sequential(nn.Linear(3, 2, device="meta"), nn.Linear(2, 2))
    model[1].bias = nn.Parameter(poisoned(1).expand(2))
    return model, TORCH


def empty() -> tuple[nn.Module, Plan]:
    return nn.ParameterDict({"a": nn.Parameter(torch.empty(0, device="meta"))}), Plan([Rule("*", "zeros")])


def lazy() -> tuple[nn.Module, Plan]:
    return nn.Sequential(nn.Linear(3, 2, device="meta"), nn.LazyLinear(2)), TORCH


@pytest.mark.parametrize(
    ("make", "error", "fragments"),
    [
        (unclaimed, PlanError, ["no rule claims", "transformer.h.0.ln_1.bias"]),
        (idle, PlanError, ["matches no parameter", "nearest names"]),
        (unfit, PlanError, ["num_batches_tracked", "int64"]),
        (beside_what_cannot_be_written, OutputError, ["'1.bias' is an expanded view"]),
        (empty, ShapeError, ["'a' has no elements"]),
        (lazy, OutputError, ["'1.weight' of a lazy LazyLinear"]),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_nothing_is_allocated_where_the_plan_does_not_fit(
    make: Callable[[], tuple[nn.Module, Plan]], error: Any, fragments: list[str], allocations: list[torch.Size]
) -> None:
    model, plan = make()
    before = everything(model)
    real = {name for name, tensor in before.items() if type(tensor) is nn.Parameter and not tensor.is_meta}
    held = {name: memory(before[name]) for name in real}
    allocations.clear()
    refused(lambda: fanin.torch.materialize(model, plan), error, ValueError, *fragments)
    assert allocations == []
    assert all(tensor is before[name] for name, tensor in everything(model).items())
    assert {name: memory(before[name]) for name in held} == held


def test_a_device_or_seed_that_cannot_be_is_told() -> None:
    model = on_meta(lambda: nn.Linear(3, 2))
    refused(lambda: fanin.torch.materialize(model, TORCH, device="meta"), ArgumentError, ValueError, "'cpu'")
    refused(lambda: fanin.torch.materialize(model, TORCH, seed=-1), SeedError, ValueError, "-1")
    assert all(tensor.is_meta for tensor in everything(model).values())
    fanin.torch.materialize(model, TORCH, seed=7, device=torch.device("cpu"))
    with torch.device("meta"):  # torch's default device: that one has no memory
        other = nn.Linear(3, 2)
        fanin.torch.materialize(other, TORCH, seed=7, device="cpu")
    assert_same_tensors(other.weight, model.weight)


def test_progress_counts_bytes() -> None:
    told: list[tuple[int, int]] = []
    model = fanin.torch.materialize(on_meta(encoder), TORCH, progress=lambda done, total: told.append((done, total)))
    total = sum(parameter.nbytes for parameter in model.parameters())
    assert told[-1] == (total, total)
    assert len(told) == len(list(model.parameters()))


# Memory --------------------------------------------------------------------------------------------


@pytest.fixture
def allocations() -> Iterator[list[torch.Size]]:
    """What is allocated in host memory, as torch's own dispatcher sees it."""
    from torch.utils._python_dispatch import TorchDispatchMode

    shapes: list[torch.Size] = []

    class Listening(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if "empty" in str(func) and isinstance(result, torch.Tensor) and result.device.type == "cpu":
                shapes.append(result.shape)
            return result

    with Listening():
        yield shapes


@pytest.mark.parametrize("make", [gpt2, recurrent, encoder])
def test_each_tensor_is_allocated_once(make: Callable[[], nn.Module], allocations: list[torch.Size]) -> None:
    model = on_meta(make)
    allocations.clear()
    fanin.torch.materialize(model, TORCH, seed=7)
    assert sorted(allocations) == sorted(parameter.shape for parameter in model.parameters())


def test_the_peak_of_memory_is_that_of_the_parameters() -> None:
    code = """
import torch, fanin, fanin.torch
fanin.use(engine="numpy")  # Numba may have to compile, in more memory than the model
torch.set_num_threads(1)
plan = fanin.defaults("torch")
fanin.torch.materialize(torch.nn.Linear(1024, 2048, device="meta"), plan)  # what is loaded once

def resident(key):  # not getrusage, whose peak begins with that of the process that started this one
    with open("/proc/self/status") as lines:
        return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])

before = resident("VmRSS")
model = torch.nn.Sequential(*(torch.nn.Linear(4096, 4096, device="meta") for _ in range(3)))
fanin.torch.materialize(model, plan)
print(resident("VmHWM") - before, sum(p.numel() * 4 for p in model.parameters()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, held = map(int, done.stdout.split())
    assert held == 3 * (4096 * 4096 + 4096) * 4
    assert held * 0.9 < grown < held + 2**26
