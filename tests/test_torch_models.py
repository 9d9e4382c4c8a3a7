"""Plans on torch modules: names, layouts and fans from the layers, pieces, ties, strictness."""

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel
from torch_tensors import (
    array,
    assert_same_tensors,
    contents,
    memory,
    no_generator_advanced,
    poison,
    poisoned,
    refused,
    std_error,
)

import fanin
import fanin.torch
from fanin import Plan, Rule, initializers
from fanin.errors import DTypeError, OutputError, PlanError, ShapeError
from fanin.models.torch import arrays

HE = Plan(
    [Rule(role=["*.kernel", "recurrent.recurrent_kernel"], initializer="he_normal"), Rule("*", "zeros", optional=True)]
)
DRAWN = Plan([Rule("*", "random_normal(stddev=1)")])
DEFAULTS = fanin.defaults("torch")


def drawn(name: str, shape: tuple[int, ...], layout: str | None, initializer: str = "he_normal") -> np.ndarray:
    """What the one tensor of that name has to be, for seed 7."""
    made: Any = initializers.get(f"{initializer}(seed=7)")
    result: np.ndarray = made(shape, name=name, layout=layout)
    return result


def names_of(module: nn.Module) -> list[str]:
    return [found.name for found in arrays(module)]


# Names ---------------------------------------------------------------------------------------------


class Named(nn.Module):
    """A model with an attribute that wrappers have as well."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(4, 3)
        self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2, bias=False))
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("seen", torch.zeros(2))
        self.register_buffer("cache", torch.zeros(2), persistent=False)


NAMES = ["scale", "seen", "module.weight", "module.bias", "body.0.weight", "body.0.bias", "body.2.weight"]


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


def inside(model: Named) -> Named:
    model.body[0] = checkpoint_wrapper(model.body[0])
    model.module = compiled(model.module)
    return model


WRAPPERS: dict[str, Callable[[Named], nn.Module]] = {
    "nothing": lambda model: model,
    "compile": compiled,
    "DataParallel": nn.DataParallel,
    "checkpoint_wrapper": checkpoint_wrapper,
    "inside": inside,
    "all of them": lambda model: nn.DataParallel(checkpoint_wrapper(compiled(inside(model)))),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_change_neither_names_nor_values(wrapper: str) -> None:
    plain = poison(Named())
    DRAWN.apply(plain, seed=7)
    model = poison(Named())
    wrapped = WRAPPERS[wrapper](model)
    assert names_of(wrapped) == NAMES
    assert DRAWN.apply(wrapped, seed=7) is wrapped
    found = {**dict(wrapped.named_parameters()), **dict(wrapped.named_buffers())}
    expected = {**dict(plain.named_parameters()), **dict(plain.named_buffers())}
    for tensor, other in zip(found.values(), expected.values(), strict=True):
        assert_same_tensors(tensor, other)


def test_an_averaged_model_has_the_names_of_the_model_and_a_counter() -> None:
    model = AveragedModel(Named())
    assert sorted(names_of(model)) == sorted([*NAMES, "n_averaged"])
    plain = Named()
    DRAWN.apply(plain, seed=7)
    Plan([Rule("n_averaged", "zeros"), *DRAWN.rules]).apply(model, seed=7)
    assert_same_tensors(model.module.body[2].weight, plain.body[2].weight)


def test_two_tensors_of_one_name_are_told() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(poisoned(3))
            self._orig_mod = nn.ParameterDict({"weight": nn.Parameter(poisoned(3))})

    model = Twice()
    before = contents(model)
    refused(lambda: DRAWN.apply(model), PlanError, ValueError, "two tensors are called 'weight'", "rename")
    assert contents(model) == before


def test_values_follow_names_not_places() -> None:
    """A layer added, removed, moved or widened changes no other layer's weights."""

    def applied(**layers: nn.Module) -> dict[str, torch.Tensor]:
        model = nn.ModuleDict(layers)
        DEFAULTS.apply(model, seed=7)
        return dict(model.named_parameters())

    def layers() -> dict[str, nn.Module]:
        return {"a": nn.Linear(4, 3), "b": nn.Conv2d(3, 6, 3, groups=3), "c": nn.LSTM(5, 4), "d": nn.Embedding(7, 2)}

    first = applied(**layers())
    assert len(first) == 9
    reordered = applied(**dict(reversed(layers().items())))
    more = applied(e=nn.Linear(9, 9), **layers(), f=nn.MultiheadAttention(8, 2))
    fewer = applied(**{name: layer for name, layer in layers().items() if name in "bd"})
    wider = applied(**{**layers(), "a": nn.Linear(40, 30)})
    for name, tensor in first.items():
        assert_same_tensors(reordered[name], tensor)
        assert_same_tensors(more[name], tensor)
        if name[0] in "bd":
            assert_same_tensors(fewer[name], tensor)
        if name[0] != "a":
            assert_same_tensors(wider[name], tensor)


