"""Recipes read the configurations that they are for, and refuse those of which they would make another model."""

import math
from typing import Any

import pytest
import transformers

from fanin import Plan, recipes
from fanin.errors import PlanError

# By recipe a configuration and what is said of it.
REFUSED: list[tuple[str, Any, str]] = [
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
    ("resnet", transformers.ResNetConfig(depths=[3, 4, 6]), r"has depths.# = 3, .* it knows 4"),
    ("resnet_timm", transformers.ResNetConfig(hidden_sizes=[64, 128, 256, 512, 1024]), "has hidden_sizes.# = 5"),
    ("resnet_timm", {"model_type": "resnet", "layer_type": "preact"}, "has layer_type = 'preact'"),
    ("efficientnet", transformers.EfficientNetConfig(), "the recipe efficientnet takes nothing from a configuration"),
    ("convnext", transformers.ConvNextV2Config(), "is of model_type 'convnextv2'"),
    ("convnext", transformers.ConvNextConfig(num_stages=3), "has num_stages = 3"),
    ("dit", {"depth": 12, "qk_norm": True}, "has 'qk_norm', which the recipe dit does not know"),
    ("dit", transformers.ViTConfig(), "which the recipe dit does not know"),
]


@pytest.mark.parametrize(("recipe", "config", "told"), REFUSED, ids=lambda value: str(value)[:40].replace("\n", " "))
def test_a_configuration_that_a_recipe_does_not_know_is_refused(recipe: str, config: Any, told: str) -> None:
    with pytest.raises(PlanError, match=told):
        recipes.load(recipe, config)


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
