"""Cases of recipes of encoder-decoders and of models with a state, which transformers has; and Whisper's own code."""

from typing import Any

import numpy as np
import torch
from recipe_decoders import logits
from reference import Case, constant, normal, transformed, truncated, within
from transformers import (
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
)
from whisper.model import ModelDimensions, Whisper

T5_SIZES = {
    "num_layers": 2, "num_decoder_layers": 3, "d_model": 64, "d_kv": 8, "d_ff": 96, "num_heads": 6, "vocab_size": 301,
}  # fmt: skip
T5 = T5Config(**T5_SIZES)
T5_GATED = T5Config(**T5_SIZES, feed_forward_proj="gated-gelu")
T5_FACTOR = T5Config(**T5_SIZES, feed_forward_proj="gated-silu", initializer_factor=0.5)


def t5_untied() -> T5ForConditionalGeneration:
    """T5 1.1: one embedding for both stacks, and a head of its own."""
    config = T5Config(**T5_SIZES, feed_forward_proj="gated-gelu")
    config.tie_word_embeddings = False  # which its constructor makes true again
    model = T5ForConditionalGeneration(config)
    model.encoder.embed_tokens.weight = model.decoder.embed_tokens.weight = model.shared.weight
    return model


def tokens(model: Any) -> torch.Tensor:
    """What an encoder-decoder makes of some tokens."""
    return model(torch.arange(8)[None], decoder_input_ids=torch.arange(5)[None]).logits  # type: ignore[no-any-return]


def t5_expected(factor: float) -> dict[str, Any]:
    return {
        "shared.weight": normal(factor),
        "lm_head.weight": normal(factor),
        "*layer_norm.weight": constant(factor),
        "*.q.weight": normal(factor / (64 * 8) ** 0.5),
        "*.[kv].weight": normal(factor / 8),
        "*.o.weight": normal(factor / 48**0.5),
        "*.relative_attention_bias.weight": normal(factor / 8),
        "*.wi*.weight": normal(factor / 8),
        "*.wo.weight": normal(factor / 96**0.5),
    }


def tied(expected: dict[str, Any]) -> dict[str, Any]:
    return {pattern: law for pattern, law in expected.items() if not pattern.startswith("lm_head")}


CUT = 0.87962566103423978  # deviation of a standard normal that is cut at 2


def lecun(fan_in: int) -> Any:
    """A normal cut at two deviations, of deviation 1 / sqrt(fan_in) after the cut."""
    std = fan_in**-0.5 / CUT
    return truncated(std, -2 * std, 2 * std)


T5X_EXPECTED = {
    **t5_expected(1),
    "lm_head.weight": lecun(64),
    "*.relative_attention_bias.weight": within((6 / (32 + 6)) ** 0.5),
    "*.wi*.weight": lecun(64),
    "*.wo.weight": lecun(96),
}

WHISPER_SIZES: dict[str, Any] = {
    "encoder_layers": 2, "decoder_layers": 3, "d_model": 48, "encoder_attention_heads": 2, "encoder_ffn_dim": 96,
    "decoder_attention_heads": 2, "decoder_ffn_dim": 64, "vocab_size": 301, "num_mel_bins": 20,
    "max_source_positions": 60, "max_target_positions": 40, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1, "begin_suppress_tokens": None,
}  # fmt: skip
WHISPER = WhisperConfig(**WHISPER_SIZES, pad_token_id=7)
WHISPER_UNTIED = WhisperConfig(**WHISPER_SIZES, pad_token_id=None, tie_word_embeddings=False, init_std=0.03)
OPENAI = ModelDimensions(20, 60, 64, 2, 2, 301, 40, 48, 4, 3)


def speech(model: Any) -> torch.Tensor:
    """What a Whisper makes of some sound and some tokens."""
    sound = torch.linspace(-1, 1, 20 * 120).reshape(1, 20, 120)
    return model(sound, decoder_input_ids=torch.arange(5)[None]).logits  # type: ignore[no-any-return]