# What is written -----------------------------------------------------------------------------------


def test_persistent_buffers_are_written_and_others_are_not() -> None:
    model = poison(Named())
    DRAWN.apply(model, seed=7)
    assert memory(model.cache) == b"\xa5" * 8
    assert memory(model.seen) == array(drawn_tensor("seen", 2)).tobytes()


def drawn_tensor(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(initializers.RandomNormal(0.0, 1.0, seed=7)(shape, name=name))


def test_nothing_outside_of_a_parameter_is_touched() -> None:
    storage = poisoned(10, 20)
    layer = nn.Linear(5, 4)
    layer.weight = nn.Parameter(storage[3:7, 2:12:2])
    HE.apply(layer, seed=7)
    assert_same_tensors(layer.weight, drawn("weight", (4, 5), "o i"))
    rest = storage.clone()
    rest[3:7, 2:12:2] = poisoned(4, 5)
    assert memory(rest) == memory(poisoned(10, 20))


def test_no_global_generator_is_advanced() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.LSTM(3, 2), nn.MultiheadAttention(4, 2))
    with no_generator_advanced():
        DEFAULTS.apply(model)


def test_twice_is_once_and_grad_is_kept() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3)).requires_grad_(False)
    model[1].weight.requires_grad_(True)
    DEFAULTS.apply(model, seed=7)
    once = contents(model)
    DEFAULTS.apply(model, seed=7)
    assert contents(model) == once
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, False]
    DEFAULTS.apply(model, seed=8)
    assert contents(model) != once


def test_progress_counts_bytes() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.LSTM(3, 2), nn.BatchNorm1d(3))
    told: list[tuple[int, int]] = []
    DEFAULTS.apply(model, progress=lambda done, total: told.append((done, total)))
    total = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) == len(names_of(model))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_a_model_of_any_dtype_is_the_float32_model_rounded_once(dtype: torch.dtype) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 6), nn.GRU(6, 4), nn.MultiheadAttention(8, 2))

    single, other = model(), model().to(dtype)
    HE.apply(single, seed=7)
    HE.apply(other, seed=7)
    for found, expected in zip(other.parameters(), single.parameters(), strict=True):
        assert_same_tensors(found, expected.detach().to(dtype))


# Ties ----------------------------------------------------------------------------------------------


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=12, n_embd=16, n_layer=2, n_head=2))


def test_a_tied_head_is_written_once_under_the_first_name() -> None:
    model = gpt2()
    assert model.lm_head.weight is model.transformer.wte.weight
    told: list[int] = []
    DEFAULTS.apply(model, seed=7, progress=lambda done, total: told.append(done))
    names = names_of(model)
    assert "transformer.wte.weight" in names
    assert "lm_head.weight" not in names
    assert model.lm_head.weight is model.transformer.wte.weight
    assert_same_tensors(model.lm_head.weight, drawn_tensor("transformer.wte.weight", 40, 16))
    assert told[-1] == sum(parameter.nbytes for parameter in model.parameters())


def test_tensors_that_are_one_memory_are_written_once() -> None:
    model = nn.ModuleDict({"table": nn.Embedding(9, 4), "head": nn.Linear(4, 9, bias=False)})
    model["head"].weight = nn.Parameter(model["table"].weight.data)
    assert model["head"].weight is not model["table"].weight
    assert names_of(model) == ["table.weight"]
    DEFAULTS.apply(model, seed=7)
    assert_same_tensors(model["head"].weight, drawn_tensor("table.weight", 9, 4))


def test_the_padding_row_of_a_tied_table_is_zero_whichever_comes_first() -> None:
    for order in (("table", "head"), ("head", "table")):
        layers = {"table": nn.Embedding(9, 4, padding_idx=2), "head": nn.Linear(4, 9, bias=False)}
        model = nn.ModuleDict({name: layers[name] for name in order})
        layers["head"].weight = layers["table"].weight
        DRAWN.apply(model, seed=7)
        zero = (layers["table"].weight == 0).all(dim=1)
        assert zero.nonzero().flatten().tolist() == [2]


# Layouts and fans ----------------------------------------------------------------------------------

LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...], str | None, int]] = [
    (lambda: nn.Linear(20, 30), (30, 20), "o i", 20),
    (lambda: nn.Conv1d(8, 6, 5), (6, 8, 5), "o i *k", 40),
    (lambda: nn.Conv2d(8, 12, 3, groups=4), (12, 2, 3, 3), "o/4 i *k", 18),
    (lambda: nn.Conv2d(8, 16, 3, groups=8), (16, 1, 3, 3), "o/8 i *k", 9),
    (lambda: nn.Conv3d(4, 6, (3, 1, 2)), (6, 4, 3, 1, 2), "o i *k", 24),
    (lambda: nn.ConvTranspose1d(8, 6, 4), (8, 6, 4), "i o *k", 32),
    (lambda: nn.ConvTranspose2d(8, 12, 3, groups=2), (8, 6, 3, 3), "i/2 o *k", 36),
    (lambda: nn.ConvTranspose3d(4, 6, (3, 1, 2)), (4, 6, 3, 1, 2), "i o *k", 24),
    (lambda: nn.Bilinear(5, 6, 7), (7, 5, 6), "o i1 i2", 30),
]


