"""Plans on trees of arrays: names by path, what is written in place, what is made anew, what stays."""

import dataclasses
import math
import subprocess
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.core
import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from harness import assert_same_bits
from torch_tensors import array, no_generator_advanced, refused

import fanin
from fanin import Plan, Rule, initializers
from fanin.errors import DTypeError, LogicalNameError, OutputError, PlanError, ShapeError

DRAWN = Plan([Rule("*", "random_normal(stddev=1)")])


def drawn(name: str, shape: tuple[int, ...], dtype: str = "float32", layout: Any = None) -> np.ndarray:
    return initializers.RandomNormal(0.0, 1.0, seed=7)(shape, dtype, name=name, layout=layout)


def poisoned(*shape: int, dtype: str = "float32") -> np.ndarray:
    """An array whose bytes are all 0xA5, so that what was never written shows."""
    kind = np.dtype(dtype)
    return np.full(math.prod(shape) * kind.itemsize, 0xA5, np.uint8).view(kind).reshape(shape)


class Point(NamedTuple):
    """A node with names."""

    x: Any
    y: Any


@dataclasses.dataclass(frozen=True)
class Plain:
    """A dataclass that JAX does not know."""

    w: Any
    width: int


@flax.struct.dataclass
class Struct:
    """A dataclass that JAX knows."""

    w: Any
    name: str = flax.struct.field(pytree_node=False)


@jax.tree_util.register_pytree_node_class
class Custom:
    """A node without keys."""

    def __init__(self, *children: Any) -> None:
        self.children = children

    def tree_flatten(self) -> Any:
        return self.children, None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Custom":
        return cls(*children)


def perceptron(make: Callable[..., Any]) -> Any:
    arrays = eqx.filter(eqx.nn.MLP(2, 3, 4, 0, key=jax.random.key(0)), eqx.is_array)
    return jax.tree.map(lambda leaf: make(*leaf.shape), arrays)


def leaves(make: Callable[..., Any]) -> dict[str, tuple[Any, list[str]]]:
    """Trees of every kind, of leaves that are made by a function of a shape, and the names of their arrays in order."""
    w = lambda: make(2, 3)  # noqa: E731 - short, as it is in every line
    return {
        "dict": ({"z": w(), "a": {"k": w()}, "n": None, "s": 3, "f": len}, ["z", "a.k"]),
        "list": ([w(), (w(), 1.0), []], ["0", "1.0"]),
        "eleven": ([w() for _ in range(11)], [str(n) for n in range(11)]),
        "names that escape": ({"a.b": {"c/d": w()}, "e\\": w()}, ["a\\.b.c\\/d", "e\\\\"]),
        "keys that are integers": ({3: w(), 0: {10: w()}}, ["3", "0.10"]),
        "flattened": (flax.traverse_util.flatten_dict({"b": {"k": w()}, "a": w()}), ["b.k", "a"]),
        "ordered": (OrderedDict([("z", w()), ("a", w())]), ["z", "a"]),
        "default": (defaultdict(list, {"z": [w()]}), ["z.0"]),
        "frozen": (flax.core.freeze({"z": {"k": w()}, "a": w()}), ["z.k", "a"]),
        "tuple with names": (Point(w(), {"k": w()}), ["x", "y.k"]),
        "dataclass": (Plain(w(), 3), ["w"]),
        "dataclass of Flax": (Struct(w(), "it"), ["w"]),
        "class of one's own": ({"c": Custom(w(), w())}, ["c.0", "c.1"]),
        "box of linen": ({"k": linen.Partitioned(w(), (None, "a"))}, ["k"]),
        "module of Equinox": (perceptron(make), ["layers.0.weight", "layers.0.bias"]),
        "state of nnx": (nnx.State({"b": {"k": nnx.Param(w())}, "a": w()}), ["a", "b.k"]),
    }  # fmt: skip


