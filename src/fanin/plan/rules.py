"""Rules: which parameters get which initializer."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanin.errors import PlanError
from fanin.layouts import Layout, as_layout
from fanin.models import Parameter
from fanin.plan.selectors import Selector
from fanin.recipe import check_seed

__all__ = ["Rule"]

SHOWN = 3  # patterns of a list, in messages


@dataclass(frozen=True)
class Rule:
    """Which parameters get which initializer.

    Of all rules of a plan, the first that means a parameter claims it: its name matches, and so do
    the class of its layer and its role, where the rule says something of them.

    Args:
        match: a pattern, or a list of patterns of which one has to match: ``*`` stands for any
            characters, dots as well, ``?`` for one, ``{i}`` for a whole run of digits, which the
            initializer may use as the integer i; anything else for itself.
        initializer: whatever `fanin.initializers.get` takes; a text may use the plan's quantities
            and what was captured: ``"random_normal(stddev=0.02 / sqrt(2 * (i + 1)))"``.
        regex: a regular expression that the whole name has to match, in place of `match`; its named
            groups of digits are integers, too.
        module: a pattern for the class of the layer, such as ``"Linear"`` or ``"Conv?d"``, or a list of
            them. Only what is read off a model has such a class.
        role: a pattern for what the tensor is there, such as ``"dense.kernel"`` or ``"norm.*"``, or a
            list of them.
        layout: which axis is which, for every parameter that the rule claims; wins over those of
            the parameter and of the plan.
        expect: how many parameters the rule is to claim, a number or an expression.
        optional: whether the rule may claim nothing, as one of a plan for many models may.
        seed: 0 to 2**64 - 1; wins over the plan's.
        where: the place that it was written at, such as ``"gpt2.toml, line 9"``, for messages.

    Raises:
        PlanError: nothing is selected by, a pattern cannot be read, or there is no initializer.
        LayoutError, SeedError: what was given cannot be used.

    >>> print(Rule("h.{i}.*.bias", "zeros", expect="4 * n_layer"))
    match "h.{i}.*.bias", zeros
    """

    match: str | Sequence[str] | None = None
    initializer: Any = None
    regex: str | None = field(default=None, kw_only=True)
    module: str | Sequence[str] | None = field(default=None, kw_only=True)
    role: str | Sequence[str] | None = field(default=None, kw_only=True)
    layout: Layout | str | None = field(default=None, kw_only=True)
    expect: int | str | None = field(default=None, kw_only=True)
    optional: bool = field(default=False, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    where: str = field(default="", compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.match is not None and self.regex is not None:
            raise PlanError("a rule has both match and regex; give one of them, such as match = '*.weight'.")
        if all(given is None for given in (self.match, self.regex, self.module, self.role)):
            raise PlanError("a rule has none of match, regex, module and role; give one, such as match = '*.weight'.")
        for key in ("match", "module", "role"):
            given = getattr(self, key)
            if given == "" or (given is not None and not isinstance(given, str)):
                object.__setattr__(self, key, _patterns(key, given))
        if self.regex is not None and (not isinstance(self.regex, str) or not self.regex):
            raise PlanError(f"regex must be a regular expression, not {self.regex!r}.")
        self.selectors, self._kinds  # noqa: B018 - reading the texts is the check of them
        if self.initializer is None:
            raise PlanError(f"the rule ({self.selector}) has no initializer; give one, such as 'zeros' or 'he_normal'.")
        if self.layout is not None:
            object.__setattr__(self, "layout", as_layout(self.layout))
        if isinstance(self.expect, bool) or not isinstance(self.expect, int | str | None):
            raise PlanError(f"expect must be a count or an expression, such as '2 * n_layer', not {self.expect!r}.")
        if not isinstance(self.optional, bool):
            raise PlanError(f"optional must be true or false, not {self.optional!r}.")
        if self.seed is not None:
            object.__setattr__(self, "seed", check_seed(self.seed))

    @functools.cached_property
    def selectors(self) -> tuple[Selector, ...]:
        """The tests of a name, of which one has to hold; none where any name will do."""
        if self.regex is not None:
            return (Selector.of_regex(self.regex),)
        return _selectors(self.match)

    @functools.cached_property
    def _kinds(self) -> dict[str, tuple[Selector, ...]]:
        """The tests of the class of a layer and of a role."""
        kinds = {"module": _selectors(self.module), "role": _selectors(self.role)}
        for key, selectors in kinds.items():
            if any(selector.captures for selector in selectors):
                raise PlanError(f"{key} = {getattr(self, key)!r} has braces; only names capture digits.")
        return kinds

    def captured(self, name: str) -> dict[str, int] | None:
        """The integers that a name captures; None where the rule does not mean it."""
        for selector in self.selectors:
            captures = selector.match(name)
            if captures is not None:
                return captures
        return None if self.selectors else {}

    def claims(self, parameter: Parameter) -> dict[str, int] | None:
        """What is captured of a parameter that the rule means: by its own name, or that of its array."""
        for key, selectors in self._kinds.items():
            if selectors and not any(selector.match(getattr(parameter, key)) is not None for selector in selectors):
                return None
        captures = self.captured(parameter.name)
        return self.captured(parameter.array) if captures is None and parameter.array else captures

    @property
    def selector(self) -> str:
        """How the rule selects, as a file has it."""
        keys = [key for key in ("match", "regex", "module", "role") if getattr(self, key) is not None]
        return ", ".join(f"{key} {_shown(getattr(self, key))}" for key in keys)

    def __str__(self) -> str:
        return f"{self.selector}, {_called(self.initializer)}"


def _patterns(key: str, given: object) -> tuple[str, ...]:
    patterns = tuple(given) if isinstance(given, list | tuple) else ()
    if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise PlanError(f"{key} must be a pattern or a list of patterns, not {given!r}.")
    return patterns


def _selectors(patterns: str | Sequence[str] | None) -> tuple[Selector, ...]:
    return tuple(map(Selector.of_pattern, (patterns,) if isinstance(patterns, str) else patterns or ()))


def _shown(patterns: str | Sequence[str]) -> str:
    if isinstance(patterns, str):
        return json.dumps(patterns, ensure_ascii=False)
    more = f", and {len(patterns) - SHOWN} more" if len(patterns) > SHOWN else ""
    return f"[{json.dumps(list(patterns[:SHOWN]), ensure_ascii=False)[1:-1]}{more}]"


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
