"""Plans as TOML text: which tables and keys there are, and what is said of those that cannot be used."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fanin import dtypes
from fanin.errors import FaninError, PlanError
from fanin.expressions import Number
from fanin.layouts import Layout, as_layout
from fanin.models import Parameter
from fanin.plan.arrangement import Fused
from fanin.plan.positions import Lines
from fanin.plan.problems import Problems, located
from fanin.plan.quantities import evaluated, unused
from fanin.plan.rules import Rule
from fanin.plan.templates import expanded, expressions_of

__all__ = ["Document", "read"]


@dataclass(frozen=True)
class Document:
    """What a file says."""

    rules: tuple[Rule, ...]
    parameters: tuple[Parameter, ...]
    quantities: dict[str, Number]
    layout: Layout | None
    dtype: str | None
    fused: tuple[Fused, ...]
    renames: Mapping[str, str]
    ties: Mapping[str, str]


# What a key may hold: types as `tomllib` makes them, and how to say so.
_TEXT = ((str,), "a text")
_TABLE = ((dict,), "a table")
_PLAN = {"layout": _TEXT, "dtype": _TEXT}
_PARAMETER = {
    "name": _TEXT,
    "for": ((dict, list), "a table such as { i = 'n_layer' }, or a list of them"),
    "shape": ((list,), "a list of integers and expressions"),
    "layout": _TEXT,
    "dtype": _TEXT,
}
_RULE = {
    "match": ((str, list), "a pattern or a list of patterns"),
    "regex": _TEXT,
    "module": ((str, list), "a pattern or a list of patterns"),
    "role": ((str, list), "a pattern or a list of patterns"),
    "rank": ((int, list), "a number of axes, or a list of them"),
    "initializer": ((str, dict), "a text such as 'he_normal', or a table with class_name and config"),
    "expect": ((int, str), "a count or an expression"),
    "optional": ((bool,), "true or false"),
    "seed": ((int,), "an integer"),
    "layout": _TEXT,
    "zero_rows": ((list,), "a list of indices and expressions"),
}
_FUSED = {
    "match": _TEXT,
    "into": ((str, list), "a name or a list of names"),
    "axis": ((int,), "the number of an axis"),
    "sizes": ((list,), "a list of integers and expressions"),
    "groups": ((int, str), "a count or an expression"),
}
_TOP = {
    "plan": _TABLE,
    "quantities": _TABLE,
    "parameters": ((list,), "tables, each headed [[parameters]]"),
    "rules": ((list,), "tables, each headed [[rules]]"),
    "fused": ((list,), "tables, each headed [[fused]]"),
    "renames": _TABLE,
    "ties": _TABLE,
}

_Keys = Mapping[str, tuple[tuple[type, ...], str]]


def read(text: str, source: str) -> Document:
    """Read a plan.

    Args:
        text: TOML.
        source: what messages call it.

    Raises:
        PlanError: it is no plan.
    """
    return _Reader(text, source).document()


class _Reader:
    """Reads one text, stage by stage; the problems of a stage are told together."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        try:
            self.tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PlanError(self._malformed(text, str(error))) from None
        except RecursionError:
            raise PlanError(located("the plan is no TOML that can be read: nested too deeply.", source)) from None
        self.lines = Lines(text)
        self.problems = Problems()

    def _malformed(self, text: str, message: str) -> str:
        """Tomllib's message, which ends in the position."""
        found = re.fullmatch(r"(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.DOTALL)
        what, line, column = found.groups() if found else (message, None, None)
        place = f"column {column}" if column else "at its end"
        line = line or str(text.count("\n") + 1)
        return f"the plan is no TOML that can be read: {what}, {place}. ({self.source}, line {line})"

    def where(self, *path: str | int) -> str:
        return f"{self.source}, line {self.lines.of(*path)}"

    def document(self) -> Document:
        self._check_keys(self.tables, _TOP, "a plan")
        self.problems.check()
        plan = self.tables.get("plan", {})
        parameters, rules = self.tables.get("parameters", []), self.tables.get("rules", [])
        self._check_keys(plan, _PLAN, "[plan]", "plan")
        for number, table in enumerate(parameters):
            self._check_table(table, _PARAMETER, ("parameters", number), ["name", "shape"])
        for number, table in enumerate(rules):
            self._check_table(table, _RULE, ("rules", number), ["initializer"])
        fused = self.tables.get("fused", [])
        for number, table in enumerate(fused):
            self._check_table(table, _FUSED, ("fused", number), ["match", "into"])
        if not rules:
            self.problems.add("the plan has no rules; write one, headed [[rules]].", self.where())
        self.problems.check()

        layout = self._attempt(lambda: as_layout(plan.get("layout")), "plan", "layout") if "layout" in plan else None
        dtype = self._attempt(lambda: dtypes.resolve(plan["dtype"]).name, "plan", "dtype") if "dtype" in plan else None
        quantities = evaluated(
            self.tables.get("quantities", {}), self.problems, lambda name: self.where("quantities", name)
        )
        self.problems.check()
        made_rules = [self._rule(table, number) for number, table in enumerate(rules)]
        made = [self._parameters(table, number, quantities) for number, table in enumerate(parameters)]
        parts = [self._fused(table, number) for number, table in enumerate(fused)]
        self.problems.check()
        self._check_all_used(quantities)
        return Document(
            tuple(rule for rule in made_rules if rule is not None),
            tuple(parameter for group in made for parameter in group or ()),
            quantities,
            layout,
            dtype,
            tuple(part for part in parts if part is not None),
            self.tables.get("renames", {}),
            self.tables.get("ties", {}),
        )

    def _attempt(self, make: Any, *path: str | int, said: str = "") -> Any:
        try:
            return make()
        except FaninError as error:
            self.problems.add(f"{said}{error}", self.where(*path), error)
        return None

    def _rule(self, table: dict[str, Any], number: int) -> Rule | None:
        path = ("rules", number)
        rule: Rule | None = self._attempt(
            lambda: Rule(**table, where=self.where(*path)), *path, said=f"rule {number + 1}: "
        )
        return rule

    def _fused(self, table: dict[str, Any], number: int) -> Fused | None:
        path = ("fused", number)
        made: Fused | None = self._attempt(lambda: Fused(**table, where=self.where(*path)), *path)
        return made

    def _parameters(
        self, table: dict[str, Any], number: int, quantities: Mapping[str, Number]
    ) -> list[Parameter] | None:
        path = ("parameters", number)
        made: list[Parameter] | None = self._attempt(
            lambda: expanded(table, quantities, self.where(*path)), *path, said=f"parameter {table['name']!r}: "
        )
        return made

    def _check_table(self, table: object, keys: _Keys, path: tuple[str, int], needed: list[str]) -> None:
        header = f"[[{path[0]}]]"
        if not isinstance(table, dict):
            self.problems.add(f"{header} holds tables, not {table!r}.", self.where(*path))
            return
        self._check_keys(table, keys, header, *path)
        for key in needed:
            if key not in table:
                self.problems.add(f"{header} needs {key}: {keys[key][1]}.", self.where(*path))
        loops = table.get("for", [])
        if isinstance(loops, list) and not all(isinstance(loop, dict) for loop in loops):
            self.problems.add(f"{header}: for must be {keys['for'][1]}, not {loops!r}.", self.where(*path, "for"))

    def _check_keys(self, table: Mapping[str, Any], keys: _Keys, header: str, *path: str | int) -> None:
        """Note keys that are unknown and values of the wrong type."""
        for key, value in table.items():
            where = self.where(*path, key)
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(keys)}."
                self.problems.add(f"{header} has no key {key!r}{hint}", where)
            elif not isinstance(value, keys[key][0]) or (isinstance(value, bool) and keys[key][0] != (bool,)):
                shown = repr(value) if len(repr(value)) <= 60 else f"a {type(value).__name__}"
                self.problems.add(f"{header}: {key} must be {keys[key][1]}, not {shown}.", where)

    def _check_all_used(self, quantities: Mapping[str, Number]) -> None:
        texts = [text for text in self.tables.get("quantities", {}).values() if isinstance(text, str)]
        for table in self.tables.get("parameters", []):
            texts += expressions_of(table)
        for table in self.tables["rules"]:
            texts += [table[key] for key in ("initializer", "expect") if isinstance(table.get(key), str)]
            texts += [row for row in table.get("zero_rows", []) if isinstance(row, str)]
        for table in self.tables.get("fused", []):
            texts += [text for text in (*table.get("sizes", []), table.get("groups")) if isinstance(text, str)]
        for name in unused(quantities, texts):
            self.problems.add(
                f"quantity {name!r} is not used; remove it, or write it where its number stands now.",
                self.where("quantities", name),
            )
        self.problems.check()
