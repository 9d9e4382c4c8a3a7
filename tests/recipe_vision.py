"""Cases of recipes of vision models, and of those of images and text."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from dit import DiT
from reference import Case, Law, constant, normal, truncated, within
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextForImageClassification,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTForMaskedImageModeling,
    ViTModel,
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
RESNET = ResNetConfig(
    embedding_size=16, hidden_sizes=[32, 64, 48, 80], depths=[2, 1, 2, 1], layer_type="bottleneck", num_labels=40
)
RESNET_BASIC = ResNetConfig(
    embedding_size=16, hidden_sizes=[16, 24, 40, 48], depths=[1, 2, 1, 1], layer_type="basic", num_labels=40
)
CONVNEXT = ConvNextConfig(hidden_sizes=[24, 32, 40, 64], depths=[1, 1, 2, 1], num_labels=40)
CONVNEXT_UNSCALED = ConvNextConfig(
    hidden_sizes=[24, 32, 40, 64], depths=[1, 2, 1, 1], patch_size=2, layer_scale_init_value=0.0, num_labels=40
)
EFFICIENTNET = EfficientNetConfig(
    width_coefficient=1.0,
    depth_coefficient=1.0,
    kernel_sizes=[3, 5],
    in_channels=[32, 16],
    out_channels=[16, 24],
    strides=[1, 2],
    num_block_repeats=[1, 2],
    expand_ratios=[1, 6],
    hidden_dim=1280,
    num_labels=40,
)
DIT = {
    "input_size": 16,
    "patch_size": 2,
    "in_channels": 4,
    "hidden_size": 64,
    "depth": 3,
    "num_heads": 4,
    "num_classes": 40,
    "class_dropout_prob": 0.1,
    "learn_sigma": True,
}
DIT_PLAIN = DIT | {"class_dropout_prob": 0.0, "learn_sigma": False, "patch_size": 4}


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


def timm_vit() -> nn.Module:
    """The layers of timm's VisionTransformer under its names, with scaled branches and registers."""
    model = nn.Module()
    for name, count in (("cls_token", 1), ("reg_token", 4), ("pos_embed", 17)):
        model.register_parameter(name, nn.Parameter(torch.zeros(1, count, 48)))
    model.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 48, 8, 8)})
    model.blocks = nn.Sequential(*[nn.ModuleDict(timm_block()) for _ in range(3)])
    model.norm, model.head = nn.LayerNorm(48), nn.Linear(48, 40)
    return model


def timm_block() -> dict[str, nn.Module]:
    return {
        "norm1": nn.LayerNorm(48),
        "attn": nn.ModuleDict({"qkv": nn.Linear(48, 144), "proj": nn.Linear(48, 48)}),
        "ls1": nn.ParameterDict({"gamma": torch.ones(48)}),
        "norm2": nn.LayerNorm(48),
        "mlp": nn.ModuleDict({"fc1": nn.Linear(48, 96), "fc2": nn.Linear(96, 48)}),
        "ls2": nn.ParameterDict({"gamma": torch.ones(48)}),
    }


def grouped() -> nn.Module:
    """Layers under names that no recipe has: a convolution of four groups, and what follows it."""
    model = nn.Module()
    model.conv, model.norm, model.head = nn.Conv2d(32, 40, (5, 3), groups=4), nn.BatchNorm2d(40), nn.Linear(40, 48)
    model.head.routing_fn = nn.Linear(40, 24)
    return model


