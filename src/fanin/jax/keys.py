"""Keys: what JAX passes to an initializer, as the words that stand in the place of a seed."""

from typing import Any

import jax
import numpy as np

from fanin.errors import SeedError
from fanin.models.jax import is_traced
from fanin.recipe import Stream, check_seed
from fanin.spec import identity
from fanin.spec.philox import MASK

__all__ = ["KeyTypeError", "stream_of", "traced_words", "words_of"]

Words = tuple[Any, ...]  # two or four: integers, or uint32 scalars where they are traced


class KeyTypeError(SeedError, TypeError):
    """What was given as a key is none, also in the sense of JAX."""


def words_of(key: Any) -> Words:
    """Read a key of JAX, or a seed.

    Args:
        key: a typed key of any implementation, its raw uint32 words, or an integer from 0 to 2**64 - 1.

    Raises:
        SeedError: the integer is out of range.
        KeyTypeError: it is none of these, or several keys; also a `TypeError`, as in JAX.
    """
    dtype = getattr(key, "dtype", None)
    if isinstance(key, int | np.integer) or dtype is None:
        if not isinstance(key, int | np.integer):
            raise _no_key(key, f"a {type(key).__name__}")
        seed = check_seed(key)
        return seed >> 32, seed & MASK
    if jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
        if key.shape:
            raise _no_key(key, f"an array of keys, of shape {key.shape!r}: map over them by jax.vmap")
        key = jax.random.key_data(key)
    elif dtype != np.uint32:
        raise _no_key(key, f"an array of {dtype}")
    if key.shape not in ((2,), (4,)):
        raise _no_key(key, f"words of shape {tuple(key.shape)!r}; a key has two or four")
    if is_traced(key):
        return tuple(key[number] for number in range(key.shape[0]))
    return tuple(map(int, np.asarray(key)))


def _no_key(key: Any, what: str) -> KeyTypeError:
    shown = "" if hasattr(key, "shape") else f" {key!r},"
    return KeyTypeError(
        f"key is{shown} {what}. Give jax.random.key(7), one of its splits, raw uint32 words, or a seed such as 7."
    )


def stream_of(name: str, words: Words) -> Stream:
    """The stream of a name and the words of a key that is known."""
    w0, w1, w2, w3 = (*words, 0, 0)[:4]
    return Stream(name, w0 << 32 | w1, (w2, w3))


def traced_words(name: str, words: Words) -> Words:
    """The Philox key, and counter words 2 and 3, of a name and the words of any key: four uint32 scalars."""
    (n0, n1), (n2, n3) = identity(name, 0)
    hashed = map(np.uint32, (n0, n1, n2, n3))
    padded = [word if is_traced(word) else np.uint32(word) for word in (*words, 0, 0)[:4]]
    return tuple(n ^ word for n, word in zip(hashed, padded, strict=True))
