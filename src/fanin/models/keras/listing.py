"""The arrays of a Keras model, in Keras' order, under names that do not depend on the process."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from keras.layers import TorchModuleWrapper

from fanin.dtypes import resolve
from fanin.errors import DTypeError, OutputError
from fanin.layouts import Shape
from fanin.models.arrays import Array
from fanin.models.keras.layers import describe
from fanin.models.keras.naming import layer_names, weight_names
from fanin.spec import join_name

__all__ = ["arrays", "layers"]

SHOWN = 3  # layers that a message names


class _Place(NamedTuple):
    """Where a layer is in a model."""

    path: tuple[str, ...]
    layer: Any
    parent: Any


def layers(model: Any) -> list[Any]:
    """A model and all layers in it, each once."""
    return [place.layer for place in _places(model)]


def _places(model: Any) -> Iterator[_Place]:
    """Every layer once, where it comes first, those inside of it after it."""
    seen = set()
    stack = [_Place((), model, None)]
    while stack:
        place = stack.pop()
        if id(place.layer) in seen:
            continue
        seen.add(id(place.layer))
        yield place
        inner = _inside(place.layer)
        names = layer_names(inner, place.layer)
        found = [_Place((*place.path, name), layer, place.layer) for name, layer in zip(names, inner, strict=True)]
        stack += reversed(found)


def _inside(layer: Any) -> list[Any]:
    return list(layer._flatten_layers(include_self=False, recursive=False))


def arrays(model: Any) -> tuple[Array, ...]:
    """List the weights of a model: what `model.weights` has, so no states of generators, metrics and optimizers.

    A weight that several layers have is listed once, under the first of them, or the one inside of
    another that has it too. Of a module of torch inside of a model its own tensors are listed, buffers
    included, since Keras saves them.

    Raises:
        OutputError: there are layers that have not been built.
        DTypeError: a weight has a dtype that fanin does not write.
    """
    places = list(_places(model))
    _check_built(places)
    found: dict[int, Array] = {}
    for place in places:
        for array in _of_torch(place) if isinstance(place.layer, TorchModuleWrapper) else _own(place):
            found.setdefault(id(array.handle), array)
    return tuple(found.values())


def _own(place: _Place) -> Iterator[Array]:
    """The weights of a layer that none of the layers inside of it has."""
    inner = {id(weight) for layer in _inside(place.layer) for weight in layer.weights}
    own = [weight for weight in place.layer.weights if id(weight) not in inner]
    keys = weight_names(own, place.layer)
    shapes = {key: tuple(map(int, weight.shape)) for key, weight in zip(keys, own, strict=True)}
    for key, weight in zip(keys, own, strict=True):
        yield _array(place, key, weight, shapes)


def _of_torch(place: _Place) -> Iterator[Array]:
    prefix = _prefix(place)
    for array in importlib.import_module("fanin.models.torch").arrays(place.layer.module):
        renamed = [
            replace(each, name=prefix + each.name, array=prefix + each.array if each.array else "")
            for each in array.parameters
        ]
        yield replace(array, name=prefix + array.name, parameters=tuple(renamed))


def _check_built(places: list[_Place]) -> None:
    unbuilt = [place for place in places if not place.layer.built and _makes_weights(place.layer)]
    if unbuilt:
        named = [f"{join_name(place.path) or 'itself'} ({type(place.layer).__name__})" for place in unbuilt[:SHOWN]]
        more = f" and {len(unbuilt) - SHOWN} more" if len(unbuilt) > SHOWN else ""
        raise OutputError(
            f"the model has layers that are not built and have no weights yet: {', '.join(named)}{more}. Call the "
            f"model once, on data or on keras.Input(shape), or build it by model.build(shape) if it knows how; then "
            f"apply the plan."
        )


def _makes_weights(layer: Any) -> bool:
    """Whether it has a method to make weights of its own, which it has not called."""
    return not getattr(layer.build, "_is_default", False)


def _prefix(place: _Place) -> str:
    return f"{join_name(place.path)}." if place.path else ""


def _array(place: _Place, key: str, weight: Any, shapes: dict[str, Shape]) -> Array:
    prefix, shape = _prefix(place), shapes[key]
    name = prefix + key
    try:
        dtype = resolve(weight.dtype).name
    except DTypeError as error:
        raise DTypeError(f"{name!r}: {error}") from None
    held = describe(place.layer, key, shapes, place.parent)
    module = type(place.layer).__name__
    return Array(name, weight, shape, tuple(held.parameters(prefix, key, shape, dtype, module)))
