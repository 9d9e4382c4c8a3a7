"""Cases of recipes of language models that transformers has."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from reference import Case, Law, constant, normal, truncated, uniform, within
from torch import nn
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    NanoChatConfig,
    NanoChatForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

T = TypeVar("T")

GPT2 = GPT2Config(n_layer=3, n_embd=48, n_head=4, vocab_size=301, n_positions=32)
GPT2_UNTIED = GPT2Config(**GPT2.to_dict() | {"n_embd": 64, "n_inner": 96, "tie_word_embeddings": False})
LLAMA = LlamaConfig(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=301,
)
NEOX = GPTNeoXConfig(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    vocab_size=301,
    max_position_embeddings=32,
)
NEOX_TIED = GPTNeoXConfig(**NEOX.to_dict() | {"tie_word_embeddings": True, "attention_bias": False})
OLMO = Olmo2Config(
    num_hidden_layers=3,
    hidden_size=96,
    intermediate_size=160,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=301,
    eos_token_id=2,
)
OLMO3 = Olmo3Config(**OLMO.to_dict() | {"model_type": "olmo3", "tie_word_embeddings": True, "attention_bias": True})
LLAMA_BIASES = LlamaConfig(**LLAMA.to_dict() | {"tie_word_embeddings": True, "attention_bias": True, "head_dim": 32})


def logits(model: Any) -> torch.Tensor:
    """What a language model makes of some tokens."""
    return model(torch.arange(8)[None]).logits  # type: ignore[no-any-return]


def cut(std: float) -> Law:
    """A normal that is cut at three deviations."""
    return truncated(std, -3 * std, 3 * std)


def by_layer(weights: str, law: Callable[[int], Law]) -> dict[str, Law]:
    """What the weights of some names have in each of 3 layers."""
    return {f"*.{i}.*.{name}.weight": law(i) for name in weights.split() for i in range(3)}


def weights(names: str, what: T) -> dict[str, T]:
    """The same of several weights."""
    return {f"*{name}.weight": what for name in names.split()}


READING, WRITING = "q_proj k_proj v_proj gate_proj", "o_proj up_proj down_proj"


def neox(recipe: str, residual: float, config: GPTNeoXConfig, tag: str = "") -> Case:
    """Small init, in 3 layers of width 64."""
    reading = "embed_in query_key_value dense_h_to_4h" + " lm_head" * (not config.tie_word_embeddings)
    writing = "attention.dense dense_4h_to_h"
    return Case(
        recipe,
        lambda: GPTNeoXForCausalLM(config),
        {
            "*norm.weight": constant(1),
            "*.bias": constant(0),
            **weights(writing, normal(residual)),
            **weights(reading, normal((2 / (5 * 64)) ** 0.5)),
        },
        config,
        departs=weights(reading, "plan 0.07906") | weights(writing, f"plan {residual:.4g}"),
        forward=logits,
        tag=tag,
    )


def olmo(scheme: str, expected: Mapping[str, Law], departs: Mapping[str, str], **quantities: float) -> Case:
    """A scheme of OLMo-core, in 3 layers of width 96 with 160 hidden units."""
    return Case(
        "olmo2",
        lambda: Olmo2ForCausalLM(OLMO),
        {"*norm.weight": constant(1), **expected},
        OLMO,
        {"scheme": scheme, **quantities},
        departs=departs,
        forward=logits,
        tag=scheme,
    )


def called(parts: Mapping[str, str]) -> Callable[[str], str]:
    """Names with some of their parts in place of others."""

    def name(text: str) -> str:
        for old, new in parts.items():
            text = text.replace(old, new)
        return text

    return name


# Three models of transformers with the layers that Megatron's have: packed queries, keys and values, and biases.
BIG_CODE = GPTBigCodeConfig(n_layer=3, n_embd=64, n_head=4, vocab_size=301, n_positions=32, multi_query=False)
BIG_CODE_AS_MEGATRON = called(
    {
        "transformer.wte": "embedding.word_embeddings",
        "transformer.wpe": "embedding.position_embeddings",
        "transformer.ln_f": "decoder.final_layernorm",
        "transformer.h": "decoder.layers",
        "ln_1": "input_layernorm",
        "ln_2": "pre_mlp_layernorm",
        "mlp.c_fc": "mlp.linear_fc1",
        "mlp.c_proj": "mlp.linear_fc2",
        "attn.c_attn": "self_attention.linear_qkv",
        "attn.c_proj": "self_attention.linear_proj",
    }
)
NEOX_AS_MEGATRON = called(
    {
        "gpt_neox.embed_in": "embedding.word_embeddings",
        "gpt_neox.final_layer_norm": "decoder.final_layernorm",
        "gpt_neox.layers": "decoder.layers",
        "post_attention_layernorm": "pre_mlp_layernorm",
        "attention.query_key_value": "self_attention.linear_qkv",
        "attention.dense": "self_attention.linear_proj",
        "mlp.dense_h_to_4h": "mlp.linear_fc1",
        "mlp.dense_4h_to_h": "mlp.linear_fc2",
        "lm_head": "output_layer",
    }
)
PHI = Phi3Config(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=301,
    pad_token_id=None,
)
PHI_AS_MEGATRON = called(
    {
        "model.embed_tokens": "embedding.word_embeddings",
        "model.norm": "decoder.final_layernorm",
        "model.layers": "decoder.layers",
        "post_attention_layernorm": "pre_mlp_layernorm",
        "self_attn.qkv_proj": "self_attention.linear_qkv",
        "self_attn.o_proj": "self_attention.linear_proj",
        "mlp.gate_up_proj": "mlp.linear_fc1",
        "mlp.down_proj": "mlp.linear_fc2",
        "lm_head": "output_layer",
    }
)
MIXTRAL = MixtralConfig(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_local_experts=4,
    vocab_size=301,
)
MIXTRAL_TIED = MixtralConfig(
    **MIXTRAL.to_dict() | {"tie_word_embeddings": True, "head_dim": 32, "pad_token_id": 2, "initializer_range": 0.03}
)
DEEPSEEK = DeepseekV3Config(
    num_hidden_layers=3,
    first_k_dense_replace=1,
    hidden_size=64,
    intermediate_size=96,
    moe_intermediate_size=48,
    n_routed_experts=4,
    n_shared_experts=2,
    num_experts_per_tok=2,
    n_group=2,
    topk_group=1,
    num_attention_heads=4,
    num_key_value_heads=4,
    q_lora_rank=24,
    kv_lora_rank=32,
    qk_nope_head_dim=16,
    qk_rope_head_dim=8,
    v_head_dim=16,
    vocab_size=301,
)
DEEPSEEK_BIASES = DeepseekV3Config(
    **DEEPSEEK.to_dict()
    | {
        "q_lora_rank": None,
        "attention_bias": True,
        "pad_token_id": 2,
        "tie_word_embeddings": True,
        "n_shared_experts": 1,
    }
)
DEEPSEEK_DENSE = DeepseekV3Config(**DEEPSEEK.to_dict() | {"first_k_dense_replace": 5})
DEEPSEEK_DENSE_BIASES = DeepseekV3Config(**DEEPSEEK_DENSE.to_dict() | {"q_lora_rank": None, "attention_bias": True})
GPT_OSS = GptOssConfig(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=48,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    num_local_experts=4,
    num_experts_per_tok=2,
    vocab_size=301,
)
GPT_OSS_TIED = GptOssConfig(
    **GPT_OSS.to_dict() | {"tie_word_embeddings": True, "attention_bias": False, "pad_token_id": 2}
)
GPT_OSS_PLAIN = GptOssConfig(**GPT_OSS.to_dict() | {"attention_bias": False})
NANOCHAT = NanoChatConfig(
    num_hidden_layers=3,
    hidden_size=64,
    intermediate_size=256,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=320,
    pad_token_id=None,
)
NANOCHAT_AS_AUTHORS = called(
    {
        "model.embed_tokens": "transformer.wte",
        "model.layers": "transformer.h",
        "self_attn.o_proj": "attn.c_proj",
        "self_attn.q_proj": "attn.c_q",
        "self_attn.k_proj": "attn.c_k",
        "self_attn.v_proj": "attn.c_v",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
)


class NanoChat(nn.Module):
    """The tensors of nanochat's GPT of 4 layers, which no package has, as layers and scalars of torch hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.resid_lambdas, self.x0_lambdas = (nn.Parameter(torch.zeros(4)) for _ in range(2))
        self.smear_lambda, self.backout_lambda = (nn.Parameter(torch.zeros(1)) for _ in range(2))
        self.transformer = nn.ModuleDict({"wte": nn.Embedding(320, 64), "h": nn.ModuleList(map(self.block, range(4)))})
        self.lm_head = nn.Linear(64, 320, bias=False)
        self.smear_gate = nn.Linear(24, 1, bias=False)
        self.value_embeds = nn.ModuleDict({name: nn.Embedding(320, 32) for name in ("1", "3")})

    @staticmethod
    def block(i: int) -> nn.Module:
        shapes = {"c_q": (64, 64), "c_k": (64, 32), "c_v": (64, 32), "c_proj": (64, 64)}
        attn = {name: nn.Linear(*shape, bias=False) for name, shape in shapes.items()}
        if i in (1, 3):
            attn["ve_gate"] = nn.Linear(12, 2, bias=False)
        mlp = {"c_fc": nn.Linear(64, 256, bias=False), "c_proj": nn.Linear(256, 64, bias=False)}
        return nn.ModuleDict({"attn": nn.ModuleDict(attn), "mlp": nn.ModuleDict(mlp)})