def sinusoids(positions: int, channels: int) -> np.ndarray:
    """Sines and cosines of geometric frequencies, the last of them 1 / 10000."""
    angles = np.arange(positions)[:, None] / 10000.0 ** (np.arange(channels // 2) / (channels // 2 - 1))
    return np.hstack([np.sin(angles), np.cos(angles)])


def whisper_expected(std: float) -> dict[str, Any]:
    return {
        "*layer_norm.weight": constant(1),
        "*.bias": constant(0),
        "model.encoder.embed_positions.weight": sinusoids(60, 48),
        "*.weight": normal(std),
    }


def torch_default(fan_in: int) -> Any:
    return within(fan_in**-0.5)


WHISPER_OPENAI_EXPECTED = {
    "*ln*.weight": constant(1),
    "*ln*.bias": constant(0),
    "encoder.positional_embedding": sinusoids(60, 64),
    "decoder.positional_embedding": normal(0.02),
    "decoder.token_embedding.weight": normal(1),
    "encoder.conv1.*": torch_default(3 * 20),
    "encoder.conv2.*": torch_default(3 * 64),
    "encoder.*.mlp.2.*": torch_default(4 * 64),
    "encoder.*": torch_default(64),
    "decoder.*.mlp.2.*": torch_default(4 * 48),
    "decoder.*": torch_default(48),
}


def openai_whisper() -> Whisper:
    """Whisper with its memory that is never written made NaN."""
    model = Whisper(OPENAI)
    torch.nn.init.constant_(model.decoder.positional_embedding, torch.nan)
    return model


MAMBA = MambaConfig(num_hidden_layers=4, hidden_size=64, state_size=16, vocab_size=301)
MAMBA_OTHER = MambaConfig(
    num_hidden_layers=3,
    hidden_size=72,
    expand=3,
    state_size=8,
    conv_kernel=5,
    vocab_size=301,
    time_step_rank=9,
    time_step_scale=0.5,
    time_step_init_scheme="constant",
    time_step_floor=0.01,
    use_bias=True,
    use_conv_bias=False,
    tie_word_embeddings=False,
)
MAMBA2_SIZES: dict[str, Any] = {
    "num_hidden_layers": 4, "hidden_size": 128, "num_heads": 64, "head_dim": 4, "n_groups": 2, "state_size": 16,
    "vocab_size": 301, "chunk_size": 16,
}  # fmt: skip
MAMBA2 = Mamba2Config(**MAMBA2_SIZES)
MAMBA2_OTHER = Mamba2Config(
    **MAMBA2_SIZES, use_bias=True, use_conv_bias=False, tie_word_embeddings=True, rescale_prenorm_residual=True
)


def steps(floor: float = 1e-4) -> Any:
    """The inverse softplus of steps from 0.001 to 0.1, log-uniform, and of none below a floor."""

    def bias(u: np.ndarray) -> np.ndarray:
        step = np.maximum(0.001 * 100**u, floor)
        return np.log(np.expm1(step))

    return transformed(bias)


def decays(low: float, high: float = 16.0) -> Any:
    """Logarithms of what is uniform."""
    return transformed(lambda u: np.log(low + (high - low) * u))


MAMBA_EXPECTED = {
    "*norm*.weight": constant(1),
    "*.D": constant(1),
    "*.A_log": np.log(np.arange(1, 17)),
    "*embeddings.weight": normal(0.02),
    "*.in_proj.weight": torch_default(64),
    "*.x_proj.weight": torch_default(128),
    "*.conv1d.*": torch_default(4),
    "*.dt_proj.weight": within(4**-0.5),
    "*.dt_proj.bias": steps(),
    "*.out_proj.weight": within(128**-0.5 / 2),
}
MAMBA_OTHER_EXPECTED = {
    "*norm*.weight": constant(1),
    "*.D": constant(1),
    "*.A_log": np.log(np.arange(1, 9)),
    "*embeddings.weight": normal(0.02),
    "lm_head.weight": torch_default(72),
    "*.in_proj.weight": torch_default(72),
    "*.x_proj.weight": torch_default(216),
    "*.conv1d.weight": torch_default(5),
    "*.dt_proj.weight": constant(0.5 / 3),
    "*.dt_proj.bias": steps(0.01),
    "*.out_proj.weight": within((216 * 3) ** -0.5),
    "*.bias": constant(0),
}
MAMBA2_EXPECTED = {
    "*norm*.weight": constant(1),
    "*.D": constant(1),
    "*.A_log": decays(1),
    "*.dt_bias": steps(),
    "*embeddings.weight": normal(0.02),
    "*.conv1d.*": torch_default(4),
    "*.in_proj.weight": torch_default(128),
    "*.out_proj.weight": within(256**-0.5 / 2),
}
# Where transformers departs from the authors, as `fanin.diff` tells it. Nothing else does.
MAMBA_DEPARTS = {
    "*embeddings.weight": "plan 0.02 (",
    "*.in_proj.weight": "plan 0.0",
    "*.x_proj.weight": "plan 0.0",
    "*.out_proj.weight": "plan 0.02552 (",
}
CONVOLUTIONS = {"*.conv1d.bias": "all are 0, plan std 0.2887"}
MAMBA2_DEPARTS = {
    "*embeddings.weight": "plan 0.02 (",
    "*.A_log": "mean 3.2",
    "*.in_proj.weight": "plan 0.05103 (",
    "*.out_proj.weight": "plan 0.01804 (",
}

QWEN3_NEXT_SIZES: dict[str, Any] = {
    "vocab_size": 301, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "linear_key_head_dim": 4, "linear_value_head_dim": 6,
    "linear_num_key_heads": 32, "linear_num_value_heads": 64, "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 40, "num_experts": 6, "num_experts_per_tok": 2,
}  # fmt: skip
QWEN3_NEXT = Qwen3NextConfig(**QWEN3_NEXT_SIZES)
QWEN3_NEXT_OTHER = Qwen3NextConfig(
    **QWEN3_NEXT_SIZES,
    full_attention_interval=2,
    decoder_sparse_step=3,
    attention_bias=True,
    tie_word_embeddings=True,
    pad_token_id=5,
    initializer_range=0.03,
)


def qwen3_next_expected(std: float) -> dict[str, Any]:
    return {
        "*.linear_attn.norm.weight": constant(1),
        "*norm.weight": constant(0),
        "*.A_log": decays(0.01),
        "*.dt_bias": constant(1),
        "*.bias": constant(0),
        "*": normal(std),
    }


def without_biases(expected: dict[str, Any]) -> dict[str, Any]:
    return {pattern: law for pattern, law in expected.items() if pattern != "*.bias"}


CASES = [
    Case("t5", lambda: T5ForConditionalGeneration(T5), tied(t5_expected(1)), T5, forward=tokens),
    Case(
        "t5",
        lambda: T5ForConditionalGeneration(T5_FACTOR),
        tied(t5_expected(0.5)),
        T5_FACTOR,
        forward=tokens,
        tag="gated",
    ),
    Case("t5", t5_untied, t5_expected(1), T5_GATED, {"tie_word_embeddings": 0}, forward=tokens, tag="untied"),
    Case(
        "t5x",
        lambda: T5ForConditionalGeneration(T5),
        tied(T5X_EXPECTED),
        T5,
        departs={
            "*.relative_attention_bias.weight": "std 0.1",
            "*.wi.weight": "values in [",
            "*.wo.weight": "values in [",
        },
        forward=tokens,
    ),
    Case(
        "t5x",
        t5_untied,
        T5X_EXPECTED,
        T5_GATED,
        {"tie_word_embeddings": 0},
        departs={
            "lm_head.weight": "plan 0.125 (",
            "*.relative_attention_bias.weight": "std 0.1",
            "*.wi_?.weight": "values in [",
            "*.wo.weight": "values in [",
        },
        forward=tokens,
        tag="untied",
    ),
    Case(
        "whisper",
        lambda: WhisperForConditionalGeneration(WHISPER),
        whisper_expected(0.02),
        WHISPER,
        forward=speech,
    ),
    Case(
        "whisper",
        lambda: WhisperForConditionalGeneration(WHISPER_UNTIED),
        whisper_expected(0.03),
        WHISPER_UNTIED,
        forward=speech,
        tag="untied",
    ),
    Case(
        "whisper_openai",
        openai_whisper,
        WHISPER_OPENAI_EXPECTED,
        vars(OPENAI),
        departs={"decoder.positional_embedding": "NaN"},
    ),
    Case(
        "mamba",
        lambda: MambaForCausalLM(MAMBA),
        MAMBA_EXPECTED,
        MAMBA,
        departs=MAMBA_DEPARTS | CONVOLUTIONS,
        forward=logits,
    ),
    Case(
        "mamba",
        lambda: MambaForCausalLM(MAMBA_OTHER),
        MAMBA_OTHER_EXPECTED,
        MAMBA_OTHER,
        departs=MAMBA_DEPARTS | {"*.out_proj.weight": "plan 0.02268 (", "lm_head.weight": "plan 0.06804 ("},
        forward=logits,
        tag="biases-untied-constant-steps",
    ),
    Case(
        "mamba2",
        lambda: Mamba2ForCausalLM(MAMBA2),
        MAMBA2_EXPECTED | {"lm_head.weight": torch_default(128)},
        MAMBA2,
        departs=MAMBA2_DEPARTS | CONVOLUTIONS | {"lm_head.weight": "plan 0.05103 ("},
        forward=logits,
    ),
    Case(
        "mamba2",
        lambda: Mamba2ForCausalLM(MAMBA2_OTHER),
        {"*_proj.bias": constant(0), **MAMBA2_EXPECTED, "*.conv1d.*": torch_default(4)},
        MAMBA2_OTHER,
        departs={name: text for name, text in MAMBA2_DEPARTS.items() if "out_proj" not in name},
        forward=logits,
        tag="biases-tied-rescaled",
    ),
    Case(
        "qwen3_next",
        lambda: Qwen3NextForCausalLM(QWEN3_NEXT),
        without_biases(qwen3_next_expected(0.02)),
        QWEN3_NEXT,
        forward=logits,
    ),
    Case(
        "qwen3_next",
        lambda: Qwen3NextForCausalLM(QWEN3_NEXT_OTHER),
        qwen3_next_expected(0.03),
        QWEN3_NEXT_OTHER,
        forward=logits,
        tag="intervals-biases-tied-padding",
    ),
    Case(
        "gated_deltanet",
        lambda: Qwen3NextForCausalLM(QWEN3_NEXT),
        without_biases(qwen3_next_expected(0.02)) | {"*.A_log": decays(1e-6), "*.dt_bias": steps()},
        QWEN3_NEXT,
        departs={"*.dt_bias": "mean 1, plan -4."},
        forward=logits,
    ),
]
