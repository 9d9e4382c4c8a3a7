"""A process with eight devices of the host: whole models, sharded in every way, have the bits of the whole.

Run by `test_jax_sharded`; prints how many arrays were compared.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from harness import assert_same_bits
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from torch_tensors import refused

import fanin
import fanin.jax
from fanin import Plan, Rule, engines
from fanin.errors import ArgumentError, PlanError, ShapeError

calls: list[str] = []
compared = 0


def ramp(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """What can only be computed whole."""
    calls.append("ramp")
    return np.arange(float(np.prod(shape))).reshape(shape)


PLAN = Plan(
    [
        Rule("*ramp", ramp, optional=True),
        Rule("*orthogonal", "orthogonal", layout="i o", optional=True),
        Rule("*identity", "identity", layout="i o", optional=True),
        Rule(["*.bias", "bias"], "zeros", optional=True),
        Rule("*", "random_normal(stddev=1)", optional=True),
    ]
)
SHAPES = {
    "w": jax.ShapeDtypeStruct((16, 24), "float32"),
    "block": {"kernel": jax.ShapeDtypeStruct((8, 8, 16), "bfloat16"), "bias": jax.ShapeDtypeStruct((16,), "float32")},
    "ramp": jax.ShapeDtypeStruct((8, 8), "float32"),
    "orthogonal": jax.ShapeDtypeStruct((16, 8), "float32"),
    "identity": jax.ShapeDtypeStruct((8, 16), "float32"),
}
WHOLE = PLAN.apply(SHAPES, seed=7)
assert all(len(leaf.sharding.device_set) == 1 and not leaf.committed for leaf in jax.tree.leaves(WHOLE))


def check(found: Any, whole: Any, sharding: Callable[[jax.Array], Any]) -> None:
    """Compare every array, and how it is split."""
    global compared
    leaves, wanted = jax.tree.leaves(found), jax.tree.leaves(whole)
    assert len(leaves) == len(wanted) > 0
    for leaf, expected in zip(leaves, wanted, strict=True):
        assert_same_bits(np.asarray(leaf), np.asarray(expected))
        meant = sharding(leaf)
        if meant is not None:
            assert leaf.sharding.is_equivalent_to(meant, leaf.ndim), (leaf.sharding, meant)
        compared += 1


meshes = {
    shape: jax.make_mesh(shape, ("a", "b"), axis_types=(AxisType.Auto,) * 2) for shape in ((8, 1), (4, 2), (1, 8))
}
mesh = meshes[4, 2]
SPECS: list[Callable[[int], P]] = [
    lambda rank: P("a"),
    lambda rank: P(*[None] * (rank - 1), "a"),
    lambda rank: P("a", *["b"] * (rank > 1)),
    lambda rank: P(*[None] * (rank - 1), ("a", "b")),
    lambda rank: P(),
]

# Every mesh and axis, by a function; on the host, and by programs as accelerators run them.
for each in meshes.values():
    for spec in SPECS:

        def chosen(name: str, shape: tuple[int, ...], spec: Any = spec, each: Any = each) -> NamedSharding:
            return NamedSharding(each, spec(len(shape)))

        check(
            fanin.jax.init_sharded(SHAPES, PLAN, chosen, 7),
            WHOLE,
            lambda leaf, chosen=chosen: chosen("", leaf.shape),  # type: ignore[misc]
        )
with fanin.use(engine="jax"):
    check(fanin.jax.init_sharded(SHAPES, PLAN, chosen, 7), WHOLE, lambda leaf: chosen("", leaf.shape))
    check(PLAN.apply(SHAPES, seed=7), WHOLE, lambda leaf: None)

# One for all, partitions of the mesh in context, and trees of them that hold for what is below.
one = NamedSharding(mesh, P("a"))
check(fanin.jax.init_sharded(SHAPES, PLAN, one, 7), WHOLE, lambda leaf: one)
with jax.set_mesh(mesh):
    check(fanin.jax.init_sharded(SHAPES, PLAN, P("a"), 7), WHOLE, lambda leaf: one)
    tree = {"w": P("b", "a"), "block": P("a"), "ramp": None, "orthogonal": P(), "identity": P("a", "b")}
    made = fanin.jax.init_sharded(SHAPES, PLAN, tree, 7)
check(made, WHOLE, lambda leaf: None)
assert made["w"].sharding.spec == P("b", "a")
assert made["block"]["bias"].sharding.spec == P("a")
assert not made["ramp"].committed
own = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one), SHAPES)
check(PLAN.apply(own, seed=7), WHOLE, lambda leaf: one)  # what shapes have
check(PLAN.apply(made, seed=7), WHOLE, lambda leaf: None)  # what arrays have
assert PLAN.apply(made, seed=7)["w"].sharding == made["w"].sharding
ensemble = {"w": SHAPES["w"], "block": SHAPES["block"]}
check(
    fanin.jax.init_sharded(ensemble, PLAN, one, 7, member=3), PLAN.apply(ensemble, seed=7, member=3), lambda leaf: one
)

# Each window is drawn once, nothing larger than a shard; what is whole is computed once.
asked: list[tuple[int, ...]] = []
fill = engines.fill


def recorded(recipe: Any, window: Any, view: Any) -> None:
    asked.append(tuple(view.shape))
    fill(recipe, window, view)


engines.fill = recorded
calls.clear()
fanin.jax.init_sharded({"w": SHAPES["w"]}, PLAN, NamedSharding(mesh, P("a", "b")), 7)
assert asked == [(4, 12)] * 8
asked.clear()
fanin.jax.init_sharded({"w": SHAPES["w"]}, PLAN, NamedSharding(mesh, P(None, "b")), 7)
assert asked == [(16, 12)] * 2, asked  # of eight devices, four each have the same
fanin.jax.init_sharded({"ramp": SHAPES["ramp"]}, PLAN, one, 7)
assert calls == ["ramp"]
engines.fill = fill


# Packed gates across shards, and modules.
def lstm(rngs: nnx.Rngs) -> nnx.Module:
    return nnx.OptimizedLSTMCell(8, 16, rngs=rngs)


whole = nnx.state(PLAN.apply(nnx.eval_shape(lambda: lstm(nnx.Rngs(0))), seed=7), nnx.Param)
for split in (P(None, "a"), P("a", "b"), P("b")):
    module = nnx.eval_shape(lambda: lstm(nnx.Rngs(0)))
    with jax.set_mesh(mesh):
        returned = fanin.jax.init_sharded(
            module, PLAN, lambda name, shape, split=split: split if len(shape) == 2 else P("a"), 7
        )
    assert returned is module
    check(
        nnx.state(module, nnx.Param),
        whole,
        lambda leaf, split=split: NamedSharding(mesh, split if leaf.ndim == 2 else P("a")),  # type: ignore[misc]
    )
graph, state = nnx.split(nnx.eval_shape(lambda: lstm(nnx.Rngs(0))))
shardings = nnx.get_named_sharding(state, mesh)
check(
    fanin.jax.init_sharded(state, Plan([Rule("*", "ones")]), shardings),
    jax.tree.map(jnp.ones_like, whole),
    lambda leaf: None,
)


# What nnx notes down, with a mesh in context, as nnx itself does it.
def noted(rngs: nnx.Rngs) -> nnx.Module:
    init = nnx.with_partitioning(nnx.initializers.ones, ("a", "b"))
    return nnx.Linear(8, 16, kernel_init=init, rngs=rngs)


def later(rngs: nnx.Rngs) -> nnx.Module:
    with nnx.use_eager_sharding(False):
        return noted(rngs)


alone: Any = PLAN.apply(nnx.Linear(8, 16, rngs=nnx.Rngs(0)), seed=7)
for types in (AxisType.Auto, AxisType.Explicit):
    context = jax.make_mesh((4, 2), ("a", "b"), axis_types=(types,) * 2)
    meant = NamedSharding(context, P("a", "b"))
    with jax.set_mesh(context):
        traced: Any = nnx.eval_shape(lambda: noted(nnx.Rngs(0)))
        for model in (traced, noted(nnx.Rngs(0)), later(nnx.Rngs(0)), nnx.eval_shape(lambda: later(nnx.Rngs(0)))):
            PLAN.apply(model, seed=7)
            check(model.kernel[...], alone.kernel[...], lambda leaf, meant=meant: meant)  # type: ignore[misc]
        traced = nnx.eval_shape(lambda: noted(nnx.Rngs(0)))
    refused(
        lambda traced=traced: PLAN.apply(traced),
        ArgumentError,
        ValueError,
        "'kernel': the sharding",
        "jax.set_mesh(mesh)",
    )
real = later(nnx.Rngs(0))
check(PLAN.apply(real, seed=7).kernel[...], alone.kernel[...], lambda leaf: None)
assert len(real.kernel[...].sharding.device_set) == 1
rules = nnx.Linear(
    8, 16, rngs=nnx.Rngs(0), kernel_metadata={
        "out_sharding": ("embed", "mlp"), "sharding_rules": (("embed", "a"), ("mlp", "b")), "eager_sharding": False
    },
)  # fmt: skip
with jax.set_mesh(mesh):
    check(PLAN.apply(rules, seed=7).kernel[...], alone.kernel[...], lambda leaf: NamedSharding(mesh, P("a", "b")))

# Boxes of linen, by mesh axes and by logical ones.
for init, extra in (
    (linen.with_partitioning(linen.initializers.ones, ("a", "b")), ()),
    (linen.with_logical_partitioning(linen.initializers.ones, ("x", "y")), (("x", "a"), ("y", "b"))),
):
    variables = fanin.jax.shapes(linen.Dense(16, kernel_init=init), jnp.ones((1, 8)))
    kernel = variables["params"]["kernel"]
    with jax.set_mesh(mesh), linen.logical_axis_rules(extra):
        made = PLAN.apply(variables, seed=7)["params"]["kernel"]
    assert type(made) is type(kernel)
    named = PLAN.apply({"params": {"kernel": made.value}}, seed=7)  # in array order, as this layout is
    check(made.value, named["params"]["kernel"], lambda leaf: NamedSharding(mesh, P("a", "b")))
    with jax.set_mesh(mesh):
        made = fanin.jax.init_sharded(variables, PLAN, linen.get_sharding(variables, mesh) if not extra else P("a"), 7)[
            "params"
        ]
    check(made["kernel"].value, named["params"]["kernel"], lambda leaf: None)
    assert made["kernel"].value.sharding.spec == (P("a") if extra else P("a", "b"))
assert not PLAN.apply(variables, seed=7)["params"]["kernel"].value.committed

# Equinox.
tower = eqx.filter_eval_shape(eqx.nn.MLP, 8, 16, 8, 1, key=jax.random.key(0))
expected = eqx.filter(PLAN.apply(tower, seed=7), eqx.is_array)
check(eqx.filter(fanin.jax.init_sharded(tower, PLAN, one, 7), eqx.is_array), expected, lambda leaf: one)

# What does not fit is told before anything is drawn.
engines.fill = recorded
asked.clear()
refused(
    lambda: fanin.jax.init_sharded({"b": {"w": jax.ShapeDtypeStruct((6, 4), "float32")}}, PLAN, one),
    ShapeError, ValueError, "'b.w': the sharding", "does not fit the shape (6, 4)",
)  # fmt: skip
refused(
    lambda: fanin.jax.init_sharded({"w": jax.ShapeDtypeStruct((), "float32")}, PLAN, one),
    ShapeError, ValueError, "'w': the sharding", "does not fit the shape ()",
)  # fmt: skip
refused(
    lambda: fanin.jax.init_sharded({"w": jnp.ones(8)}, PLAN, NamedSharding(mesh, P("a", "b"))),
    ShapeError, ValueError, "'w': the sharding", "does not fit the shape (8,): it is of more axes",
)  # fmt: skip
refused(lambda: fanin.jax.init_sharded(SHAPES, PLAN, "a"), ArgumentError, TypeError, "'w': the sharding must be")
refused(lambda: fanin.jax.init_sharded(SHAPES, PLAN, lambda name, shape: 3), ArgumentError, TypeError, "not 3")
refused(lambda: fanin.jax.init_sharded(SHAPES, PLAN, P("a")), ArgumentError, ValueError, "needs a mesh")
with jax.set_mesh(mesh):
    refused(lambda: fanin.jax.init_sharded(SHAPES, PLAN, P("c")), ArgumentError, ValueError, "'w'", "mesh in context")
refused(
    lambda: fanin.jax.init_sharded(SHAPES, PLAN, {"w": one}),
    PlanError, ValueError, "nothing for 'block.kernel'", "it has 'w'",
)  # fmt: skip
refused(
    lambda: fanin.jax.init_sharded(SHAPES, PLAN, {"w": {"x": one}, "block": one}),
    PlanError, ValueError, "nothing for 'w'", "below 'w' it has 'x'",
)  # fmt: skip
refused(lambda: fanin.jax.init_sharded({}, PLAN, one), PlanError, ValueError, "a tree of jax.ShapeDtypeStruct")
assert not asked
print("compared", compared)
