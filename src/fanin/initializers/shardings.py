"""Where Keras 3 wants an array to be: it passes a sharding of JAX under the name `layout`.

Values do not depend on it. Keras takes what it gets from an initializer that has such an argument as it
is, so a NumPy array would end up whole on every device.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["placement"]


def placement(layout: object) -> Callable[[Any], Any] | None:
    """Return what distributes an array over devices; None where the layout is no sharding.

    Args:
        layout: a sharding of JAX, or Keras' `TensorLayout` of one, or anything else.
    """
    jax = sys.modules.get("jax")  # else there is no sharding that this could be
    sharding = getattr(layout, "backend_layout", layout)
    return _identity(sharding) if jax is not None and isinstance(sharding, jax.sharding.Sharding) else None


@functools.lru_cache(maxsize=256)
def _identity(sharding: Any) -> Callable[[Any], Any]:
    """Return a compiled identity: unlike `jax.device_put`, it takes the abstract meshes that Keras gives."""
    identity: Callable[[Any], Any] = sys.modules["jax"].jit(lambda array: array, out_shardings=sharding)
    return identity
