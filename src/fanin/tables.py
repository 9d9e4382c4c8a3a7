"""Reports as tables: cells of text, which anything can show."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Table", "number", "shaped"]


@dataclass(frozen=True)
class Table:
    """Columns and rows of text, and lines below them.

    Attributes:
        columns: their titles.
        rows: a cell for each column.
        below: lines of text.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()

    @classmethod
    def of(cls, columns: Iterable[str], rows: Iterable[Iterable[str]], below: Iterable[str] = ()) -> "Table":
        """A table without the columns that are empty."""
        titles, cells = tuple(columns), [tuple(row) for row in rows]
        kept = [at for at in range(len(titles)) if any(row[at] for row in cells)]
        return cls(
            tuple(titles[at] for at in kept), tuple(tuple(row[at] for at in kept) for row in cells), tuple(below)
        )

    def __str__(self) -> str:
        lines = []
        if self.rows:
            rows = [self.columns, *self.rows]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *self.below])


def number(value: float | None) -> str:
    """A number in few digits; nothing for None."""
    return "" if value is None else f"{value:.4g}"


def shaped(shape: tuple[int, ...] | None) -> str:
    """A shape without commas, so that cells stay narrow."""
    return "" if shape is None else f"({' '.join(map(str, shape))})"
