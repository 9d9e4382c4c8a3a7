"""How an array of JAX is made, outside of a trace: each shard from its window only.

For CPUs by the engines of the host, in memory that becomes the array; for other devices by a program
that draws where the array is to be, or by the host what only the host can compute.
"""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from fanin import engines
from fanin.engines.jax import draw_window
from fanin.engines.rounding import round_constant
from fanin.initializers.outputs import aligned
from fanin.layouts import Shape
from fanin.models.arrays import Part, computed_once, write
from fanin.recipe import ConstantValue, Diagonal, Draw, Piece, Recipe, Window

__all__ = ["made", "of_recipe"]


def of_recipe(recipe: Recipe, dtype: np.dtype, sharding: Sharding | None) -> jax.Array:
    """Make the array of one recipe; see `made`."""
    whole = Window.whole(recipe.shape)
    return made([Piece(recipe, whole, whole.slices)], recipe.shape, dtype, sharding)


def made(pieces: Iterable[Piece], shape: Shape, dtype: np.dtype, sharding: Sharding | None) -> jax.Array:
    """Make an array.

    Args:
        pieces: what the whole is made of.
        shape: of the whole.
        dtype: one that JAX has under its present configuration.
        sharding: None is JAX's default device, of which the array then is free to leave.
    """
    pieces = tuple(pieces)
    if not _by_host(sharding) and (draw := _drawn(pieces, shape)) is not None:
        return _on_devices(draw, dtype, sharding)
    if sharding is None:
        filled = _filled(pieces, Window.whole(shape), dtype)
        return jax.device_put(filled)  # type: ignore[no-any-return]  # JAX types it loosely
    shards = _shards(pieces, dtype)
    return jax.make_array_from_callback(shape, sharding, lambda index: shards(Window.of(shape, index)), dtype=dtype)


def _by_host(sharding: Sharding | None) -> bool:
    """Whether the host's engines write where the array is to be, and none other was chosen."""
    if engines.current(1)[0] == "jax":
        return False
    if sharding is None:
        return _default_platform() == "cpu"
    devices: Any = sharding.device_set
    return all(str(device.platform) == "cpu" for device in devices)


def _default_platform() -> str:
    device: Any = getattr(jax.config, "jax_default_device", None)
    if device is None:
        return str(jax.default_backend())
    return device if isinstance(device, str) else str(device.platform)


def _drawn(pieces: tuple[Piece, ...], shape: Shape) -> Draw | None:
    """The draw that is all of an array, of a kind that a program knows."""
    if len(pieces) > 1:
        return None
    (piece,) = pieces
    recipe, whole = piece.recipe, Window.whole(shape)
    covers = recipe.shape == shape and piece.window == whole and piece.at == whole.slices
    if not isinstance(recipe, Draw) or isinstance(recipe.distribution, Diagonal) or not covers:
        return None
    return recipe


def _on_devices(draw: Draw, dtype: np.dtype, sharding: Sharding | None) -> jax.Array:
    distribution = draw.distribution
    if isinstance(distribution, ConstantValue) or distribution.grid() is None:
        value = distribution.value if isinstance(distribution, ConstantValue) else distribution.bounds()[0]
        return jax.numpy.full(draw.shape, round_constant(value, dtype), dtype, device=sharding)
    assert draw.stream is not None
    (k0, k1), (n2, n3) = draw.stream.words()
    words = tuple(map(np.uint32, (k0, k1, n2, n3)))
    return draw_window(draw, Window.whole(draw.shape), words, dtype, sharding=sharding)


def _shards(pieces: tuple[Piece, ...], dtype: np.dtype) -> Any:
    """Makes windows, each once, however many devices have it; what is computed whole is computed once for all."""
    pieces = tuple(Piece(computed_once(piece.recipe), piece.window, piece.at) for piece in pieces)
    return functools.cache(lambda window: _filled(pieces, window, dtype))


def _filled(pieces: Iterable[Piece], window: Window, dtype: np.dtype) -> np.ndarray:
    """A window in memory that JAX takes as it is."""
    view = aligned(window.shape, dtype)
    write(pieces, [Part(window, view)])
    return view
