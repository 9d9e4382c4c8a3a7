"""Where unseeded draws come from: fresh entropy, or the tensor that a plan is making."""

import contextlib
import contextvars
import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from fanin.recipe import check_seed

__all__ = ["drawing", "unseeded"]


@dataclass(slots=True)
class _Drawing:
    name: str
    seed: int
    calls: Iterator[int] = field(default_factory=itertools.count)


_active: contextvars.ContextVar[_Drawing | None] = contextvars.ContextVar("fanin_drawing", default=None)


@contextlib.contextmanager
def drawing(name: str, seed: int) -> Iterator[None]:
    r"""Make everything that is drawn without a seed, in this context, come from a name and a seed.

    Draw number n, counted from 0, takes the stream called ``name\#n``: a name that no path of a
    model has, since `fanin.spec.join_name` doubles every backslash. A thread started inside has a
    context of its own, and draws fresh values.

    Args:
        name: the logical name of the tensor that is being made.
        seed: 0 to 2**64 - 1.

    >>> from fanin import backend
    >>> with drawing("head.kernel", seed=7):
    ...     first = backend.random_normal((2, 2))
    >>> with drawing("head.kernel", seed=7):
    ...     bool((backend.random_normal((2, 2)) == first).all())
    True
    """
    token = _active.set(_Drawing(name, check_seed(seed)))
    try:
        yield
    finally:
        _active.reset(token)


def unseeded(name: str) -> tuple[str, int]:
    """Return the stream's name and seed of a draw that was given no seed."""
    active = _active.get()
    if active is None:
        return name, secrets.randbits(64)
    return f"{active.name}\\#{next(active.calls)}", active.seed
