"""Whole models as sharded arrays, made shard by shard from shapes."""

from collections.abc import Callable, Sequence
from typing import Any

from jax.sharding import PartitionSpec, Sharding

from fanin.errors import PlanError
from fanin.layouts import Shape
from fanin.models import Naming, renamed, trees
from fanin.models.trees import Found, Trail, name_of, node_of
from fanin.plan import Plan
from fanin.plan.application import apply
from fanin.progress import Progress

__all__ = ["init_sharded"]

Sharded = Any  # a sharding, a partition of the mesh in context, None, a tree of these, or a function


def init_sharded(
    shapes: Any,
    plan: Plan,
    sharding: Sharding | PartitionSpec | Callable[[str, Shape], Any] | Any,
    seed: int = 0,
    *,
    names: Naming = None,
    member: int | None = None,
    progress: Progress | None = None,
) -> Any:
    """Make the arrays of a model sharded: each device's shard from its part alone, without communication.

    The bits are those of `fanin.Plan.apply`, whatever the mesh. Of every process only its own devices'
    shards are made, so that all processes call it alike.

    Args:
        shapes: a tree of `jax.ShapeDtypeStruct`, such as `jax.eval_shape` or `fanin.jax.shapes` returns, or an
            abstract module of nnx or Equinox; arrays of JAX stand for their shapes.
        plan: for its parameters.
        sharding: one for all, a tree of them or of such that hold for all that is below, or a function
            of the name and the shape of an array. Each is a `jax.sharding.Sharding`, a
            `jax.sharding.PartitionSpec` of the mesh in context, or None for the array's own.
        seed: 0 to 2**64 - 1.
        names: see `fanin.Plan.apply`.
        member: of an ensemble, see `fanin.Plan.resolve`.
        progress: see `fanin.Plan.apply`.

    Returns:
        the tree with arrays; a module of nnx with its arrays in it.

    Raises:
        PlanError: the plan does not fit, or the tree of shardings does not.
        ShapeError: a sharding does not fit its array.
        ArgumentError: it is none (a `TypeError` as well), or there is no mesh. Nothing has been drawn where anything
            of this is raised.

    >>> import fanin, fanin.jax, jax
    >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> shapes = {"kernel": jax.ShapeDtypeStruct((8, 4), "float32"), "bias": jax.ShapeDtypeStruct((4,), "float32")}
    >>> plan = fanin.Plan([fanin.Rule("kernel", "he_normal", layout="i o"), fanin.Rule("bias", "zeros")])
    >>> with jax.set_mesh(mesh):
    ...     arrays = fanin.jax.init_sharded(shapes, plan, {"kernel": jax.P(None, "model"), "bias": jax.P()}, seed=42)
    >>> arrays["kernel"].sharding.spec
    P(None, 'model')
    """
    found = trees.listed(shapes)
    if not found:
        raise PlanError(
            f"init_sharded takes a tree of jax.ShapeDtypeStruct; there are none in this {type(shapes).__name__}."
        )
    tree = trees.Tree(shapes, found, _chooser(sharding))
    resolved = plan.of_arrays(renamed(tree.arrays, names), seed=seed, member=member)
    return apply(resolved, tree, resolved.arrays, None, progress, type(shapes).__name__)


def _chooser(sharding: Sharded) -> Callable[[Found], Any]:
    """The sharding that is meant for an array."""
    if callable(sharding) and not isinstance(sharding, Sharding):
        return lambda found: sharding(found.array.name, found.array.shape)
    return lambda found: _below(sharding, found.trail)


def _below(sharding: Sharded, trail: Trail) -> Any:
    """Follow the way to an array through a tree of shardings, as far as that goes."""
    steps = [step for step in trail if step.key != ()]
    met: list[Any] = []
    while not (sharding is None or isinstance(sharding, Sharding | PartitionSpec)):
        node = node_of(sharding, trail)
        if node is None:
            return sharding  # told later that it is none
        if len(node.children) == 1 and node.children[0][0] == ():
            sharding = node.children[0][1]  # of a box
            continue
        children: Sequence[tuple[Any, Any]] = node.children
        step = steps[len(met)] if len(met) < len(steps) else None
        matching = [child for key, child in children if step is not None and key == step.key]
        if not matching:
            keys = ", ".join(repr(key) for key, _ in children) or "nothing"
            raise PlanError(
                f"the tree of shardings has nothing for {name_of(trail)!r}: below {name_of(tuple(met))!r} it has "
                f"{keys}. Give a sharding for each array, or one for all below a node."
            )
        met.append(steps[len(met)])
        sharding = matching[0]
    return sharding
