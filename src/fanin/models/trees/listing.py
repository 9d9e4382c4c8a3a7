"""The arrays of a tree, by path, and how they are written."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from fanin.errors import DTypeError, PlanError, ShapeError
from fanin.models.arrays import Array, Part
from fanin.models.parameter import Parameter
from fanin.models.trees.leaves import Kind, kind_of
from fanin.models.trees.walking import Trail, jax_room, name_of, traverse
from fanin.recipe import Piece

__all__ = ["Found", "Tree", "listed", "opened"]


class Found(NamedTuple):
    """An array in a tree: where, and of which kind."""

    array: Array
    kind: Kind
    trail: Trail
    order: int  # in which it was created, where that is known


class Tree:
    """A tree of arrays: a `fanin.models.Model`.

    What can be written is written in place, what cannot is made anew; the result is the tree with both.

    Args:
        root: of the tree.
        found: its arrays.
        shardings: of the arrays that are made, by name; those that have none there keep their own.
    """

    def __init__(
        self, root: Any, found: Iterable[Found], shardings: Callable[[Found], Any] = lambda found: None
    ) -> None:
        self._root = root
        self._found = {each.array.name: each for each in found}
        self._shardings = {name: shardings(each) for name, each in self._found.items()}
        self._new: dict[str, Any] = {}
        self.arrays = tuple(each.array for each in self._found.values())

    def read(self, array: Array) -> Sequence[Part]:
        """What this process has of an array, as NumPy sees it."""
        return self._found[array.name].kind.read(array)

    def check(self, array: Array) -> None:
        """Refuse an array that cannot be written, or made."""
        found = self._found[array.name]
        found.kind.check(found.array, found.trail, self._shardings[array.name])

    def write(self, array: Array, pieces: Iterable[Piece]) -> None:
        """Write an array, or make the one that takes its place."""
        found = self._found[array.name]
        self._new[array.name] = found.kind.written(found.array, pieces, found.trail, self._shardings[array.name])

    def result(self) -> Any:
        """The tree with the arrays that were made; itself where all were written in place."""

        def visit(trail: Trail, leaf: Any) -> Any:
            if kind_of(leaf) is not None and (name := name_of(trail)) in self._new:
                return self._new[name]
            room = jax_room()
            return leaf if room is None else room.begun(trail, leaf)

        return traverse(self._root, visit)


def opened(root: Any) -> Tree | None:
    """List a tree; None where it has no arrays.

    Raises:
        PlanError: two arrays have one name.
        LogicalNameError: a component of a name is empty, or the tree is a bare array.
        ShapeError, DTypeError: an array that no values can be drawn for.
    """
    found = listed(root)
    return Tree(root, found) if found else None


def listed(root: Any) -> list[Found]:
    """The arrays of a tree, in the order of their creation where that is known, else in the tree's own.

    Memory that several leaves are is listed once, under the first name.
    """
    found: list[Found] = []
    names: set[str] = set()
    memories: set[object] = set()

    def visit(trail: Trail, leaf: Any) -> Any:
        kind = kind_of(leaf)
        if kind is None or _is_kept(trail, leaf):
            return leaf
        memory = kind.memory(leaf)
        if memory is not None:
            if memory in memories:
                return leaf
            memories.add(memory)
        name = name_of(trail)
        if not name:
            raise PlanError(
                "a bare array has no name to be drawn by; give it one in a dict, such as {'kernel': array}."
            )
        if name in names:
            raise PlanError(f"two arrays are called {name!r}: keys that differ in their type only. Rename one of them.")
        names.add(name)
        found.append(_found(name, trail, leaf, kind))
        return leaf

    traverse(root, visit)
    return sorted(found, key=lambda each: each.order)


def _is_kept(trail: Trail, leaf: Any) -> bool:
    """Whether an array is none that a plan is for, such as the key of a generator."""
    room = jax_room()
    return room is not None and bool(room.is_kept(trail, leaf))


def _found(name: str, trail: Trail, leaf: Any, kind: Kind) -> Found:
    try:
        shape, dtype = kind.extent(leaf)
    except (DTypeError, ShapeError) as error:
        raise type(error)(f"{name!r}: {error}") from None
    room = jax_room()
    layer = None if room is None else room.layer_of(trail, leaf, shape)
    if layer is None:
        return Found(Array(name, leaf, shape, (Parameter(name, shape, dtype),)), kind, trail, 0)
    parameters = layer.held.parameters(name.removesuffix(layer.key), layer.key, shape, dtype, layer.module)
    return Found(Array(name, leaf, shape, tuple(parameters)), kind, trail, layer.order)