MAKERS: dict[str, Callable[..., Any]] = {
    "numpy": poisoned,
    "jax": lambda *shape: jnp.full(shape, -1.0),
    "shapes": lambda *shape: jax.ShapeDtypeStruct(shape, "float32"),
}
CASES = [(kind, tree) for kind in MAKERS for tree in leaves(poisoned)]


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[f"{case} of {kind}" for kind, case in CASES])
def test_names_are_paths_and_arrays_are_those_of_their_names(kind: str, case: str) -> None:
    tree, names = leaves(MAKERS[kind])[case]
    listed = fanin.parameters(tree)
    assert [parameter.name for parameter in listed] == names
    before = jax.tree.leaves(tree)
    made = DRAWN.apply(tree, seed=7)
    assert type(made) is type(tree)
    assert jax.tree.structure(made) == jax.tree.structure(tree)
    by_name = {}
    fanin.models.trees.traverse(made, lambda trail, leaf: by_name.setdefault(fanin.models.trees.name_of(trail), leaf))
    for parameter in listed:
        found = by_name[parameter.name]
        assert_same_bits(np.asarray(found), drawn(parameter.name, parameter.shape, layout=parameter.layout))
    if kind == "numpy":
        assert made is tree
        assert [id(leaf) for leaf in jax.tree.leaves(made)] == [id(leaf) for leaf in before]
    elif kind == "jax":
        after = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
        assert all((leaf == -1.0).all() for leaf in after)


def test_what_is_no_array_stays() -> None:
    key, raw = jax.random.key(3), np.float32(2.5)
    tree = {"w": jnp.ones(3), "key": key, "lr": 0.1, "step": 3, "none": None, "text": "x", "scalar": raw, "f": len}
    made = DRAWN.apply(tree, seed=7)
    assert made is not tree
    assert {name for name in tree if made[name] is not tree[name]} == {"w"}


def test_a_tree_of_no_change_is_returned_as_it_is() -> None:
    inner = {"k": poisoned(2)}
    tree = {"a": inner, "b": [jnp.ones(3)]}
    made = DRAWN.apply(tree, seed=7)
    assert made is not tree
    assert made["a"] is inner
    assert_same_bits(inner["k"], drawn("a.k", (2,)))


def test_only_says_which_are_made() -> None:
    tree = {"a": jax.ShapeDtypeStruct((3,), "float32"), "b": jax.ShapeDtypeStruct((3,), "float32")}
    made = DRAWN.apply(tree, seed=7, only="a")
    assert isinstance(made["a"], jax.Array)
    assert made["b"] is tree["b"]
    made = DRAWN.apply(tree, seed=7, only=lambda name, leaf: leaf is tree["b"])
    assert made["a"] is tree["a"]


def test_another_leaf_changes_none_that_is_there() -> None:
    few = {"a": {"k": jnp.ones(3)}, "c": [jnp.ones(4)]}
    many = {"0": jnp.ones(2), "a": {"b": jnp.ones(1), "k": jnp.ones(3)}, "c": [jnp.ones(4), jnp.ones(4)]}
    one, other = DRAWN.apply(few, seed=7), DRAWN.apply(many, seed=7)
    assert_same_bits(np.asarray(one["a"]["k"]), np.asarray(other["a"]["k"]))
    assert_same_bits(np.asarray(one["c"][0]), np.asarray(other["c"][0]))
    assert one["c"][0].tolist() != other["c"][1].tolist()


def test_names_of_other_models() -> None:
    made = DRAWN.apply({"w": jnp.ones(3)}, seed=7, names={"w": "encoder.weight"})
    assert_same_bits(np.asarray(made["w"]), drawn("encoder.weight", (3,)))
    state = torch.nn.Linear(3, 2).state_dict()
    Plan(
        [
            Rule("*", "he_normal", layout="o i"),
        ]
    ).apply({"weight": state["weight"]}, seed=7)
    assert_same_bits(array(state["weight"]), initializers.HeNormal(seed=7)((2, 3), name="weight", layout="o i"))


