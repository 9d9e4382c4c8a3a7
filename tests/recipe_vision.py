"""Cases of recipes of vision models, and of those of images and text."""

from typing import Any

import torch
from reference import Case, Law, constant, normal, truncated, within
from transformers import (
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
)

VIT = ViTConfig(
    num_hidden_layers=3,
    hidden_size=48,
    intermediate_size=96,
    num_attention_heads=4,
    image_size=32,
    patch_size=8,
    num_labels=40,
)
VIT_PLAIN = ViTConfig(**VIT.to_dict() | {"qkv_bias": False, "initializer_range": 1.0, "id2label": {}, "label2id": {}})
DINO = Dinov2Config(num_hidden_layers=3, hidden_size=48, num_attention_heads=4, image_size=32, patch_size=8)
DINO_REGISTERS = Dinov2WithRegistersConfig(
    num_hidden_layers=3,
    hidden_size=48,
    num_attention_heads=4,
    image_size=32,
    patch_size=8,
    use_swiglu_ffn=True,
    qkv_bias=False,
    layerscale_value=1e-5,
    num_register_tokens=50,
)
TEXT = {
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "vocab_size": 301,
    "max_position_embeddings": 40,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {
    "num_hidden_layers": 2,
    "hidden_size": 48,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
CLIP = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=64)
SIGLIP = SiglipConfig(text_config=TEXT | {"projection_size": 48}, vision_config=VISION)
SIGLIP_HEADLESS = SiglipConfig(
    text_config=TEXT | {"hidden_size": 48, "intermediate_size": 64},
    vision_config=VISION | {"vision_use_head": False},
)


def pictures(size: int) -> torch.Tensor:
    return torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)


def labels(model: Any) -> torch.Tensor:
    """What a classifier makes of a picture."""
    return model(pictures(32)).logits  # type: ignore[no-any-return]


def hidden(model: Any) -> torch.Tensor:
    """What is made of a picture before a head that starts at zero."""
    return model.vit(pictures(32)).last_hidden_state  # type: ignore[no-any-return]


def features(model: Any) -> torch.Tensor:
    """What an encoder makes of a picture."""
    return model(pictures(32)).last_hidden_state  # type: ignore[no-any-return]


def scores(model: Any) -> torch.Tensor:
    """How a text fits a picture."""
    return model(torch.arange(2, 22).reshape(4, 5), pictures(32)).logits_per_text  # type: ignore[no-any-return]


def words(model: Any) -> torch.Tensor:
    """What the encoder of texts makes of one."""
    return model.text_model(torch.arange(2, 8)[None]).last_hidden_state  # type: ignore[no-any-return]


def lecun(fan_in: int) -> Law:
    """JAX's: cut at two deviations of what there was before the cut, which takes away 12 % of them."""
    before = fan_in**-0.5 / 0.87962566103423978
    return truncated(before, -2 * before, 2 * before)


