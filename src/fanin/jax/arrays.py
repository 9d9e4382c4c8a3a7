"""From a request to an array of JAX: by the engine of JAX inside a program, by those of the host outside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from fanin import engines
from fanin.engines.jax import draw_window
from fanin.engines.rounding import round_array, round_constant
from fanin.errors import ArgumentError, ShapeError
from fanin.jax.keys import Words, is_traced, stream_of, traced_words
from fanin.layouts import Layout, Shape
from fanin.recipe import ConstantValue, Diagonal, Distribution, Draw, Recipe, Stream, Whole, Window

__all__ = ["ArgumentTypeError", "Request", "make"]

ALIGNMENT = 64  # bytes: memory of the host that is so aligned becomes an array of JAX without a copy

# What is wanted: a distribution, or whatever needs the whole, of a stream.
Request = Distribution | Callable[[Stream], Whole]


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument is of a type that cannot be used, also in the sense of JAX."""


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
    if any(map(is_traced, words)) or _in_trace():
        sharding = None if out_sharding is None else _sharding(out_sharding, shape, traced=True)
        return _placed(functools.partial(_traced, request, recipe, name, dtype), words, sharding)
    sharding = None if out_sharding is None else _sharding(out_sharding, shape, traced=False)
    if sharding is not None:
        if isinstance(recipe, Whole):  # once, and not for each device
            recipe = Whole(functools.cache(recipe.compute), shape)
        sharded: jax.Array
        if all(str(device.platform) == "cpu" for device in _devices(sharding)):
            sharded = jax.make_array_from_callback(
                shape, sharding, lambda index: _on_host(recipe, Window.of(shape, index), dtype)
            )
        else:
            draw = functools.partial(_traced, request, recipe, name, dtype)
            sharded = jax.jit(draw, out_shardings=sharding)(_uint32(words))
        return sharded
    if _default_platform() == "cpu" and engines.current(1)[0] != "jax":
        return jax.device_put(_on_host(recipe, Window.whole(shape), dtype))  # type: ignore[no-any-return]  # a callback, of which it knows nothing
    return _traced(request, recipe, name, dtype, words)


def _recipe(request: Request, words: Words, name: str, shape: Shape, layout: Layout) -> Recipe:
    """The recipe; of a traced key the stream stands in for what is known only later."""
    stream = Stream(name, 0) if any(map(is_traced, words)) else stream_of(name, words)
    if not isinstance(request, Distribution):
        return request(stream)
    layout.coordinates(shape)
    return Draw(request, shape, layout, stream)


def _in_trace() -> bool:
    """Whether operations are recorded now, even those on known values."""
    return is_traced(lax.neg(np.int32(0)))


def _default_platform() -> str:
    device: Any = getattr(jax.config, "jax_default_device", None)
    if device is None:
        return str(jax.default_backend())
    return device if isinstance(device, str) else str(device.platform)


def _devices(sharding: Sharding) -> Any:
    return sharding.device_set


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


def _on_host(recipe: Recipe, window: Window, dtype: np.dtype) -> np.ndarray:
    """A window in memory that JAX takes as it is."""
    view = _aligned(window.shape, dtype)
    engines.fill(recipe, window, view)
    return view


def _aligned(shape: Shape, dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def _sharding(given: Any, shape: Shape, *, traced: bool) -> Sharding:
    """Read what was given as ``out_sharding``, and see that it fits."""
    if isinstance(given, PartitionSpec):
        mesh: Any = jax.sharding.get_abstract_mesh() if traced else jax.sharding.get_mesh()
        if mesh.empty:
            raise ArgumentError(
                f"out_sharding={given!r} needs a mesh: give jax.sharding.NamedSharding(mesh, {given!r}), or enter one "
                f"by jax.set_mesh(mesh)."
            )
        given = NamedSharding(mesh, given)
    if not isinstance(given, Sharding):
        raise ArgumentTypeError(
            f"out_sharding must be a jax.sharding.Sharding, a PartitionSpec or None, not {given!r}."
        )
    try:
        given.shard_shape(shape)
    except ValueError as error:
        raise ShapeError(f"out_sharding {given!r} does not fit the shape {shape!r}: {error}") from None
    return given


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
    sharding = _sharding(out_sharding, shape, traced=traced)
    return _placed(lambda _: result, (), sharding) if traced else jax.device_put(result, sharding)
