"""Rules: which parameters get which initializer."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanin.errors import PlanError
from fanin.layouts import Layout, as_layout
from fanin.plan.selectors import Selector
from fanin.recipe import check_seed

__all__ = ["Rule"]

SHOWN = 3  # patterns of a list, in messages


@dataclass(frozen=True)
class Rule:
    """Which parameters get which initializer.

    Of all rules of a plan, the first whose selector matches a parameter's name claims it.

    Args:
        match: a pattern, or a list of patterns of which one has to match: ``*`` stands for any
            characters, dots as well, ``?`` for one, ``{i}`` for a whole run of digits, which the
            initializer may use as the integer i; anything else for itself.
        initializer: whatever `fanin.initializers.get` takes; a text may use the plan's quantities
            and what was captured: ``"random_normal(stddev=0.02 / sqrt(2 * (i + 1)))"``.
        regex: a regular expression that the whole name has to match, in place of `match`; its named
            groups of digits are integers, too.
        layout: which axis is which, for every parameter that the rule claims; wins over those of
            the parameter and of the plan.
        expect: how many parameters the rule is to claim, a number or an expression.
        seed: 0 to 2**64 - 1; wins over the plan's.
        where: the place that it was written at, such as ``"gpt2.toml, line 9"``, for messages.

    Raises:
        PlanError: there is not one selector, a selector cannot be read, or there is no initializer.
        LayoutError, SeedError: what was given cannot be used.

    >>> print(Rule("h.{i}.*.bias", "zeros", expect="4 * n_layer"))
    match "h.{i}.*.bias", zeros
    """

    match: str | Sequence[str] | None = None
    initializer: Any = None
    regex: str | None = field(default=None, kw_only=True)
    layout: Layout | str | None = field(default=None, kw_only=True)
    expect: int | str | None = field(default=None, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    where: str = field(default="", compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if (self.match is None) == (self.regex is None):
            given = "both match and regex" if self.regex is not None else "neither match nor regex"
            raise PlanError(f"a rule has {given}; give one of them, such as match = '*.weight'.")
        if self.match == "" or (self.match is not None and not isinstance(self.match, str)):
            object.__setattr__(self, "match", _patterns(self.match))
        if self.regex is not None and (not isinstance(self.regex, str) or not self.regex):
            raise PlanError(f"regex must be a regular expression, not {self.regex!r}.")
        self.selectors  # noqa: B018 - reading the texts is the check of them
        if self.initializer is None:
            raise PlanError(f"the rule ({self.selector}) has no initializer; give one, such as 'zeros' or 'he_normal'.")
        if self.layout is not None:
            object.__setattr__(self, "layout", as_layout(self.layout))
        if isinstance(self.expect, bool) or not isinstance(self.expect, int | str | None):
            raise PlanError(f"expect must be a count or an expression, such as '2 * n_layer', not {self.expect!r}.")
        if self.seed is not None:
            object.__setattr__(self, "seed", check_seed(self.seed))

    @functools.cached_property
    def selectors(self) -> tuple[Selector, ...]:
        """The tests of a name, of which one has to hold."""
        if self.regex is not None:
            return (Selector.of_regex(self.regex),)
        patterns = (self.match,) if isinstance(self.match, str) else self.match or ()
        return tuple(map(Selector.of_pattern, patterns))

    def captured(self, name: str) -> dict[str, int] | None:
        """The integers that a name captures; None where the rule does not mean it."""
        for selector in self.selectors:
            captures = selector.match(name)
            if captures is not None:
                return captures
        return None

    @property
    def selector(self) -> str:
        """How the rule selects, as a file has it."""
        if self.regex is not None:
            return f"regex {json.dumps(self.regex, ensure_ascii=False)}"
        if isinstance(self.match, str) or self.match is None:
            return f"match {json.dumps(self.match, ensure_ascii=False)}"
        more = f", and {len(self.match) - SHOWN} more" if len(self.match) > SHOWN else ""
        return f"match [{json.dumps(self.match[:SHOWN], ensure_ascii=False)[1:-1]}{more}]"

    def __str__(self) -> str:
        return f"{self.selector}, {_called(self.initializer)}"


def _patterns(match: object) -> tuple[str, ...]:
    patterns = tuple(match) if isinstance(match, list | tuple) else ()
    if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise PlanError(f"match must be a pattern or a list of patterns, not {match!r}.")
    return patterns


def _called(initializer: Any) -> str:
    """A short text for an initializer."""
    if isinstance(initializer, str):
        return initializer
    if isinstance(initializer, Mapping):
        return str(initializer.get("class_name", "a table without class_name"))
    array = getattr(initializer, "value", initializer)  # that of a Constant
    if getattr(array, "shape", ()) != ():
        return f"an array of shape {tuple(array.shape)!r}"
    name = getattr(initializer, "__qualname__", None)
    return name if isinstance(name, str) else repr(initializer)
