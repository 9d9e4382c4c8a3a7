"""What JAX adds to trees: its pytrees, its arrays, and the layers of Flax and Equinox."""

import importlib
import math
from typing import Any

import jax
import numpy as np

from fanin.layouts import Shape
from fanin.models.jax.layers import Layer
from fanin.models.jax.leaves import kind_of
from fanin.models.jax.making import made, of_recipe
from fanin.models.jax.nodes import loaded, node_of
from fanin.models.jax.placing import ArgumentTypeError, own_sharding, read
from fanin.models.jax.reading import read_shards
from fanin.models.jax.traces import in_trace, is_traced
from fanin.models.trees.walking import Trail, name_of
from fanin.spec import identity

__all__ = [
    "ArgumentTypeError", "Layer", "begun", "in_trace", "is_kept", "is_traced", "kind_of", "layer_of", "made", "node_of",
    "of_recipe", "own_sharding", "read", "read_shards",
]  # fmt: skip


def is_kept(trail: Trail, leaf: Any) -> bool:
    """Whether an array is no weight: the state of a generator, or what a layer keeps from one call to the next.

    The latter count while they are abstract, since they then have no values yet.
    """
    module = loaded("flax.nnx")
    variables = [] if module is None else [step.owner for step in trail if isinstance(step.owner, module.Variable)]
    if any(isinstance(variable, module.RngState) for variable in variables):
        return True
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return False
    if any(isinstance(variable, module.Cache | module.Intermediate) for variable in variables):
        return True
    return loaded("equinox") is not None and bool(_layers("equinox").is_state(trail))


def begun(trail: Trail, leaf: Any) -> Any:
    """The state of a generator that is abstract, as it begins: a key that follows from its name, and a count of 0."""
    module = loaded("flax.nnx")
    if module is None or not isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    if not any(isinstance(step.owner, module.RngState) for step in trail):
        return leaf
    if not jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.numpy.zeros(leaf.shape, leaf.dtype)
    kinds: list[Any] = []

    def look(key: jax.Array) -> jax.Array:  # what a key is of can be asked of keys, not of their shapes
        kinds.append(jax.random.key_impl(key))
        return jax.random.key_data(key)

    size = jax.eval_shape(look, leaf).shape
    words = np.resize(np.array(identity(name_of(trail), 0), np.uint32).reshape(-1), size[len(leaf.shape) :])
    data = [words ^ np.uint32(number) for number in range(math.prod(leaf.shape))]  # of a stack of modules
    return jax.random.wrap_key_data(jax.numpy.reshape(np.stack(data), size), impl=kinds[0])


def layer_of(trail: Trail, leaf: Any, shape: Shape) -> Layer | None:
    """What is known of an array by the layers around it; None where nothing is."""
    own = getattr(leaf, "layer", None)
    if isinstance(own, Layer):
        return own
    for package, module in (("flax.nnx", "nnx"), ("equinox", "equinox")):
        found: Layer | None = _layers(module).layer_of(trail, shape) if loaded(package) is not None else None
        if found is not None:
            return found
    return None


def _layers(name: str) -> Any:
    return importlib.import_module(f"fanin.models.jax.{name}_layers")
