"""Seeds as Keras has them: an integer, None, or a `keras.random.SeedGenerator`."""

from typing import Any

import keras

from fanin.errors import SeedError
from fanin.recipe import check_seed
from fanin.spec import identity

__all__ = ["checked", "current", "numbered"]

_WORD = 0xFFFFFFFF


def checked(owner: str, seed: Any) -> Any:
    """Return a seed that Keras takes: None, a Python integer, or a generator, also from its configuration.

    Raises:
        SeedError: it is none of these.
    """
    made = keras.saving.deserialize_keras_object(seed) if isinstance(seed, dict) else seed
    if made is None or isinstance(made, keras.random.SeedGenerator):
        return made
    try:
        return check_seed(seed)
    except SeedError:
        raise SeedError(
            f"{owner}: seed must be an integer from 0 to 2**64 - 1, a keras.random.SeedGenerator, or None for a seed "
            f"of Keras' own, not {seed!r}."
        ) from None


def current(owner: str, seed: Any) -> int:
    """Return the integer that a seed stands for at this call; a generator advances.

    A generator's state is a seed and a number of calls, which are the lower and the upper half: its
    first call is that of the integer, as in Keras.
    """
    if not isinstance(seed, keras.random.SeedGenerator):
        return check_seed(seed)
    state = seed.next()
    try:
        start, calls = int(state[0]) & _WORD, int(state[1]) & _WORD  # torch has them as int32
    except (TypeError, ValueError, RuntimeError, NotImplementedError):  # JAX and torch, each in its way
        raise SeedError(
            f"{owner}: the seed is a SeedGenerator without a value, as inside a function that is being traced; call "
            f"the initializer outside, or give it an integer."
        ) from None
    return calls << 32 | start


def numbered(seed: int, number: int) -> int:
    """Return one of many seeds that follow from one."""
    (upper, lower), _ = identity(f"fanin.keras\\#{number}", seed)
    return upper << 32 | lower
