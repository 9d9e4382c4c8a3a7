"""Identities: from a logical name and a seed to a Philox key and the upper half of its counter."""

import functools
import struct
import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

from fanin.errors import LogicalNameError

STREAM = "fanin-1"


@functools.lru_cache(maxsize=4096)
def name_words(name: str) -> tuple[int, int, int, int]:
    """Hash a logical name to four uint32: BLAKE2b-128 of its NFC UTF-8, personalized by the stream's name."""
    try:
        text = unicodedata.normalize("NFC", name).encode("utf-8")
    except UnicodeEncodeError as error:
        raise LogicalNameError(f"name {name!r} has no UTF-8 form: {error.reason}.") from None
    digest = blake2b(text, digest_size=16, person=STREAM.encode())
    n0, n1, n2, n3 = struct.unpack("<4I", digest.digest())
    return n0, n1, n2, n3


def identity(name: str, seed: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the Philox key, and counter words 2 and 3, of the stream of a name and a seed.

    Args:
        name: the logical name; the empty text is the unnamed stream.
        seed: 0 to 2**64 - 1.
    """
    n0, n1, n2, n3 = name_words(name)
    return (n0 ^ (seed >> 32), n1 ^ (seed & 0xFFFFFFFF)), (n2, n3)


def join_name(components: Iterable[str | int]) -> str:
    r"""Join the components of a path into a logical name.

    Components are joined by ``.``; a backslash, ``.`` or ``/`` inside one is preceded by a
    backslash, so that different paths never share a name. A list index is written in digits.

    Raises:
        LogicalNameError: a component is empty.

    >>> join_name(["encoder", 0, "kernel"])
    'encoder.0.kernel'
    >>> print(join_name(["a.b", "c"]))
    a\.b.c
    """
    parts = [str(component) for component in components]
    if not all(parts):
        raise LogicalNameError(f"path {parts!r} has an empty component; give every level of the tree a name.")
    return ".".join(part.replace("\\", "\\\\").replace(".", "\\.").replace("/", "\\/") for part in parts)
