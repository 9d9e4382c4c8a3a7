"""Recipes beside the code that they say they follow, where a package has it that the tests cannot depend on.

Prints a line for each model: its library, its recipe, and whether the library's own initialization departs from it just
where it is known to. Exit code 1 where it does otherwise, or where a library that was named is not installed.

    python tools/compare_recipes.py                  # every library that is there
    python tools/compare_recipes.py timm clip        # these
"""

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from types import ModuleType
from typing import Any

import torch

import fanin
from fanin import recipes

SEED = 11


@dataclass(frozen=True)
class Case:
    """A recipe and a model as its library initializes it.

    Attributes:
        recipe: its name.
        model: makes the model; called with torch's global seed set.
        quantities: for the recipe.
        config: for the recipe.
        names: of the model's tensors, where the recipe has others; see `fanin.Plan.apply`.
        departs: patterns of the tensors that the library initializes otherwise; each has to match one.
        lists: whether the recipe lists the tensors of the model, all of them and no others.
    """

    recipe: str
    model: Callable[[], Any]
    quantities: Mapping[str, Any] = field(default_factory=dict)
    config: Any = None
    names: Any = None
    departs: tuple[str, ...] = ()
    lists: bool = False

    def problems(self) -> list[str]:
        """What departs and should not, or does not and should."""
        torch.manual_seed(1)
        plan = recipes.load(self.recipe, self.config, **self.quantities)
        model = self.model()
        found = fanin.diff(model, plan, seed=SEED, names=self.names)
        told = []
        if self.lists:
            listed = {(each.name, each.shape) for each in plan.parameters}
            arrays = fanin.models.renamed(fanin.models.opened(model).arrays, self.names)
            there = {(each.name, each.shape) for array in arrays for each in array.parameters}
            told += [f"{name}, shape {shape}, is in one only" for name, shape in sorted(listed ^ there)]
        for each in found.differing:
            if not any(fnmatchcase(each.name, pattern) for pattern in self.departs):
                told.append(f"{each.name} departs: {each.text}")
        for pattern in self.departs:
            if not any(fnmatchcase(each.name, pattern) for each in found.differing):
                told.append(f"nothing departs that is called {pattern}")
        return told


