"""What arrays hold, as a plan says it: fused, renamed and tied tensors, rows of zeros, and resolved plans as data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import assert_same_bits
from safetensors.numpy import load_file
from torch import nn
from torch_tensors import assert_same_tensors, poison, refused

import fanin
from fanin import Fused, Parameter, Plan, Resolved, Rule, checkpoint, initializers
from fanin.errors import PlanError
from fanin.models.arrays import Part, write
from fanin.plan import digest
from fanin.recipe import Window

KERNELS = [Rule("*", "he_normal")]


def drawn(name: str, shape: tuple[int, ...], layout: str = "o i") -> np.ndarray:
    made: np.ndarray = initializers.HeNormal(seed=7)(shape, name=name, layout=layout)
    return made


def contents(resolved: Resolved) -> dict[str, np.ndarray]:
    """All arrays of a resolved plan, made."""
    made = {}
    for array in resolved.arrays:
        made[array.name] = np.full(array.shape, np.nan, resolved.held(array)[0][1].dtype)
        write(resolved.pieces(array), [Part(Window.whole(array.shape), made[array.name])])
    return made


# Fused --------------------------------------------------------------------------------------------


def test_parts_lie_side_by_side() -> None:
    fused = Fused("h.{i}.qkv", ["h.{i}.q", "h.{i}.k", "h.{i}.v"], sizes=["2 * kv", "kv", "kv"])
    plan = Plan(KERNELS, fused=[fused], quantities={"kv": 4}, layout="o i")
    resolved = plan.resolve([Parameter("h.0.qkv", (16, 6)), Parameter("h.1.qkv", (16, 6))], seed=7)
    shapes = {"q": (8, 6), "k": (4, 6), "v": (4, 6)}
    expected = [(f"h.{layer}.{name}", shape) for layer in (0, 1) for name, shape in shapes.items()]
    assert [(entry.name, entry.shape) for entry in resolved] == expected
    assert [array.name for array in resolved.arrays] == ["h.0.qkv", "h.1.qkv"]
    parts = [drawn("h.1.q", (8, 6)), drawn("h.1.k", (4, 6)), drawn("h.1.v", (4, 6))]
    assert_same_bits(contents(resolved)["h.1.qkv"], np.concatenate(parts))


def test_parts_along_another_axis_are_equal_by_default() -> None:
    plan = Plan(KERNELS, fused=[Fused("*c_attn", ["q", "k", "v"], axis=-1)], layout="i o")
    made = contents(plan.resolve([Parameter("x.c_attn", (6, 12))], seed=7))["x.c_attn"]
    assert_same_bits(made, np.concatenate([drawn(name, (6, 4), "i o") for name in "qkv"], axis=1))


def test_groups_alternate() -> None:
    """Grouped queries as GPT-NeoX and Falcon have them: of each group the queries, its keys, its values."""
    fused = Fused("qkv", ["q", "k", "v"], sizes=[12, 6, 6], groups="kv_heads")
    plan = Plan(KERNELS, fused=[fused], quantities={"kv_heads": 3}, layout="o i")
    made = contents(plan.resolve([Parameter("qkv", (24, 5))], seed=7))["qkv"].reshape(3, 8, 5)
    assert_same_bits(made[:, :4].reshape(12, 5), drawn("q", (12, 5)))
    assert_same_bits(made[:, 4:6].reshape(6, 5), drawn("k", (6, 5)))
    assert_same_bits(made[:, 6:].reshape(6, 5), drawn("v", (6, 5)))


def test_one_tensor_at_each_index() -> None:
    """Stacked experts and scanned layers as separate ones, whose number the initializer may use."""
    plan = Plan(
        [Rule("layers.{i}.w", "random_normal(stddev=1 / (i + 1))", layout="b i o")],
        fused=[Fused("stack", "layers.{i}.w")],
    )
    made = contents(plan.resolve([Parameter("stack", (3, 6, 4))], seed=7))["stack"]
    for number in range(3):
        own = initializers.RandomNormal(stddev=1 / (number + 1), seed=7)(
            (6, 4), name=f"layers.{number}.w", layout="i o"
        )
        assert_same_bits(made[number], own)


def test_an_expert_is_the_same_for_any_number_of_experts() -> None:
    few, many = (
        contents(Plan(KERNELS, layout="b i o").resolve([Parameter("experts", (n, 6, 4))], seed=7))["experts"]
        for n in (3, 8)
    )
    assert_same_bits(many[:3], few)
    part = np.empty((2, 6, 4), np.float32)
    resolved = Plan(KERNELS, layout="b i o").resolve([Parameter("experts", (8, 6, 4))], seed=7)
    write(resolved.pieces(resolved.arrays[0]), [Part(Window((1, 0, 0), (3, 6, 4)), part)])
    assert_same_bits(part, few[1:3])


def test_a_whole_tensor_in_several_places_is_computed_once() -> None:
    calls = []

    def counted(shape: Any, dtype: Any = None) -> np.ndarray:
        calls.append(shape)
        return np.arange(np.prod(shape)).reshape(shape)

    plan = Plan([Rule("*", counted)], fused=[Fused("ab", ["a", "b"], groups=2)])
    made = contents(plan.resolve([Parameter("ab", (8, 1))]))["ab"]
    assert made[:, 0].tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert calls == [(4, 1), (4, 1)]


# Models -------------------------------------------------------------------------------------------


class Packed(nn.Module):
    """Queries, keys and values in one array, gate and up in another, a head that is to be tied."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.up = nn.Linear(8, 16), nn.Linear(8, 24, bias=False)
        self.embed, self.head = nn.Embedding(10, 8), nn.Linear(8, 10, bias=False)