CASES = [
    Case(
        "vit",
        lambda: ViTForImageClassification(VIT),
        {"*layernorm*.weight": constant(1), "*.bias": constant(0), "*": normal(0.02)},
        VIT,
        forward=labels,
    ),
    Case(
        "vit",
        lambda: ViTForImageClassification(VIT_PLAIN),
        {
            "*layernorm*.weight": constant(1),
            "*.bias": constant(0),
            "*.weight": normal(1),
            "*token": truncated(1, -2, 2),
            "*position_embeddings": truncated(1, -2, 2),
        },
        VIT_PLAIN,
        forward=labels,
        tag="wide-without-head",
    ),
    Case(
        "vit_original",
        lambda: ViTForImageClassification(VIT),
        {
            "*layernorm*.weight": constant(1),
            "*.fc?.bias": normal(1e-6),
            "*.bias": constant(0),
            "classifier.weight": constant(0),
            "*.embeddings.cls_token": constant(0),
            "*.embeddings.position_embeddings": normal(0.02),
            "*.projection.weight": lecun(192),
            "*_proj.weight": within((6 / 96) ** 0.5),
            "*.fc?.weight": within((6 / 144) ** 0.5),
        },
        VIT,
        departs={
            "*.cls_token": "plan all 0",
            "*.projection.weight": "plan 0.07217 (0.2",
            "*_proj.weight": "plan 0.1443 (0.1",
            "*.fc?.weight": "plan 0.1179 (0.1",
            "*.fc?.bias": "all are 0, plan std 1e-06",
            "classifier.weight": "plan all 0",
        },
        forward=hidden,
    ),
    Case(
        "vit_timm",
        lambda: ViTForImageClassification(VIT),
        {
            "*norm*.weight": constant(1),
            "*.projection.*": within(192**-0.5),
            "*.bias": constant(0),
            "*.cls_token": normal(1e-6),
            "*": normal(0.02),
        },
        VIT,
        departs={
            "*.cls_token": "std 0.0",
            "*.projection.weight": "plan 0.04167 (0.4",
            "*.projection.bias": "all are 0, plan std 0.04167",
        },
        forward=labels,
    ),
    Case(
        "vit_timm",
        lambda: ViTForImageClassification(VIT),
        {
            "*norm*.weight": constant(1),
            "*.mlp.*.bias": normal(1e-6),
            "classifier.bias": constant(-3.6888794541),
            "*.bias": constant(0),
            "classifier.weight": constant(0),
            "*.projection.weight": lecun(192),
            "*.[qkv]_proj.weight": within((6 / (48 + 144)) ** 0.5),  # of the packed matrix
            "*.o_proj.weight": within((6 / 96) ** 0.5),
            "*.mlp.*.weight": within((6 / 144) ** 0.5),
            "*.cls_token": normal(1e-6),
            "*": normal(0.02),
        },
        VIT,
        {"jax": 1, "head_bias": "-log(num_labels)"},
        departs={
            "*.cls_token": "plan 1e-06",
            "*.projection.weight": "plan 0.07217 (0.2",
            "*.[qkv]_proj.weight": "plan 0.1021 (0.",
            "*.o_proj.weight": "plan 0.1443 (0.1",
            "*.mlp.*.weight": "plan 0.1179 (0.1",
            "*.mlp.*.bias": "all are 0, plan std 1e-06",
            "classifier.weight": "plan all 0",
            "classifier.bias": "all are 0, plan -3.68888",
        },
        forward=hidden,
        tag="jax",
    ),
    Case(
        "vit_timm",
        lambda: ViTForImageClassification(VIT),
        {
            "*norm*.weight": constant(1),
            "*.projection.*": within(192**-0.5),
            "*.bias": constant(0),
            "classifier.weight": within((6 / 88) ** 0.5),
            "*.?_proj.weight": within((6 / 96) ** 0.5),
            "*.mlp.*.weight": within((6 / 144) ** 0.5),
            "*.cls_token": normal(1e-6),
            "*": normal(0.02),
        },
        VIT,
        {"moco": 1},
        departs={
            "*.cls_token": "plan 1e-06",
            "*.projection.weight": "plan 0.04167 (0.4",
            "*.projection.bias": "all are 0, plan std 0.04167",
            "*.?_proj.weight": "plan 0.1443 (0.1",
            "*.mlp.*.weight": "plan 0.1179 (0.1",
            "classifier.weight": "plan 0.1508 (0.1",
        },
        forward=labels,
        tag="moco",
    ),
    Case(
        "dinov2",
        lambda: Dinov2Model(DINO),
        {
            "*norm*.weight": constant(1),
            "*.lambda1": constant(1),
            "*.projection.*": within(192**-0.5),
            "*.bias": constant(0),
            "*.cls_token": normal(1e-6),
            "*.mask_token": constant(0),
            "*": normal(0.02),
        },
        DINO,
        departs={
            "*.cls_token": "plan 1e-06",
            "*.projection.weight": "plan 0.04167 (0.4",
            "*.projection.bias": "all are 0, plan std 0.04167",
        },
        forward=features,
    ),
    Case(
        "dinov2",
        lambda: Dinov2WithRegistersModel(DINO_REGISTERS),
        {
            "*norm*.weight": constant(1),
            "*.lambda1": constant(1e-5),
            "*.projection.*": within(192**-0.5),
            "*.bias": constant(0),
            "*.cls_token": normal(1e-6),
            "*.register_tokens": normal(1e-6),
            "*.mask_token": constant(0),
            "*": normal(0.02),
        },
        DINO_REGISTERS,
        departs={
            "*.cls_token": "plan 1e-06",
            "*.register_tokens": "all are 0, plan std 1e-06",
            "*.projection.weight": "plan 0.04167 (0.4",
            "*.projection.bias": "all are 0, plan std 0.04167",
        },
        forward=features,
        tag="registers-swiglu",
    ),
    Case(
        "clip",
        lambda: CLIPModel(CLIP),
        {
            "logit_scale": constant(2.65926004),
            "*norm*.weight": constant(1),
            "*norm*.bias": constant(0),
            "*_proj.bias": constant(0),
            "text_model.*.token_embedding.weight": normal(0.02),
            "text_model.*.position_embedding.weight": normal(0.01),
            "text_model.*.[qkv]_proj.weight": normal(32**-0.5),
            "text_model.*.out_proj.weight": normal((32 * 2 * 3) ** -0.5),
            "text_model.*.fc1.weight": normal(64**-0.5),
            "text_model.*.fc2.weight": normal((32 * 2 * 3) ** -0.5),
            "text_model.*.fc1.bias": within(32**-0.5),
            "text_model.*.fc2.bias": within(128**-0.5),
            "text_projection.weight": normal(32**-0.5),
            "*.class_embedding": normal(48**-0.5),
            "*.patch_embedding.weight": within(192**-0.5),
            "vision_model.*.position_embedding.weight": normal(48**-0.5),
            "vision_model.*.[qkv]_proj.weight": within((6 / (48 + 144)) ** 0.5),  # of the packed matrix
            "vision_model.*.out_proj.weight": within(48**-0.5),
            "vision_model.*.fc1.*": within(48**-0.5),
            "vision_model.*.fc2.*": within(192**-0.5),
            "visual_projection.weight": normal(48**-0.5),
        },
        CLIP,
        departs={
            "logit_scale": "all are 2.6592, plan 2.65926",
            "text_model.*.position_embedding.weight": "plan 0.01 (",
            "text_model.*.[qkv]_proj.weight": "plan 0.1768 (0.",  # 6 ** -0.5 of it
            "text_model.*.out_proj.weight": "plan 0.07217 (2.",
            "*.fc?.bias": "all are 0, plan std",
            "*.patch_embedding.weight": "plan 0.04167 (0.4",
            "vision_model.*.position_embedding.weight": "plan 0.1443 (0.1",
            "vision_model.*.[qkv]_proj.weight": "plan 0.1021 (0.7",
            "vision_model.*.out_proj.weight": "plan 0.08333 (1.7",
            "vision_model.*.fc1.weight": "plan 0.08333 (1.2",
            "vision_model.*.fc2.weight": "plan 0.04167 (1.7",
        },
        forward=scores,
    ),
    Case(
        "siglip",
        lambda: SiglipModel(SIGLIP),
        {
            "logit_*": constant(0),
            "*norm*.weight": constant(1),
            "*.mlp.*.bias": normal(1e-6),
            "*bias": constant(0),
            "text_model.embeddings.*": normal(32**-0.5),
            "text_model.head.weight": lecun(32),
            "text_model.*_proj.weight": within((6 / 64) ** 0.5),
            "text_model.*.mlp.*": within((6 / 160) ** 0.5),
            "*.patch_embedding.weight": lecun(192),
            "*.position_embedding.weight": normal(48**-0.5),
            "vision_model.*.self_attn.*_proj.weight": within((6 / 96) ** 0.5),
            "vision_model.*.mlp.*": within((6 / 240) ** 0.5),
            "*.probe": within((6 / 96) ** 0.5),
            "*.in_proj_weight": within((6 / 192) ** 0.5),
            "*.attention.out_proj.weight": lecun(48),
        },
        SIGLIP,
        departs={
            "text_model.head.weight": "plan [-",
            "*.patch_embedding.weight": "plan [-",
            "*.attention.out_proj.weight": "plan [-",
        },
        forward=scores,
    ),
    Case(
        "siglip",
        lambda: SiglipModel(SIGLIP_HEADLESS),
        {
            "logit_*": constant(0),
            "*norm*.weight": constant(1),
            "*.mlp.*.bias": normal(1e-6),
            "*bias": constant(0),
            "text_model.embeddings.*": normal(48**-0.5),
            "text_model.head.weight": lecun(48),
            "*_proj.weight": within((6 / 96) ** 0.5),
            "text_model.*.mlp.*": within((6 / 112) ** 0.5),
            "*.patch_embedding.weight": lecun(192),
            "*.position_embedding.weight": normal(48**-0.5),
            "vision_model.*.mlp.*": within((6 / 240) ** 0.5),
        },
        SIGLIP_HEADLESS,
        departs={"text_model.head.weight": "plan [-", "*.patch_embedding.weight": "plan [-"},
        forward=words,
        tag="headless",
    ),
]
