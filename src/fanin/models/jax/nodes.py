"""The nodes of JAX's trees: pytrees of any class, the boxes of Flax, and the objects of nnx."""

import sys
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from fanin.models.trees.walking import Node, Trail

__all__ = ["in_object", "loaded", "node_of"]

_LEAVES = (
    np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct, jax.sharding.Sharding, jax.sharding.PartitionSpec, str,
    bytes, int, float, complex, type(None), type,
)  # fmt: skip


def loaded(module: str) -> Any:
    """A module that somebody has imported, such as one of Flax; None where nobody has, and so has nothing of it."""
    return sys.modules.get(module)


def node_of(value: Any, trail: Trail) -> Node | None:
    """The children of a node, by attributes, keys or places; None of what JAX takes for a leaf."""
    if isinstance(value, _LEAVES):
        return None
    if (flax := loaded("flax.core.frozen_dict")) is not None and isinstance(value, flax.FrozenDict):
        keys = list(value)
        return Node(list(value.items()), lambda children: flax.FrozenDict(zip(keys, children, strict=True)))
    if (meta := loaded("flax.core.meta")) is not None and isinstance(value, meta.AxisMetadata):
        return _of_box(value)
    if (module := loaded("flax.nnx")) is not None:
        if isinstance(value, module.Variable):
            return _of_variable(value, in_object(trail))
        if isinstance(value, module.Pytree):
            return _of_object(value, module)
    if (module := loaded("flax.linen")) is not None and isinstance(value, module.Module):
        return Node([], lambda children: value)  # a description of layers, which has no arrays
    return _of_pytree(value)


def in_object(trail: Trail) -> bool:
    """Whether the way to a node leads through an object of nnx, which changes in place."""
    module = loaded("flax.nnx")
    return module is not None and any(isinstance(step.owner, module.Pytree) for step in trail)


def _of_pytree(value: Any) -> Node | None:
    flat, definition = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda child: child is not value)
    if len(flat) == 1 and not flat[0][0]:
        return None
    children = [(_key(path[0]), child) for path, child in flat]
    return Node(children, lambda others: jax.tree_util.tree_unflatten(definition, others))


def _key(entry: Any) -> Any:
    """What a key of JAX is by."""
    for attribute in ("key", "idx", "name"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return str(entry)


def _of_box(value: Any) -> Node:
    (child,) = jax.tree_util.tree_leaves(value, is_leaf=lambda child: child is not value)
    return Node([((), child)], lambda children: value.replace_boxed(children[0]))


def _of_variable(variable: Any, in_place: bool) -> Node:
    def joined(children: list[Any]) -> Any:
        if not in_place:
            return variable.replace(children[0])
        variable.set_value(children[0])
        return variable

    value = variable.get_raw_value()  # of a dict in its own order, which get_value loses
    return Node([((), value if _is_kept_whole(value) else variable.get_value())], joined, once=True)


def _is_kept_whole(value: Any) -> bool:
    """Whether a variable holds the value itself, and no reference to it."""
    return isinstance(value, dict | list | tuple | jax.Array | jax.ShapeDtypeStruct | np.ndarray)


def _of_object(value: Any, module: Any) -> Node:
    """An object of nnx: its attributes in the order in which they were set, those that nnx takes for static left out.

    What nnx notes of its attributes keeps that order, also where `flax.nnx.eval_shape` made the object.
    """
    status = getattr(value, "_pytree__nodes", {})
    found = module.graphlib.get_node_impl(value).node_dict(value)
    found = {key: child for key, child in found.items() if status.get(str(key), True)}
    order = {name: number for number, name in enumerate(status or vars(value))}
    keys = sorted(found, key=lambda key: (0, key) if isinstance(key, int) else (1, order.get(key, len(order))))

    def joined(children: Iterable[Any]) -> Any:
        for key, child in zip(keys, children, strict=True):
            if child is not found[key]:
                _set(value, key, child, module)
        return value

    return Node([(key, found[key]) for key in keys], joined, once=True)


def _set(value: Any, key: Any, child: Any, module: Any) -> None:
    if isinstance(key, int):
        value[key] = child
    else:
        setattr(value, key, child if isinstance(child, jax.Array) else module.data(child))
