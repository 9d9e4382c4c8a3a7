"""Strings that mean fanin's initializers: ``kernel_initializer="he_normal"``; and the seeds that follow with them.

`keras.initializers.get` hands every name, and every configuration, to the function `deserialize` of its own
module: that one function is replaced while anything is installed. The public alternative,
`keras.saving.get_custom_objects`, is looked up for names of any kind, so that a padding of mode "constant" or
a layer called "Identity" would become an initializer.
"""

import contextlib
import contextvars
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from fanin.errors import ArgumentError
from fanin.initializers import custom
from fanin.initializers.base import Seed
from fanin.keras.seeds import numbered
from fanin.recipe import check_seed

__all__ = ["TWINS", "install", "installed", "uninstall"]

# The twins by the Keras classes that they stand in for.
TWINS: dict[Any, Any] = {}

_table: Any = sys.modules[keras.initializers.get.__module__]
_theirs: Callable[..., Any] = _table.deserialize


class _Installation:
    """What strings mean: the twins, seeded by Keras or by the numbers of one seed."""

    def __init__(self, seed: Seed) -> None:
        self._seed = None if seed is None else check_seed(seed)
        self._numbers = itertools.count()

    def make(self, cls: Any, config: Mapping[str, Any]) -> Any:
        made = cls.from_config(config) if config else cls()
        if self._seed is None or not hasattr(made, "seed") or config.get("seed") is not None:
            return made
        return cls.from_config({**made.get_config(), "seed": self.seed()})

    def seed(self) -> int:
        """Return the next seed: one that follows from the installation's, or one of Keras' own stream."""
        if self._seed is None:
            return int(keras.initializers.RandomUniform().seed)
        return numbered(self._seed, next(self._numbers))


_lock = threading.Lock()
_everywhere: list[_Installation] = []
_here: contextvars.ContextVar[tuple[_Installation, ...]] = contextvars.ContextVar("fanin_keras", default=())
_contexts = itertools.count()
_open: set[int] = set()


def install(seed: Seed = None) -> None:
    """Make the names of Keras' initializers mean fanin's, in every layer and thread, until `uninstall`.

    Every name that `keras.initializers.get` takes, such as ``"he_normal"``, ``"HeNormal"`` and the defaults of
    all layers, then gives the class of `fanin.keras`. Instances, configurations that name Keras' module (as saved
    models have them) and names that are registered as custom objects mean what they meant. Installations nest.

    Args:
        seed: None takes one seed per initializer from Keras' own stream, so that `keras.utils.set_random_seed`
            reproduces a script. An integer gives the initializers made from now on, in their order, seeds that
            follow from it. What `fanin.initializers` and `fanin.backend` draw without a seed takes one in the same
            way, at each draw.

    Raises:
        SeedError: the seed is no integer from 0 to 2**64 - 1.
    """
    installation = _Installation(seed)
    with _lock:
        _everywhere.append(installation)
        _hook()


def uninstall() -> None:
    """Undo the last `install`: names mean again what they meant before it.

    Raises:
        ArgumentError: nothing is installed.
    """
    with _lock:
        if not _everywhere:
            raise ArgumentError("nothing is installed: every uninstall() needs an install() before it.")
        _everywhere.pop()
        _unhook()


@contextlib.contextmanager
def installed(seed: Seed = None) -> Iterator[None]:
    """Make names mean fanin's inside a ``with`` block, in this thread only, as `keras.saving.custom_object_scope`.

    Args:
        seed: see `install`.

    Raises:
        SeedError: the seed is no integer from 0 to 2**64 - 1.
    """
    installation, number = _Installation(seed), next(_contexts)
    with _lock:
        _open.add(number)
        _hook()
    token = _here.set((*_here.get(), installation))
    try:
        yield
    finally:
        _here.reset(token)
        with _lock:
            _open.discard(number)
            _unhook()


def _hook() -> None:
    global _theirs
    custom.fresh = _fresh
    if _table.deserialize is not _deserialize:
        _theirs, _table.deserialize = _table.deserialize, _deserialize


def _unhook() -> None:
    if _everywhere or _open:
        return
    custom.fresh = custom.entropy
    if _table.deserialize is _deserialize:  # else someone replaced it since, and it stays, and passes everything on
        _table.deserialize = _theirs


def _active() -> tuple[_Installation, ...]:
    return _here.get() or tuple(_everywhere)


def _fresh() -> int:
    """A seed for what has none and is no string, such as the draws of `fanin.backend` in a function."""
    active = _active()
    return active[-1].seed() if active else custom.entropy()


def _deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Keras' `deserialize`, before which names are looked up."""
    active = _active()
    name = _name(config)
    if active and name is not None and name not in (custom_objects or {}):
        twin = TWINS.get(_table.ALL_OBJECTS_DICT.get(name))
        if twin is not None and keras.saving.get_registered_object(name) is None:
            return active[-1].make(twin, config.get("config") or {} if isinstance(config, dict) else {})
    return _theirs(config, custom_objects)


def _name(config: Any) -> str | None:
    """The name that a configuration is; None where it says of which module its class is."""
    if isinstance(config, dict):
        config = None if config.get("module") or config.get("registered_name") else config.get("class_name")
    return config if isinstance(config, str) else None
