"""Plans on modules of nnx and Equinox and on linen's variables: names, layouts and fans from the layers."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from harness import assert_same_bits
from torch_tensors import refused

import fanin
import fanin.jax
from fanin import Plan, Rule, initializers
from fanin.errors import ArgumentError, OutputError, PlanError

HE = Plan(
    [
        Rule(role=["*.kernel", "recurrent.recurrent_kernel", "lora.*"], initializer="he_normal", optional=True),
        Rule(role=["*.bias"], initializer="constant(fan_in)", optional=True),
        Rule("*", "random_normal(stddev=1)", optional=True),
    ]
)
DEFAULTS = fanin.defaults("flax")
KEY = jax.random.key(0)


def abstract(make: Callable[[nnx.Rngs], Any]) -> Any:
    """A module of nnx without values."""
    return nnx.eval_shape(lambda: make(nnx.Rngs(0)))


def shapes(module: linen.Module, *shape: int, dtype: str = "float32") -> Any:
    return fanin.jax.shapes(module, jax.ShapeDtypeStruct(shape, dtype))


def values(model: Any) -> dict[str, np.ndarray]:
    """The arrays of a model by the names that fanin gives them."""
    found = fanin.models.opened(model).arrays
    return {each.name: np.asarray(each.handle) for each in found}


def drawn(name: str, shape: tuple[int, ...], layout: str | None, initializer: str = "he_normal") -> np.ndarray:
    """What the one tensor of that name has to be, for seed 7."""
    made: Any = initializers.get(f"{initializer}(seed=7)")
    result: np.ndarray = made(shape, name=name, layout=layout)
    return result


# Layouts and fans ----------------------------------------------------------------------------------

Case = tuple[Callable[[], Any], str, tuple[int, ...], str | None, int]

NNX: dict[str, Case] = {
    "Linear": (lambda: abstract(lambda rngs: nnx.Linear(20, 30, rngs=rngs)), "kernel", (20, 30), "i o", 20),
    "LinearGeneral": (
        lambda: abstract(lambda rngs: nnx.LinearGeneral((4, 5), (6, 7), axis=(-2, -1), rngs=rngs)),
        "kernel", (4, 5, 6, 7), "i1 i2 o1 o2", 20,
    ),
    "LinearGeneral, batched": (
        lambda: abstract(lambda rngs: nnx.LinearGeneral(4, (6, 7), batch_axis={0: 3}, rngs=rngs)),
        "kernel", (3, 4, 6, 7), "b i o1 o2", 4,
    ),
    "Einsum": (
        lambda: abstract(lambda rngs: nnx.Einsum("ebd,edhk->ebhk", (2, 5, 3, 4), (3, 4), rngs=rngs)),
        "kernel", (2, 5, 3, 4), "b i o1 o2", 5,
    ),
    "Einsum, in another order than the data": (
        lambda: abstract(lambda rngs: nnx.Einsum("bthk, dkh -> btd", (5, 4, 3), None, rngs=rngs)),
        "kernel", (5, 4, 3), "o i2 i1", 12,
    ),
    "Conv": (lambda: abstract(lambda rngs: nnx.Conv(8, 12, (3, 2), rngs=rngs)), "kernel", (3, 2, 8, 12), "*k i o", 48),
    "Conv, grouped": (
        lambda: abstract(lambda rngs: nnx.Conv(8, 12, (3, 3), feature_group_count=4, rngs=rngs)),
        "kernel", (3, 3, 2, 12), "*k i o/4", 18,
    ),
    "ConvTranspose": (
        lambda: abstract(lambda rngs: nnx.ConvTranspose(8, 6, (4,), rngs=rngs)), "kernel", (4, 8, 6), "*~k i o", 32
    ),
    "ConvTranspose, swapped": (
        lambda: abstract(lambda rngs: nnx.ConvTranspose(8, 6, (4,), transpose_kernel=True, rngs=rngs)),
        "kernel", (4, 6, 8), "*k o i", 32,
    ),
    "LoRA": (lambda: abstract(lambda rngs: nnx.LoRA(8, 2, 6, rngs=rngs)), "lora_b", (2, 6), "i o", 2),
    "MultiHeadAttention": (
        lambda: abstract(lambda rngs: nnx.MultiHeadAttention(4, 12, 20, rngs=rngs)),
        "query.kernel", (12, 4, 5), "i o1 o2", 12,
    ),
    "MultiHeadAttention, out": (
        lambda: abstract(lambda rngs: nnx.MultiHeadAttention(4, 12, 20, rngs=rngs)),
        "out.kernel", (4, 5, 12), "i1 i2 o", 20,
    ),
    "vmap": (
        lambda: nnx.eval_shape(
            lambda: nnx.vmap(lambda key: nnx.Linear(20, 30, rngs=nnx.Rngs(key)))(jax.random.split(KEY, 3))
        ),
        "kernel", (3, 20, 30), "b i o", 20,
    ),
}  # fmt: skip
LINEN: dict[str, Case] = {
    "Dense": (lambda: shapes(linen.Dense(30), 2, 20), "params.kernel", (20, 30), "i o", 20),
    "DenseGeneral": (
        lambda: shapes(linen.DenseGeneral((6, 7), axis=(-2, -1), batch_dims=(0,)), 3, 2, 4, 5),
        "params.kernel", (3, 4, 5, 6, 7), "b i1 i2 o1 o2", 20,
    ),
    "Einsum": (
        lambda: shapes(linen.Einsum((4, 3, 5), "btd,hkd->bthk"), 1, 2, 5), "params.kernel", (4, 3, 5), "o1 o2 i", 5
    ),
    "Conv": (lambda: shapes(linen.Conv(12, (3, 2)), 1, 9, 9, 8), "params.kernel", (3, 2, 8, 12), "*k i o", 48),
    "Conv, grouped": (
        lambda: shapes(linen.Conv(12, (3, 3), feature_group_count=4), 1, 9, 9, 8),
        "params.kernel", (3, 3, 2, 12), "*k i o/4", 18,
    ),
    "ConvLocal": (
        lambda: shapes(linen.ConvLocal(12, (3,), padding="VALID"), 1, 9, 8), "params.kernel", (7, 24, 12), "b i o", 24
    ),
    "ConvTranspose": (
        lambda: shapes(linen.ConvTranspose(6, (4,)), 1, 9, 8), "params.kernel", (4, 8, 6), "*~k i o", 32
    ),
    "ConvTranspose, swapped": (
        lambda: shapes(linen.ConvTranspose(6, (4,), transpose_kernel=True), 1, 9, 8),
        "params.kernel", (4, 6, 8), "*k o i", 32,
    ),
    "MultiHeadDotProductAttention": (
        lambda: shapes(linen.MultiHeadDotProductAttention(4, qkv_features=20), 1, 3, 12),
        "params.key.kernel", (12, 4, 5), "i o1 o2", 12,
    ),
    "GRUCell": (
        lambda: fanin.jax.shapes(linen.GRUCell(5), jnp.ones((1, 5)), jnp.ones((1, 3))),
        "params.iz.kernel", (3, 5), "i o", 3,
    ),
    "vmap": (lambda: shapes(stack(0), 1, 20), "params.kernel", (3, 20, 30), "b i o", 20),
    "vmap on another axis": (lambda: shapes(stack(1), 1, 20), "params.kernel", (20, 3, 30), "i b o", 20),
    "remat": (lambda: shapes(linen.remat(linen.Dense)(30), 2, 20), "params.kernel", (20, 30), "i o", 20),
}  # fmt: skip
EQUINOX: dict[str, Case] = {
    "Linear": (lambda: eqx.nn.Linear(20, 30, key=KEY), "weight", (30, 20), "o i", 20),
    "Linear of scalars": (lambda: eqx.nn.Linear("scalar", "scalar", key=KEY), "weight", (1, 1), "o i", 1),
    "Conv2d": (lambda: eqx.nn.Conv2d(8, 12, 3, groups=4, key=KEY), "weight", (12, 2, 3, 3), "o/4 i *k", 18),
    "ConvTranspose1d": (
        lambda: eqx.nn.ConvTranspose1d(8, 12, 4, groups=2, key=KEY), "weight", (12, 4, 4), "o/2 i *~k", 16
    ),
    "MultiheadAttention": (
        lambda: eqx.nn.MultiheadAttention(4, 12, qk_size=5, key=KEY), "query_proj.weight", (20, 12), "o i", 12
    ),
    "LSTMCell": (lambda: eqx.nn.LSTMCell(3, 5, key=KEY), "weight_io", (5, 3), "o i", 3),
    "filter_vmap": (
        lambda: eqx.filter_vmap(lambda key: eqx.nn.Linear(20, 30, key=key))(jax.random.split(KEY, 3)),
        "weight", (3, 30, 20), "b o i", 20,
    ),
}  # fmt: skip
CASES = {
    f"{kind} {name}": case
    for kind, cases in (("nnx", NNX), ("linen", LINEN), ("equinox", EQUINOX))
    for name, case in cases.items()
}


def stack(axis: int) -> linen.Module:
    return linen.vmap(
        linen.Dense, in_axes=None, axis_size=3, variable_axes={"params": axis}, split_rngs={"params": True}
    )(30)


@pytest.mark.parametrize("name", CASES)
def test_layouts_and_fans_are_those_of_the_layer(name: str) -> None:
    make, tensor, shape, layout, fan_in = CASES[name]
    model = eqx.filter_eval_shape(make) if name.startswith("equinox") else make()
    parameters = {parameter.name: parameter for parameter in fanin.parameters(model)}
    own = parameters[tensor]
    assert own.shape == shape
    assert own.layout.fans(shape).fan_in == fan_in
    entries = {entry.name: entry for entry in HE.resolve(fanin.parameters(model), seed=7)}
    recipe: Any = entries[tensor].recipe
    assert recipe.distribution.stddev == pytest.approx(math.sqrt(2 / fan_in) / 0.87962566103423978, rel=1e-6)
    wanted = drawn(tensor, shape, layout)
    found = values(HE.apply(model, seed=7))
    array = found[own.array or tensor]
    where = ... if own.at is None else own.at.slices
    assert_same_bits(np.ascontiguousarray(array[where]), wanted)
    bias = tensor.rpartition(".")[0] + ".bias" if "." in tensor else "bias"
    if bias in found and "vmap" not in name:
        assert set(found[bias].ravel().tolist()) == {fan_in}


# Names ---------------------------------------------------------------------------------------------


class Block(nnx.Module):
    """Attributes not in alphabetical order."""

    def __init__(self, rngs: nnx.Rngs, *, more: bool = False) -> None:
        self.up = nnx.Linear(4, 6, rngs=rngs)
        if more:
            self.inserted = nnx.Linear(6, 6, rngs=rngs)
        self.down = nnx.Linear(6, 4, use_bias=False, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(11)])
        self.heads = nnx.Dict(z=nnx.Linear(4, 2, rngs=rngs), a=nnx.Param(jnp.ones(3)))
        self.act = nnx.relu
        self.free = nnx.Param(jnp.ones((2, 3)))


BLOCK = [
    "up.kernel", "up.bias", "down.kernel", *[f"layers.{n}.{key}" for n in range(11) for key in ("kernel", "bias")],
    "heads.z.kernel", "heads.z.bias", "heads.a", "free",
]  # fmt: skip


@pytest.mark.parametrize("make", [lambda: Block(nnx.Rngs(0)), lambda: abstract(Block)], ids=["real", "abstract"])
def test_an_nnx_module_is_listed_by_path_in_the_order_of_its_making(make: Callable[[], Block]) -> None:
    assert [parameter.name for parameter in fanin.parameters(make())] == BLOCK


def test_an_nnx_module_is_filled_in_place_and_an_abstract_one_becomes_real() -> None:
    real, shape = Block(nnx.Rngs(0)), abstract(Block)
    variable, key = real.up.kernel, real.drop.rngs.key[...]
    assert HE.apply(real, seed=7) is real
    assert HE.apply(shape, seed=7) is shape
    assert real.up.kernel is variable
    assert (jax.random.key_data(real.drop.rngs.key[...]) == jax.random.key_data(key)).all()
    assert int(real.drop.rngs.count[...]) == 0
    found, other = values(real), values(shape)
    assert list(found) == list(other) == BLOCK
    for name in BLOCK:
        assert_same_bits(found[name], other[name])
    assert_same_bits(found["up.kernel"], drawn("up.kernel", (4, 6), "i o"))
    nnx.reseed(shape, default=0)  # what is left: the keys of generators
    assert real.up(jnp.ones((1, 4))).shape == shape.up(jnp.ones((1, 4))).shape == (1, 6)
    assert nnx.jit(lambda block, x: block.drop(block.up(x)))(shape, jnp.ones((1, 4))).shape == (1, 6)


def test_a_layer_inserted_changes_no_other() -> None:
    few, many = HE.apply(abstract(Block), seed=7), HE.apply(abstract(lambda rngs: Block(rngs, more=True)), seed=7)
    found, other = values(few), values(many)
    assert len(other) == len(found) + 2
    for name, array in found.items():
        assert_same_bits(other[name], array)


class Held(nnx.Module):
    """Arrays in every place that nnx allows."""

    def __init__(self) -> None:
        self.plain = jnp.ones(3)
        self.host = np.ones(3, np.float32)
        self.listed = nnx.data([jnp.ones(2), nnx.Param(jnp.ones(2))])
        self.tree = nnx.Param({"z": jnp.ones(2), "a": [jnp.ones(2)]})
        self.cache = nnx.Cache(jnp.ones(2))
        self.fixed = nnx.static((1, 2))
        self.stat = nnx.BatchStat(jnp.ones(2))
        self.ref = nnx.Param(jnp.ones(2), ref=True)


def test_arrays_in_every_place_of_an_nnx_module() -> None:
    model = Held()
    host = model.host
    names = ["plain", "host", "listed.0", "listed.1", "tree.z", "tree.a.0", "stat", "ref"]
    assert [parameter.name for parameter in fanin.parameters(model)] == names
    assert HE.apply(model, seed=7) is model
    for name, array in values(model).items():
        assert_same_bits(array, initializers.RandomNormal(0.0, 1.0, seed=7)(array.shape, name=name))
    assert model.host is host
    assert model.cache[...].tolist() == [1.0, 1.0]
    assert model.fixed == (1, 2)
    assert nnx.state(model)["plain"].shape == (3,)  # still data
    assert "listed" in nnx.state(model)


class Tied(nnx.Module):
    """A table that is an output layer's kernel as well, and an object that leads back to it."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(9, 4, rngs=rngs)
        self.head = nnx.Linear(4, 9, use_bias=False, rngs=rngs)
        self.head.kernel = self.embed.embedding
        self.again = self.embed