@pytest.mark.parametrize(("make", "shape", "layout", "fan_in"), LAYERS)
def test_layouts_and_fans_are_those_of_the_layer(
    make: Callable[[], nn.Module], shape: tuple[int, ...], layout: str, fan_in: int
) -> None:
    layer = make()
    HE.apply(layer, seed=7)
    entries = {entry.name: entry for entry in HE.resolve(fanin.parameters(layer), seed=7)}
    weight = layer.get_parameter("weight")
    assert tuple(weight.shape) == shape
    assert_same_tensors(weight, drawn("weight", shape, layout))
    recipe: Any = entries["weight"].recipe
    assert recipe.distribution.stddev == pytest.approx(math.sqrt(2 / fan_in) / 0.87962566103423978, rel=1e-6)
    bounds = Plan([Rule("weight", "zeros"), Rule("bias", "constant(fan_in)")])
    bounds.apply(layer)
    assert set(layer.get_parameter("bias").tolist()) == {fan_in}


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(8, 12, 3, groups=4, bias=False),
        lambda: nn.Conv2d(8, 8, 3, groups=8, bias=False),
        lambda: nn.ConvTranspose2d(8, 12, 3, groups=2, bias=False),
        lambda: nn.ConvTranspose2d(8, 12, 3, bias=False),
        lambda: nn.Linear(8, 5, bias=False),
        lambda: nn.Bilinear(8, 8, 5, bias=False),
    ],
)
def test_fan_in_is_what_an_output_sums(make: Callable[[], Any]) -> None:
    """Measured: a layer of ones, given ones, returns how many inputs there are (where no edge cuts)."""
    layer = make()
    nn.init.ones_(layer.weight)
    spatial = layer.weight.dim() - 2 if "Conv" in type(layer).__name__ else 0
    inputs = [torch.ones(1, 8, *[12] * spatial)] * (2 if isinstance(layer, nn.Bilinear) else 1)
    summed = layer(*inputs)
    (parameter,) = arrays(layer)[0].parameters
    assert parameter.layout.fans(parameter.shape).fan_in == parameter.facts["fan_in"] == summed.max().item()


@pytest.mark.parametrize("make", [nn.Embedding, nn.EmbeddingBag])
def test_the_padding_row_is_zero_and_the_others_are_as_without(make: Callable[..., Any]) -> None:
    plain, padded, last = make(9, 4), poison(make(9, 4, padding_idx=3)), poison(make(9, 4, padding_idx=-1))
    for layer in (plain, padded, last):
        DEFAULTS.apply(layer, seed=7)
    assert_same_tensors(plain.weight, drawn_tensor("weight", 9, 4))
    for layer, row in ((padded, 3), (last, 8)):
        expected = plain.weight.detach().clone()
        expected[row] = 0.0
        assert_same_tensors(layer.weight, expected)


def test_more_rows_leave_those_there_are() -> None:
    small, large = nn.Embedding(9, 4), nn.Embedding(12, 4)
    for layer in (small, large):
        DEFAULTS.apply(layer, seed=7)
    assert_same_tensors(large.weight[:9], small.weight)


def test_the_conv1d_of_transformers_is_a_dense_layer_stored_the_other_way() -> None:
    from transformers.pytorch_utils import Conv1D

    theirs, linear = nn.ModuleDict({"a": Conv1D(6, 4)}), nn.ModuleDict({"a": nn.Linear(4, 6)})
    HE.apply(theirs, seed=7)
    HE.apply(linear, seed=7)
    assert_same_tensors(theirs["a"].weight, linear["a"].weight.T)
    assert [found.role for each in arrays(theirs) for found in each.parameters] == ["dense.kernel", "dense.bias"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LayerNorm((3, 4)), lambda: nn.GroupNorm(2, 4), lambda: nn.RMSNorm(4), lambda: nn.BatchNorm2d(4),
        lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True), lambda: nn.SyncBatchNorm(4),
    ],
)  # fmt: skip
def test_norms_get_ones_and_zeros(make: Callable[[], nn.Module]) -> None:
    layer = poison(make())
    DEFAULTS.apply(layer, seed=7)
    for found, expected in zip(layer.state_dict().values(), make().state_dict().values(), strict=True):
        assert torch.equal(found, expected)


# Attention -----------------------------------------------------------------------------------------


