"""Other names for a model's tensors: given by hand or derived, with nothing left out and nothing twice."""

from typing import Any

import pytest
import torch
from torch import nn
from torch_tensors import assert_same_tensors, poison, refused

import fanin
from fanin import Plan, Rule
from fanin.errors import LogicalNameError, PlanError

PLAN = Plan(
    [
        Rule(role="norm.count", initializer="zeros", optional=True),
        Rule(role="*.kernel", initializer="he_normal"),
        Rule("*", "random_normal"),
    ]
)


class Net(nn.Module):
    """Two layers of one shape, one of another, a normalization; `order` says in which order they are made."""

    def __init__(self, names: str) -> None:
        super().__init__()
        made: dict[str, Any] = {}
        a, b, c, d = names.split()
        made[a], made[b] = nn.Linear(4, 4), nn.Linear(4, 4)
        made[c], made[d] = nn.Linear(4, 3), nn.BatchNorm1d(3)
        for name, layer in made.items():
            setattr(self, name, layer)


def test_a_mapping_gives_the_weights_of_other_names() -> None:
    one, other = poison(Net("a b c d")), poison(Net("w x y z"))
    names = {each.name: "wxyz"["abcd".index(each.name[0])] + each.name[1:] for each in fanin.parameters(one)}
    PLAN.apply(other, seed=7)
    for given in (names, lambda name: names[name]):
        PLAN.apply(poison(one), seed=7, names=given)
        for name, tensor in one.state_dict().items():
            assert_same_tensors(tensor, other.state_dict()[names[name]])
    assert [each.name for each in fanin.parameters(one, names=names)] == list(names.values())


def test_names_are_derived_by_kind_shape_and_order() -> None:
    reference, model = Net("a b c d"), Net("w x y z")
    names = fanin.names_like(reference, model)
    assert {name: names[name] for name in names} == {
        **{f"{w}.{key}": f"{a}.{key}" for w, a in zip("wxy", "abc", strict=True) for key in ("weight", "bias")},
        **{f"z.{key}": f"d.{key}" for key in ("weight", "bias", "running_mean", "running_var")},
        "z.num_batches_tracked": "z.num_batches_tracked",
    }
    assert len(names) == 11
    lines = str(names).splitlines()
    assert lines[0].split() == ["name", "shape", "layout", "gets", "the", "name", "shape", "layout"]
    assert lines[1].split() == ["w.weight", "(4", "4)", "o", "i", "a.weight", "(4", "4)", "o", "i"]


def test_a_packed_weight_is_paired_with_separate_ones() -> None:
    class Separate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))

    packed, separate = poison(nn.MultiheadAttention(8, 2)), poison(Separate())
    names = fanin.names_like(packed, separate, ignore="*bias*")
    assert [names[f"{letter}.weight"] for letter in "qkvo"] == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight",
    ]  # fmt: skip
    assert names["q.bias"] == "q.bias"
    plan = Plan([Rule("*bias", "zeros"), Rule("in_proj_weight", "he_normal"), Rule("*", "he_normal")])
    plan.apply(packed, seed=7)
    plan.apply(separate, seed=7, names=names)  # a rule that means the packed array means what it is paired with
    kernels = torch.cat([separate.q.weight, separate.k.weight, separate.v.weight])
    assert_same_tensors(packed.in_proj_weight, kernels)
    assert_same_tensors(packed.out_proj.weight, separate.o.weight)


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda names: names.pop("a.weight"), ["has no name for 'a.weight'", "fanin.parameters(model)"]),
        (
            lambda names: names.update({"a.wieght": "q"}),
            ["names 'a.wieght', which the model does not have", "'a.weight'"],
        ),
        (
            lambda names: names.update({"b.weight": "a.weight", "b.bias": "a.bias"}),
            ["gives 'a.weight', 'b.weight' the same name, 'a.weight'", "'a.bias', 'b.bias'"],
        ),
    ],
)
def test_holes_and_clashes_are_told_and_nothing_is_written(change: Any, fragments: list[str]) -> None:
    model = poison(Net("a b c d"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    names = {each.name: each.name for each in fanin.parameters(model)}
    change(names)
    refused(lambda: PLAN.apply(model, names=names), PlanError, ValueError, *fragments)
    refused(lambda: PLAN.apply(model, names=lambda name: "w"), PlanError, ValueError, "the same name, 'w'")
    refused(lambda: PLAN.apply(model, names=lambda name: ""), PlanError, ValueError, "the same name, ''")
    refused(lambda: fanin.parameters(nn.PReLU(), names=lambda name: ""), LogicalNameError, ValueError, "not ''")
    for name, tensor in model.state_dict().items():
        assert_same_tensors(tensor, before[name])


def test_models_that_differ_have_no_derived_names() -> None:
    one, other = nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3, bias=False))
    refused(
        lambda: fanin.names_like(one, other),
        PlanError, ValueError,
        "differ in 1 kinds of tensors", "dense.kernel, canonical shape (3, 3): '1.weight' and, in the reference, none",
        "ignore=",
    )  # fmt: skip
    names = fanin.names_like(one, other, ignore="1.*")
    assert dict(names) == {"0.weight": "weight", "0.bias": "bias", "1.weight": "1.weight"}
    refused(lambda: fanin.names_like(3, other), PlanError, ValueError, "int")
    embedding, table = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
    refused(lambda: fanin.names_like(embedding, table), PlanError, ValueError, "embedding.table", "dense.kernel")


def test_derived_names_survive_a_second_look() -> None:
    """A mapping is frozen: what was printed is what is used."""
    names = fanin.names_like(nn.Linear(4, 3), nn.Linear(4, 3))
    with pytest.raises(TypeError):
        names["weight"] = "w"  # type: ignore[index]
    with pytest.raises(KeyError):
        names["w"]


def test_materialize_takes_names() -> None:
    import fanin.torch

    with torch.device("meta"):
        model = nn.Linear(4, 3)
    fanin.torch.materialize(model, PLAN, seed=7, names={"weight": "fc.weight", "bias": "fc.bias"})
    other = nn.ModuleDict({"fc": nn.Linear(4, 3)})
    PLAN.apply(other, seed=7)
    assert_same_tensors(model.weight, other["fc"].weight)
    assert_same_tensors(model.bias, other["fc"].bias)