@pytest.mark.parametrize("make", [lambda: Tied(nnx.Rngs(0)), lambda: abstract(Tied)], ids=["real", "abstract"])
def test_shared_variables_are_drawn_once_under_the_first_name(make: Callable[[], Tied]) -> None:
    model = make()
    assert [parameter.name for parameter in fanin.parameters(model)] == ["embed.embedding"]
    DEFAULTS.apply(model, seed=7)
    assert model.head.kernel is model.embed.embedding
    assert_same_bits(
        np.asarray(model.embed.embedding[...]),
        initializers.RandomNormal(0.0, 0.5, seed=7)((9, 4), name="embed.embedding"),
    )


class Stack(linen.Module):
    """Blocks that are scanned, a parameter of its own, and a name that sorts before the others."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        token = self.param("token", linen.initializers.ones, (4,))
        x = linen.Dense(4, name="z")(x + token)
        scanned = linen.scan(Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = scanned(name="steps")(x, None)
        x = linen.BatchNorm(use_running_average=True, name="norm")(x)
        return linen.Dense(2, kernel_init=linen.with_partitioning(linen.initializers.ones, (None, "model")), name="a")(
            x
        )


class Step(linen.Module):
    """One of the blocks."""

    @linen.compact
    def __call__(self, x: Any, _: Any) -> tuple[Any, None]:
        x = linen.Dropout(0.1, deterministic=True)(linen.Dense(4, name="inner")(x))
        return x, None


STACK = [
    "params.token", "params.z.kernel", "params.z.bias", "params.steps.inner.kernel", "params.steps.inner.bias",
    "batch_stats.norm.mean", "batch_stats.norm.var", "params.norm.scale", "params.norm.bias", "params.a.kernel",
    "params.a.bias",
]  # fmt: skip


def test_variables_of_linen_are_listed_by_path_in_the_order_of_their_making() -> None:
    ran: list[str] = []

    def init(key: Any, shape: Any, dtype: Any = None) -> Any:
        ran.append("traced")
        return jnp.ones(shape)

    model = shapes(Stack(), 1, 4)
    assert [parameter.name for parameter in fanin.parameters(model)] == STACK
    variables = Plan([Rule("params.token", "zeros"), *DEFAULTS.rules]).apply(model, seed=7)
    plain = Stack().init(jax.random.key(0), jnp.ones((1, 4)))
    assert jax.tree.structure(variables) == jax.tree.structure(plain)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, plain)
    assert isinstance(variables["params"]["a"]["kernel"], linen.Partitioned)
    assert Stack().apply(variables, jnp.ones((1, 4))).shape == (1, 2)
    kernel = np.asarray(variables["params"]["steps"]["inner"]["kernel"])
    assert_same_bits(kernel, drawn("params.steps.inner.kernel", (3, 4, 4), "b i o", "lecun_normal"))
    fanin.jax.shapes(linen.Dense(3, kernel_init=init), jnp.ones((1, 4)))
    assert ran == ["traced"]


def test_linens_own_variables_are_known_by_path_alone() -> None:
    module = linen.Dense(6)
    own = module.init(jax.random.key(0), jnp.ones((1, 4)))
    plan = Plan([Rule("*.bias", "zeros"), Rule("*.kernel", "he_normal", layout="i o")])
    made = plan.apply(own, seed=7)
    assert_same_bits(np.asarray(made["params"]["kernel"]), drawn("params.kernel", (4, 6), "i o"))
    alone = plan.apply(own["params"], seed=7, names=lambda name: f"params.{name}")
    assert_same_bits(np.asarray(alone["kernel"]), np.asarray(made["params"]["kernel"]))
    refused(lambda: HE.apply({"kernel": jnp.ones((3, 4))}, names=None) and DEFAULTS.apply(own), PlanError, ValueError)


def test_shapes_take_what_init_takes() -> None:
    class Model(linen.Module):
        def setup(self) -> None:
            self.layer = linen.Dense(4)
            self.drop = linen.Dropout(0.5)

        def encode(self, x: Any, *, train: bool) -> Any:
            assert train in (True, False)  # and no tracer
            return self.drop(self.layer(x), deterministic=not train)

    found = fanin.jax.shapes(
        Model(), jnp.ones((1, 3)), rngs={"params": KEY, "dropout": KEY}, method="encode", train=True
    )
    assert [parameter.name for parameter in fanin.parameters(found)] == ["params.layer.kernel", "params.layer.bias"]
    leaf = found["params"]["layer"]["kernel"]
    assert isinstance(leaf, jax.ShapeDtypeStruct)
    assert isinstance(jax.tree.map(lambda leaf: leaf, found)["params"]["layer"]["kernel"], type(leaf))
    assert type(leaf.update(dtype=jnp.bfloat16)) is type(leaf)
    assert jax.eval_shape(
        lambda variables: Model().apply(variables, jnp.ones((1, 3)), train=False, method="encode"), found
    ).shape == (1, 4)


def test_what_has_no_shapes_is_told() -> None:
    for module in (nnx.Linear(3, 4, rngs=nnx.Rngs(0)), linen.Dense, None):
        refused(
            lambda module=module: fanin.jax.shapes(module), ArgumentError, TypeError, "flax.linen.Module", "eval_shape"
        )  # type: ignore[misc]


# Gates ---------------------------------------------------------------------------------------------


def test_packed_and_separate_gates_hold_the_same_numbers() -> None:
    plan = Plan([Rule("*", "random_normal(stddev=0.5)")])
    packed, separate = (
        plan.apply(abstract(lambda rngs, cell=cell: cell(3, 5, rngs=rngs)), seed=7)
        for cell in (nnx.OptimizedLSTMCell, nnx.LSTMCell)
    )
    x, carry = jnp.ones((2, 3)), (jnp.ones((2, 5)), jnp.ones((2, 5)))
    np.testing.assert_allclose(packed(carry, x)[1], separate(carry, x)[1], rtol=1e-5)
    assert {p.name for p in fanin.parameters(packed)} == {p.name for p in fanin.parameters(separate)}
    variables = plan.apply(fanin.jax.shapes(linen.GRUCell(5), carry[0], x), seed=7)
    variables["params"]["hn"]["bias"] *= 0
    gru = plan.apply(abstract(lambda rngs: nnx.GRUCell(3, 5, rngs=rngs)), seed=7, names=lambda name: f"params.{name}")
    np.testing.assert_allclose(gru(carry[0], x)[1], linen.GRUCell(5).apply(variables, carry[0], x)[1], rtol=1e-5)


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
def test_gates_of_equinox_have_the_names_of_torch(kind: str) -> None:
    import torch

    plan = Plan([Rule("*", "random_normal(stddev=0.5)")])
    theirs = plan.apply(getattr(torch.nn, kind)(3, 5), seed=7)
    found = {p.name for p in fanin.parameters(theirs)}
    ours = plan.apply(getattr(eqx.nn, kind)(3, 5, key=KEY), seed=7)
    own = {p.name for p in fanin.parameters(ours)} - {"bias_n"}
    assert own <= found
    assert len(own) == (12 if kind == "LSTMCell" else 9)
    assert_same_bits(np.asarray(ours.weight_ih), theirs.weight_ih.detach().numpy())
    assert_same_bits(np.asarray(ours.bias), theirs.bias_ih.detach().numpy())


def test_forget_gates_begin_at_one_where_keras_says_so() -> None:
    keras = fanin.defaults("keras")
    lstm = keras.apply(abstract(lambda rngs: nnx.OptimizedLSTMCell(3, 2, rngs=rngs)))
    assert lstm.dense_h.bias[...].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    variables = keras.apply(shapes(linen.RNN(linen.LSTMCell(2)), 1, 4, 3))
    biases = {name: float(gate["bias"].sum()) for name, gate in variables["params"]["cell"].items() if "bias" in gate}
    assert biases == {"hi": 0.0, "hf": 2.0, "hg": 0.0, "ho": 0.0}
    ours = keras.apply(eqx.nn.LSTMCell(3, 2, key=KEY))
    assert ours.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


# Models --------------------------------------------------------------------------------------------


class Transformer(nnx.Module):
    """A layer of every kind."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.embed = nnx.Embed(50, 16, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 16, decode=False, normalize_qk=True, rngs=rngs)
        self.norm = nnx.LayerNorm(16, rngs=rngs)
        self.conv = nnx.Conv(16, 16, (3,), feature_group_count=16, rngs=rngs)
        self.batch = nnx.BatchNorm(16, use_running_average=True, rngs=rngs)
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(16, 16, rngs=rngs))
        self.act = nnx.PReLU()
        self.head = nnx.LoRALinear(16, 50, lora_rank=2, rngs=rngs)

    def __call__(self, tokens: Any) -> Any:
        x = self.embed(tokens)
        x = self.norm(x + self.attention(x))
        return self.head(self.act(self.rnn(self.batch(self.conv(x)), rngs=nnx.Rngs(0))))


