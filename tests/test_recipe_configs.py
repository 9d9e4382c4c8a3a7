"""What recipes read off configurations: what they follow, and what they refuse."""

import math
from typing import Any

import numpy as np
import pytest
import recipe_decoders
import recipe_sequences
import transformers

from fanin import Plan, engines, recipes
from fanin.errors import PlanError
from fanin.recipe import Window

# Recipe, configuration, what is said of it, as a regular expression.
REFUSED: list[tuple[str, Any, str]] = [
    ("gpt_neox", {"model_type": "gpt_neox_japanese"}, "is of model_type 'gpt_neox_japanese'"),
    ("small_init", {"model_type": "gpt_neox", "architectures": ["GPTNeoXForQuestionAnswering"]}, "architectures"),
    ("llama_torchtitan", {"model_type": "mistral"}, "the recipe llama_torchtitan is for llama"),
    ("olmo2", {"model_type": "olmo"}, "the recipe olmo2 is for olmo2, olmo3"),
    ("megatron_gpt", {"num_layers": 2, "num_moe_experts": 8}, "'num_moe_experts', which the recipe megatron_gpt does"),
    ("megatron_gpt", {"position_embedding_type": "relative"}, "it knows learned_absolute, rope, none"),
    ("megatron_gpt", {"normalization": "L2Norm"}, "normalization = 'L2Norm'"),
    ("mup_gpt2", {"model_type": "gpt2", "add_cross_attention": True}, "add_cross_attention = True"),
    (
        "deepseek_v3_torchtitan",
        {"model_type": "deepseek_v3", "tie_word_embeddings": True},
        "tie_word_embeddings = True",
    ),
    ("gpt_oss", {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}, "quant_method = 'mxfp4'"),
    ("gpt_oss_torchtitan", {"model_type": "gpt_oss", "tie_word_embeddings": True}, "tie_word_embeddings = True"),
    ("nanochat_transformers", {"model_type": "nanochat", "attention_bias": True}, "attention_bias = True"),
    ("nanochat_transformers", {"model_type": "nanochat", "tie_word_embeddings": True}, "tie_word_embeddings = True"),
    ("nanochat", {"n_layer": 4, "n_experts": 2}, "'n_experts', which the recipe nanochat does not know"),
    ("mixtral", {"model_type": "mistral"}, "the recipe mixtral is for mixtral"),
    ("deepseek_v3", {"model_type": "deepseek_v2"}, "the recipe deepseek_v3 is for deepseek_v3"),
    ("deepseek_v3", {"model_type": "deepseek_v3", "moe_layer_freq": 2}, "moe_layer_freq = 2"),
    (
        "deepseek_v3_torchtitan",
        {"model_type": "deepseek_v3", "quantization_config": {"quant_method": "fp8"}},
        "quantization_config.quant_method = 'fp8'",
    ),
    ("t5", {"model_type": "mt5"}, "is of model_type 'mt5', and the recipe t5 is for t5"),
    ("t5", {"model_type": "t5", "architectures": ["T5EncoderModel"]}, "T5EncoderModel"),
    ("t5", {"model_type": "t5", "feed_forward_proj": "gated-tanh"}, "feed_forward_proj = 'gated-tanh'"),
    ("t5x", {"model_type": "t5", "initializer_factor": 0.5}, "initializer_factor = 0.5"),
    ("whisper", {"model_type": "whisper", "architectures": ["WhisperForAudioClassification"]}, "architectures"),
    ("whisper", {"model_type": "t5"}, "is of model_type 't5'"),
    (
        "whisper_openai",
        recipe_sequences.WHISPER,
        ", which the recipe whisper_openai does not know; it knows n_audio_ctx, n_audio_head",
    ),
    ("vit", transformers.DeiTConfig(), "is of model_type 'deit'"),
    ("vit", {"model_type": "vit", "architectures": ["ViTModel"]}, "is of architectures"),
    ("vit", transformers.ViTConfig(image_size=[224, 192]), r"image_size = \[224, 192\]"),
    ("vit_original", transformers.ViTMAEConfig(), "is of model_type 'vit_mae'"),
    ("vit_timm", transformers.Dinov2Config(), "is of model_type 'dinov2'"),
    ("dinov2", transformers.ViTConfig(), "is of model_type 'vit'"),
    ("dinov2", {"model_type": "dinov2", "architectures": ["Dinov2ForImageClassification"]}, "is of architectures"),
    ("clip", transformers.SiglipConfig(), "is of model_type 'siglip'"),
    ("clip", transformers.CLIPVisionConfig(), "is of model_type 'clip_vision_model'"),
    ("clip", {"model_type": "clip", "text_config_dict": {"hidden_size": 768}}, "has text_config_dict = "),
    ("siglip", transformers.CLIPConfig(), "is of model_type 'clip'"),
    ("resnet", transformers.RegNetConfig(), "is of model_type 'regnet'"),
    ("resnet", transformers.ResNetConfig(depths=[3, 4, 6]), "has depths.# = 3, "),
    ("resnet_timm", transformers.ResNetConfig(hidden_sizes=[64, 128, 256, 512, 1024]), "has hidden_sizes.# = 5"),
    ("resnet_timm", {"model_type": "resnet", "layer_type": "preact"}, "has layer_type = 'preact'"),
    ("efficientnet", transformers.EfficientNetConfig(), "the recipe efficientnet takes nothing from a configuration"),
    ("convnext", transformers.ConvNextV2Config(), "is of model_type 'convnextv2'"),
    ("convnext", transformers.ConvNextConfig(num_stages=3), "has num_stages = 3"),
    ("dit", {"depth": 12, "qk_norm": True}, "has 'qk_norm', which the recipe dit does not know"),
    ("dit", transformers.ViTConfig(), "which the recipe dit does not know"),
]