class Separate(nn.Module):
    """The same, each in an array of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 4)
        self.gate, self.proj = nn.Linear(8, 12, bias=False), nn.Linear(8, 12, bias=False)
        self.embed = nn.Embedding(10, 8)


RULES = [
    Rule("*bias", "random_normal"),
    Rule("*weight", "he_normal"),
    Rule("embed.weight", "random_normal", zero_rows=[-1]),
]
FUSED = [
    *(Fused(f"qkv.{key}", [f"q.{key}", f"k.{key}", f"v.{key}"], sizes=[8, 4, 4]) for key in ("weight", "bias")),
    Fused("up.weight", ["gate.weight", "proj.weight"]),
]


def test_a_packed_model_is_the_separate_one() -> None:
    packed, separate = poison(Packed()), poison(Separate())
    plan = Plan(RULES, fused=FUSED, ties={"head.weight": "embed.weight"})
    assert plan.apply(packed, seed=7) is packed
    Plan(RULES).apply(separate, seed=7)
    assert_same_tensors(packed.qkv.weight, torch.cat([separate.q.weight, separate.k.weight, separate.v.weight]))
    assert_same_tensors(packed.qkv.bias, torch.cat([separate.q.bias, separate.k.bias, separate.v.bias]))
    assert_same_tensors(packed.up.weight, torch.cat([separate.gate.weight, separate.proj.weight]))
    assert_same_tensors(packed.head.weight, separate.embed.weight)
    assert not packed.embed.weight[-1].any()
    assert packed.embed.weight[:-1].all()


def test_one_plan_fits_packed_experts_and_separate_ones() -> None:
    """Published checkpoints have one array for each expert, and models all in one: of an optional array no more."""
    plan = Plan(
        [Rule("experts.{e}.{w}.weight", "random_normal", layout="*b o i", expect="2 * n")],
        fused=[
            Fused("experts.w13", "experts.{e}.13", optional=True),
            Fused("experts.{e}.13", ["experts.{e}.1.weight", "experts.{e}.3.weight"], axis=1, optional=True),
        ],
        quantities={"n": 3},
    )
    packed = contents(plan.resolve([Parameter("experts.w13", (3, 8, 4))], seed=7))["experts.w13"]
    names = [f"experts.{e}.{w}.weight" for e in range(3) for w in (1, 3)]
    separate = contents(plan.resolve([Parameter(name, (4, 4)) for name in names], seed=7))
    assert_same_bits(packed, np.concatenate([separate[name] for name in names]).reshape(3, 8, 4))


def test_a_rename_keeps_the_stream() -> None:
    old, new = nn.ModuleDict({"fc": nn.Linear(4, 3)}), nn.ModuleDict({"dense": nn.Linear(4, 3)})
    Plan(RULES[:2]).apply(old, seed=7)
    plan = Plan(
        [Rule("dense.bias", "random_normal"), Rule("fc.weight", "he_normal")],
        renames={"dense.weight": "fc.weight", "dense.bias": "fc.bias"},
    )
    plan.apply(new, seed=7)
    assert_same_tensors(new["dense"].weight, old["fc"].weight)
    assert_same_tensors(new["dense"].bias, old["fc"].bias)


def test_materialize_arranges_as_well() -> None:
    import fanin.torch

    with torch.device("meta"):
        model = Packed()
    plan = Plan(RULES, fused=FUSED, ties={"head.weight": "embed.weight"})
    fanin.torch.materialize(model, plan, seed=7)
    other = Packed()
    plan.apply(other, seed=7)
    for name, tensor in model.state_dict().items():
        assert_same_tensors(tensor, other.state_dict()[name])


# Files --------------------------------------------------------------------------------------------

FILE = """
[quantities]
kv = 4

