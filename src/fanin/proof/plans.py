"""Two plans compared: what decides the numbers of each tensor."""

from collections.abc import Iterator, Sequence

from fanin.plan import Entry, digest
from fanin.proof.compared import DIFFERS, FIRST, SAME, SECOND, Compared
from fanin.proof.explanation import Explained, explained
from fanin.recipe import Draw
from fanin.tables import number

__all__ = ["compared_plans"]


def compared_plans(first: Sequence[Entry], second: Sequence[Entry]) -> list[Compared]:
    """Compare entry by entry: they are the same where they draw the same numbers, however that is written."""
    others = {entry.name: entry for entry in second}
    found = []
    for entry in first:
        other = others.pop(entry.name, None)
        if other is None:
            found.append(Compared(entry.name, FIRST, shapes=(entry.shape, None), dtypes=(entry.dtype.name, "")))
            continue
        same = digest([entry]) == digest([other])
        found.append(
            Compared(
                entry.name,
                SAME if same else DIFFERS,
                "" if same else "; ".join(_told(entry, other)),
                (entry.shape, other.shape),
                (entry.dtype.name, other.dtype.name),
                stds=_pair(explained(entry).std, explained(other).std),
                means=_pair(explained(entry).mean, explained(other).mean),
            )
        )
    return found + [
        Compared(entry.name, SECOND, shapes=(None, entry.shape), dtypes=("", entry.dtype.name))
        for entry in others.values()
    ]


def _pair(first: float | None, second: float | None) -> tuple[float, float] | None:
    return None if first is None or second is None else (first, second)


def _told(entry: Entry, other: Entry) -> Iterator[str]:
    """In what two entries differ."""
    if entry.shape != other.shape:
        yield f"shape {entry.shape!r} and {other.shape!r}"
    if entry.dtype != other.dtype:
        yield f"{entry.dtype.name} and {other.dtype.name}"
    one, two = explained(entry), explained(other)
    if _is_other(entry, other):
        yield f"{_distribution(one)} and {_distribution(two)}"
    if isinstance(entry.recipe, Draw) and isinstance(other.recipe, Draw) and entry.shape == other.shape:
        coordinates = [each.layout.coordinates(each.shape) for each in (entry, other)]
        if coordinates[0] != coordinates[1]:
            yield f"layout {entry.layout.text or 'array order'!r} and {other.layout.text or 'array order'!r}"
    if one.seed != two.seed and one.seed is not None and two.seed is not None:
        yield f"seed {one.seed} and {two.seed}"


def _is_other(entry: Entry, other: Entry) -> bool:
    if isinstance(entry.recipe, Draw) and isinstance(other.recipe, Draw):
        return entry.recipe.distribution != other.recipe.distribution
    return bool(entry.initializer != other.initializer)


def _distribution(row: Explained) -> str:
    spread = "" if not row.std else f", std {number(row.std)}"
    return f"{row.distribution if row.distribution != 'computed whole' else row.initializer}{spread}"
