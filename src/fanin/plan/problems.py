"""Mistakes of one kind, told together in one error."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from fanin.errors import PlanError

__all__ = ["Problems", "joined", "listed", "located", "nearest"]

MOST = 10  # of a kind that are shown

T = TypeVar("T")


def located(text: str, where: str) -> str:
    """A message with the place that it is about, where there is one."""
    return f"{text} ({where})" if where else text


def listed(items: Sequence[T], text: Callable[[T], str] = str) -> str:
    """Items on lines of their own; after the tenth, how many there are."""
    shown = [f"\n  {text(item)}" for item in items[:MOST]]
    return "".join(shown) + (f"\n  and {len(items) - MOST} more" if len(items) > MOST else "")


def joined(items: Sequence[str], most: int = 3) -> str:
    """Items on one line; after the third, how many there are."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that tells which known name was meant, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}."


class Problems:
    """A list of problems that becomes one `PlanError`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.cause: Exception | None = None

    def add(self, text: str, where: str = "", cause: Exception | None = None) -> None:
        """Note a problem, the place that it is at, and the error that told it."""
        self.texts.append(located(text, where))
        self.cause = self.cause or cause

    def check(self) -> None:
        """Raise what was noted, if anything was."""
        if not self.texts:
            return
        several = f"{len(self.texts)} problems:" + listed(self.texts)
        raise PlanError(self.texts[0] if len(self.texts) == 1 else several) from self.cause
