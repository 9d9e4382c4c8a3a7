"""The lines at which the keys and tables of a TOML text stand, which `tomllib` does not tell.

The text has been read by `tomllib` before, so that this scanner may trust it to be TOML; it knows just
enough of the grammar (strings, comments, brackets) not to mistake one thing for another.
"""

import re
import tomllib
from bisect import bisect_right
from collections import Counter
from typing import Any

__all__ = ["Lines"]

Path = tuple[str | int, ...]

_BASIC, _LITERAL = r'"(?:[^"\\\n]|\\.)*"', r"'[^'\n]*'"
_PART = rf"(?:[\w-]+|{_BASIC}|{_LITERAL})"
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_STRING = re.compile(rf'"""(?:[^\\]|\\.)*?"""+|\'\'\'.*?\'\'\'+|{_BASIC}|{_LITERAL}', re.DOTALL)
_SCALAR = re.compile(r"[^,\[\]{}#\n]+")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")


class Lines:
    r"""Where everything in a TOML text stands.

    >>> Lines("a = 1\n[[rules]]\nmatch = 'x'").of("rules", 0, "match")
    3
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._tables: Counter[Path] = Counter()  # how often each array of tables was opened
        self._lines: dict[Path, int] = {}
        self._at = 0
        self._document()

    def of(self, *path: str | int) -> int:
        """The line of a key, or of what holds it; the first line for the whole text."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _document(self) -> None:
        table: Path = ()
        self._take(_BLANK)
        while self._at < len(self._text):
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._take(_BLANK)

    def _header(self) -> Path:
        start = self._at
        many = self._text.startswith("[[", start)
        self._at += 2 if many else 1
        self._take(_BLANK)
        path: Path = ()
        *outer, last = self._key()
        for part in outer:
            path = self._latest((*path, part))
        path = (*path, last)
        self._note(path, start)
        if many:
            self._tables[path] += 1
            path = self._latest(path)
            self._note(path, start)
        self._take(_BLANK)
        self._at += 2 if many else 1
        return path

    def _latest(self, path: Path) -> Path:
        """The last table of an array of tables; any other path as it is."""
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = table
        for part in self._key():
            path = (*path, part)
            self._note(path, start)
        self._take(_BLANK)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._take(_BLANK)
        opening = self._peek()
        if opening not in "[{":
            self._take(_STRING if opening in "\"'" else _SCALAR)
            return
        closing, number = "]" if opening == "[" else "}", 0
        self._at += 1
        self._take(_BLANK)
        while self._peek() != closing:
            if opening == "[":
                self._note((*path, number), self._at)
                self._value((*path, number))
                number += 1
            else:
                self._pair(path)
            self._take(_BLANK)
            if self._peek() == ",":
                self._at += 1
                self._take(_BLANK)
        self._at += 1

    def _key(self) -> list[str]:
        """The parts of a dotted key, unquoted."""
        key = self._take(_KEY)
        if '"' not in key and "'" not in key:
            return [part.strip() for part in key.split(".")]
        inner: Any = tomllib.loads(f"{key} = 0")
        parts = []
        while inner != 0:
            ((part, inner),) = inner.items()
            parts.append(part)
        return parts

    def _note(self, path: Path, at: int) -> None:
        self._lines.setdefault(path, bisect_right(self._ends, at - 1) + 1)

    def _peek(self) -> str:
        return self._text[self._at]

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, f"no TOML at {self._at}"
        self._at = match.end()
        return match[0]
