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

KEYS = ("match", "regex", "module", "role", "rank")  # that select
SHOWN = 3  # patterns of a list, in messages
OTHER = 8  # characters that another class of layer, role or rank is worth, in suggestions


@dataclass(frozen=True)
class Rule:
    """Which parameters get which initializer.

    A rule means a parameter whose name matches, and so do the class of its layer, its role and its
    rank, where the rule says something of them. Of the rules that mean a parameter the most specific
    claims it, wherever it stands; two of which neither is more specific are an error. A name that is
    written out is more specific than a pattern, a pattern than none or ``*``, and a pattern than another
    that matches all that it does and more; between rules of equal names the same holds of module, role
    and rank. The name of a tensor is more specific than that of the array that holds it with others, and a
    list less than one of its items. Where neither is, an optional rule gives way to one that is not.

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
        rank: the number of axes, or a list of such numbers.
        layout: which axis is which, for every parameter that the rule claims; wins over those of
            the parameter and of the plan.
        expect: how many parameters the rule is to claim, a number or an expression.
        optional: whether the rule may claim nothing, as one of a plan for many models may.
        seed: 0 to 2**64 - 1; wins over the plan's.
        zero_rows: indices on the first axis, or expressions for them, that are zero whatever is drawn, such as
            that of padding; negative ones count from the end.
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
    rank: int | Sequence[int] | None = field(default=None, kw_only=True)
    layout: Layout | str | None = field(default=None, kw_only=True)
    expect: int | str | None = field(default=None, kw_only=True)
    optional: bool = field(default=False, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    zero_rows: Sequence[int | str] = field(default=(), kw_only=True)
    where: str = field(default="", compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.match is not None and self.regex is not None:
            raise PlanError("a rule has both match and regex; give one of them, such as match = '*.weight'.")
        if all(getattr(self, key) is None for key in KEYS):
            raise PlanError(f"a rule has none of {', '.join(KEYS)}; give one, such as match = '*.weight'.")
        for key in ("match", "module", "role"):
            given = getattr(self, key)
            if given == "" or (given is not None and not isinstance(given, str)):
                object.__setattr__(self, key, _patterns(key, given))
        if self.regex is not None and (not isinstance(self.regex, str) or not self.regex):
            raise PlanError(f"regex must be a regular expression, not {self.regex!r}.")
        if self.rank is not None and not isinstance(self.rank, int):
            object.__setattr__(self, "rank", tuple(self.rank))
        if not all(isinstance(rank, int) and not isinstance(rank, bool) and rank >= 0 for rank in self._ranks):
            raise PlanError(f"rank must be a number of axes, or a list of them, such as [2, 4], not {self.rank!r}.")
        self.selectors, self._kinds  # noqa: B018 - reading the texts is the check of them
        if self.initializer is None:
            raise PlanError(f"the rule ({self.selector}) has no initializer; give one, such as 'zeros' or 'he_normal'.")
        if self.layout is not None:
            object.__setattr__(self, "layout", as_layout(self.layout))
        if isinstance(self.expect, bool) or not isinstance(self.expect, int | str | None):
            raise PlanError(f"expect must be a count or an expression, such as '2 * n_layer', not {self.expect!r}.")
        if not isinstance(self.optional, bool):
            raise PlanError(f"optional must be true or false, not {self.optional!r}.")
        rows = () if isinstance(self.zero_rows, str | int) else tuple(self.zero_rows)
        if self.zero_rows != () and (
            not rows or any(isinstance(r, bool) or not isinstance(r, int | str) for r in rows)
        ):
            raise PlanError(
                f"zero_rows must be a list of indices and expressions, such as [0], not {self.zero_rows!r}."
            )
        object.__setattr__(self, "zero_rows", rows)
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

    @property
    def _ranks(self) -> tuple[int, ...]:
        return () if self.rank is None else (self.rank,) if isinstance(self.rank, int) else tuple(self.rank)

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
        if self.rank is not None and len(parameter.shape) not in self._ranks:
            return None
        captures = self.captured(parameter.name)
        return self.captured(parameter.array) if captures is None and parameter.array else captures

    def distance(self, parameter: Parameter) -> int:
        """How far it is from meaning a parameter, about; for suggestions.

        The characters of the name that one would have to change, and some for each other thing that differs.
        """
        names = min((selector.distance(parameter.name) for selector in self.selectors), default=0)
        others = sum(
            bool(selectors) and not any(each.match(getattr(parameter, key)) is not None for each in selectors)
            for key, selectors in self._kinds.items()
        )
        return names + OTHER * (others + (self.rank is not None and len(parameter.shape) not in self._ranks))

    def outranks(self, other: "Rule", parameter: Parameter) -> bool:
        """Whether it is more specific than another rule that means the parameter as well."""
        mine, theirs = self._tightest(parameter), other._tightest(parameter)
        level, above = _level(mine, parameter), _level(theirs, parameter)
        if level != above:
            return level > above
        if mine is not None and theirs is not None and mine.text != theirs.text:
            inside, outside = mine.within(theirs), theirs.within(mine)
            if inside != outside:
                return inside
            if not inside:
                return other.optional and not self.optional
        inside, outside = self._is_kind_of(other, parameter), other._is_kind_of(self, parameter)
        if inside != outside:
            return inside
        if inside and (fewer := self._is_list_within(other)) != other._is_list_within(self):
            return fewer
        return other.optional and not self.optional

    def _is_list_within(self, other: "Rule") -> bool:
        """Whether each of its alternatives is within one of the other's: a list is less specific than its items."""
        pairs = [(self.selectors, other.selectors)] + [(self._kinds[key], other._kinds[key]) for key in self._kinds]
        return all(any(one.within(each) for each in theirs) for mine, theirs in pairs for one in mine) and (
            self.rank is None or other.rank is None or set(self._ranks) <= set(other._ranks)
        )

    def _tightest(self, parameter: Parameter) -> Selector | None:
        """The most specific of the alternatives that match a parameter; None where any name will do."""
        found: Selector | None = None
        for selector in self.selectors:
            if any(name and selector.match(name) is not None for name in (parameter.name, parameter.array)):
                level = _level(selector, parameter)
                best = _level(found, parameter)
                if found is None or level > best or (level == best and selector.within(found)):
                    found = selector
        return found

    def _is_kind_of(self, other: "Rule", parameter: Parameter) -> bool:
        """Whether what it says of module, role and rank is all that the other says of them, or more."""
        if other.rank is not None and self.rank is None:
            return False
        for key, theirs in other._kinds.items():
            mine = [each for each in self._kinds[key] if each.match(getattr(parameter, key)) is not None]
            if theirs and not any(one.within(each) for one in mine for each in theirs):
                return False
        return True

    @property
    def selector(self) -> str:
        """How the rule selects, as a file has it."""
        keys = [key for key in KEYS if getattr(self, key) is not None]
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


def _level(selector: Selector | None, parameter: Parameter) -> tuple[int, int]:
    """How specific a test of names is by its kind: of the tensor or only of its array, and a name or a pattern."""
    if selector is None or selector.is_open:
        return 0, 0
    return (2 if selector.match(parameter.name) is not None else 1), int(selector.is_name)


def _shown(patterns: Any) -> str:
    if isinstance(patterns, str | int):
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
