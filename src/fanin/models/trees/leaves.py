"""Leaves that are written in place: arrays of NumPy, and tensors of torch."""

import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from fanin import dtypes
from fanin.errors import FaninError
from fanin.initializers.outputs import checked
from fanin.layouts import Shape
from fanin.models.arrays import Array, Part, write
from fanin.models.trees.walking import Trail, jax_room
from fanin.recipe import Piece, Window

__all__ = ["Kind", "kind_of"]


class Kind(Protocol):
    """What is to be known of the leaves of one type of array."""

    def extent(self, leaf: Any) -> tuple[Shape, str]:
        """The shape of the whole, and the dtype.

        Raises:
            ShapeError, DTypeError: it has none that can be written.
        """

    def memory(self, leaf: Any) -> object:
        """What leaves have in common that are one memory; None where each is its own."""

    def read(self, array: Array) -> Sequence[Part]:
        """What this process has of it, as NumPy sees it; see `fanin.models.arrays.Readable`."""

    def check(self, array: Array, trail: Trail, sharding: Any) -> None:
        """Refuse what cannot be written, or made.

        Raises:
            OutputError, ShapeError, ArgumentError: and why.
        """

    def written(self, array: Array, pieces: Iterable[Piece], trail: Trail, sharding: Any) -> Any:
        """The leaf with its values: itself, or a new one."""


class _Host:
    """Arrays of NumPy."""

    def extent(self, leaf: np.ndarray) -> tuple[Shape, str]:
        return leaf.shape, dtypes.resolve(leaf.dtype).name

    def memory(self, leaf: np.ndarray) -> object:
        address: int = leaf.__array_interface__["data"][0]
        return (address, leaf.dtype.str, leaf.shape, leaf.strides) if leaf.size else id(leaf)

    def read(self, array: Array) -> Sequence[Part]:
        return [Part(Window.whole(array.shape), array.handle.view(np.ndarray))]

    def check(self, array: Array, trail: Trail, sharding: Any) -> None:
        try:
            checked(array.handle, None, array.shape)
        except FaninError as error:
            raise type(error)(f"{array.name!r}: {error}") from None

    def written(self, array: Array, pieces: Iterable[Piece], trail: Trail, sharding: Any) -> np.ndarray:
        leaf: np.ndarray = array.handle
        write(pieces, [Part(Window.whole(array.shape), leaf.view(np.ndarray))])
        return leaf


class _Torch:
    """Tensors of torch, as a state_dict has them."""

    def extent(self, leaf: Any) -> tuple[Shape, str]:
        return _torch_room().whole_shape(leaf), dtypes.resolve(leaf.dtype).name

    def memory(self, leaf: Any) -> object:
        return _torch_room().memory(leaf)

    def read(self, array: Array) -> Sequence[Part]:
        found: Sequence[Part] = _torch_room().read(array)
        return found

    def check(self, array: Array, trail: Trail, sharding: Any) -> None:
        _torch_room().check(array.handle, array.name)

    def written(self, array: Array, pieces: Iterable[Piece], trail: Trail, sharding: Any) -> Any:
        _torch_room().write(array, pieces)
        return array.handle


def _torch_room() -> Any:
    return importlib.import_module("fanin.models.torch")


def kind_of(leaf: Any) -> Kind | None:
    """The kind of a leaf; None of what is no array."""
    if isinstance(leaf, np.ndarray):
        return _Host()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(leaf, torch.Tensor):
        return _Torch()
    room = jax_room()
    kind: Kind | None = None if room is None else room.kind_of(leaf)
    return kind