def renaming(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """A function of a name that replaces regular expressions, one after the other."""

    def renamed(name: str) -> str:
        for old, new in pairs:
            name = re.sub(old, new, name)
        return name

    return renamed


def nested(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """A state dict as the tree that its names are paths of."""
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        inside = tree
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = tensor
    return tree


def timm() -> dict[str, Case]:
    """PyTorch Image Models."""
    library = importlib.import_module("timm")
    vit = {"img_size": 32, "patch_size": 8, "embed_dim": 96, "depth": 3, "num_heads": 4, "num_classes": 40}
    convnext = {"depths": (1, 2, 1, 1), "dims": (24, 32, 40, 64), "num_classes": 40}

    def transformer(**given: Any) -> Any:
        return library.models.VisionTransformer(**vit, **given)

    def made(name: str, **given: Any) -> Callable[[], Any]:
        return lambda: library.create_model(name, **given)

    def convnext_of(**given: Any) -> Any:
        return library.models.ConvNeXt(**convnext, **given)

    convnext_names = renaming(
        (r"^stem\.0", "convnext.embeddings.patch_embeddings"),
        (r"^stem\.1", "convnext.embeddings.layernorm"),
        (r"^stages\.(\d)\.blocks", r"convnext.encoder.stages.\1.layers"),
        (r"^stages\.(\d)\.downsample", r"convnext.encoder.stages.\1.downsampling_layer"),
        ("gamma$", "layer_scale_parameter"),
        ("conv_dw", "dwconv"),
        (r"mlp\.fc(\d)", r"pwconv\1"),
        (r"(\d)\.norm\.", r"\1.layernorm."),
        (r"^head\.norm", "convnext.layernorm"),
        (r"^head\.fc", "classifier"),
    )
    widths = {f"depth_{s}": depth for s, depth in enumerate(convnext["depths"])}
    return {
        "VisionTransformer": Case("vit_timm", transformer),
        "VisionTransformer, init_values, reg_tokens": Case(
            "vit_timm", lambda: transformer(init_values=1e-6, reg_tokens=4), {"init_values": 1e-6}
        ),
        "VisionTransformer, jax": Case("vit_timm", lambda: transformer(weight_init="jax"), {"jax": 1}),
        "VisionTransformer, jax_nlhb": Case(
            "vit_timm",
            lambda: transformer(weight_init="jax_nlhb"),
            {"jax": 1, "num_labels": 40, "head_bias": "-log(num_labels)"},
        ),
        "VisionTransformer, moco": Case("vit_timm", lambda: transformer(weight_init="moco"), {"moco": 1}),
        "resnet18": Case(
            "resnet_timm", made("resnet18"), {"bottleneck": 0, "depth_0": 2, "depth_1": 2, "depth_2": 2, "depth_3": 2}
        ),
        "resnet50": Case("resnet_timm", made("resnet50")),
        "resnext50_32x4d": Case("resnet_timm", made("resnext50_32x4d")),
        "resnet50, zero_init_last=False": Case("resnet", made("resnet50", zero_init_last=False)),
        "efficientnet_b0": Case("efficientnet", made("efficientnet_b0")),
        "mobilenetv2_100": Case("efficientnet", made("mobilenetv2_100")),
        "mixnet_s": Case("efficientnet", made("mixnet_s")),
        "ConvNeXt": Case("convnext", convnext_of, widths, names=convnext_names),
        "ConvNeXt, head_init_scale": Case(
            "convnext",
            lambda: convnext_of(head_init_scale=0.001),
            widths | {"head_init_scale": 0.001},
            names=convnext_names,
        ),
    }


def torchvision() -> dict[str, Case]:
    """PyTorch's own models of images."""
    models = importlib.import_module("torchvision").models
    basic = {"bottleneck": 0, "depth_0": 2, "depth_1": 2, "depth_2": 2, "depth_3": 2}
    return {
        "resnet18": Case("resnet", models.resnet18),
        "resnet50": Case("resnet", models.resnet50),
        "resnext50_32x4d": Case("resnet", models.resnext50_32x4d),
        "resnet18, zero_init_residual": Case("resnet_timm", lambda: models.resnet18(zero_init_residual=True), basic),
        "resnet50, zero_init_residual": Case("resnet_timm", lambda: models.resnet50(zero_init_residual=True)),
        # kaiming_normal_ does not divide fan_out by the groups.
        "efficientnet_b0": Case(
            "efficientnet", models.efficientnet_b0, departs=("*.block.0.0.weight", "*.block.1.0.weight")
        ),
    }


def clip() -> dict[str, Case]:
    """OpenAI's CLIP, which is called openai-clip by PyPI."""
    model = importlib.import_module("clip.model").CLIP
    layers = (
        (r"^visual\.class_embedding", "vision_model.embeddings.class_embedding"),
        (r"^visual\.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        (r"^visual\.conv1", "vision_model.embeddings.patch_embedding"),
        (r"^visual\.proj", "visual_projection.weight"),
        (r"^visual\.ln_pre", "vision_model.pre_layrnorm"),
        (r"^visual\.ln_post", "vision_model.post_layernorm"),
        (r"^visual\.transformer\.resblocks", "vision_model.encoder.layers"),
        (r"^transformer\.resblocks", "text_model.encoder.layers"),
        (r"^token_embedding", "text_model.embeddings.token_embedding"),
        (r"^positional_embedding", "text_model.embeddings.position_embedding.weight"),
        (r"^ln_final", "text_model.final_layer_norm"),
        (r"^text_projection", "text_projection.weight"),
        (r"\.ln_(\d)", r".layer_norm\1"),
        (r"\.attn\.([qkv])_proj_(weight|bias)", r".self_attn.\1_proj.\2"),
        (r"\.attn\.out_proj", ".self_attn.out_proj"),
        (r"\.mlp\.c_fc", ".mlp.fc1"),
        (r"\.mlp\.c_proj", ".mlp.fc2"),
    )
    sizes = {
        "vision_layers": 2, "vision_width": 128, "vision_inner": 512, "patch_size": 8, "num_channels": 3,
        "text_layers": 3, "text_width": 64, "text_inner": 256,
    }  # fmt: skip
    # embed_dim, image_resolution, layers, width and patch of the image, then context, words, width, heads and layers.
    return {
        "CLIP": Case("clip", lambda: model(96, 32, 2, 128, 8, 20, 300, 64, 4, 3), sizes, names=renaming(*layers)),
    }


def mamba_ssm() -> dict[str, Case]:
    """The authors' Mamba and Mamba-2. Their kernels need a GPU, their initialization does not."""
    sys.modules.setdefault("selective_scan_cuda", ModuleType("selective_scan_cuda"))
    model = importlib.import_module("mamba_ssm.models.mixer_seq_simple").MambaLMHeadModel
    config_of = importlib.import_module("mamba_ssm.models.config_mamba").MambaConfig
    names = renaming((r"^backbone\.embedding\.", "backbone.embeddings."))
    sizes = {"d_model": 128, "n_layer": 4, "vocab_size": 304, "d_intermediate": 0, "fused_add_norm": False}
    second = {"layer": "Mamba2", "headdim": 4, "d_state": 16}

    def made(**given: Any) -> Callable[[], Any]:
        return lambda: model(config_of(**sizes, **given))

    known = {"num_hidden_layers": 4, "hidden_size": 128, "vocab_size": 304}
    heads = {"num_heads": 64, "n_groups": 1, "state_size": 16}
    return {
        "Mamba": Case("mamba", made(), known, names=names, lists=True),
        "Mamba, untied": Case(
            "mamba", made(tie_embeddings=False), known | {"tie_word_embeddings": 0}, names=names, lists=True
        ),
        "Mamba, constant steps": Case(
            "mamba",
            made(ssm_cfg={"dt_init": "constant", "dt_scale": 0.5, "dt_init_floor": 0.01, "conv_bias": False}),
            known | {"constant_steps": 1, "time_step_scale": 0.5, "time_step_floor": 0.01, "use_conv_bias": 0},
            names=names,
            lists=True,
        ),
        "Mamba2": Case(
            "mamba2", made(ssm_cfg=second), known | heads | {"tie_word_embeddings": 1}, names=names, lists=True
        ),
        "Mamba2, untied": Case(
            "mamba2", made(ssm_cfg=second, tie_embeddings=False), known | heads, names=names, lists=True
        ),
    }


def fla() -> dict[str, Case]:
    """Gated DeltaNet of flash-linear-attention, packed as Qwen3-Next has it."""
    library = importlib.import_module("fla.models.gated_deltanet")
    plain = {"fuse_norm": False, "fuse_swiglu": False, "fuse_cross_entropy": False}

    def model() -> Any:
        config = library.GatedDeltaNetConfig(
            hidden_size=96, num_hidden_layers=3, num_heads=16, num_v_heads=64, head_dim=8, expand_v=1.5,
            intermediate_size=160, vocab_size=304, conv_size=4, **plain,
        )  # fmt: skip
        found = library.GatedDeltaNetForCausalLM(config).state_dict()
        names = renaming(
            (r"\.embeddings\.", ".embed_tokens."),
            (r"\.attn\.(A_log|dt_bias)", r".linear_attn.\1"),
            (r"\.attn\.o_norm", ".linear_attn.norm"),
            (r"\.attn\.o_proj", ".linear_attn.out_proj"),
            (r"\.attn_norm", ".input_layernorm"),
            (r"\.mlp_norm", ".post_attention_layernorm"),
        )
        for i in range(3):
            theirs, ours = f"model.layers.{i}.attn", f"model.layers.{i}.linear_attn"
            for packed, parts in (
                ("in_proj_qkvz", ["q_proj", "k_proj", "v_proj", "g_proj"]),
                ("in_proj_ba", ["b_proj", "a_proj"]),
                ("conv1d", ["q_conv1d", "k_conv1d", "v_conv1d"]),
            ):
                found[f"{ours}.{packed}.weight"] = torch.cat([found.pop(f"{theirs}.{part}.weight") for part in parts])
        return nested({names(name): tensor for name, tensor in found.items()})

    sizes = {
        "hidden_size": 96, "num_hidden_layers": 3, "full_attention_interval": 4, "linear_num_key_heads": 16,
        "linear_num_value_heads": 64, "linear_key_head_dim": 8, "linear_value_head_dim": 12, "num_experts": 0,
        "intermediate_size": 160, "vocab_size": 304,
    }  # fmt: skip
    norms = ("*layernorm.weight", "model.norm.weight")  # 1, where Qwen3-Next multiplies by 1 + weight
    return {"GatedDeltaNet": Case("gated_deltanet", model, sizes, departs=norms, lists=True)}


def megatron() -> dict[str, Case]:
    """GPTModel of megatron-core by the local specification, in one process."""
    core = importlib.import_module("megatron.core")
    specs = importlib.import_module("megatron.core.models.gpt.gpt_layer_specs")
    config_of = importlib.import_module("megatron.core.transformer.transformer_config").TransformerConfig
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        core.parallel_state.initialize_model_parallel()
    sizes = {"num_layers": 3, "hidden_size": 64, "num_attention_heads": 4}
    gated = {
        "normalization": "RMSNorm", "gated_linear_unit": True, "add_bias_linear": False, "add_qkv_bias": True,
        "num_query_groups": 2, "kv_channels": 24, "ffn_hidden_size": 96, "init_method_std": 0.03,
        "embedding_init_method_std": 0.5,
    }  # fmt: skip
    words = {"vocab_size": 304, "max_sequence_length": 32}

    def model(config: Mapping[str, Any], **given: Any) -> Any:
        spec = specs.get_gpt_layer_local_spec(normalization=config.get("normalization"))
        transformer = config_of(**sizes, **config, use_cpu_initialization=True)
        return importlib.import_module("megatron.core.models.gpt").GPTModel(transformer, spec, **words, **given)

    return {
        "GPTModel": Case("megatron_gpt", lambda: model({}), sizes | words, lists=True),
        "GPTModel, rotary, tied, gated": Case(
            "megatron_gpt",
            lambda: model(gated, position_embedding_type="rope", share_embeddings_and_output_weights=True),
            sizes | {"vocab_size": 304, "share_embeddings_and_output_weights": 1},
            gated | {"position_embedding_type": "rope"},
            lists=True,
        ),
    }


def mup() -> dict[str, Case]:
    """Microsoft's muP, around transformers' GPT-2 as its authors initialize it."""
    library = importlib.import_module("mup")
    transformers = importlib.import_module("transformers")

    def gpt2(width: int, **readout: Any) -> Any:
        config = transformers.GPT2Config(
            n_layer=3, n_embd=width, n_head=4, vocab_size=301, n_positions=32, tie_word_embeddings=False
        )
        made = transformers.GPT2LMHeadModel(config)
        made.lm_head = library.MuReadout(width, 301, bias=False, **readout)
        return made

    def model(**readout: Any) -> Any:
        made = library.set_base_shapes(gpt2(128, **readout), gpt2(32), delta=gpt2(48))
        for name, parameter in made.named_parameters():
            if parameter.dim() == 2 and "lm_head" not in name:
                library.init.normal_(parameter, std=0.02 / 6**0.5 if "c_proj" in name else 0.02)
        return made

    sizes = {
        "n_layer": 3, "n_embd": 128, "base_n_embd": 32, "vocab_size": 301, "n_positions": 32, "tie_word_embeddings": 0,
    }  # fmt: skip
    return {
        "MuReadout": Case("mup_gpt2", model, sizes, lists=True),
        "MuReadout, zero": Case(
            "mup_gpt2", lambda: model(readout_zero_init=True), sizes | {"readout_zero_init": 1}, lists=True
        ),
    }


def olmo_core() -> dict[str, Case]:
    """AllenAI's transformers of OLMo 2's kind, by each of their schemes."""
    config_of = importlib.import_module("olmo_core.nn.transformer").TransformerConfig
    names = renaming(
        (r"^embeddings", "model.embed_tokens"),
        (r"^lm_head\.norm", "model.norm"),
        (r"^lm_head\.w_out", "lm_head"),
        (r"^blocks", "model.layers"),
        (r"\.attention_norm", ".post_attention_layernorm"),
        (r"\.feed_forward_norm", ".post_feedforward_layernorm"),
        (r"\.feed_forward\.w1", ".mlp.gate_proj"),
        (r"\.feed_forward\.w2", ".mlp.down_proj"),
        (r"\.feed_forward\.w3", ".mlp.up_proj"),
        (r"\.attention\.w_out", ".self_attn.o_proj"),
        (r"\.attention\.w_([qkv])", r".self_attn.\1_proj"),
        (r"\.attention\.([qk])_norm", r".self_attn.\1_norm"),
    )
    sizes = {
        "num_hidden_layers": 3, "hidden_size": 96, "intermediate_size": 256, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 301, "embed_scale": 4,
    }  # fmt: skip

    def model(scheme: str) -> Any:
        config = config_of.llama_like(
            d_model=96, vocab_size=301, n_layers=3, n_heads=4, n_kv_heads=2, qk_norm=True, init_method=scheme,
            embed_scale=4.0 if scheme == "fan_in" else None, block_name="reordered_norm",
        )  # fmt: skip
        made = config.build(init_device="meta")
        made.init_weights(max_seq_len=32, device=torch.device("cpu"))
        return made

    schemes = {name: name for name in ("normal", "llama", "llama_depth", "normalized")} | {"fan_in": "by_fan_in"}
    return {
        theirs: Case("olmo2", partial(model, theirs), sizes | {"scheme": ours}, names=names, lists=True)
        for theirs, ours in schemes.items()
    }


def torchtitan() -> dict[str, Case]:
    """Its models for debugging, by the names that it gives checkpoints for transformers."""
    llama, deepseek, gpt_oss = (
        importlib.import_module(f"torchtitan.models.{name}") for name in ("llama3", "deepseek_v3", "gpt_oss")
    )

    def model(config: Any, adapter: Any) -> Any:
        made = config.build()
        made.init_states()
        return nested(adapter(config, None).to_hf(made.state_dict()))

    def oss() -> Any:
        made = gpt_oss.gptoss_configs["debugmodel"](attn_backend="flex", moe_comm_backend="standard").build()
        made.init_states()
        names = renaming(
            ("^", "model."),
            (r"model\.lm_head", "lm_head"),
            (r"tok_embeddings", "embed_tokens"),
            (r"attention\.qkv_linear\.w([qkv])", r"self_attn.\1_proj"),
            (r"attention\.wo", "self_attn.o_proj"),
            (r"attention\.sinks", "self_attn.sinks"),
            (r"attention_norm", "input_layernorm"),
            (r"ffn_norm", "post_attention_layernorm"),
            (r"moe\.router\.gate", "mlp.router"),
            (r"moe\.routed_experts\.inner_experts\.mlp1_weight_EGD", "mlp.experts.gate_up_proj"),
            (r"moe\.routed_experts\.inner_experts\.mlp1_bias_EG", "mlp.experts.gate_up_proj_bias"),
            (r"moe\.routed_experts\.inner_experts\.mlp2_weight_EDF", "mlp.experts.down_proj"),
            (r"moe\.routed_experts\.inner_experts\.mlp2_bias_ED", "mlp.experts.down_proj_bias"),
        )
        kept = {name: tensor for name, tensor in made.state_dict().items() if "expert_bias" not in name}
        return nested({names(name): tensor for name, tensor in kept.items()})

    llama_config = llama.llama3_configs["debugmodel"](attn_backend="flex")
    deepseek_config = deepseek.deepseekv3_configs["debugmodel"](attn_backend="flex", moe_comm_backend="standard")
    sizes = {"num_hidden_layers": 6, "hidden_size": 256, "num_attention_heads": 16, "vocab_size": 2048}
    experts = {
        "first_k_dense_replace": 1, "intermediate_size": 1024, "moe_intermediate_size": 256, "n_routed_experts": 8,
        "n_shared_experts": 2, "q_lora_rank": 0,
    }  # fmt: skip
    return {
        "llama3": Case(
            "llama_torchtitan",
            lambda: model(llama_config, llama.Llama3StateDictAdapter),
            sizes | {"intermediate_size": 768},
            lists=True,
        ),
        "deepseek_v3": Case(
            "deepseek_v3_torchtitan",
            lambda: model(deepseek_config, deepseek.DeepSeekV3StateDictAdapter),
            sizes | experts,
            lists=True,
        ),
        "gpt_oss": Case("gpt_oss_torchtitan", oss, {"num_hidden_layers": 4, "hidden_size": 256}),
    }


LIBRARIES: dict[str, Callable[[], dict[str, Case]]] = {
    "clip": clip,
    "fla": fla,
    "mamba_ssm": mamba_ssm,
    "megatron": megatron,
    "mup": mup,
    "olmo_core": olmo_core,
    "timm": timm,
    "torchtitan": torchtitan,
    "torchvision": torchvision,
}


def main() -> int:
    """Compare what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(description="Recipes beside the libraries that they follow.")
    parser.add_argument("libraries", nargs="*", metavar="library", help=f"of {', '.join(LIBRARIES)}; all without any")
    asked = parser.parse_args().libraries
    if unknown := set(asked) - set(LIBRARIES):
        parser.error(f"no library {min(unknown)!r}; there are {', '.join(LIBRARIES)}")
    failed = 0
    for library in asked or LIBRARIES:
        try:
            cases = LIBRARIES[library]()
        except ImportError as error:
            print(f"{library}: not there ({error})")
            failed += library in asked
            continue
        for name, case in cases.items():
            problems = case.problems()
            failed += bool(problems)
            known = f"departs in {', '.join(case.departs)} as is known" if case.departs else "as the recipe has it"
            print(f"{library} {name}, {case.recipe}: {f'{len(problems)} problems' if problems else known}", flush=True)
            for problem in problems[:10]:
                print(f"    {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