[[parameters]]
name = "h.{i}.qkv"
for = { i = 2 }
shape = ["4 * kv", 6]

[[parameters]]
name = "wte"
shape = [10, 6]

[[parameters]]
name = "lm_head"
shape = [10, 6]

[[fused]]
match = "h.{i}.qkv"
into = ["h.{i}.q", "h.{i}.k", "h.{i}.v"]
sizes = ["2 * kv", "kv", "kv"]

[[fused]]
match = "h.{i}.kv"
into = ["h.{i}.k", "h.{i}.v"]
optional = true

[ties]
lm_head = "wte"

[renames]
"h.{i}.q" = "block.{i}.query"

[[rules]]
match = "wte"
initializer = "random_normal"
zero_rows = [0, "kv - 1"]

[[rules]]
match = "*"
initializer = "orthogonal"
layout = "o i"
"""


def test_a_checkpoint_has_the_arrays(tmp_path: Path) -> None:
    resolved = Plan.from_text(FILE).resolve(seed=7)
    checkpoint.write(tmp_path / "w.safetensors", resolved)
    found = load_file(tmp_path / "w.safetensors")
    assert {name: array.shape for name, array in found.items()} == {
        "h.0.qkv": (16, 6), "h.1.qkv": (16, 6), "wte": (10, 6), "lm_head": (10, 6),
    }  # fmt: skip
    for name, array in contents(resolved).items():
        assert_same_bits(found[name], array)
    query = initializers.Orthogonal(seed=7)((8, 6), name="block.1.query", layout="o i")
    assert_same_bits(found["h.1.qkv"][:8], query)
    assert_same_bits(found["wte"], found["lm_head"])
    assert [not row.any() for row in found["wte"]] == [True, False, False, True, *[False] * 6]


def test_a_resolved_plan_is_data(tmp_path: Path) -> None:
    resolved = Plan.from_text(FILE, source="file.toml").resolve(seed=7, dtype="bfloat16")
    resolved.save(tmp_path / "plan.json")
    again = Resolved.load(tmp_path / "plan.json")
    assert again == resolved
    assert hash(again) == hash(resolved)
    assert len({again, resolved}) == 1
    assert again.digest == digest(resolved)
    assert again.to_dict()["arrays"] == resolved.to_dict()["arrays"]
    assert json.loads((tmp_path / "plan.json").read_text()) == json.loads(json.dumps(resolved.to_dict()))
    for name, array in contents(resolved).items():
        assert_same_bits(contents(again)[name], array)
    assert again != Plan.from_text(FILE).resolve(seed=8)
    member = Plan.from_text(FILE).resolve(seed=7, member=3)
    assert Resolved.from_dict(member.to_dict()) == member != Plan.from_text(FILE).resolve(seed=7)
    assert str(resolved).splitlines()[-1].split() == ["wte", "[10,", "6]", "bfloat16", "RandomNormal()"]
    assert "digest" not in repr(resolved)
    assert repr(resolved).startswith("<Resolved plan of 7 tensors, ")


def test_a_resolved_plan_is_applied_to_the_model_that_it_is_of(tmp_path: Path) -> None:
    plan = Plan(RULES, fused=FUSED, ties={"head.weight": "embed.weight"})
    one, other = poison(Packed()), poison(Packed())
    plan.apply(one, seed=7)
    # As for a model: the layouts are those of its layers.
    resolved = plan.resolve(fanin.parameters(one), seed=7)
    resolved.save(tmp_path / "plan.json")
    Resolved.load(tmp_path / "plan.json").apply(other)
    for name, tensor in one.state_dict().items():
        assert_same_tensors(tensor, other.state_dict()[name])
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    for model, fragment in (
        (nn.Linear(8, 16), "'weight' of shape (16, 8), which the plan does not have"),
        (nn.ModuleDict({"qkv": nn.Linear(8, 16)}), "does not have 'up.weight', 'embed.weight', 'head.weight'"),
        (nn.ModuleDict({"qkv": nn.Linear(8, 15)}), "of shape (15, 8), not (16, 8) as in the plan"),
    ):
        refused(lambda model=model: resolved.apply(model), PlanError, ValueError, fragment)  # type: ignore[misc]
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda data: data.update(stream="fanin-0"), "stream 'fanin-0'"),
        (lambda data: data.update(format=2), "of format 2"),
        (lambda data: data.pop("arrays"), "no resolved plan: KeyError: 'arrays'"),
        (lambda data: data["tensors"][0].update(shape="x"), "shape"),
        (lambda data: data["tensors"][0].update(initializer="os.system('true')"), "os.system"),
        (lambda data: data["arrays"][0].update(tensors=["nothing"]), "KeyError: 'nothing'"),
    ],
)
def test_data_that_is_no_resolved_plan_is_told(change: Any, fragment: str, tmp_path: Path) -> None:
    data = json.loads(json.dumps(Plan.from_text(FILE).resolve().to_dict()))
    change(data)
    (tmp_path / "plan.json").write_text(json.dumps(data))
    with pytest.raises(fanin.errors.FaninError, match=r"(?s).*") as caught:
        Resolved.load(tmp_path / "plan.json")
    assert fragment in str(caught.value)


def test_files_that_are_no_resolved_plan_are_told(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "deep.json").write_text("[" * 10**5)
    for name, fragment in (
        ("none", "cannot be read"),
        ("list", "a list"),
        ("text", "no resolved"),
        ("deep", "no resolved"),
    ):
        refused(lambda name=name: Resolved.load(tmp_path / f"{name}.json"), PlanError, ValueError, fragment)  # type: ignore[misc]
    custom = Plan([Rule("*", lambda shape, dtype=None: np.zeros(shape))]).resolve([Parameter("a", (2,))])
    refused(lambda: custom.save(tmp_path / "custom.json"), PlanError, ValueError, "'a' is made by", "which is no data")
    assert not (tmp_path / "custom.json").exists()


# Bad input ----------------------------------------------------------------------------------------


def told(plan: Plan, *fragments: str) -> None:
    parameters = [
        Parameter("qkv", (16, 6)),
        Parameter("wte", (10, 6)),
        Parameter("head", (10, 6)),
        Parameter("b", (4,)),
    ]
    refused(lambda: plan.resolve(parameters), PlanError, ValueError, *fragments)


@pytest.mark.parametrize(
    ("more", "fragments"),
    [
        ({"fused": [Fused("kqv", ["q", "k"])]}, ["fused: 'kqv' matches no array"]),
        (
            {"fused": [Fused("qkv", ["q", "k", "v"])]},
            ["'qkv', shape (16, 6), has 16 on axis 0, which is not 5 + 5 + 5"],
        ),
        ({"fused": [Fused("qkv", ["q", "k"], sizes=[8, 7])]}, ["which is not 8 + 7"]),
        ({"fused": [Fused("qkv", ["q", "k"], groups=3)]}, ["which is not 8 + 8 in 3 groups"]),
        ({"fused": [Fused("qkv", ["q", "k"], axis=2)]}, ["has no axis 2"]),
        ({"fused": [Fused("qkv", ["q", "k"], sizes=["n", 8])]}, ["'n'"]),
        ({"fused": [Fused("qkv", ["q", "q"])]}, ["'qkv' and 'qkv' both hold 'q'"]),
        ({"fused": [Fused("qkv", ["q", "wte"])]}, ["both hold 'wte'", "say so by ties"]),
        (
            {"fused": [Fused("qkv", ["q", "k"]), Fused("q*", ["a", "b"])]},
            ["fused 'qkv': 'qkv', shape (16, 6), is meant by 'q*' as well"],
        ),
        ({"fused": [Fused("qkv", ["qkv", "k"])]}, ["'qkv', shape (8, 6), comes of 'qkv' itself"]),
        ({"ties": {"head": "wtee"}}, ["'head' is tied to 'wtee', which there is not"]),
        ({"ties": {"head": "wte", "wte": "head"}}, ["which is tied itself; name the owner"]),
        ({"ties": {"head": "head2", "b": "wte"}}, ["'b', shape (4,), is tied to 'wte', shape (10, 6)"]),
        ({"ties": {"x": "wte"}}, ["ties: 'x' matches no array"]),
        ({"ties": {"head": "wte", "h*": "b"}}, ["ties: 'head' is meant by 'head', 'h*'"]),
        ({"renames": {"head": "wte"}}, ["'wte' and 'head' both hold 'wte'"]),
        ({"renames": {"x": "y"}}, ["renames: 'x' matches no array"]),
    ],
)
def test_what_does_not_hold_is_told(more: dict[str, Any], fragments: list[str]) -> None:
    told(Plan([Rule("*", "zeros")], **more), *fragments)


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda: Fused("a", []), "holds no tensors"),
        (lambda: Fused("a", ["b", 3]), "3 is no pattern and no name"),
        (lambda: Fused("a", ["b{i}"], sizes=[3]), "1 sizes for 1 tensors"),
        (lambda: Fused("a", ["b", "c"], sizes=[3]), "1 sizes for 2 tensors"),
        (lambda: Fused("a", ["b"], axis=True), "axis must be"),
        (lambda: Fused("a", ["b"], optional=1), "optional must be true or false"),  # type: ignore[arg-type]
        (lambda: Fused("a", ["b{i}", "c{i}"]).index, "does not capture"),
        (lambda: Plan([], renames={"a": "b{i}"}), "cannot be filled in"),
        (lambda: Plan([], renames={"a": "b*"}), "cannot be filled in"),
        (lambda: Plan([], ties={"a": 3}), "ties are names by patterns"),  # type: ignore[dict-item]
        (lambda: Plan([], fused=["a"]), "fused must be a list of Fused"),  # type: ignore[list-item]
        (lambda: Rule("*", "zeros", zero_rows=3), "zero_rows must be a list"),  # type: ignore[arg-type]
        (lambda: Rule("*", "zeros", zero_rows=[0.5]), "zero_rows must be a list"),  # type: ignore[list-item]
    ],
)
def test_what_cannot_be_said_is_told(make: Any, fragment: str) -> None:
    refused(make, PlanError, ValueError, fragment)


def test_rows_that_there_are_not_are_told() -> None:
    for rows in ([10], [-11], ["n"], ["1 / 2"]):
        plan = Plan([Rule("*", "ones", zero_rows=rows)])
        refused(lambda plan=plan: plan.resolve([Parameter("wte", (10, 6))]), PlanError, ValueError, "rule 1", "wte")  # type: ignore[misc]
    refused(
        lambda: Plan([Rule("*", "ones", zero_rows=[0])]).resolve([Parameter("s", ())]), PlanError, ValueError, "no row"
    )
