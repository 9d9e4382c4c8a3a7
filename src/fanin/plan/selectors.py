"""Selectors: which names a rule means, by a pattern or by a regular expression, and what a name captures."""

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from fanin.errors import PlanError

__all__ = ["Selector", "filled", "placeholders"]

_PLACEHOLDER = re.compile(r"\{([^\W\d]\w*)\}")
_TOKEN = re.compile(r"\{[^\W\d]\w*\}|.", re.DOTALL)
_DIGITS = "[0-9]{1,18}"  # as many as an int64 holds
LONGEST = 200  # characters that suggestions look at

MANY, ONE, NUMBER = "many", "one", "number"  # each longer than the single characters beside it


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
    regex: re.Pattern[str]
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
        return cls(text, re.compile("".join(source), re.DOTALL), tuple(tokens))

    @classmethod
    def of_regex(cls, text: str) -> "Selector":
        """Read a regular expression.

        Raises:
            PlanError: it is none.
        """
        try:
            return cls(text, re.compile(unicodedata.normalize("NFC", text)), ())
        except (re.error, RecursionError, OverflowError) as error:
            raise PlanError(f"the regex {text!r} cannot be read: {error}.") from None

    @property
    def captures(self) -> tuple[str, ...]:
        """The names that it captures."""
        return tuple(self.regex.groupindex)

    def match(self, name: str) -> dict[str, int] | None:
        """The integers that a name captures; None where it does not match."""
        found = self.regex.fullmatch(unicodedata.normalize("NFC", name))
        if found is None:
            return None
        groups = found.groupdict().items()
        return {key: int(value) for key, value in groups if value and re.fullmatch(_DIGITS, value)}

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
