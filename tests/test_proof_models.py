"""Proof across frameworks: one plan, one seed, one fingerprint; and packed and tied weights in files."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import linen, nnx
from stored import held, written

import fanin
import fanin.jax
from fanin import Parameter, Plan, Rule, checkpoint
from fanin.errors import OutputError
from fanin.recipe import Window

SEED = 11
PLAN = Plan(
    [
        Rule(role="norm.scale", initializer="random_normal(1, 0.2)"),
        Rule(role=["*.bias"], initializer="random_normal(stddev=0.1)"),
        Rule(role="*.kernel", initializer="he_normal"),
    ]
)


class Linen(linen.Module):
    """The architecture in linen."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.Conv(6, (3, 3), feature_group_count=2, padding="VALID")(x)
        return linen.Dense(5)(linen.LayerNorm()(linen.Dense(8)(x)))


class Nnx(nnx.Module):
    """The architecture in nnx."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(4, 6, (3, 3), feature_group_count=2, padding="VALID", rngs=rngs)
        self.one, self.norm = nnx.Linear(6, 8, rngs=rngs), nnx.LayerNorm(8, rngs=rngs)
        self.two = nnx.Linear(8, 5, rngs=rngs)


def in_torch() -> Any:
    return torch.nn.Sequential(
        torch.nn.Conv2d(4, 6, 3, groups=2), torch.nn.Linear(6, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 5)
    )


def others() -> dict[str, Any]:
    """The architecture in every other framework, some of it without values yet."""
    layers = keras.layers
    return {
        "keras": keras.Sequential(
            [
                keras.Input((5, 5, 4)),
                layers.Conv2D(6, 3, groups=2),
                layers.Dense(8),
                layers.LayerNormalization(),
                layers.Dense(5),
            ]
        ),
        "nnx": Nnx(nnx.Rngs(0)),
        "linen": fanin.jax.shapes(Linen(), jnp.zeros((1, 5, 5, 4))),
    }


def test_one_plan_gives_one_fingerprint_in_every_framework() -> None:
    ours = in_torch()
    PLAN.apply(ours, seed=SEED)
    expected = fanin.fingerprint(ours)
    for framework, model in others().items():
        names = fanin.names_like(ours, model)
        made = PLAN.apply(model, seed=SEED, names=names)
        names = names if framework != "linen" else fanin.names_like(ours, others()["linen"])
        found = of_variables(made, names) if framework == "linen" else fanin.fingerprint(made, names=names)
        assert {each.name: each.hex for each in found.tensors} == {each.name: each.hex for each in expected.tensors}, (
            framework
        )
        assert (found.digest, found.coordinates) == (expected.digest, "logical")
        if framework != "linen":
            assert fanin.verify(made, PLAN, seed=SEED, names=names).ok
            assert not fanin.verify(made, PLAN, seed=SEED + 1, names=names)


def of_variables(made: Any, names: Any) -> Any:
    """Finished variables are a plain tree: the layouts are those of the plan."""
    rules = [
        Rule("0.weight", "zeros", layout="*k i o/2"),
        Rule("*.weight", "zeros", layout="*k i o"),
        Rule("*", "zeros"),
    ]
    rules = [Rule("2.weight", "zeros"), *rules]
    return fanin.fingerprint(made, Plan(rules), names=names)


def test_a_plain_dict_and_a_file_have_the_same_fingerprint(tmp_path: Path) -> None:
    ours = in_torch()
    PLAN.apply(ours, seed=SEED)
    expected = fanin.fingerprint(ours)
    arrays = {name: tensor.numpy() for name, tensor in ours.state_dict().items()}
    layouts = Plan(
        [Rule("0.weight", "zeros", layout="o/2 i *k"), Rule("?.weight", "zeros"), Rule("*.bias", "zeros")], layout="o i"
    )
    for holder in (arrays, ours.state_dict(), written(tmp_path / "a.safetensors", arrays)):
        assert fanin.fingerprint(holder, layouts, names=unescaped) == expected
    turned = {name: jnp.asarray(array.T if array.ndim == 2 else array) for name, array in arrays.items()}
    flipped = Plan(
        [Rule("0.weight", "zeros", layout="o/2 i *k"), Rule("?.weight", "zeros"), Rule("*.bias", "zeros")], layout="i o"
    )
    assert fanin.fingerprint(turned, flipped, names=unescaped) == expected


def unescaped(name: str) -> str:
    """The name of a tensor whose key in a dict has dots."""
    return name.replace("\\.", ".")


@pytest.mark.parametrize("framework", ["keras", "nnx", "torch"])
def test_one_bit_of_any_framework_is_found(framework: str) -> None:
    model = in_torch() if framework == "torch" else others()[framework]
    PLAN.apply(model, seed=SEED)
    before = fanin.fingerprint(model)
    if framework == "keras":
        kernel = np.array(model.layers[0].kernel.value)
        kernel.view(np.uint32)[2, 1, 0, 3] ^= 1
        model.layers[0].kernel.assign(kernel)
        expected = ((2, 1, 0, 3), (2 * 3 + 1) * 2, 3)
    elif framework == "nnx":
        kernel = np.array(model.conv.kernel)
        kernel.view(np.uint32)[2, 1, 0, 3] ^= 1
        model.conv.kernel.set_value(jnp.asarray(kernel))
        expected = ((2, 1, 0, 3), (2 * 3 + 1) * 2, 3)
    else:
        model[0].weight.detach().view(torch.int32)[3, 0, 2, 1] ^= 1
        expected = ((3, 0, 2, 1), (2 * 3 + 1) * 2, 3)
    (finding,) = fanin.verify(model, PLAN, seed=SEED).wrong
    assert (finding.index, finding.row, finding.column) == expected
    after = fanin.fingerprint(model)
    assert [a.name for a, b in zip(before.tensors, after.tensors, strict=True) if a != b] == [finding.name]


def test_what_has_no_values_yet_is_told() -> None:
    shapes = others()["linen"]
    found = fanin.verify(shapes, PLAN)
    assert {finding.status for finding in found.findings} == {"not initialized"}
    with pytest.raises(OutputError):
        fanin.fingerprint(shapes)


def test_sharded_arrays_of_jax_are_counted_once() -> None:
    devices = np.array(jax.devices()[:1])
    sharding = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, "x"), jax.sharding.PartitionSpec("x"))
    values = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    tree = {"w": jax.device_put(values, sharding)}
    assert fanin.fingerprint(tree) == fanin.fingerprint({"w": values})
    assert fanin.fingerprint(tree)["w"].complete


# Packed, tied, renamed ----------------------------------------------------------------------------------------


FUSED = """
[plan]
layout = "o i"

