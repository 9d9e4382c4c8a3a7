"""What a comparison tells: records, a table, plain data."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from fanin.layouts import Shape
from fanin.tables import Table, shaped

__all__ = ["ALIKE", "DIFFERS", "FIRST", "OTHER_DTYPE", "RENAMED", "SAME", "SECOND", "Compared", "Comparison"]

SAME = "same"
ALIKE = "as in the plan"
DIFFERS = "differs"
FIRST = "only in the first"
SECOND = "only in the second"
RENAMED = "other name"
OTHER_DTYPE = "other dtype"


@dataclass(frozen=True)
class Compared:
    """What comparison found of one tensor.

    Attributes:
        name: of the tensor.
        status: "same", bit for bit; "as in the plan", where the values are others and chance explains how;
            "differs"; "only in the first", "only in the second", "other name", "other shape", "other dtype",
            "not initialized".
        text: how it differs, in words.
        shapes: in the first and in the second; None where it is not.
        dtypes: likewise.
        elements: how many were compared.
        differing: how many of them differ.
        greatest: how far apart two elements are, at most.
        means: of the values in the first; of those in the second, or by the plan.
        stds: likewise, standard deviations.
    """

    name: str
    status: str
    text: str = ""
    shapes: tuple[Shape | None, Shape | None] = (None, None)
    dtypes: tuple[str, str] = ("", "")
    elements: int = 0
    differing: int = 0
    greatest: float | None = None
    means: tuple[float, float] | None = None
    stds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """What comparison found. It is true where all is the same, or as chance has it by the plan.

    Attributes:
        first, second: what was compared.
        tensors: one record for each, in the order of the first, then what the second has besides.
        notes: what else is to be known.
    """

    first: str
    second: str
    tensors: tuple[Compared, ...]
    notes: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[Compared, ...]:
        """The records that are neither "same" nor "as in the plan"."""
        return tuple(each for each in self.tensors if each.status not in (SAME, ALIKE))

    @property
    def same(self) -> bool:
        """Whether every tensor is the same, bit for bit."""
        return all(each.status == SAME for each in self.tensors)

    def __bool__(self) -> bool:
        return not self.differing

    def to_dict(self) -> dict[str, Any]:
        """It as plain data, which JSON can hold: what is no number is a text."""
        tensors = [
            {key: _plain(value) for key, value in asdict(each).items() if value not in (None, "", ("", ""))}
            for each in self.tensors
        ]
        return {
            "ok": bool(self), "same": self.same, "first": self.first, "second": self.second,
            "notes": list(self.notes), "tensors": tensors,
        }  # fmt: skip

    def table(self) -> Table:
        """What differs, as a table, and a summary."""
        rows = [
            (each.name, _both(each.shapes, shaped), _both(each.dtypes, str), each.status, each.text)
            for each in self.differing
        ]
        notes = [f"note: {note}" for note in self.notes]
        return Table.of(("name", "shape", "dtype", "", "how"), rows, [*notes, self.summary])

    @property
    def summary(self) -> str:
        """One line."""
        counts = {status: sum(each.status == status for each in self.tensors) for status in (SAME, ALIKE)}
        told = [f"{count:,} {status}" for status, count in counts.items() if count]
        told += [f"{len(self.differing):,} not"] if self.differing else []
        return f"{self.first} and {self.second}: {len(self.tensors):,} tensors: {', '.join(told) or 'none'}"

    def __str__(self) -> str:
        return str(self.table())


def _both(pair: tuple[Any, Any], text: Any) -> str:
    first, second = (text(each) if each not in (None, "") else "" for each in pair)
    return first if first == second or not second else second if not first else f"{first}, {second}"


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