class Variables(linen.Module):
    """The same in linen."""

    @linen.compact
    def __call__(self, tokens: Any) -> Any:
        x = linen.Embed(50, 16, name="embed")(tokens)
        x = linen.LayerNorm(name="norm")(x + linen.MultiHeadDotProductAttention(4, name="attention")(x))
        x = linen.Conv(16, (3,), feature_group_count=16, name="conv")(x)
        x = linen.BatchNorm(use_running_average=True, name="batch")(x)
        x = linen.RNN(linen.OptimizedLSTMCell(16), name="rnn")(x)
        return linen.Dense(50, name="head")(linen.PReLU(name="act")(x))


class Tower(eqx.Module):
    """A convolutional network in Equinox."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    mlp: eqx.nn.MLP
    act: Callable[..., Any]

    def __init__(self, key: Any) -> None:
        self.conv = eqx.nn.Conv2d(3, 8, 3, groups=1, key=key)
        self.norm = eqx.nn.BatchNorm(8, "batch", mode="batch")
        self.mlp = eqx.nn.MLP(8, 2, 16, 2, key=key)
        self.act = jax.nn.relu

    def __call__(self, x: Any, state: Any) -> Any:
        x, state = self.norm(self.conv(x), state)
        return self.mlp(self.act(x).mean((1, 2))), state


TOKENS = np.arange(6).reshape(1, 6)


@pytest.mark.parametrize("framework", ["flax", "torch", "keras"])
def test_defaults_of_every_framework_fit_models_of_jax(framework: str) -> None:
    plan = fanin.defaults(framework)
    tower, state = eqx.filter_eval_shape(eqx.nn.make_with_state(Tower), KEY)
    made = [
        plan.apply(model, seed=7) for model in (abstract(Transformer), fanin.jax.shapes(Variables(), TOKENS), tower)
    ]
    for model in made:
        assert all(isinstance(array.handle, jax.Array) for array in fanin.models.opened(model).arrays)
    if framework != "flax":
        return
    model, variables, tower = made
    state = Plan([Rule("*", "zeros")]).apply(state)
    outputs = {
        "nnx": model(TOKENS),
        "linen": jax.jit(Variables().apply)(variables, TOKENS),
        "equinox": jax.vmap(tower, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(
            jnp.ones((2, 3, 5, 5)), state
        )[0],
    }
    for name, y in outputs.items():
        assert bool(jnp.isfinite(y).all()), name
        assert float(jnp.std(y)) > 1e-4 or name == "equinox"
    names = fanin.names_like(abstract(Transformer), fanin.jax.shapes(Variables(), TOKENS), ignore=["*_ln.*", "*lora*"])
    assert names["params.OptimizedLSTMCell_0.if.kernel"] == "rnn.cell.if_.kernel"
    assert names["params.attention.key.bias"] == "attention.key.bias"


def test_the_defaults_of_flax_are_those_of_its_layers() -> None:
    """Mean and deviation within 6 standard errors; constants as they are."""
    own = Transformer(nnx.Rngs(0))
    expected, found = values(own), values(DEFAULTS.apply(abstract(Transformer), seed=7))
    assert list(found) == list(expected)
    compared = 0
    for name, array in expected.items():
        assert found[name].shape == array.shape
        if name == "rnn.cell.dense_h.kernel":  # nnx makes the matrix of all gates orthogonal, linen each, as here
            array = array * 2
        if np.ptp(array) == 0:
            assert np.array_equal(found[name], array), name
        else:
            assert found[name].std() == pytest.approx(array.std(), rel=6 / math.sqrt(array.size)), name
            compared += 1
    assert compared == 10


def test_a_train_state_and_its_optimizer() -> None:
    from flax.training.train_state import TrainState

    class Identity:
        """What an optimizer has to have."""

        def init(self, params: Any) -> Any:
            return jax.tree.map(jnp.zeros_like, params)

    model = linen.Dense(3)
    params = model.init(KEY, jnp.ones((1, 2)))["params"]
    state: Any = TrainState.create(apply_fn=model.apply, params=params, tx=Identity())  # type: ignore[arg-type]
    plan = Plan([Rule("opt_state.*", "zeros"), Rule("params.*", "random_normal(stddev=1)")])
    made = plan.apply(state, seed=7)
    assert isinstance(made, TrainState)
    assert_same_bits(
        np.asarray(made.params["kernel"]),
        initializers.RandomNormal(0.0, 1.0, seed=7)((2, 3), name="params.kernel"),
    )


def test_the_first_state_of_equinox_stays_until_it_is_abstract() -> None:
    norm = eqx.nn.BatchNorm(4, "batch", mode="batch")
    assert [p.role for p in fanin.parameters(norm)] == ["norm.scale", "norm.bias"]
    made = DRAW.apply(norm, seed=7)
    assert made.batch_state_index.init[1].tolist() == [1.0] * 4
    shape = eqx.filter_eval_shape(eqx.nn.BatchNorm, 4, "batch", mode="batch")
    roles = [p.role for p in fanin.parameters(shape)]
    assert sorted(roles) == ["norm.bias", "norm.count", "norm.mean", "norm.scale", "norm.variance"]
    assert DEFAULTS.apply(shape, seed=7).batch_state_index.init[1].tolist() == [1.0] * 4


DRAW = Plan([Rule("*", "random_normal(stddev=1)")])


# Bad input -----------------------------------------------------------------------------------------


def test_inside_of_a_program_an_nnx_module_is_left_as_it_is() -> None:
    def make() -> Any:
        return DEFAULTS.apply(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))

    refused(lambda: nnx.eval_shape(make), OutputError, ValueError, "'kernel'", "jit, vmap, eval_shape")
    refused(lambda: nnx.jit(make)(), OutputError, ValueError, "'kernel'")


def test_a_layer_whose_kernel_was_replaced_has_no_fans() -> None:
    layer = eqx.tree_at(lambda layer: layer.weight, eqx.nn.Linear(3, 4, key=KEY), jnp.ones((5, 7)))
    refused(lambda: HE.apply(layer) and DEFAULTS.apply(layer), PlanError, ValueError, "weight, shape (5, 7)")


def test_generators_of_an_abstract_module_begin() -> None:
    """So that it can run: keys that follow from their names, counts of 0. Those of a real one stay."""

    class Noisy(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.dense, self.dropout = nnx.Linear(8, 8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    models = [nnx.eval_shape(lambda: Noisy(nnx.Rngs(3))) for _ in range(2)]
    for model in models:
        fanin.defaults("flax").apply(model, seed=7)
    keys, counts = (nnx.state(models[0], kind) for kind in (nnx.RngKey, nnx.RngCount))
    assert [int(count) for count in jax.tree.leaves(counts)] == [0] * len(jax.tree.leaves(counts))
    for key, other in zip(jax.tree.leaves(keys), jax.tree.leaves(nnx.state(models[1], nnx.RngKey)), strict=True):
        assert (jax.random.key_data(key) == jax.random.key_data(other)).all()
    x = np.ones((64, 8), np.float32)
    dropped = [np.asarray(model.dropout(x)) for model in models]
    assert (dropped[0] == dropped[1]).all()
    assert set(np.unique(dropped[0])) == {0.0, 2.0}
    real = Noisy(nnx.Rngs(3))
    before = [jax.random.key_data(key) for key in jax.tree.leaves(nnx.state(real, nnx.RngKey))]
    fanin.defaults("flax").apply(real, seed=7)
    after = [jax.random.key_data(key) for key in jax.tree.leaves(nnx.state(real, nnx.RngKey))]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