[[parameters]]
name = "h.0.qkv.weight"
shape = [24, 8]

[[parameters]]
name = "wte.weight"
shape = [10, 8]

[[parameters]]
name = "lm_head.weight"
shape = [10, 8]

[[fused]]
match = "h.{i}.qkv.weight"
into = ["h.{i}.q.weight", "h.{i}.k.weight", "h.{i}.v.weight"]
groups = 2

[ties]
"lm_head.weight" = "wte.weight"

[[rules]]
match = "wte.weight"
initializer = "random_normal(stddev=0.02)"
layout = "i o"

[[rules]]
match = "h.*.weight"
initializer = "he_normal"
"""


def test_packed_and_tied_weights_of_a_file_are_verified(tmp_path: Path) -> None:
    plan = Plan.from_text(FUSED)
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, plan.resolve(seed=3))
    found = fanin.verify(path, plan, seed=3)
    assert found.ok, str(found)
    assert sum(finding.compared for finding in found.findings) == 24 * 8 + 2 * 80
    arrays, metadata = held(path)
    arrays["h.0.qkv.weight"].view(np.uint32)[17, 5] ^= 1  # of the second group: its second row of k
    arrays["lm_head.weight"][9, 7] = 0
    found = fanin.verify(written(path, arrays, metadata), plan, seed=3)
    wrong = {finding.name: finding for finding in found.wrong}
    assert wrong.keys() == {"h.0.k.weight", "lm_head.weight"}
    assert (wrong["h.0.k.weight"].index, wrong["h.0.k.weight"].row, wrong["h.0.k.weight"].column) == ((17, 5), 5, 5)
    assert wrong["lm_head.weight"].index == (9, 7)


def test_packed_weights_have_the_fingerprints_of_separate_ones(tmp_path: Path) -> None:
    plan = Plan.from_text(FUSED)
    separate = [Parameter(f"h.0.{each}.weight", (8, 8), layout="o i") for each in "qkv"] + [
        Parameter("wte.weight", (10, 8))
    ]
    rules = Plan([Rule("wte.weight", "random_normal(stddev=0.02)", layout="i o"), Rule("*", "he_normal", layout="o i")])
    one, two = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    checkpoint.write(one, plan.resolve(seed=3))
    checkpoint.write(two, rules.resolve(separate, seed=3))
    assert fanin.fingerprint(one, plan) == fanin.fingerprint(two, rules)
    assert fanin.diff(one, plan, seed=3).same


def test_shards_of_packed_weights_add_up() -> None:
    attention = torch.nn.MultiheadAttention(8, 2)
    expected = fanin.fingerprint(attention)
    found = []
    for index in range(2):
        part = torch.nn.MultiheadAttention(8, 2)
        part.load_state_dict(attention.state_dict())
        part.in_proj_weight = torch.nn.Parameter(attention.in_proj_weight.detach()[12 * index :][:12].clone())
        found.append(fanin.fingerprint(part, shards={"in_proj_weight": ((24, 8), (12 * index, 0))}))
    assert not found[0].complete
    (window, _), *_ = found[0]["k_proj_weight"].windows or ()
    assert window == Window((0, 0), (4, 8))
    assert sum(found) == expected
