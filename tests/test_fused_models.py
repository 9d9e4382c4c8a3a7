"""Packed weights of real models hold the numbers of the separate ones; experts, vocabularies and classes may grow."""

from typing import Any

import numpy as np
import pytest
import torch
from flax import nnx
from harness import assert_same_bits
from torch import nn
from torch_tensors import array, assert_same_tensors, poison
from transformers import (
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    MixtralConfig,
    MixtralModel,
    Phi3Config,
    Phi3Model,
)

import fanin
from fanin import Fused, Plan, Rule

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
}  # fmt: skip
LLAMA = [
    Rule("*norm.weight", "random_normal(1, 0.1)"),
    Rule(role="embedding.table", initializer="random_normal(stddev=0.02)"),
    Rule(role="dense.kernel", initializer="he_normal"),
    Rule("layers.{i}.*.o_proj.weight", "random_normal(stddev=0.02 / sqrt(2 * (i + 1)))"),
]


def test_phi3_is_llama_packed() -> None:
    """One plan for both: queries, keys and values of grouped heads, gate and up."""
    separate, packed = poison(LlamaModel(LlamaConfig(**SIZES))), poison(Phi3Model(Phi3Config(**SIZES)))
    Plan(LLAMA).apply(separate, seed=7)
    fused = [
        Fused(
            "layers.{i}.self_attn.qkv_proj.weight",
            [f"layers.{{i}}.self_attn.{letter}_proj.weight" for letter in "qkv"],
            sizes=["4 * head", "2 * head", "2 * head"],
        ),
        Fused("layers.{i}.mlp.gate_up_proj.weight", [f"layers.{{i}}.mlp.{x}_proj.weight" for x in ("gate", "up")]),
    ]
    plan = Plan(LLAMA, fused=fused, quantities={"head": 8})
    plan.apply(packed, seed=7)
    for one, other in zip(separate.layers, packed.layers, strict=True):
        attention, mlp = one.self_attn, one.mlp
        joined = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        assert_same_tensors(other.self_attn.qkv_proj.weight, joined)
        assert_same_tensors(other.mlp.gate_up_proj.weight, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))
        assert_same_tensors(other.self_attn.o_proj.weight, attention.o_proj.weight)
    tokens = torch.arange(12).reshape(2, 6) + 3
    with torch.no_grad():
        outputs = [model.eval()(tokens).last_hidden_state for model in (separate, packed)]
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)
    assert fanin.verify(packed, plan, seed=7).ok
    assert fanin.fingerprint(packed, plan) == fanin.fingerprint(separate, Plan(LLAMA))


def test_gpt2_is_packed_as_separate_linears_are() -> None:
    """Conv1D stores (in, 3 * out), a linear layer (out, in)."""
    model = poison(GPT2Model(GPT2Config(vocab_size=40, n_positions=12, n_embd=16, n_layer=2, n_head=2)))
    rules = [
        Rule(role="norm.*", initializer="random_normal"),
        Rule("*bias", "random_normal"),
        Rule("wte.weight", "random_normal"),
        Rule("wpe.weight", "random_normal"),
        Rule(role="dense.kernel", initializer="he_normal"),
    ]
    fused = [
        Fused(f"h.{{i}}.attn.c_attn.{key}", [f"h.{{i}}.{x}.{key}" for x in "qkv"], axis=-1)
        for key in ("weight", "bias")
    ]
    Plan(rules, fused=fused).apply(model, seed=7)
    separate = nn.ModuleDict({x: nn.Linear(16, 16) for x in "qkv"})
    twin = nn.ModuleDict({"h": nn.ModuleList([separate])})
    Plan([Rule("*weight", "he_normal"), Rule("*bias", "random_normal")]).apply(twin, seed=7)
    attention = model.h[0].attn.c_attn
    assert_same_tensors(attention.weight, torch.cat([separate[x].weight.T for x in "qkv"], dim=1))
    assert_same_tensors(attention.bias, torch.cat([separate[x].bias for x in "qkv"]))