def test_packed_and_separate_attention_hold_the_same_numbers_of_the_right_scale() -> None:
    width = 512
    packed, separate = nn.MultiheadAttention(width, 8), nn.MultiheadAttention(width, 8)
    separate._qkv_same_embed_dim = False
    separate.in_proj_weight = None
    for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
        separate.register_parameter(name, nn.Parameter(poisoned(width, width)))
    plan = Plan([Rule(role="*.kernel", initializer="glorot_uniform"), Rule("*", "zeros")])
    plan.apply(packed, seed=7)
    plan.apply(separate, seed=7)
    parts = packed.in_proj_weight.detach().chunk(3)
    for part, name in zip(parts, ("q_proj_weight", "k_proj_weight", "v_proj_weight"), strict=True):
        assert_same_tensors(part, separate.get_parameter(name))
        assert float(part.std()) == pytest.approx(math.sqrt(2 / (2 * width)), rel=0.02)
        assert part.abs().max().item() <= np.float32(math.sqrt(6 / (2 * width)))
    assert not torch.equal(parts[0], parts[1])
    # torch itself: the same layer, initialized by two different deviations.
    assert nn.MultiheadAttention(width, 8).in_proj_weight.std().item() == pytest.approx(0.0312, rel=0.02)
    inputs = torch.randn(3, 2, width)
    assert torch.allclose(packed(inputs, inputs, inputs)[0], separate(inputs, inputs, inputs)[0], atol=1e-5)


def test_attention_of_other_widths_has_their_fans() -> None:
    layer = nn.MultiheadAttention(16, 2, kdim=8, vdim=24)
    HE.apply(layer, seed=7)
    for name, inputs in (("q_proj_weight", 16), ("k_proj_weight", 8), ("v_proj_weight", 24)):
        assert_same_tensors(layer.get_parameter(name), drawn(name, (16, inputs), "o i"))


def test_rules_mean_packed_weights_by_their_own_name_and_by_those_of_the_parts() -> None:
    layer = nn.MultiheadAttention(8, 2)
    by_part = Plan([Rule("v_proj_weight", "ones"), Rule("in_proj_weight", "constant(2)"), Rule("*", "zeros")])
    by_part.apply(layer)
    assert layer.in_proj_weight.chunk(3)[0].unique().tolist() == [2]
    assert layer.in_proj_weight.chunk(3)[1].unique().tolist() == [2]
    assert layer.in_proj_weight.chunk(3)[2].unique().tolist() == [1]
    DRAWN.apply(layer, seed=3, only="k_proj_weight")  # the array is one: all of it
    assert len(layer.in_proj_weight.unique()) == 192


# Recurrent layers ----------------------------------------------------------------------------------

RECURRENT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "LSTM": (lambda: nn.LSTM(5, 4, 2, bidirectional=True, proj_size=3), "ifgo"),
    "GRU": (lambda: nn.GRU(5, 4, 2, bidirectional=True), "rzn"),
    "LSTMCell": (lambda: nn.LSTMCell(5, 4), "ifgo"),
    "GRUCell": (lambda: nn.GRUCell(5, 4), "rzn"),
    "a subclass": (lambda: type("Mine", (nn.LSTM,), {})(5, 4), "ifgo"),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_gates_are_pieces_with_names_of_their_own(kind: str) -> None:
    make, gates = RECURRENT[kind]
    layer = nn.ModuleDict({"r": make()})
    HE.apply(layer, seed=7)
    checked = 0
    for name, tensor in layer.named_parameters():
        what, letters, *suffix = name.removeprefix("r.").split("_")
        if letters == "hr" and what == "weight" and gates == "ifgo":  # a projection is one piece
            assert torch.equal(tensor, torch.zeros_like(tensor))  # which the plan above gives zeros
            continue
        for gate, part in zip(gates, tensor.chunk(len(gates)), strict=True):
            called = "_".join([f"r.{what}", letters[0] + gate, *suffix])
            if what == "bias":
                assert torch.equal(part, torch.zeros_like(part))
            else:
                assert_same_tensors(part, drawn(called, tuple(part.shape), "o i"))
            checked += 1
    assert checked == len(gates) * {"LSTM": 16, "GRU": 16}.get(kind, 4)


@pytest.mark.parametrize("make", [lambda: nn.RNN(5, 4, 2), lambda: nn.RNNCell(5, 4)])
def test_a_plain_recurrent_layer_is_one_piece(make: Callable[[], nn.Module]) -> None:
    layer = make()
    HE.apply(layer, seed=7)
    for name, tensor in layer.named_parameters():
        if name.startswith("weight"):
            assert_same_tensors(tensor, drawn(name, tuple(tensor.shape), "o i"))