def convolutions(model: Callable[[Any], nn.Module], config: Any, *, grouped: bool) -> dict[str, Law]:
    """Normals of variance 2 / fan_out by name, with fan_out as a convolution has it, of all groups or of one."""
    found = {}
    with torch.device("meta"):
        layers = model(config).named_modules()
    for name, layer in layers:
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            found[f"{name}.weight"] = normal((2 / (fan_out // layer.groups if grouped else fan_out)) ** 0.5)
    return found


def places(rows: int, width: int) -> np.ndarray:
    """Where the patches of a picture are: the column in the first half of the channels, then the row."""
    table = np.empty((rows * rows, width))
    for row, column in np.ndindex(rows, rows):
        for half, place in enumerate((column, row)):
            for n in range(width // 4):
                angle = place / 10_000 ** (n / (width // 4))
                first = half * width // 2 + n
                table[row * rows + column, [first, first + width // 4]] = np.sin(angle), np.cos(angle)
    return table[None]


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
        "vit",
        lambda: ViTModel(VIT),
        {"*layernorm*.weight": constant(1), "*.bias": constant(0), "*": normal(0.02)},
        VIT,
        lists=False,
        tag="base",
    ),
    Case(
        "vit",
        lambda: ViTForMaskedImageModeling(VIT),
        {"*layernorm*.weight": constant(1), "*.bias": constant(0), "*.mask_token": constant(0), "*": normal(0.02)},
        VIT,
        lists=False,
        tag="masked",
    ),
    Case(
        "vit_original",
        lambda: ViTForImageClassification(VIT),
        {
            "*layernorm*.weight": constant(1),
            "*.fc?.bias": normal(1e-6),
            "classifier.bias": constant(-10),
            "*.bias": constant(0),
            "classifier.weight": constant(0),
            "*.embeddings.cls_token": constant(0),
            "*.embeddings.position_embeddings": normal(0.02),
            "*.projection.weight": lecun(192),
            "*_proj.weight": within((6 / 96) ** 0.5),
            "*.fc?.weight": within((6 / 144) ** 0.5),
        },
        VIT,
        {"head_bias_init": -10},
        departs={
            "*.cls_token": "plan all 0",
            "*.projection.weight": "plan 0.07217 (0.2",
            "*_proj.weight": "plan 0.1443 (0.1",
            "*.fc?.weight": "plan 0.1179 (0.1",
            "*.fc?.bias": "all are 0, plan std 1e-06",
            "classifier.weight": "plan all 0",
            "classifier.bias": "all are 0, plan -10",
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
        "vit_timm",
        timm_vit,
        {
            "*norm*.weight": constant(1),
            "*.gamma": constant(1e-6),
            "patch_embed.*": within(192**-0.5),
            "*.bias": constant(0),
            "???_token": normal(1e-6),
            "*": normal(0.02),
        },
        quantities={"init_values": 1e-6},
        lists=False,
        departs=None,
        tag="names-of-timm",
    ),
    Case(
        "vit_timm",
        timm_vit,
        {
            "*norm*.weight": constant(1),
            "*.gamma": constant(1e-5),
            "patch_embed.proj.weight": lecun(192),
            "*.mlp.*.bias": normal(1e-6),
            "*.bias": constant(0),
            "head.weight": constant(0),
            "*.qkv.weight": within((6 / (48 + 144)) ** 0.5),
            "*.attn.proj.weight": within((6 / 96) ** 0.5),
            "*.mlp.*": within((6 / 144) ** 0.5),
            "???_token": normal(1e-6),
            "*": normal(0.02),
        },
        quantities={"jax": 1},
        lists=False,
        departs=None,
        tag="jax-names-of-timm",
    ),
    Case(
        "vit_timm",
        timm_vit,
        {
            "*norm*.weight": constant(1),
            "*.gamma": constant(1e-5),
            "patch_embed.*": within(192**-0.5),
            "*.bias": constant(0),
            "head.weight": within((6 / 88) ** 0.5),
            "*.attn.*.weight": within((6 / 96) ** 0.5),
            "*.mlp.*": within((6 / 144) ** 0.5),
            "???_token": normal(1e-6),
            "*": normal(0.02),
        },
        quantities={"moco": 1},
        lists=False,
        departs=None,
        tag="moco-names-of-timm",
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
    Case(
        "resnet",
        lambda: ResNetForImageClassification(RESNET),
        convolutions(ResNetForImageClassification, RESNET, grouped=False)
        | {
            "classifier.1.*": within(80**-0.5),
            "*.normalization.weight": constant(1),
            "*.running_var": constant(1),
            "*": constant(0),
        },
        RESNET,
        forward=labels,
    ),
    Case(
        "resnet",
        lambda: ResNetForImageClassification(RESNET_BASIC),
        convolutions(ResNetForImageClassification, RESNET_BASIC, grouped=False)
        | {
            "classifier.1.*": within(48**-0.5),
            "*.normalization.weight": constant(1),
            "*.running_var": constant(1),
            "*": constant(0),
        },
        RESNET_BASIC,
        forward=labels,
        tag="basic",
    ),
    Case(
        "resnet",
        grouped,
        {
            "conv.weight": normal((2 / (40 * 5 * 3)) ** 0.5),
            "conv.bias": within((8 * 5 * 3) ** -0.5),
            "norm.weight": constant(1),
            "norm.running_var": constant(1),
            "head.routing_fn.*": within(40**-0.5),
            "head.*": within(40**-0.5),
            "*": constant(0),
        },
        lists=False,
        departs=None,
        tag="grouped",
    ),
    Case(
        "resnet_timm",
        lambda: ResNetForImageClassification(RESNET),
        convolutions(ResNetForImageClassification, RESNET, grouped=False)
        | {
            "classifier.1.*": within(80**-0.5),
            "*.layer.2.normalization.weight": constant(0),
            "*.normalization.weight": constant(1),
            "*.running_var": constant(1),
            "*": constant(0),
        },
        RESNET,
        departs={"*.layer.2.normalization.weight": "all are 1, plan 0"},
        forward=labels,
    ),
    Case(
        "resnet_timm",
        lambda: ResNetForImageClassification(RESNET_BASIC),
        convolutions(ResNetForImageClassification, RESNET_BASIC, grouped=False)
        | {
            "classifier.1.*": within(48**-0.5),
            "*.layer.1.normalization.weight": constant(0),
            "*.normalization.weight": constant(1),
            "*.running_var": constant(1),
            "*": constant(0),
        },
        RESNET_BASIC,
        departs={"*.layer.1.normalization.weight": "all are 1, plan 0"},
        forward=labels,
        tag="basic",
    ),
    Case(
        "efficientnet",
        lambda: EfficientNetForImageClassification(EFFICIENTNET),
        convolutions(EfficientNetForImageClassification, EFFICIENTNET, grouped=True)
        | {
            "classifier.weight": within(40**-0.5),
            "*norm.weight": constant(1),
            "*_bn.weight": constant(1),
            "*.running_var": constant(1),
            "*": constant(0),
        },
        lists=False,
        departs={
            "classifier.weight": "plan 0.09129 (0.2",
            "*norm.weight": "plan all 1",
            "*_bn.weight": "plan all 1",
            "*.weight": "std 0.0",
        },
    ),
    Case(
        "efficientnet",
        grouped,
        {
            "conv.weight": normal((2 / (40 // 4 * 5 * 3)) ** 0.5),
            "norm.weight": constant(1),
            "norm.running_var": constant(1),
            "head.weight": within(48**-0.5),
            "head.routing_fn.weight": within((40 + 24) ** -0.5),
            "*": constant(0),
        },
        lists=False,
        departs=None,
        tag="routing",
    ),
    Case(
        "convnext",
        lambda: ConvNextForImageClassification(CONVNEXT),
        {
            "*.bias": constant(0),
            "*layernorm.weight": constant(1),
            "*.downsampling_layer.0.weight": constant(1),
            "*.layer_scale_parameter": constant(1e-6),
            "*": normal(0.02),
        },
        CONVNEXT,
        forward=labels,
    ),
    Case(
        "convnext",
        lambda: ConvNextForImageClassification(CONVNEXT_UNSCALED),
        {
            "*.bias": constant(0),
            "*layernorm.weight": constant(1),
            "*.downsampling_layer.0.weight": constant(1),
            "classifier.weight": normal(2e-5),
            "*": normal(0.02),
        },
        CONVNEXT_UNSCALED,
        {"head_init_scale": 0.001},
        departs={"classifier.weight": "plan 2e-05"},
        forward=labels,
        tag="unscaled",
    ),
    Case(
        "dit",
        lambda: DiT(**DIT),
        {
            "pos_embed": places(8, 64),
            "*.bias": constant(0),
            "x_embedder.proj.weight": within((6 / (64 + 4 * 2 * 2)) ** 0.5),
            "t_embedder.*": normal(0.02),
            "y_embedder.*": normal(0.02),
            "blocks.*.attn.qkv.weight": within((6 / (64 + 192)) ** 0.5),
            "blocks.*.attn.proj.weight": within((6 / 128) ** 0.5),
            "blocks.*.mlp.*": within((6 / 320) ** 0.5),
            "*": constant(0),
        },
        DIT,
        departs=None,
    ),
    Case(
        "dit",
        lambda: DiT(**DIT_PLAIN),
        {
            "pos_embed": places(4, 64),
            "*.bias": constant(0),
            "x_embedder.proj.weight": within((6 / (64 + 4 * 4 * 4)) ** 0.5),
            "t_embedder.*": normal(0.02),
            "y_embedder.*": normal(0.02),
            "blocks.*.attn.qkv.weight": within((6 / (64 + 192)) ** 0.5),
            "blocks.*.attn.proj.weight": within((6 / 128) ** 0.5),
            "blocks.*.mlp.*": within((6 / 320) ** 0.5),
            "*": constant(0),
        },
        DIT_PLAIN,
        departs=None,
        tag="unconditional",
    ),
]
