"""Whether a program is being recorded."""

from typing import Any

import jax
import numpy as np
from jax import lax

__all__ = ["in_trace", "is_traced"]


def is_traced(value: Any) -> bool:
    """Whether JAX has yet to learn what this is."""
    return isinstance(value, jax.core.Tracer)


def in_trace() -> bool:
    """Whether operations are recorded now, even those on known values."""
    return is_traced(lax.neg(np.int32(0)))