def test_facts_of_recurrent_layers_are_those_of_each_layer() -> None:
    layer = nn.LSTM(50, 8, 3, bidirectional=True, proj_size=3)
    Plan([Rule("*", "constant(fan_in + 1000 * gates + 10000 * units)")]).apply(layer)
    for name, tensor in layer.named_parameters():
        inputs = layer.get_parameter(name.replace("hh", "ih").replace("hr", "ih").replace("bias", "weight")).shape[1]
        assert inputs == (50 if "_l0" in name else 6)
        assert tensor.unique().tolist() == [inputs + 4000 + 80000]


def test_the_forget_gate_has_a_rule_of_its_own() -> None:
    layer = nn.LSTM(5, 4)
    Plan([Rule("bias_if_l{i}", "ones"), Rule("*", "zeros")]).apply(layer)
    assert layer.bias_ih_l0.tolist() == [0] * 4 + [1] * 4 + [0] * 8


# Bare parameters -----------------------------------------------------------------------------------


def test_a_bare_matrix_needs_a_layout_where_fans_count() -> None:
    model = nn.ParameterDict({"table": nn.Parameter(poisoned(3, 4)), "slope": nn.Parameter(poisoned(3))})
    before = contents(model)
    plan = Plan([Rule("*", "he_normal")])
    refused(
        lambda: plan.apply(model), PlanError, ValueError,
        "claims table, shape (3, 4), whose fans depend", 'layout = "o i *k"', "claims slope", 'layout = "i"',
    )  # fmt: skip
    assert contents(model) == before
    Plan([Rule("table", "he_normal", layout="i o"), Rule("slope", "he_normal", layout="i")]).apply(model, seed=7)
    assert_same_tensors(model["table"], drawn("table", (3, 4), "i o"))


def test_prelu_and_bare_vectors_are_written() -> None:
    model = nn.ModuleDict({"p": nn.PReLU(3), "q": nn.ParameterList([nn.Parameter(poisoned(4))])})
    Plan([Rule("q.{i}", "constant(i + 5)"), *DEFAULTS.rules]).apply(model)
    assert model["p"].weight.tolist() == [0.25] * 3
    assert model["q"][0].tolist() == [5] * 4


# One set of bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (lambda: nn.Linear(20, 30), "o i"),
        (lambda: nn.Conv2d(8, 12, 3, groups=4), "o/4 i *k"),
        (lambda: nn.ConvTranspose2d(8, 12, 3), "i o *k"),
        (lambda: nn.Embedding(20, 8), None),
    ],
)
@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_normal", "random_normal", "orthogonal"])
def test_every_door_gives_one_set_of_bits(make: Callable[[], nn.Module], layout: str | None, initializer: str) -> None:
    model = nn.ModuleDict({"layer": make()})
    fans_in_array_order = layout is None and initializer in ("glorot_uniform", "he_normal", "orthogonal")
    stated = "i o" if layout is None else layout  # which is array order, and says which fan is which
    rule = Rule("*.weight", initializer, layout=stated if fans_in_array_order else None)
    Plan([rule, Rule("*", "zeros", optional=True)]).apply(model, seed=7)
    weight = model["layer"].weight
    shape = tuple(weight.shape)
    by_function = fanin.torch.init_(poisoned(*shape), initializer, seed=7, name="layer.weight", layout=stated)
    assert_same_tensors(by_function, weight)
    cls: Any = type(initializers.get(initializer))
    assert_same_tensors(weight, cls(seed=7)(shape, name="layer.weight", layout=layout))


# Only ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "written"),
    [
        ("body.*", ["body.0.weight", "body.0.bias", "body.2.weight"]),
        (["scale", "body.{i}.weight"], ["scale", "body.0.weight", "body.2.weight"]),
        (lambda name, tensor: tensor.dim() == 2, ["module.weight", "body.0.weight", "body.2.weight"]),
        (lambda name, tensor: False, []),
        (None, NAMES),
    ],
)
def test_only_what_is_asked_for_is_written(only: Any, written: list[str]) -> None:
    model = poison(Named())
    before, everything = contents(model), poison(Named())
    DRAWN.apply(everything, seed=7)
    DRAWN.apply(model, seed=7, only=only)
    after, full = contents(model), contents(everything)
    for name in before:
        assert after[name] == (full[name] if name in written else before[name]), name


def test_a_pattern_of_only_that_means_nothing_is_told() -> None:
    model = poison(Named())
    before = contents(model)
    for only in ("bdy.0.weight", ["scale", "bdy.0.weight"]):
        refused(
            lambda only=only: DRAWN.apply(model, only=only),  # type: ignore[misc]
            PlanError, ValueError, "only='bdy.0.weight' means no array", "body.0.weight",
        )  # fmt: skip
    assert contents(model) == before