@pytest.mark.parametrize("experts", [3, 5])
def test_experts_of_mixtral_are_separate_ones(experts: int) -> None:
    """Stacked and packed at once; expert k is the same for any number of experts."""
    model = poison(MixtralModel(MixtralConfig(**SIZES, num_local_experts=experts)))
    rules = [*LLAMA, Rule("layers.{i}.mlp.experts.{e}.*", "he_normal", layout="b o i")]
    rules.append(Rule("*.mlp.gate.weight", "he_normal", layout="o i"))
    fused = [
        Fused("layers.{i}.mlp.experts.gate_up_proj", "layers.{i}.mlp.experts.{e}.gate_up"),
        Fused("layers.{i}.mlp.experts.down_proj", "layers.{i}.mlp.experts.{e}.down"),
        Fused("*{i}.mlp.experts.{e}.gate_up", [f"layers.{{i}}.mlp.experts.{{e}}.{x}" for x in ("gate", "up")], axis=1),
    ]
    plan = Plan(rules, fused=fused)
    plan.apply(model, seed=7)
    for name, found, shape in (
        ("gate", model.layers[1].mlp.experts.gate_up_proj[2, :48], (48, 32)),
        ("up", model.layers[1].mlp.experts.gate_up_proj[2, 48:], (48, 32)),
        ("down", model.layers[1].mlp.experts.down_proj[2], (32, 48)),
    ):
        own = fanin.initializers.HeNormal(seed=7)(shape, name=f"layers.1.mlp.experts.2.{name}", layout="o i")
        assert_same_bits(array(found), own)
    assert fanin.verify(model, plan, seed=7).ok


def test_gates_of_an_lstm_are_those_of_flax() -> None:
    ours = poison(nn.LSTM(6, 8))
    theirs = nnx.LSTMCell(6, 8, rngs=nnx.Rngs(0))
    plan = Plan([Rule("bias_h*", "zeros", optional=True), Rule("*", "random_normal")])
    names = fanin.names_like(ours, theirs, ignore="bias_h*")
    plan.apply(ours, seed=7)
    plan.apply(theirs, seed=7, names=names)
    for number, gate in enumerate("ifgo"):
        rows = slice(8 * number, 8 * number + 8)
        assert_same_bits(
            np.asarray(getattr(theirs, "if_" if gate == "f" else f"i{gate}").kernel[...]).T,
            array(ours.weight_ih_l0[rows]),
        )
        assert_same_bits(np.asarray(getattr(theirs, f"h{gate}").kernel[...]).T, array(ours.weight_hh_l0[rows]))
        assert_same_bits(np.asarray(getattr(theirs, f"h{gate}").bias[...]), array(ours.bias_ih_l0[rows]))


def test_a_plan_splits_what_a_layer_packs_in_its_own_way() -> None:
    """Under other names than those that MultiheadAttention's weights have where the plan does not say."""
    packed = poison(nn.MultiheadAttention(32, 4))
    separate = poison(nn.ModuleDict({x: nn.Linear(32, 32) for x in "qkv"}))
    rules = [Rule(["?.weight", "out_proj.weight"], "he_normal"), Rule("*bias", "zeros")]
    fused = [Fused("in_proj_weight", ["q.weight", "k.weight", "v.weight"])]
    plan = Plan(rules, fused=fused)
    plan.apply(packed, seed=7)
    Plan([Rule("*.weight", "he_normal"), Rule("*.bias", "zeros")]).apply(separate, seed=7)
    assert_same_tensors(packed.in_proj_weight, torch.cat([separate[x].weight for x in "qkv"]))
    assert fanin.verify(packed, plan, seed=7).ok


@pytest.mark.parametrize("kind", ["vocabulary", "classes"])
def test_what_grows_keeps_what_was_there(kind: str) -> None:
    def made(size: int) -> Any:
        return poison(nn.Embedding(size, 8) if kind == "vocabulary" else nn.Linear(8, size))

    plan = Plan([Rule("weight", "random_normal(stddev=0.02)"), Rule("bias", "random_normal", optional=True)])
    small, large = plan.apply(made(10), seed=7), plan.apply(made(13), seed=7)
    for name, tensor in small.named_parameters():
        assert_same_tensors(large.get_parameter(name)[:10], tensor)
    # So a trained model grows by writing the new rows only.
    trained = nn.Embedding(13, 8)
    with torch.no_grad():
        trained.weight[:10] = 5.0
    entry = plan.resolve(fanin.parameters(trained), seed=7)[0] if kind == "vocabulary" else None
    if entry is not None:
        window = fanin.recipe.Window((10, 0), (13, 8))
        fanin.engines.fill(entry.recipe, window, trained.weight.detach()[10:])
        assert_same_tensors(trained.weight[10:], large.weight[10:])
        assert (trained.weight[:10] == 5).all()
