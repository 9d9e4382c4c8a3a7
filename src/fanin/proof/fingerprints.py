"""Fingerprints: 128 bits of a tensor, whatever its order in memory, its dtype or its shards, and a hash of a model.

docs/proof.md says what they are, exactly.
"""

import functools
import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from fanin.errors import ArgumentError
from fanin.layouts import Layout, Shape
from fanin.proof.blocks import intersection
from fanin.proof.sums import Lanes, added
from fanin.recipe import Window
from fanin.tables import Table, shaped

__all__ = ["ARRAY", "LOGICAL", "Fingerprint", "TensorFingerprint"]

LOGICAL, ARRAY = "logical", "array"  # over which coordinates
VERSION = "fanin-fingerprint-1"


@dataclass(frozen=True)
class TensorFingerprint:
    """The fingerprint of a logical tensor, or of what one process has of it.

    Two are equal if the tensors have one name, as many rows and columns, and the same values; not their
    dtype, shape or layout.

    Attributes:
        name: of the tensor.
        rows, columns: how many it has, whatever the shape of its array.
        lanes: the two sums, of what has been counted.
        windows: of the tensor, each with its sums, where not all has been counted; None where it has.
        shape: of the tensor in its array.
        dtype: of the array.
        whole: whether it was computed whole, so that its last bits are no promise.
    """

    name: str
    rows: int
    columns: int
    lanes: Lanes
    windows: tuple[tuple[Window, Lanes], ...] | None
    shape: Shape = field(compare=False)
    dtype: str = field(compare=False)
    whole: bool = field(default=False, compare=False)

    @classmethod
    def of(
        cls, name: str, shape: Shape, layout: Layout, dtype: str, windows: Iterable[tuple[Window, Lanes]], whole: bool
    ) -> Self:
        """Put together what has been counted.

        Raises:
            ArgumentError: windows overlap, or two are the same and hold different values.
        """
        *rows, columns = layout.canonical_shape(shape) or (1,)
        return cls(name, math.prod(rows), columns, (0, 0), (), shape, dtype, whole)._with(windows)

    def _with(self, windows: Iterable[tuple[Window, Lanes]]) -> Self:
        kept = _merged(self.name, windows)
        lanes = functools.reduce(added, (lanes for _, lanes in kept), (0, 0))
        counted = sum(math.prod(window.shape) for window, _ in kept)
        return replace(self, lanes=lanes, windows=None if counted == self.rows * self.columns else kept)

    @property
    def complete(self) -> bool:
        """Whether every element has been counted."""
        return self.windows is None

    @property
    def hex(self) -> str:
        """The two sums as 32 hexadecimal digits."""
        return _hex(self.lanes)

    def __add__(self, other: "TensorFingerprint") -> "TensorFingerprint":
        """That of what two processes have; equal windows, of replicas, count once.

        Raises:
            ArgumentError: they are of different tensors, overlap otherwise, or replicas differ.
        """
        if not isinstance(other, TensorFingerprint):
            return NotImplemented
        for key in ("name", "rows", "columns", "shape", "dtype"):
            if getattr(self, key) != getattr(other, key):
                raise ArgumentError(
                    f"the fingerprints of {self.name!r}, {key} {getattr(self, key)!r}, and of {other.name!r}, "
                    f"{key} {getattr(other, key)!r}, are of different tensors; add those of one tensor's shards."
                )
        whole = self.whole or other.whole
        if self.windows is not None and other.windows is not None:
            return replace(self, whole=whole)._with((*self.windows, *other.windows))
        kept, rest = (self, other) if self.complete else (other, self)
        if rest.complete and rest.lanes != kept.lanes:
            raise ArgumentError(f"{self.name!r}: two replicas hold different values, {self} and {other}.")
        return replace(kept, whole=whole)

    def to_dict(self) -> dict[str, Any]:
        """It as plain data, which `from_dict` reads."""
        counted = {}
        if self.windows is not None:
            counted["windows"] = [[window.start, window.stop, _hex(lanes)] for window, lanes in self.windows]
        return {
            "fingerprint": self.hex, "rows": self.rows, "columns": self.columns, "shape": self.shape,
            "dtype": self.dtype, "whole": self.whole, "complete": self.complete, **counted,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned, of the tensor of a name.

        Raises:
            ArgumentError: it is none.
        """
        try:
            rows, columns = int(data["rows"]), int(data["columns"])
            lanes, windows = _lanes(data["fingerprint"]), None
            if not data["complete"]:
                windows = tuple((Window(tuple(a), tuple(b)), _lanes(text)) for a, b, text in data["windows"])
            shape, dtype, whole = tuple(data["shape"]), str(data["dtype"]), bool(data["whole"])
            return cls(name, rows, columns, lanes, windows, shape, dtype, whole)
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(f"{name!r}: no fingerprint of a tensor: {data!r} ({error}).") from None

    def __str__(self) -> str:
        return self.hex if self.complete else f"{self.hex} of a part"


def _merged(name: str, windows: Iterable[tuple[Window, Lanes]]) -> tuple[tuple[Window, Lanes], ...]:
    kept: dict[Window, Lanes] = {}
    for window, lanes in windows:
        if kept.setdefault(window, lanes) != lanes:
            raise ArgumentError(
                f"{name!r}: two replicas of the window from {window.start!r} to {window.stop!r} hold different values."
            )
    ordered = sorted(kept.items(), key=lambda item: (item[0].start, item[0].stop))
    for number, (window, _) in enumerate(ordered):
        for other, _ in ordered[number + 1 :]:
            if window.start and other.start[0] >= window.stop[0]:
                break  # neither this one nor those that follow begin inside
            if intersection(window, other) is not None:
                raise ArgumentError(
                    f"{name!r}: the windows from {window.start!r} to {window.stop!r} and from {other.start!r} to "
                    f"{other.stop!r} overlap, so that elements would be counted twice; add those of one sharding."
                )
    return tuple(ordered)


def _hex(lanes: Lanes) -> str:
    return f"{lanes[0]:016x}{lanes[1]:016x}"


def _lanes(text: str) -> Lanes:
    if len(text) != 32:
        raise ValueError(f"{text!r} has not 32 digits")
    return int(text[:16], 16), int(text[16:], 16)


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprints of a model's tensors, and one hash of them all.

    Attributes:
        coordinates: "logical" where the layouts are known, from layers or a plan, so that it is the same in
            every framework; "array" of a file on its own, over the order of its arrays. One of the one kind
            never equals one of the other.
        tensors: by name, in the order of the names.
    """

    coordinates: str
    tensors: tuple[TensorFingerprint, ...]

    @classmethod
    def of(cls, coordinates: str, tensors: Iterable[TensorFingerprint]) -> Self:
        """Put the tensors in order."""
        return cls(coordinates, tuple(sorted(tensors, key=lambda tensor: _nfc(tensor.name))))

    @property
    def complete(self) -> bool:
        """Whether every element of every tensor has been counted."""
        return all(tensor.complete for tensor in self.tensors)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of names, rows, columns and fingerprints, in hexadecimal.

        Of tensors that were computed whole the fingerprint does not enter.

        Raises:
            ArgumentError: not all has been counted: the fingerprints of other shards are to be added.
        """
        if not self.complete:
            first = next(tensor.name for tensor in self.tensors if not tensor.complete)
            raise ArgumentError(
                f"{first!r}, and perhaps more, has been counted in part; add the fingerprints that the other processes "
                f"have, sum(fingerprints), for a hash of the whole."
            )
        tensors = {
            _nfc(tensor.name): [tensor.rows, tensor.columns, "whole" if tensor.whole else tensor.hex]
            for tensor in self.tensors
        }
        facts = {"version": VERSION, "coordinates": self.coordinates, "tensors": tensors}
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def __getitem__(self, name: str) -> TensorFingerprint:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def __iter__(self) -> Iterator[TensorFingerprint]:
        return iter(self.tensors)

    def __add__(self, other: object) -> "Fingerprint":
        """That of what two processes have.

        Raises:
            ArgumentError: the two are over different coordinates, or tensors do not fit.
        """
        if other == 0:  # where sum() begins
            return self
        if not isinstance(other, Fingerprint):
            return NotImplemented
        if self.coordinates != other.coordinates:
            raise ArgumentError(
                f"a fingerprint over {self.coordinates} coordinates and one over {other.coordinates} coordinates have "
                f"nothing in common; give both a plan, or neither."
            )
        found = {tensor.name: tensor for tensor in self.tensors}
        for tensor in other.tensors:
            found[tensor.name] = found[tensor.name] + tensor if tensor.name in found else tensor
        return Fingerprint.of(self.coordinates, found.values())

    __radd__ = __add__

    def to_dict(self) -> dict[str, Any]:
        """It as plain data, which JSON can hold and `from_dict` reads."""
        return {
            "version": VERSION,
            "coordinates": self.coordinates,
            "complete": self.complete,
            "digest": self.digest if self.complete else None,
            "whole": [tensor.name for tensor in self.tensors if tensor.whole],
            "tensors": {tensor.name: tensor.to_dict() for tensor in self.tensors},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` returned.

        Raises:
            ArgumentError: it is none, or of another version.
        """
        if not isinstance(data, Mapping) or data.get("version") != VERSION or "tensors" not in data:
            raise ArgumentError(
                f"this is no fingerprint of the version {VERSION!r}, as Fingerprint.to_dict makes them."
            )
        tensors = [TensorFingerprint.from_dict(name, each) for name, each in data["tensors"].items()]
        return cls.of(str(data.get("coordinates")), tensors)

    def table(self) -> Table:
        """It as a table, the whole's hash below."""
        rows = [
            (each.name, shaped(each.shape), each.dtype, str(each), "computed whole" if each.whole else "")
            for each in self.tensors
        ]
        return Table.of(("name", "shape", "dtype", "fingerprint", ""), rows, [f"{self}, {len(rows):,} tensors"])

    def __str__(self) -> str:
        if not self.complete:
            counted = sum(tensor.complete for tensor in self.tensors)
            return f"{self.coordinates}, a part: {counted} of {len(self.tensors)} tensors are complete"
        return f"{self.coordinates} {self.digest[:32]}"


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