def test_what_is_not_written_needs_no_rules() -> None:
    model = poison(Named())
    before = contents(model)
    plan = Plan([Rule("scale", "ones")])
    refused(lambda: plan.apply(model), PlanError, ValueError, "no rule claims 6 of 7")
    refused(lambda: plan.apply(model, only=["scale", "body.0.*"]), PlanError, ValueError, "no rule claims 2 of 7")
    assert contents(model) == before
    plan.apply(model, only="scale")
    assert model.scale.detach().tolist() == [1.0] * model.scale.numel()
    assert {name for name, content in contents(model).items() if content != before[name]} == {"scale"}

    assert fanin.verify(model, plan, only="scale").ok
    assert fanin.diff(model, plan, only="scale")
    assert [each.name for each in fanin.explain(model, plan, only="scale").tensors] == ["scale"]
    assert [each.name for each in fanin.fingerprint(model, plan, only="scale").tensors] == ["scale"]
    for look in (fanin.verify, fanin.diff, fanin.explain, fanin.fingerprint):
        refused(lambda look=look: look(model, plan), PlanError, ValueError, "no rule claims 6 of 7")  # type: ignore[misc]


def test_rules_have_to_fit_whatever_is_written() -> None:
    model = poison(Named())
    before = contents(model)
    for rules, said in (
        ([Rule("scale", "ones"), Rule("bdy.*", "ones")], 'match "bdy.*", ones) matches no parameter'),
        ([Rule("scale", "ones"), Rule("body.*.weight", "ones", expect=3)], "but expects 3"),
        ([Rule("scale", "ones"), Rule("*.weight", "ones"), Rule("body.*", "ones")], "neither is more specific"),
    ):
        plan = Plan(rules)
        refused(lambda plan=plan: plan.apply(model, only="scale"), PlanError, ValueError, said)  # type: ignore[misc]
    assert contents(model) == before


def test_what_transformers_has_loaded_is_left(tmp_path: Any) -> None:
    """A real checkpoint without a head, loaded into a model with one."""
    from transformers import GPT2ForSequenceClassification, GPT2Model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = GPT2Model(gpt2().config)
        base.save_pretrained(tmp_path)
        model = GPT2ForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    before = contents(model)
    DEFAULTS.apply(model, seed=7, only=fanin.torch.missing)
    after = contents(model)
    assert {name for name in before if after[name] != before[name]} == {"score.weight"}
    assert model.score.weight.abs().max().item() <= 1 / math.sqrt(16)
    for name, tensor in base.named_parameters():
        assert_same_tensors(model.get_parameter(f"transformer.{name}"), tensor)


# Strictness ----------------------------------------------------------------------------------------


def unclaimed() -> tuple[nn.Module, Plan]:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    return model, Plan([Rule("0.*", "zeros"), Rule(["1.weight", "1.bias"], "ones")])


def idle() -> tuple[nn.Module, Plan]:
    return nn.Linear(4, 3), Plan([Rule(role="conv.kernel", initializer="ones"), Rule("*", "zeros")])


def without_facts() -> tuple[nn.Module, Plan]:
    return nn.PReLU(), Plan([Rule("*", "constant(fan_in)")])


def shaped() -> tuple[nn.Module, Plan]:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(8, 6))
    model[1].weight = nn.Parameter(poisoned(3, 8))
    return model, HE


def bias_shaped() -> tuple[nn.Module, Plan]:
    model = nn.Linear(8, 6)
    model.bias = nn.Parameter(poisoned(3))
    return model, DEFAULTS


def gate_shaped() -> tuple[nn.Module, Plan]:
    model = nn.LSTM(5, 4)
    model.weight_ih_l0 = nn.Parameter(poisoned(8, 5))
    return model, DEFAULTS


def empty() -> tuple[nn.Module, Plan]:
    model = nn.ParameterDict({"here": nn.Parameter(poisoned(3)), "gone": nn.Parameter(poisoned(0))})
    return model, DRAWN


def partitioned() -> tuple[nn.Module, Plan]:
    model = nn.Linear(4, 3)
    model.weight = nn.Parameter(poisoned(0))
    return model, HE


def lazy() -> tuple[nn.Module, Plan]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Linear(4, 3), nn.LazyLinear(3)), HE


def on_meta() -> tuple[nn.Module, Plan]:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3, device="meta")), HE


def expanded() -> tuple[nn.Module, Plan]:
    model = nn.Linear(4, 3)
    model.bias = nn.Parameter(poisoned(1).expand(3))
    return model, HE


def complex_valued() -> tuple[nn.Module, Plan]:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3, dtype=torch.complex64)), HE


def integers() -> tuple[nn.Module, Plan]:
    return nn.BatchNorm1d(3), DRAWN


def too_narrow() -> tuple[nn.Module, Plan]:
    return nn.Linear(4, 3, dtype=torch.float16), Plan([Rule("weight", "zeros"), Rule("bias", "random_normal(0, 2e4)")])