NANOCHAT_LAWS = {
    **weights("wte", normal(0.8)),
    **weights("lm_head", normal(0.001)),
    **weights("c_q c_k c_v", within(3**0.5 / 8)),
    **weights("c_fc", within(0.4 * 3**0.5 / 8)),
    **weights("c_proj", constant(0)),
}
MEGATRON = {"num_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 301}


def gpt_oss_torchtitan(config: GptOssConfig, tag: str = "") -> Case:
    """All that is drawn in layer i has 0.02 / sqrt(2 (i + 1)). Four sinks are too few for `fanin.diff` to tell."""
    drawn = ["self_attn.*_proj.weight", "mlp.router.weight", "self_attn.sinks", "mlp.experts.*"]
    return Case(
        "gpt_oss_torchtitan",
        lambda: GptOssForCausalLM(config),
        {
            "*norm.weight": constant(1),
            "*embed_tokens.weight": normal(0.02),
            "lm_head.weight": cut(64**-0.5),
            "*.router.bias": constant(0),
            **({"*_proj.bias": constant(0)} if config.attention_bias else {}),
            **{f"*.{i}.{name}": normal(0.02 / (2 * (i + 1)) ** 0.5) for name in drawn for i in range(3)},
        },
        config,
        departs=weights("lm_head", "plan [-0.375, 0.375]")
        | weights("q_proj k_proj v_proj o_proj router", "std 0.0")
        | {"*_proj": "std 0.0", "*_proj_bias": "all are 0, plan", "*.router.bias": "plan all 0"},
        forward=logits,
        tag=tag,
    )


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
    neox("gpt_neox", 2 / (3 * 64**0.5), NEOX),
    neox("gpt_neox", 2 / (3 * 64**0.5), NEOX_TIED, "tied-without-biases"),
    neox("small_init", (2 / (5 * 64)) ** 0.5 / (2 * 3) ** 0.5, NEOX),
    neox("small_init", (2 / (5 * 64)) ** 0.5 / (2 * 3) ** 0.5, NEOX_TIED, "tied-without-biases"),
    Case(
        "llama_torchtitan",
        lambda: LlamaForCausalLM(LLAMA),
        {
            "*norm.weight": constant(1),
            "*embed_tokens.weight": normal(1),
            "lm_head.weight": truncated(64**-0.5, -3 / 8, 3 / 8),
            **by_layer("o_proj up_proj down_proj", lambda i: normal(0.02 / (2 * (i + 1)) ** 0.5)),
            "*.weight": normal(0.02),
        },
        LLAMA,
        departs=weights("embed_tokens", "plan 1 ")
        | weights("lm_head", "plan [-0.375, 0.375]")
        | weights(WRITING, "std 0.0"),
        forward=logits,
    ),
    Case(
        "llama_torchtitan",
        lambda: LlamaForCausalLM(LLAMA_BIASES),
        {
            "*norm.weight": constant(1),
            "*.bias": constant(0),
            "*embed_tokens.weight": truncated(64**-0.5, -3 / 8, 3 / 8),
            **by_layer("o_proj down_proj", lambda i: cut(0.02 / (2 * (i + 1)) ** 0.5)),
            "*.weight": cut(0.02),
        },
        LLAMA_BIASES,
        {"fixed": 1},
        departs=weights("embed_tokens", "plan [-0.375, 0.375]")
        | weights(f"{READING} up_proj", "plan [-0.06, 0.06]")
        | weights("o_proj down_proj", "values in"),
        forward=logits,
        tag="fixed-tied-biases",
    ),
    olmo("normal", {"*.weight": cut(0.02)}, weights(f"embed_tokens lm_head {READING} {WRITING}", "plan [-0.06, 0.06]")),
    olmo(
        "llama",
        {
            "*embed_tokens.weight": normal(1),
            "lm_head.weight": cut(96**-0.5),
            **weights(WRITING, cut(0.02 / 6**0.5)),
            "*.weight": cut(0.02),
        },
        weights("embed_tokens", "plan 1 ")
        | weights("lm_head", "plan [-0.3062, 0.3062]")
        | weights(READING, "plan [-0.06, 0.06]")
        | weights(WRITING, "plan 0.008055"),
    ),
    olmo(
        "llama_depth",
        {
            "*embed_tokens.weight": normal(1),
            "lm_head.weight": cut(96**-0.5),
            **by_layer("o_proj up_proj down_proj", lambda i: cut(0.02 / (2 * (i + 1)) ** 0.5)),
            "*.weight": cut(0.02),
        },
        weights("embed_tokens", "plan 1 ")
        | weights("lm_head", "plan [-0.3062, 0.3062]")
        | weights(READING, "plan [-0.06, 0.06]")
        | weights(WRITING, "values in"),
    ),
    olmo(
        "normalized",
        {
            "*embed_tokens.weight": normal(96**-0.5),
            **weights("o_proj down_proj", cut((1 / 96 / 6) ** 0.5)),
            "*.weight": cut(96**-0.5),
        },
        weights("embed_tokens", "plan 0.1021")
        | weights(f"lm_head {READING} up_proj", "plan 0.1007")
        | weights("o_proj down_proj", "plan 0.04111"),
    ),
    olmo(
        "by_fan_in",
        {
            "*embed_tokens.weight": normal(1 / 4),
            "*.down_proj.weight": cut(160**-0.5),
            "*.weight": cut(96**-0.5),
        },
        weights("embed_tokens", "plan 0.25")
        | weights(f"lm_head {READING} o_proj up_proj", "plan 0.1007")
        | weights("down_proj", "plan 0.078"),
        embed_scale=4,
    ),
    Case(
        "olmo2",
        lambda: Olmo3ForCausalLM(OLMO3),
        {"*norm.weight": constant(1), "*.bias": constant(0), "*.weight": cut(0.02)},
        OLMO3,
        departs=weights(f"embed_tokens {READING} {WRITING}", "plan [-0.06, 0.06]"),
        forward=logits,
        tag="3-tied-biases",
    ),
    Case(
        "megatron_gpt",
        lambda: GPTBigCodeForCausalLM(BIG_CODE),
        {
            "*layernorm.weight": constant(1),
            "*.bias": constant(0),
            **weights("linear_proj linear_fc2", normal(0.02 / 6**0.5)),
            "*.weight": normal(0.02),
        },
        None,
        MEGATRON | {"max_sequence_length": 32, "share_embeddings_and_output_weights": 1},
        BIG_CODE_AS_MEGATRON,
    ),
    Case(
        "megatron_gpt",
        lambda: GPTNeoXForCausalLM(NEOX),
        {
            "*layernorm.weight": constant(1),
            "*.bias": constant(0),
            **weights("linear_proj linear_fc2", normal(0.02 / 6**0.5)),
            "*word_embeddings.weight": normal(1),
            "*.weight": normal(0.02),
        },
        {"num_layers": 3, "hidden_size": 64, "position_embedding_type": "rope", "embedding_init_method_std": 1.0},
        MEGATRON | {"ffn_hidden_size": 96},
        NEOX_AS_MEGATRON,
        departs=weights("word_embeddings", "plan 1 ") | weights("linear_proj linear_fc2", "plan 0.008165"),
        tag="rotary-untied",
    ),
    Case(
        "megatron_gpt",
        lambda: Phi3ForCausalLM(PHI),
        {
            "*layernorm.weight": constant(1),
            **weights("linear_proj linear_fc2", normal(0.02 / 24**0.5)),
            **weights("linear_qkv linear_fc1", normal(0.01)),
            **weights("word_embeddings output_layer", normal(0.04)),
        },
        {
            "normalization": "RMSNorm",
            "position_embedding_type": "rope",
            "gated_linear_unit": True,
            "add_bias_linear": False,
            "num_query_groups": 2,
            "ffn_hidden_size": 96,
            "use_mup": True,
            "mup_base_hidden_size": 16,
        },
        MEGATRON | {"embedding_init_method_std": 0.04},
        PHI_AS_MEGATRON,
        departs=weights("word_embeddings output_layer", "plan 0.04")
        | weights("linear_qkv linear_fc1", "plan 0.01 ")
        | weights("linear_proj linear_fc2", "plan 0.004082"),
        tag="gated-mup",
    ),
    Case(
        "mixtral",
        lambda: MixtralForCausalLM(MIXTRAL),
        {"*norm.weight": constant(1), "*.weight": normal(0.02)},
        MIXTRAL,
        lists=False,  # it has the names of published checkpoints: test_recipe_experts.py
        forward=logits,
    ),
    Case(
        "mixtral",
        lambda: MixtralForCausalLM(MIXTRAL_TIED),
        {"*norm.weight": constant(1), "*.weight": normal(0.03)},
        MIXTRAL_TIED,
        {"packed": 1},
        forward=logits,
        tag="packed-tied-padded",
    ),
    Case(
        "deepseek_v3",
        lambda: DeepseekV3ForCausalLM(DEEPSEEK),
        {"*norm.weight": constant(1), "*.e_score_correction_bias": constant(0), "*.weight": normal(0.02)},
        DEEPSEEK,
        lists=False,
        forward=logits,
    ),
    Case(
        "deepseek_v3",
        lambda: DeepseekV3ForCausalLM(DEEPSEEK_BIASES),
        {"*norm.weight": constant(1), "*bias": constant(0), "*.weight": normal(0.02)},
        DEEPSEEK_BIASES,
        {"packed": 1},
        forward=logits,
        tag="packed-tied-padded-biases-without-lora",
    ),
    Case(
        "deepseek_v3",
        lambda: DeepseekV3ForCausalLM(DEEPSEEK_DENSE),
        {"*norm.weight": constant(1), "*.weight": normal(0.02)},
        DEEPSEEK_DENSE,
        forward=logits,
        tag="dense",
    ),
    Case(
        "deepseek_v3_torchtitan",
        lambda: DeepseekV3ForCausalLM(DEEPSEEK),
        {
            "*norm.weight": constant(1),
            "*.e_score_correction_bias": constant(0),
            "*embed_tokens.weight": normal(1),
            "lm_head.weight": cut(64**-0.5),
            **by_layer("o_proj up_proj down_proj", lambda i: normal(0.02 / (2 * (i + 1)) ** 0.5)),
            "*.1.mlp.gate.weight": normal(0.01),
            "*.2.mlp.gate.weight": normal(0.02 / 6**0.5),
            "*.weight": normal(0.02),
        },
        DEEPSEEK,
        {"packed": 1},
        departs=weights("embed_tokens", "plan 1 ")
        | weights("lm_head", "plan [-0.375, 0.375]")
        | weights(f"{WRITING} .gate", "std 0.0"),
        forward=logits,
    ),
    Case(
        "deepseek_v3_torchtitan",
        lambda: DeepseekV3ForCausalLM(DEEPSEEK_DENSE_BIASES),
        {
            "*norm.weight": constant(1),
            "*.bias": constant(0),
            "*embed_tokens.weight": normal(1),
            "lm_head.weight": cut(64**-0.5),
            **by_layer("o_proj up_proj down_proj", lambda i: normal(0.02 / (2 * (i + 1)) ** 0.5)),
            "*.weight": normal(0.02),
        },
        DEEPSEEK_DENSE_BIASES,
        departs=weights("embed_tokens", "plan 1 ")
        | weights("lm_head", "plan [-0.375, 0.375]")
        | weights(WRITING, "std 0.0"),
        forward=logits,
        tag="dense-biases",
    ),
    Case(
        "mup_gpt2",
        lambda: GPT2LMHeadModel(GPT2_UNTIED),
        {
            "*.ln_?.weight": constant(1),
            "*.bias": constant(0),
            **weights("wte wpe", normal(0.02)),
            **weights("c_attn c_fc", normal(0.01)),
            **weights("attn.c_proj", normal(0.01 / 6**0.5)),
            **weights("mlp.c_proj", normal(0.02 / 6**0.5 * (64 / 96) ** 0.5)),
            **weights("lm_head", within(1 / 4)),
        },
        GPT2_UNTIED,
        {"base_n_embd": 16},
        departs=weights("c_attn c_fc", "plan 0.01 ")
        | weights("attn.c_proj", "plan 0.004082")
        | weights("mlp.c_proj", "plan 0.006667")
        | weights("lm_head", "plan 0.1443"),
        forward=logits,
    ),
    Case(
        "mup_gpt2",
        lambda: GPT2LMHeadModel(GPT2_UNTIED),
        {
            "*.ln_?.weight": constant(1),
            "*.bias": constant(0),
            **weights("c_proj", normal(0.02 / 6**0.5)),
            **weights("lm_head", constant(0)),
            "*.weight": normal(0.02),
        },
        GPT2_UNTIED,
        {"base_n_embd": 64, "base_n_inner": 96, "readout_zero_init": 1},
        departs={"lm_head.weight": ""},
        tag="base-zero-readout",
    ),
    Case(
        "mup_gpt2",
        lambda: GPT2LMHeadModel(GPT2),
        {
            "*.ln_?.weight": constant(1),
            "*.bias": constant(0),
            **weights("wte wpe", normal(0.02)),
            **weights("c_attn c_fc", normal(0.01)),
            **weights("c_proj", normal(0.01 / 6**0.5)),
        },
        GPT2,
        {"base_n_embd": 12},
        departs=weights("c_attn c_fc", "plan 0.01 ") | weights("c_proj", "plan 0.004082"),
        forward=logits,
        tag="tied",
    ),
    Case(
        "nanochat",
        lambda: NanoChatForCausalLM(NANOCHAT),
        NANOCHAT_LAWS,
        None,
        {"n_layer": 3, "n_embd": 64, "n_head": 4, "n_kv_head": 2, "vocab_size": 320, "extras": 0},
        NANOCHAT_AS_AUTHORS,
        departs=weights("wte", "plan 0.8 ")
        | weights("lm_head", "plan 0.001 ")
        | weights("c_q c_k c_v", "plan 0.125 ")
        | weights("c_fc", "plan 0.05 ")
        | weights("c_proj", "plan all 0"),
        tag="transformers",
    ),
    Case(
        "nanochat",
        NanoChat,
        {
            **NANOCHAT_LAWS,
            "value_embeds.?.weight": within(3**0.5 / 8),
            **weights("_gate", uniform(0, 0.02)),
            "resid_lambdas": np.array([1.15, 1.15 - 0.1 / 3, 1.15 - 0.2 / 3, 1.05]),
            "x0_lambdas": np.array([0.2, 0.15, 0.1, 0.05]),
            "smear_lambda": constant(0),
            "backout_lambda": constant(0.2),
        },
        {"sequence_len": 32, "window_pattern": "SL", "n_layer": 4, "n_embd": 64, "n_head": 4, "n_kv_head": 2},
        {"vocab_size": 320},
        departs=None,
    ),
    Case(
        "gpt_oss",
        lambda: GptOssForCausalLM(GPT_OSS),
        {
            "*norm.weight": constant(1),
            **dict.fromkeys(["*_proj.bias", "*_proj_bias"], constant(0)),
            **dict.fromkeys(["*.sinks", "*.router.bias", "*_proj", "*.weight"], normal(0.02)),
        },
        GPT_OSS,
        forward=logits,
    ),
    Case(
        "gpt_oss",
        lambda: GptOssForCausalLM(GPT_OSS_TIED),
        {
            "*norm.weight": constant(1),
            "*_proj_bias": constant(0),
            **dict.fromkeys(["*.sinks", "*.router.bias", "*_proj", "*.weight"], normal(0.02)),
        },
        GPT_OSS_TIED,
        forward=logits,
        tag="tied-padded-without-biases",
    ),
    gpt_oss_torchtitan(GPT_OSS),
    gpt_oss_torchtitan(GPT_OSS_PLAIN, "without-biases"),
    Case(
        "nanochat_transformers",
        lambda: NanoChatForCausalLM(NANOCHAT),
        {
            **weights("embed_tokens", normal(0.8)),
            **weights("lm_head", normal(0.001)),
            **weights("q_proj k_proj v_proj", within(3**0.5 / 8)),
            **weights("fc1", within(0.4 * 3**0.5 / 8)),
            **weights("o_proj fc2", constant(0)),
        },
        NANOCHAT,
        departs=weights("embed_tokens", "plan 0.8 ")
        | weights("lm_head", "plan 0.001 ")
        | weights("q_proj k_proj v_proj", "plan 0.125 ")
        | weights("fc1", "plan 0.05 ")
        | weights("o_proj fc2", "plan all 0"),
        forward=logits,
    ),
]