@pytest.mark.parametrize(("recipe", "config", "said"), REFUSED, ids=lambda value: str(value)[:40].replace("\n", " "))
def test_a_configuration_that_a_recipe_does_not_know_is_refused(recipe: str, config: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        recipes.load(recipe, config)


def rows_of_zeros(plan: Plan, name: str) -> list[int]:
    """Which rows of a tensor that a plan lists are zero."""
    (entry,) = [entry for entry in plan.resolve(seed=3) if entry.name == name]
    array = np.full(entry.shape, np.nan, entry.dtype)
    engines.fill(entry.recipe, Window.whole(entry.shape), array)
    array[[*entry.zero_rows]] = 0
    return [int(row) for row in np.flatnonzero(~array.any(1))]


# Recipe, configuration, name of the embedding, rows of it that are zero.
PADDING: list[tuple[str, Any, str, list[int]]] = [
    ("llama", recipe_decoders.LLAMA, "model.embed_tokens.weight", []),
    ("llama", recipe_decoders.LLAMA.to_dict() | {"pad_token_id": 0}, "model.embed_tokens.weight", [0]),
    ("llama", recipe_decoders.LLAMA.to_dict() | {"pad_token_id": -1}, "model.embed_tokens.weight", [300]),
    ("mixtral", recipe_decoders.MIXTRAL, "model.embed_tokens.weight", []),
    ("mixtral", recipe_decoders.MIXTRAL_TIED, "model.embed_tokens.weight", [2]),
    ("deepseek_v3", recipe_decoders.DEEPSEEK, "model.embed_tokens.weight", []),
    ("deepseek_v3", recipe_decoders.DEEPSEEK_BIASES, "model.embed_tokens.weight", [2]),
    ("gpt_oss", recipe_decoders.GPT_OSS, "model.embed_tokens.weight", []),
    ("gpt_oss", recipe_decoders.GPT_OSS_TIED, "model.embed_tokens.weight", [2]),
    ("whisper", recipe_sequences.WHISPER, "model.decoder.embed_tokens.weight", [7]),
    ("whisper", recipe_sequences.WHISPER_UNTIED, "model.decoder.embed_tokens.weight", []),
    ("whisper", {"model_type": "whisper"}, "model.decoder.embed_tokens.weight", [50256]),
    ("qwen3_next", recipe_sequences.QWEN3_NEXT, "model.embed_tokens.weight", []),
    ("qwen3_next", recipe_sequences.QWEN3_NEXT_OTHER, "model.embed_tokens.weight", [5]),
]


@pytest.mark.parametrize(("recipe", "config", "name", "rows"), PADDING)
def test_the_row_of_padding_is_zero_where_the_configuration_has_one(
    recipe: str, config: Any, name: str, rows: list[int]
) -> None:
    assert rows_of_zeros(recipes.load(recipe, config), name) == rows


@pytest.mark.parametrize(
    ("config", "full", "sparse"),
    [
        ({"full_attention_interval": 3}, [2, 5], [0, 1, 2, 3, 4, 5, 6]),
        ({"layer_types": ["linear_attention"] * 7, "full_attention_interval": 3}, [], [0, 1, 2, 3, 4, 5, 6]),
        ({"layer_types": ["full_attention"] * 7, "decoder_sparse_step": 2}, [0, 1, 2, 3, 4, 5, 6], [1, 3, 5]),
        ({"num_experts": 0}, [3], []),
    ],
)
def test_the_layers_of_qwen3_next_are_those_that_its_configuration_has(
    config: dict[str, Any], full: list[int], sparse: list[int]
) -> None:
    config = config | {"model_type": "qwen3_next", "num_hidden_layers": 7}
    names = {entry.name for entry in recipes.load("qwen3_next", config).resolve()}
    for tensor, layers in (("self_attn.q_norm.weight", full), ("mlp.experts.down_proj", sparse)):
        assert [i for i in range(7) if f"model.layers.{i}.{tensor}" in names] == layers
    for tensor, others in (("linear_attn.A_log", full), ("mlp.down_proj.weight", sparse)):
        assert [i for i in range(7) if f"model.layers.{i}.{tensor}" not in names] == others


HEAD = '[[rules]]\nmatch = "*"\ninitializer = "zeros"\n[[parameters]]\nname = "w"\nshape = ["n", "m"]\n'
MEANS = (
    HEAD + '[quantities]\nm = 4\nn = "m // 2"\n[config]\nn = { key = "rank", means = { auto = "2 * m", null = 1 } }\n'
)
EVERY = (
    HEAD + '[quantities]\nm = 4\nn = 5\n[config]\nn = { key = "kinds", every = "full", values = ["full", "part"] }\n'
)
SEVERAL = HEAD + '[quantities]\nm = 4\nn = 5\n[config]\nn = { key = ["labels", "names.#"] }\n'
UNUSED = HEAD + '[quantities]\nm = 4\nn = 5\n[config]\nheads = { key = "h.0", unused = true }\n'


@pytest.mark.parametrize(
    ("text", "config", "n"),
    [
        (MEANS, {"m": 6}, 3),
        (MEANS, {"m": 6, "rank": 7}, 7),
        (MEANS, {"m": 6, "rank": "auto"}, 12),
        (MEANS, {"m": 6, "rank": None}, 1),
        (EVERY, {"m": 6}, 5),
        (EVERY, {"kinds": ["part", "full", "part", "full", "part"]}, 2),
        (EVERY, {"kinds": ["full", "full"]}, 1),
        (EVERY, {"kinds": ["part", "part"]}, 3),
        (EVERY, {"kinds": ()}, 1),
        (UNUSED, {"h": [3], "m": 2}, 5),
        (SEVERAL, {"labels": 7}, 7),
        (SEVERAL, {"names": {"0": "cat", "1": "dog"}}, 2),
        (SEVERAL, {"names": {"0": "cat"}, "labels": np.int64(3)}, 3),
        (SEVERAL, {"m": 1}, 5),
    ],
)
def test_entries_mean_what_the_plan_says_of_them(text: str, config: Any, n: int) -> None:
    (parameter,) = Plan.from_text(text, config=config).parameters
    assert parameter.shape[0] == n


@pytest.mark.parametrize(
    ("text", "config", "said"),
    [
        (MEANS, {"rank": "some"}, "rank = 'some', and the plan needs a number"),
        (EVERY, {"kinds": ["full", "part"]}, "where every so many is 'full' and no other"),
        (EVERY, {"kinds": ["part", "full", "full"]}, "kinds = ['part', 'full', 'full']"),
        (EVERY, {"kinds": ["part", "fool"]}, "a list of full, part"),
        (EVERY, {"kinds": 3}, "kinds = 3"),
        (SEVERAL, {"labels": "many", "names": {}}, "labels = 'many', and the plan needs a number"),
        (SEVERAL, {"label": 3}, "'label', which the plan does not know; it knows labels, m, names"),
        (SEVERAL.replace('"names.#"', "3"), None, "key must be the path of an entry, or a list of paths"),
        (SEVERAL.replace('["labels", "names.#"]', "[]"), None, "key must be the path of an entry, or a list"),
        (UNUSED, {"heads": [3]}, "'heads', which the plan does not know"),
        (UNUSED.replace(", unused = true", ""), None, "[config]: heads needs values"),
        (EVERY.replace(', values = ["full", "part"]', ""), None, "[config]: n needs values"),
        (MEANS.replace('key = "rank", ', ""), None, "[config]: n needs key"),
        (MEANS.replace("means", "meens"), None, "no key 'meens'; did you mean 'means'?"),
        (HEAD + '[quantities]\nn = 1\nm = 1\n[config]\nk = "other"\n', None, "'k' is no quantity"),
    ],
)
def test_entries_that_mean_nothing_are_told(text: str, config: Any, said: str) -> None:
    with pytest.raises(PlanError) as raised:
        Plan.from_text(text, config=config)
    assert said in str(raised.value)


@pytest.mark.parametrize("count", [0, 3, 1000])
def test_the_entries_of_a_table_are_counted(count: int) -> None:
    config = transformers.ViTConfig(num_labels=count).to_dict()
    assert recipes.vit(config).quantities["num_labels"] == count


# What the published models of these sizes count, without the statistics of batch norms.
SIZES: dict[str, tuple[Plan, int]] = {
    "ViT-B/16": (recipes.vit(num_labels=1000), 86_567_656),
    "ViT-B/16 of the authors": (recipes.vit_original(num_labels=1000), 86_567_656),
    "ViT-B/16 of timm": (recipes.vit_timm(num_labels=1000), 86_567_656),
    "DINOv2 ViT-B/14": (recipes.dinov2(image_size=518), 86_580_480),
    "DINOv2 ViT-g/14": (
        recipes.dinov2(
            image_size=518, hidden_size=1536, num_hidden_layers=40, num_attention_heads=24, use_swiglu_ffn=1
        ),
        1_136_480_768,
    ),
    "CLIP ViT-B/32": (recipes.clip(), 151_277_313),
    "SigLIP B/16": (recipes.siglip(), 203_155_970),
    "ResNet-50": (recipes.resnet(num_labels=1000), 25_557_032),
    "ResNet-18": (
        recipes.resnet_timm(
            bottleneck=0, depth_0=2, depth_1=2, depth_2=2, depth_3=2, width_0=64, width_1=128, width_2=256, width_3=512,
            num_labels=1000,
        ),
        11_689_512,
    ),
    "ConvNeXt-T": (recipes.convnext(num_labels=1000), 28_589_128),
    "DiT-XL/2": (recipes.dit(), 675_129_632),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_a_recipe_has_as_many_parameters_as_the_published_model(name: str) -> None:
    plan, published = SIZES[name]
    counted = [each for each in plan.parameters if not each.name.split(".")[-1].startswith(("running_", "num_"))]
    assert sum(math.prod(each.shape) for each in counted) == published