STRICT: dict[Callable[[], tuple[nn.Module, Plan]], tuple[Any, Any, list[str]]] = {
    unclaimed: (
        PlanError, ValueError,
        ["no rule claims 3 of 7 parameters", "1.running_mean, shape (3,), norm.mean of BatchNorm1d"],
    ),
    idle: (
        PlanError, ValueError,
        ['role "conv.kernel"', "matches no parameter", "The roles here are dense.bias, dense.kernel"],
    ),
    without_facts: (PlanError, ValueError, ["claims weight, shape (1,)", "unknown name 'fan_in'"]),
    shaped: (ShapeError, ValueError, ["weight' has shape (3, 8)", "arguments for (6, 8)", "shards="]),
    bias_shaped: (ShapeError, ValueError, ["'bias' has shape (3,)", "arguments for (6,)", "shards="]),
    gate_shaped: (ShapeError, ValueError, ["'weight_ih_l0' has shape (8, 5)", "arguments for (16, 5)"]),
    empty: (ShapeError, ValueError, ["'gone' has no elements", "shards="]),
    partitioned: (ShapeError, ValueError, ["'weight' has no elements", "gather it first"]),
    lazy: (OutputError, ValueError, ["'1.weight' of a lazy LazyLinear", "call the module once"]),
    on_meta: (OutputError, ValueError, ["'1.weight' is on the meta device", "fanin.torch.materialize(module, plan)"]),
    expanded: (OutputError, ValueError, ["'bias' is an expanded view"]),
    complex_valued: (DTypeError, TypeError, ["'1.weight'", "complex64"]),
    integers: (PlanError, ValueError, ["num_batches_tracked", "int64 cannot hold random values"]),
    too_narrow: (PlanError, ValueError, ["claims bias", "float16"]),
}  # fmt: skip


@pytest.mark.parametrize("make", STRICT, ids=lambda make: make.__name__)
def test_a_model_that_does_not_fit_is_told_and_left_as_it_is(make: Callable[[], tuple[nn.Module, Plan]]) -> None:
    error, builtin, fragments = STRICT[make]
    model, plan = make()
    everything = (*model.parameters(), *model.buffers())
    held = [tensor for tensor in everything if type(tensor) in (nn.Parameter, torch.Tensor) and not tensor.is_meta]
    before = [memory(tensor) for tensor in held]
    refused(lambda: plan.apply(model), error, builtin, *fragments)
    assert [memory(tensor) for tensor in held] == before


def test_what_is_no_module_is_told() -> None:
    for model in (None, nn.Linear, "model.pt", {"weight": None}):
        refused(lambda model=model: HE.apply(model), PlanError, ValueError, "torch.nn.Module")  # type: ignore[misc]


