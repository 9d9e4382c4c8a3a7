"""Names of layers and weights inside of a model: those that users gave, and numbers that do not depend on the process.

Keras counts the layers of a class over the whole process: the second model that is built has a
`dense_2`. Here they are counted anew in each layer that has them, in the order in which Keras lists
them, so that a model has the same names whenever it is built.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from fanin.spec import join_name

__all__ = ["layer_names", "weight_names"]

_DIRECTIONS = ("forward_", "backward_")  # what Bidirectional puts before the name of the layer that it copies


def layer_names(layers: Sequence[Any], parent: Any) -> list[str]:
    """Names of the layers directly inside of another one, all different.

    A name that a user gave stays. One that looks as if Keras had made it, the class in snake case with
    or without a number, is numbered by its place among those of its kind. A name that comes twice, as
    it can in subclassed models, gets a number as well.

    Args:
        layers: in Keras' order, without repetitions.
        parent: that they are in.
    """
    prefixes = _DIRECTIONS if isinstance(parent, keras.layers.Bidirectional) else ()
    return _different([_read(layer.name, type(layer).__name__, prefixes) for layer in layers])


def weight_names(weights: Sequence[Any], layer: Any) -> list[str]:
    """Names of a layer's own weights, all different, dots in them escaped.

    A weight that was given no name has that of the attribute that holds it, with the index or key where
    that is a list or a dict: ``self.scale = self.add_weight(shape=(3,))`` is `scale`.
    """
    read = [_read(weight.name, type(weight).__name__) for weight in weights]
    held = {} if all(chosen for _, chosen in read) else dict(_attributes(layer))
    return _different(
        [
            (held[id(weight)], True) if not chosen and id(weight) in held else (join_name([name]), chosen)
            for weight, (name, chosen) in zip(weights, read, strict=True)
        ]
    )


def _read(name: str, owner: str, prefixes: Sequence[str] = ()) -> tuple[str, bool]:
    """A name without the number that Keras gave it, and whether a user chose it."""
    prefix = next((each for each in prefixes if name.startswith(each)), "")
    own = name.removeprefix(prefix)
    for base in (own, re.sub(r"_[0-9]+$", "", own)):
        if _squeezed(base) == _squeezed(owner):
            return prefix + base, False
    return name, True


def _squeezed(name: str) -> str:
    """A name in snake or in camel case, without what tells the two apart."""
    return re.sub(r"[\W_]", "", name).lower()


def _different(read: Sequence[tuple[str, bool]]) -> list[str]:
    """Names, numbered where they were not chosen or have come before."""
    reserved = {name for name, chosen in read if chosen}
    used: dict[str, None] = {}
    for name, chosen in read:
        found, number = name, 0
        while found in used or (found in reserved and not (chosen and found == name)):
            number += 1
            found = f"{name}_{number}"
        used[found] = None
    return list(used)


def _attributes(layer: Any) -> Iterator[tuple[int, str]]:
    """Which variables a layer holds by which attributes, the first of several last."""
    for name, value in reversed(vars(layer).items()):
        if isinstance(value, keras.Variable):
            yield id(value), join_name([name])
        elif not name.startswith("_"):  # where Keras has lists of all variables
            yield from _inside(value, [name])


def _inside(value: Any, path: list[str]) -> Iterator[tuple[int, str]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, each in items:
        if isinstance(each, keras.Variable):
            yield id(each), join_name([*path, str(key)])
        else:
            yield from _inside(each, [*path, str(key)])