def test_tensors_of_a_state_dict_are_written_in_place() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    state = module.state_dict()
    plan = Plan([Rule("*.num_batches_tracked", "zeros"), *DRAWN.rules])
    assert plan.apply(state, seed=7, names=lambda name: name.replace("\\", "")) is state
    found = array(module[0].weight)
    plan.apply(module, seed=7)
    assert found.shape == (2, 3)
    assert_same_bits(array(module[0].bias), drawn("0.bias", (2,)))
    refused(lambda: DRAWN.apply({"w": torch.empty(3, device="meta")}), OutputError, ValueError, "'w' is on the meta")


def test_memory_in_two_places_is_written_once() -> None:
    table = poisoned(4, 3)
    tree = {"embed": table, "head": table, "view": table[:]}
    assert [parameter.name for parameter in fanin.parameters(tree)] == ["embed"]
    DRAWN.apply(tree, seed=7)
    assert_same_bits(table, drawn("embed", (4, 3)))
    shared = jnp.ones(3)  # of JAX, which is a value
    made = DRAWN.apply({"a": shared, "b": shared}, seed=7)
    assert_same_bits(np.asarray(made["b"]), drawn("b", (3,)))


def test_arrays_of_any_strides_rank_and_dtype() -> None:
    base = poisoned(6, 8)
    tree = {
        "t": base[:3, 1::2].T, "scalar": poisoned(), "none": poisoned(0, 3), "half": poisoned(5, dtype="float16"),
        "wide": poisoned(5, dtype="float64"),
    }  # fmt: skip
    DRAWN.apply(tree, seed=7)
    for name, leaf in tree.items():
        assert_same_bits(np.ascontiguousarray(leaf).reshape(leaf.shape), drawn(name, leaf.shape, leaf.dtype.name))
    assert (base[3:].view(np.uint8) == 0xA5).all()
    assert (np.ascontiguousarray(base[:, ::2]).view(np.uint8) == 0xA5).all()
    made = DRAWN.apply({"h": jnp.ones(5, jnp.bfloat16), "s": jax.ShapeDtypeStruct((), jnp.float16)}, seed=7)
    assert_same_bits(np.asarray(made["h"]), drawn("h", (5,), "bfloat16"))
    assert_same_bits(np.asarray(made["s"]), drawn("s", (), "float16"))


def test_dtypes_are_those_that_jax_has() -> None:
    wide = {"w": jax.ShapeDtypeStruct((3,), np.float64)}
    assert DRAWN.apply(wide, seed=7)["w"].dtype == jnp.float32
    with jax.enable_x64(True):
        made = DRAWN.apply(wide, seed=7)["w"]
        assert_same_bits(np.asarray(made), drawn("w", (3,), "float64"))
    counts = Plan([Rule("*", "zeros")]).apply({"step": jnp.array(7), "mask": jnp.array([True])})
    assert (int(counts["step"]), bool(counts["mask"][0])) == (0, False)
    assert counts["step"].dtype == jnp.int32


def test_no_global_generator_is_advanced() -> None:
    with no_generator_advanced():
        DRAWN.apply({"a": poisoned(3), "b": jnp.ones(3)}, seed=7)


