"""From a request to an array of JAX: by the engine of JAX inside a program, by those of the host outside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Sharding

from fanin import engines
from fanin.engines.jax import draw_window
from fanin.engines.rounding import round_array, round_constant
from fanin.errors import ShapeError
from fanin.jax.keys import Words, stream_of, traced_words
from fanin.layouts import Layout, Shape
from fanin.models.jax import in_trace, is_traced, of_recipe, read
from fanin.recipe import ConstantValue, Diagonal, Distribution, Draw, Recipe, Stream, Whole, Window

__all__ = ["Request", "broadcast", "make"]

# What is wanted: a distribution, or whatever needs the whole, of a stream.
Request = Distribution | Callable[[Stream], Whole]


def make(
    request: Request, words: Words, name: str, shape: Shape, layout: Layout, dtype: np.dtype, out_sharding: Any
) -> jax.Array:
    """Make the array of a request.

    Args:
        request: what is wanted.
        words: of the key, traced or not.
        name: of the tensor.
        shape: of the whole.
        layout: which axis is which.
        dtype: one that JAX has under its present configuration.
        out_sharding: a sharding, a partition of the mesh in context, or None.
    """
    recipe = _recipe(request, words, name, shape, layout)
    recipe.check_dtype(dtype)
    if any(map(is_traced, words)) or in_trace():
        sharding = None if out_sharding is None else read(out_sharding, shape, "out_sharding", traced=True)
        return _placed(functools.partial(_traced, request, recipe, name, dtype), words, sharding)
    sharding = None if out_sharding is None else read(out_sharding, shape, "out_sharding")
    return of_recipe(recipe, dtype, sharding)


def _recipe(request: Request, words: Words, name: str, shape: Shape, layout: Layout) -> Recipe:
    """The recipe; of a traced key the stream stands in for what is known only later."""
    stream = Stream(name, 0) if any(map(is_traced, words)) else stream_of(name, words)
    if not isinstance(request, Distribution):
        return request(stream)
    layout.coordinates(shape)
    return Draw(request, shape, layout, stream)


def _uint32(words: Words) -> Words:
    return tuple(word if is_traced(word) else np.uint32(word) for word in words)


def _traced(request: Request, recipe: Recipe, name: str, dtype: np.dtype, words: Words) -> jax.Array:
    """The array as operations, each of which may be recorded."""
    shape = recipe.shape
    if isinstance(recipe, Whole):
        assert not isinstance(request, Distribution)
        return _called_back(request, shape, name, dtype, words)
    distribution = recipe.distribution
    if isinstance(distribution, Diagonal):
        raise AssertionError("no initializer of JAX makes an identity")
    if isinstance(distribution, ConstantValue) or distribution.grid() is None:
        value = distribution.value if isinstance(distribution, ConstantValue) else distribution.bounds()[0]
        return lax.full(shape, round_constant(value, dtype))
    return draw_window(recipe, Window.whole(shape), traced_words(name, words), dtype)


def _called_back(
    request: Callable[[Stream], Whole], shape: Shape, name: str, dtype: np.dtype, words: Words
) -> jax.Array:
    """What is computed whole is computed by the host when the program runs: the same numbers as outside of one."""

    def compute(*known: Any) -> np.ndarray:
        array = np.empty(shape, dtype)
        engines.fill(request(stream_of(name, tuple(int(word) for word in known))), Window.whole(shape), array)
        return array

    expected = jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]  # JAX leaves it untyped
    result: jax.Array = jax.pure_callback(compute, expected, *_uint32(words), vmap_method="sequential")
    return result


def _placed(draw: Callable[[Words], jax.Array], words: Words, sharding: Sharding | None) -> jax.Array:
    """Draw inside a program, as the shards that are wanted."""
    if sharding is None:
        return draw(words)
    explicit = getattr(getattr(sharding, "mesh", None), "explicit_axes", ())
    if explicit:  # types that carry shardings: within, those of the axes are XLA's affair
        typed = jax.sharding.auto_axes(draw, axes=explicit, out_sharding=sharding)
        result: jax.Array = typed(tuple(map(jax.numpy.asarray, _uint32(words))))
        return result
    return lax.with_sharding_constraint(draw(words), sharding)  # type: ignore[no-untyped-call, no-any-return]


def broadcast(value: np.ndarray, shape: Shape, dtype: np.dtype, out_sharding: Any) -> jax.Array:
    """An array of a user's, rounded once and broadcast."""
    rounded = round_array(value, dtype)
    try:
        np.broadcast_to(rounded, shape)
    except ValueError:
        raise ShapeError(
            f"constant: value of shape {value.shape!r} does not broadcast to the shape {shape!r}."
        ) from None
    result = jax.numpy.broadcast_to(jax.numpy.asarray(rounded), shape)
    if out_sharding is None:
        return result
    traced = is_traced(result)
    sharding = read(out_sharding, shape, "out_sharding", traced=traced)
    return _placed(lambda _: result, (), sharding) if traced else jax.device_put(result, sharding)
