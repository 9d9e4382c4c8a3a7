"""Walking a tree: its leaves by path, and the tree again with other leaves."""

import copy
import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fanin.spec import join_name

__all__ = ["Node", "Step", "Trail", "jax_room", "name_of", "node_of", "traverse"]

Key = Any  # of a child: a text, an integer, or a tuple of them, which are as many components of a name, or none


class Step(NamedTuple):
    """From a node to one of its children."""

    owner: Any
    key: Key


Trail = tuple[Step, ...]


class Node(NamedTuple):
    """A node of a tree.

    Attributes:
        children: by their keys, in order.
        joined: makes the node of other children, or puts them into it where it can be changed.
        once: whether the node is an object of its own, which is one thing in several places.
    """

    children: list[tuple[Key, Any]]
    joined: Callable[[list[Any]], Any]
    once: bool = False


def jax_room() -> Any:
    """The room of JAX's trees, where JAX is loaded: nobody has any otherwise."""
    return importlib.import_module("fanin.models.jax") if "jax" in sys.modules else None


def traverse(root: Any, visit: Callable[[Trail, Any], Any]) -> Any:
    """Visit every leaf of a tree, in order.

    Args:
        root: any tree.
        visit: is given the way to a leaf and the leaf, and returns it, or what takes its place.

    Returns:
        the tree with what took the place of leaves: itself where nothing did, or where all of it could be put into it.
    """
    return _walked(root, visit, (), set())


def _walked(value: Any, visit: Callable[[Trail, Any], Any], trail: Trail, seen: set[int]) -> Any:
    node = node_of(value, trail)
    if node is None:
        return visit(trail, value)
    if node.once:
        if id(value) in seen:
            return value
        seen.add(id(value))
    children = [child for _, child in node.children]
    walked = [_walked(child, visit, (*trail, Step(value, key)), seen) for key, child in node.children]
    if all(new is old for new, old in zip(walked, children, strict=True)):
        return value
    return node.joined(walked)


def node_of(value: Any, trail: Trail = ()) -> Node | None:
    """The children of a node; None of a leaf.

    Dicts have the order of their insertion, which JAX's own functions lose.

    Args:
        value: of any type.
        trail: the way to it.
    """
    if isinstance(value, dict):
        return Node(list(value.items()), lambda children: _like(value, children))
    if isinstance(value, list) and type(value) is list:
        return Node(list(enumerate(value)), list)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Node(list(zip(value._fields, value, strict=True)), lambda children: type(value)(*children))
    if type(value) is tuple:
        return Node(list(enumerate(value)), tuple)
    room = jax_room()
    node: Node | None = None if room is None else room.node_of(value, trail)
    if node is None and dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _of_dataclass(value)
    return node


def _like(value: dict[Any, Any], children: Iterable[Any]) -> dict[Any, Any]:
    """A dict of the same class and keys."""
    made = copy.copy(value)
    made.update(zip(value, children, strict=True))
    return made


def _of_dataclass(value: Any) -> Node:
    names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]

    def joined(children: list[Any]) -> Any:
        made = copy.copy(value)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(made, name, child)  # also of frozen ones, whose constructor may want other arguments
        return made

    return Node([(name, getattr(value, name)) for name in names], joined)


def name_of(trail: Trail) -> str:
    """The name of a leaf.

    Raises:
        LogicalNameError: a component of it is empty.
    """
    components: list[str | int] = []
    for step in trail:
        components += step.key if isinstance(step.key, tuple) else (step.key,)
    return join_name(components)