def test_a_module_that_changes_while_it_is_written_is_told() -> None:
    class Changing:
        def __init__(self, change: Callable[[nn.Module], None]) -> None:
            self.change = change

        def __call__(self, shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
            self.change(model)
            return np.zeros(shape)

    def replaced(model: Any) -> None:
        model[0].weight = nn.Parameter(poisoned(3, 4))

    def added(model: Any) -> None:
        model[0].more = nn.Parameter(poisoned(3))

    def removed(model: Any) -> None:
        del model[0].bias

    for change in (replaced, added, removed):
        model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        plan = Plan([Rule("1.bias", Changing(change)), Rule("*", "zeros")])
        refused(lambda: plan.apply(model), PlanError, ValueError, "replaced while they were written", "as it is now")  # noqa: B023


def test_a_model_without_parameters_has_nothing_to_fit() -> None:
    refused(lambda: DRAWN.apply(nn.ReLU()), PlanError, ValueError, "no parameters")


def test_rules_select_by_the_class_of_the_layer() -> None:
    class Mine(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(2, 2), nn.Conv1d(2, 2, 1), nn.Conv2d(2, 2, 1), Mine(2, 2))
    plan = Plan(
        [
            Rule(module="Conv?d", role="*.kernel", initializer="ones", expect=2),
            Rule("3.*", "constant(3)", module=["Mine", "Linear"], expect=2),
            Rule(module=["Conv1d", "Linear"], role="*.bias", initializer="constant(2)"),
            Rule(module="Linear", initializer="constant(2)", expect=1),
            Rule("*", "zeros", module="LSTM", optional=True),
            Rule(module="Conv2d", role="*.bias", initializer="constant(4)"),
        ]
    )
    plan.apply(model)
    found = [int(parameter.detach().mean()) for parameter in model.parameters()]
    assert found == [2, 2, 1, 2, 1, 4, 3, 3]


# Shards that are declared --------------------------------------------------------------------------


def test_declared_shards_are_parts_of_the_whole() -> None:
    whole = nn.Linear(8, 6)
    DEFAULTS.apply(whole, seed=7)
    part = nn.Linear(8, 6)
    part.weight, part.bias = nn.Parameter(poisoned(2, 8)), nn.Parameter(poisoned(2))
    shards = {"weight": ((6, 8), (3, 0)), "bias": fanin.torch.Shard((6,), (3,))}
    DEFAULTS.apply(part, seed=7, shards=shards)
    assert_same_tensors(part.weight, whole.weight[3:5])
    assert_same_tensors(part.bias, whole.bias[3:5])


def test_declared_shards_cut_packed_weights_gates_and_padding() -> None:
    for make, name, padding in [
        (lambda: nn.MultiheadAttention(8, 2), "in_proj_weight", None),
        (lambda: nn.LSTM(5, 4), "weight_ih_l0", None),
        (lambda: nn.Embedding(9, 4, padding_idx=6), "weight", 6),
    ]:
        whole: Any = make()
        DEFAULTS.apply(whole, seed=7)
        expected = whole.get_parameter(name)
        for start, stop in [(0, 3), (3, len(expected)), (7, 9), (5, 5)]:
            part = copy.deepcopy(whole)
            part.register_parameter(name, nn.Parameter(poisoned(stop - start, expected.shape[1])))
            DEFAULTS.apply(part, seed=7, shards={name: (tuple(expected.shape), (start, 0))})
            assert_same_tensors(part.get_parameter(name), expected[start:stop])
        assert padding is None or not expected[padding].any()


@pytest.mark.parametrize(
    ("shards", "error", "fragments"),
    [
        ({"weight": ((6, 8), (0, 0)), "wieght": ((6, 8), (0, 0))}, PlanError, ["'wieght'", "does not have"]),
        ({"weight": ((6, 8), (5, 0))}, ShapeError, ["'weight' has shape (2, 8)", "does not lie in (6, 8) at (5, 0)"]),
        ({"weight": ((6, 8), (0,))}, ShapeError, ["does not lie in"]),
        ({"weight": ((6, 8), (-1, 0))}, ShapeError, ["'weight'", "((6, 8), (-1, 0))"]),
        ({"weight": ((12, 9), (0, 0))}, ShapeError, ["(12, 9)", "arguments for (6, 8)"]),
        ({"weight": (6, 8)}, ShapeError, ["'weight'", "does not lie in"]),
        ({"weight": 3}, ShapeError, ["'weight'", "the shape of the whole"]),
    ],
)
def test_a_shard_that_does_not_fit_is_told(shards: Any, error: Any, fragments: list[str]) -> None:
    part = nn.Linear(8, 6, bias=False)
    part.weight = nn.Parameter(poisoned(2, 8))
    refused(lambda: HE.apply(part, shards=shards), error, ValueError, *fragments)
    assert memory(part.weight) == memory(poisoned(2, 8))


def test_six_standard_errors_are_narrow() -> None:
    assert std_error(poisoned(512, 512)) < 0.01


# Wrong plans ---------------------------------------------------------------------------------------

PATTERNS = [
    "*", "scale", "module.weight", "*.bias", "*.weight", "body.*", "body.{i}.weight", "body.0.*", "bdoy.*", "*.0.*",
]  # fmt: skip
rules = st.builds(
    lambda pattern, role, rank, expect: Rule(pattern, "random_normal", role=role, rank=rank, expect=expect),
    st.sampled_from(PATTERNS),
    st.sampled_from([None, None, "dense.*", "*.bias", "conv.*"]),
    st.sampled_from([None, None, 1, 2, [0, 1]]),
    st.sampled_from([None, None, 1, 2, 3]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(rules, max_size=5))
def test_a_wrong_plan_never_writes(given_rules: list[Rule]) -> None:
    """Whatever the rules are, all of a model is written, each tensor by the one most specific rule, or nothing is."""
    model = poison(Named())
    before = contents(model)
    parameters = fanin.parameters(model)
    plan = Plan(given_rules)
    meant = {
        parameter.name: [rule for rule in given_rules if rule.claims(parameter) is not None] for parameter in parameters
    }
    try:
        plan.apply(model, seed=7)
    except PlanError as error:
        assert contents(model) == before
        message = str(error)
        if any(not found for found in meant.values()):
            assert "no rule claims" in message
            assert next(name for name, found in meant.items() if not found) in message
        else:
            assert any(text in message for text in ("neither is more specific", "claims", "matches no parameter"))
        assert any(rule.selector in message for rule in given_rules) or not given_rules
        return
    after = contents(model)
    assert all(after[parameter.name] != before[parameter.name] for parameter in parameters)
    for entry in plan.resolve(parameters, seed=7):
        others = [rule for rule in meant[entry.name] if rule is not entry.rule]
        assert all(entry.rule.outranks(rule, entry.parameter) for rule in others)
        assert not any(rule.outranks(entry.rule, entry.parameter) for rule in others)
    for rule in given_rules:
        assert rule.expect in (None, sum(entry.rule is rule for entry in plan.resolve(parameters, seed=7)))
