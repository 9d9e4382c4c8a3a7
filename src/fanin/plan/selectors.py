"""Selectors: which names a rule means, by a pattern or by a regular expression, and what a name captures."""

import difflib
import functools
import itertools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import regex

from fanin.errors import PlanError

__all__ = ["Selector", "filled", "placeholders"]

_PLACEHOLDER = re.compile(r"\{([^\W\d]\w*)\}")
_TOKEN = re.compile(r"\{[^\W\d]\w*\}|.", re.DOTALL)
_DIGITS = "[0-9]{1,18}"  # as many as an int64 holds
LONGEST = 200  # characters that suggestions look at
PATIENCE = 1.0  # seconds for one match: a regular expression can take longer than the age of the universe

MANY, ONE, NUMBER = "many", "one", "number"  # each longer than the single characters beside it


def _is_plain(token: str) -> bool:
    return len(token) == 1


def placeholders(text: str) -> list[str]:
    """The names in braces of a text, in order."""
    return _PLACEHOLDER.findall(text)


def filled(text: str, values: Mapping[str, int | str]) -> str:
    """A text with values in place of the names in braces."""
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)


@dataclass(frozen=True)
class Selector:
    """A test of names.

    Attributes:
        text: as it was written.
        regex: that a whole name has to match.
        tokens: of a pattern: single characters, `MANY`, `ONE` and `NUMBER`; none for a regular expression.
    """

    text: str
    regex: Any
    tokens: tuple[str, ...]

    @classmethod
    def of_pattern(cls, text: str) -> "Selector":
        """Read a pattern: ``*`` is any characters, ``?`` is one, ``{i}`` a whole run of digits.

        Raises:
            PlanError: there are other braces in it.
        """
        tokens, source, seen = [], [], set()
        for token in _TOKEN.findall(unicodedata.normalize("NFC", text)):
            if token in "{}":
                raise PlanError(
                    f"the pattern {text!r} has a brace that is part of no {{name}}. Braces capture digits, as in "
                    f"'h.{{i}}.weight'; for alternatives give a list of patterns, for anything else a regex."
                )
            if token == "*":
                tokens.append(MANY)
                source.append(".*")
            elif token == "?":
                tokens.append(ONE)
                source.append(".")
            elif len(token) > 1:
                name = token[1:-1]
                group = f"(?P={name})" if name in seen else f"(?P<{name}>{_DIGITS})"
                seen.add(name)
                tokens.append(NUMBER)
                source.append(f"(?<![0-9]){group}(?![0-9])")
            else:
                tokens.append(token)
                source.append(re.escape(token))
        return cls(text, regex.compile("".join(source), regex.DOTALL), tuple(tokens))

    @classmethod
    def of_regex(cls, text: str) -> "Selector":
        """Read a regular expression.

        Raises:
            PlanError: it is none.
        """
        try:
            return cls(text, regex.compile(unicodedata.normalize("NFC", text)), ())
        except (regex.error, RecursionError, OverflowError) as error:
            raise PlanError(f"the regex {text!r} cannot be read: {error}.") from None

    @property
    def captures(self) -> tuple[str, ...]:
        """The names that it captures."""
        return tuple(self.regex.groupindex)

    def match(self, name: str) -> dict[str, int] | None:
        """The integers that a name captures; None where it does not match.

        Raises:
            PlanError: it takes too long.
        """
        name = unicodedata.normalize("NFC", name)
        head, tail = self._ends
        if not (name.startswith(head) and name.endswith(tail)):
            return None
        try:
            found = self.regex.fullmatch(name, timeout=PATIENCE)
        except TimeoutError:
            raise PlanError(
                f"{self.text!r} takes more than {PATIENCE:g} s for the name {name!r}, probably because of a repetition "
                f"inside of a repetition, or of many stars; write it so that a name matches in one way only."
            ) from None
        if found is None:
            return None
        groups = found.groupdict().items()
        return {key: int(value) for key, value in groups if value and re.fullmatch(_DIGITS, value)}

    @functools.cached_property
    def _ends(self) -> tuple[str, str]:
        """What each name that it matches begins and ends with: most names are told apart by that, and fast."""
        head = "".join(itertools.takewhile(_is_plain, self.tokens))
        tail = "".join(itertools.takewhile(_is_plain, reversed(self.tokens)))
        return head, tail[::-1]

    @property
    def is_name(self) -> bool:
        """Whether it is one name, written out."""
        return bool(self.tokens) and not {MANY, ONE, NUMBER}.intersection(self.tokens)

    @property
    def is_open(self) -> bool:
        """Whether it matches every name."""
        return bool(self.tokens) and set(self.tokens) == {MANY}

    def within(self, other: "Selector") -> bool:
        """Whether every name that it matches is one that the other matches, as far as the patterns tell."""
        if other.is_open or self.text == other.text:
            return True
        return bool(self.tokens and other.tokens) and _within(self.tokens, other.tokens)

    def distance(self, name: str) -> int:
        """How many characters one would have to change for a name to match, about; for suggestions."""
        name = name[:LONGEST]
        if not self.tokens:
            matcher = difflib.SequenceMatcher(None, self.text, name, autojunk=False)
            return len(name) - sum(block.size for block in matcher.get_matching_blocks())
        # Levenshtein's recurrence, one row per token, where a wildcard takes characters for nothing.
        row = list(range(len(name) + 1))
        for token in self.tokens[:LONGEST]:
            above, row = row, [row[0] + (token is not MANY)]
            for j, character in enumerate(name, start=1):
                if token is MANY:
                    row.append(min(above[j], row[j - 1]))
                    continue
                differs = not character.isdigit() if token is NUMBER else token not in (ONE, character)
                longer = row[j - 1] + (differs or token is not NUMBER)
                row.append(min(above[j] + 1, above[j - 1] + differs, longer))
        return row[-1]


@functools.lru_cache(maxsize=4096)
def _within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether a pattern matches all that another does: the other's tokens are matched as if they were a name."""
    reached = {0}  # positions in the inner pattern that the outer one, up to here, can have come to
    for token in outer:
        following: set[int] = set()
        for at in reached:
            if token is MANY:
                following.update(range(at, len(inner) + 1))
            elif at < len(inner) and token is NUMBER:
                following.add(_after_digits(inner, at))
            elif at < len(inner) and (inner[at] == token or (token is ONE and inner[at] not in (MANY, NUMBER))):
                following.add(at + 1)
        reached = following - {-1}
    return len(inner) in reached


def _after_digits(tokens: tuple[str, ...], at: int) -> int:
    """Where a whole run of digits ends that begins there; -1 where none does for sure."""
    end = at + 1
    if tokens[at] is not NUMBER:
        while end < len(tokens) and _is_digit(tokens[end]):
            end += 1
        if not _is_digit(tokens[at]) or end - at > 18:
            return -1
    around = (tokens[at - 1] if at else ""), (tokens[end] if end < len(tokens) else "")
    return -1 if any(token in (MANY, ONE, NUMBER) or _is_digit(token) for token in around) else end


def _is_digit(token: str) -> bool:
    return len(token) == 1 and token in "0123456789"
