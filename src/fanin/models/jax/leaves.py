"""Arrays of JAX as leaves: new ones take their place, where they are, or are meant to be."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from fanin import dtypes
from fanin.errors import OutputError
from fanin.layouts import Shape, check_shape
from fanin.models.arrays import Array, Part
from fanin.models.jax.making import made
from fanin.models.jax.placing import own_sharding, read
from fanin.models.jax.reading import read_shards
from fanin.models.jax.traces import in_trace, is_traced
from fanin.models.trees.walking import Trail
from fanin.recipe import Piece

__all__ = ["kind_of"]


class _Leaves:
    """Arrays, and the shapes and dtypes of such that are yet to be made."""

    def extent(self, leaf: Any) -> tuple[Shape, str]:
        """As JAX would have it: float32 for float64 where x64 is off."""
        dtype = dtypes.resolve(leaf.dtype)
        return check_shape(leaf.shape), np.dtype(jax.dtypes.canonicalize_dtype(dtype)).name

    def memory(self, leaf: Any) -> None:
        """None: an array of JAX is a value, and does not change where another of the same memory does."""

    def read(self, array: Array) -> Sequence[Part]:
        return read_shards(array.handle, array.name)

    def check(self, array: Array, trail: Trail, sharding: Any) -> None:
        if is_traced(array.handle) or in_trace():
            raise OutputError(
                f"{array.name!r}: a plan makes arrays outside of a program, and this is inside of one (jit, vmap, "
                f"eval_shape or the like). Apply it outside, to the shapes that jax.eval_shape gives, say; inside, "
                f"call initializers of fanin.jax."
            )
        self._sharding(array, trail, sharding)

    def written(self, array: Array, pieces: Iterable[Piece], trail: Trail, sharding: Any) -> jax.Array:
        dtype = dtypes.resolve(array.parameters[0].dtype)
        return made(pieces, array.shape, dtype, self._sharding(array, trail, sharding))

    def _sharding(self, array: Array, trail: Trail, sharding: Any) -> Any:
        if sharding is None:
            return own_sharding(array.handle, array.name, array.shape, trail)
        return read(sharding, array.shape, f"{array.name!r}: the sharding")


def kind_of(leaf: Any) -> _Leaves | None:
    """The kind of a leaf; None of what is no array, and of keys."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return None
    return None if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else _Leaves()
