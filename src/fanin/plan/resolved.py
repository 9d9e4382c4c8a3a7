"""A resolved plan: plain data that says what is in every tensor and every array."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, overload

from fanin import dtypes, models
from fanin.errors import FaninError, PlanError
from fanin.initializers import Initializer, deserialize, serialize
from fanin.layouts import ARRAY_ORDER, Layout, of_member
from fanin.models import Array, Naming, Parameter
from fanin.models.arrays import pieces_of
from fanin.plan.application import Only, apply
from fanin.plan.entries import Entry, digest
from fanin.plan.rules import Rule
from fanin.progress import Progress
from fanin.recipe import Piece, Window
from fanin.spec import STREAM

__all__ = ["Resolved"]

FORMAT = 1


class Resolved(Sequence[Entry]):
    """What `fanin.Plan.resolve` returns: an `Entry` for each logical tensor, and the arrays that hold them.

    Two are equal, and have one hash, where they make the same draws (see `digest`).

    Args:
        entries: of different names.
        arrays: that hold the tensors; by default each has one of its own.
    """

    def __init__(self, entries: Iterable[Entry], arrays: Iterable[Array] | None = None) -> None:
        self.entries = tuple(entries)
        own = (Array(each.name, None, each.shape, (each.parameter,)) for each in self.entries)
        self.arrays = tuple(own if arrays is None else arrays)
        self._named = {entry.name: entry for entry in self.entries}

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        return self.entries[index]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Resolved) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        rows = [(e.name, str(list(e.shape)), e.dtype.name, e.layout.text, str(e.initializer)) for e in self.entries]
        widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        return f"<Resolved plan of {len(self.entries)} tensors, {self.digest[:16]}>"

    @property
    def digest(self) -> str:
        """A hash of all that decides the numbers; see `fanin.plan.digest`."""
        return digest(self.entries)

    def held(self, array: Array) -> list[tuple[Parameter, Entry]]:
        """The tensors in an array, and what each is."""
        return [(parameter, self._named[parameter.name]) for parameter in array.parameters]

    def pieces(self, array: Array) -> list[Piece]:
        """What an array is made of."""
        return [
            piece
            for parameter, entry in self.held(array)
            for piece in pieces_of(parameter, entry.recipe, entry.zero_rows)
        ]

    def apply(self, model: Any, *, only: Only = None, names: Naming = None, progress: Progress | None = None) -> Any:
        """Initialize a model that has these arrays; see `fanin.Plan.apply`.

        Raises:
            PlanError: the model has others.
        """
        opened = models.opened(model)
        by_name = {array.name: array for array in self.arrays}
        found = []
        for array in models.renamed(opened.arrays, names) if names is not None else opened.arrays:
            held = by_name.pop(array.name, None)
            if held is None or held.shape != array.shape:
                what = "which the plan does not have" if held is None else f"not {held.shape!r} as in the plan"
                raise PlanError(f"the model has {array.name!r} of shape {array.shape!r}, {what}.")
            found.append(Array(array.name, array.handle, array.shape, held.parameters, array.zero_rows, array.offset))
        if by_name:
            raise PlanError(f"the model does not have {', '.join(map(repr, by_name))}, which the plan has.")
        return apply(self, opened, found, only, progress, type(model).__name__)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, from which `from_dict` makes the same.

        Raises:
            PlanError: a function or an array of one's own is among the initializers.
        """
        return {
            "format": FORMAT,
            "stream": STREAM,
            "tensors": [_tensor(entry) for entry in self.entries],
            "arrays": [_array(array) for array in self.arrays],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make what `to_dict` described.

        Raises:
            PlanError: it is no such data, or of another version of the stream.
        """
        try:
            if data["format"] != FORMAT or data["stream"] != STREAM:
                raise PlanError(
                    f"the resolved plan is of format {data['format']!r} and stream {data['stream']!r}; this is format "
                    f"{FORMAT} and {STREAM}. Resolve the plan again."
                )
            entries = [_entry(each) for each in data["tensors"]]
            parameters = {entry.name: entry.parameter for entry in entries}
            arrays = [_read_array(each, parameters) for each in data["arrays"]]
            return cls(entries, arrays)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, FaninError):
                raise
            raise PlanError(f"this is no resolved plan: {type(error).__name__}: {error}.") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON.

        Raises:
            PlanError: see `to_dict`; or the file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        try:
            Path(path).write_text(text + "\n", "utf-8")
        except OSError as error:
            raise PlanError(f"the resolved plan {os.fspath(path)!r} cannot be written: {error.strerror}.") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            PlanError: the file cannot be read, or is no resolved plan.
        """
        try:
            data = json.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise PlanError(f"the resolved plan {os.fspath(path)!r} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise PlanError(f"{os.fspath(path)!r} is no resolved plan: {error}.") from None
        if not isinstance(data, dict):
            raise PlanError(f"{os.fspath(path)!r} is no resolved plan, but a {type(data).__name__}.")
        return cls.from_dict(data)


def _tensor(entry: Entry) -> dict[str, Any]:
    initializer = entry.initializer
    if not isinstance(initializer, Initializer) or initializer._is_custom():
        raise PlanError(
            f"{entry.name!r} is made by {initializer!r}, which is no data; a plan that is saved has initializers of "
            f"fanin.initializers only."
        )
    parameter = entry.parameter
    return {
        "name": entry.name, "shape": list(entry.shape), "dtype": entry.dtype.name, "layout": entry.layout.text,
        "member": entry.layout.member,
        "initializer": serialize(initializer), "seed": entry.seed, "zero_rows": list(entry.zero_rows),
        "module": parameter.module, "role": parameter.role, "rule": str(entry.rule), "where": entry.rule.where,
    }  # fmt: skip


def _entry(data: Mapping[str, Any]) -> Entry:
    layout = of_member(Layout(data["layout"]) if data["layout"] else ARRAY_ORDER, data["member"])
    parameter = Parameter(
        data["name"], tuple(data["shape"]), data["dtype"], layout if layout.stated else None, module=data["module"],
        role=data["role"],
    )  # fmt: skip
    initializer = deserialize(data["initializer"])
    assert isinstance(initializer, Initializer)
    recipe = initializer.recipe(parameter.shape, name=parameter.name, layout=layout, seed=data["seed"])
    rule = Rule(parameter.name, data["initializer"], where=data["where"])
    dtype = dtypes.resolve(data["dtype"])
    return Entry(parameter, dtype, recipe, rule, initializer, layout, data["seed"], tuple(data["zero_rows"]))


def _array(array: Array) -> dict[str, Any]:
    tensors = [{"name": each.name, "places": [[_box(a), _box(b)] for a, b in each.places]} for each in array.parameters]
    whole = len(tensors) == 1 and array.parameters[0].at is None
    return {"name": array.name, "shape": list(array.shape), "tensors": [tensors[0]["name"]] if whole else tensors}


def _read_array(data: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Array:
    held = []
    for each in data["tensors"]:
        if isinstance(each, str):
            held.append(parameters[each])
            continue
        at = tuple((_window(a), _window(b)) for a, b in each["places"])
        one = parameters[each["name"]]
        held.append(
            Parameter(
                one.name, one.shape, one.dtype, one.layout, array=data["name"], at=at, module=one.module, role=one.role
            )
        )
    return Array(data["name"], None, tuple(data["shape"]), tuple(held))


def _box(window: Window) -> list[list[int]]:
    return [list(window.start), list(window.stop)]


def _window(box: Sequence[Sequence[int]]) -> Window:
    return Window(tuple(box[0]), tuple(box[1]))
