"""What this process has of an array of JAX, as NumPy sees it."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fanin.errors import OutputError
from fanin.models.arrays import Part
from fanin.recipe import Window

__all__ = ["read_shards"]


def read_shards(array: Any, name: str) -> Sequence[Part]:
    """The shards of an array that are here, each window once.

    Args:
        array: of JAX, or what is to become one.
        name: for messages.

    Raises:
        OutputError: there are no values.
    """
    if not isinstance(array, jax.Array):
        raise OutputError(f"{name!r} is a {type(array).__name__}, which has no values yet: it was never initialized.")
    if isinstance(array, jax.core.Tracer):
        raise OutputError(f"{name!r} is traced, and has values only when the program runs; look at the results.")
    if array.is_deleted():
        raise OutputError(f"{name!r} was donated to a program, or deleted, and has no values any more.")
    found: dict[Window, Part] = {}
    for shard in array.addressable_shards:
        window = Window.of(array.shape, shard.index)
        if window not in found:
            found[window] = Part(window, np.asarray(shard.data))
    return list(found.values())