def test_numpy_alone_is_enough() -> None:
    """In a process in which no framework is there to be imported."""
    code = """
import sys
for name in ("jax", "flax", "torch", "equinox", "keras"):
    sys.modules[name] = None
import numpy as np
import fanin
tree = {"z": np.empty((2, 3), "float32"), "a": [np.empty(3), (np.empty(2),)]}
plan = fanin.Plan([fanin.Rule("*", "random_normal(stddev=1)")])
assert plan.apply(tree, seed=7) is tree
assert np.array_equal(tree["z"], fanin.initializers.RandomNormal(0.0, 1.0, seed=7)((2, 3), name="z"))
print(*[parameter.name for parameter in fanin.parameters(tree)])
"""
    code = code.replace(
        "sys.modules[name] = None", "sys.modules.pop(name, None)\n    sys.meta_path.insert(0, Blocked())"
    )
    code = (
        "class Blocked:\n    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('jax', 'flax', 'torch', 'equinox', 'keras'):\n"
        "            raise ImportError(name)\n" + code
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["z", "a.0", "a.1.0"]


# Bad input -----------------------------------------------------------------------------------------


def read_only() -> np.ndarray:
    made = poisoned(3)
    made.flags.writeable = False
    return made


@pytest.mark.parametrize(
    ("make", "error", "builtin", "fragments"),
    [
        (dict, PlanError, ValueError, ["no arrays in this dict", "flax.nnx.Module", "torch.nn.Module"]),
        (lambda: None, PlanError, ValueError, ["this NoneType"]),
        (lambda: linen.Dense(3), PlanError, ValueError, ["linen module Dense", "fanin.jax.shapes(module, x)"]),
        (lambda: poisoned(3), PlanError, ValueError, ["a bare array has no name", "{'kernel': array}"]),
        (lambda: jnp.ones(3), PlanError, ValueError, ["a bare array has no name"]),
        (lambda: nnx.Param(jnp.ones(3)), PlanError, ValueError, ["a bare array has no name"]),
        (lambda: {"": poisoned(3)}, LogicalNameError, ValueError, ["empty component"]),
        (lambda: {"0": poisoned(3), 0: poisoned(2)}, PlanError, ValueError, ["two arrays are called '0'"]),
        (lambda: {"a": read_only()}, OutputError, ValueError, ["'a'", "read-only"]),
        (lambda: {"a": np.broadcast_to(poisoned(1), (3,))}, OutputError, ValueError, ["'a'"]),
        (lambda: {"a": {"b": poisoned(3, dtype="complex64")}}, DTypeError, TypeError, ["'a.b'", "complex64"]),
        (lambda: {"a": np.array(["x"])}, DTypeError, TypeError, ["'a'"]),
        (lambda: {"a": poisoned(3, dtype=">f4")}, DTypeError, TypeError, ["'a'", "byte order"]),
        (lambda: {"a": jax.ShapeDtypeStruct((3,), "int4")}, DTypeError, TypeError, ["'a'", "int4"]),
        (lambda: {"a": jax.ShapeDtypeStruct((-3,), "float32")}, ShapeError, ValueError, ["'a'", "non-negative"]),
    ],
)
def test_what_cannot_be_written_is_told(
    make: Callable[[], Any], error: type[Any], builtin: type[Exception], fragments: list[str]
) -> None:
    refused(lambda: DRAWN.apply(make()), error, builtin, *fragments)


def test_nothing_is_written_where_something_cannot_be() -> None:
    tree = {"a": poisoned(3), "b": read_only()}
    refused(lambda: DRAWN.apply(tree), OutputError, ValueError, "'b'")
    assert (tree["a"].view(np.uint8) == 0xA5).all()


def test_shards_are_of_torch() -> None:
    shards = {"a": ((6,), (0,))}
    refused(lambda: DRAWN.apply({"a": poisoned(3)}, shards=shards), PlanError, ValueError, "shards=", "torch.nn.Module")


def test_inside_of_a_program_a_plan_is_told_to_be_outside() -> None:
    def of_traced(w: jax.Array) -> Any:
        return DRAWN.apply({"w": w})

    def of_shapes() -> Any:
        return DRAWN.apply({"w": jax.ShapeDtypeStruct((3,), "float32")})

    for program in (lambda: jax.jit(of_traced)(jnp.ones(3)), jax.jit(of_shapes), lambda: jax.eval_shape(of_shapes)):
        refused(program, OutputError, ValueError, "'w'", "jit, vmap, eval_shape", "initializers of fanin.jax")
