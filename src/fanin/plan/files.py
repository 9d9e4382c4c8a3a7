"""Plans as TOML text: which tables and keys there are, and what is said of those that cannot be used."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fanin import dtypes
from fanin.errors import FaninError, PlanError
from fanin.expressions import Number, evaluate
from fanin.layouts import Layout, as_layout
from fanin.models import Parameter
from fanin.plan.about import About
from fanin.plan.arrangement import Fused
from fanin.plan.configs import Config, given, opened
from fanin.plan.positions import Lines
from fanin.plan.problems import Problems, located, nearest
from fanin.plan.quantities import evaluated, unused
from fanin.plan.rules import Rule
from fanin.plan.templates import expanded, expressions_of

__all__ = ["Document", "read"]

T = TypeVar("T")


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
    about: About


# What a key may hold: types as `tomllib` makes them, and how to say so.
_TEXT = ((str,), "a text")
_TABLE = ((dict,), "a table")
_TEXTS = ((list,), "a list of texts")
_WHEN = {"when": ((str,), "an expression that is not 0 where the table counts")}
_PLAN = {"layout": _TEXT, "dtype": _TEXT}
_ABOUT = {
    "title": _TEXT, "sources": _TEXTS, "names": _TEXT, "model_type": _TEXTS, "architectures": _TEXTS, "notes": _TEXTS,
}  # fmt: skip
_CONFIG = ((str, dict), "the path of an entry, or a table of key and what is known of it")
_ENTRY = {
    "key": ((str, list), "the path of an entry, or a list of paths, of which the first that is there counts"),
    "values": ((dict, list), "a table of what texts mean, or a list of what is known"),
    "means": ((dict,), "a table of what entries mean that are no numbers, such as { auto = 'width // 16' }"),
    "every": _TEXT,
    "unused": ((bool,), "true, for an entry that decides nothing of the plan"),
}
_PARAMETER = {
    "name": _TEXT,
    "for": ((dict, list), "a table such as { i = 'n_layer' }, or a list of them"),
    "shape": ((list,), "a list of integers and expressions"),
    "layout": _TEXT,
    "dtype": _TEXT,
} | _WHEN
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
} | _WHEN
_FUSED = {
    "match": _TEXT,
    "into": ((str, list), "a name or a list of names"),
    "axis": ((int,), "the number of an axis"),
    "sizes": ((list,), "a list of integers and expressions"),
    "groups": ((int, str), "a count or an expression"),
    "optional": ((bool,), "true or false"),
} | _WHEN
_TOP = {
    "about": _TABLE,
    "plan": _TABLE,
    "config": _TABLE,
    "quantities": _TABLE,
    "parameters": ((list,), "tables, each headed [[parameters]]"),
    "rules": ((list,), "tables, each headed [[rules]]"),
    "fused": ((list,), "tables, each headed [[fused]]"),
    "renames": _TABLE,
    "ties": _TABLE,
}

_Keys = Mapping[str, tuple[tuple[type, ...], str]]


def read(
    text: str, source: str, *, config: Config = None, quantities: Mapping[str, Number | str] | None = None
) -> Document:
    """Read a plan.

    Args:
        text: TOML.
        source: what messages call it.
        config: of a model, from which quantities are taken in place of the plan's.
        quantities: in place of those of the plan and the configuration.

    Raises:
        PlanError: it is no plan, or not one of such a model.
    """
    return _Reader(text, source, config, quantities or {}).document()


class _Reader:
    """Reads one text, stage by stage; the problems of a stage are told together."""

    def __init__(self, text: str, source: str, config: Config, quantities: Mapping[str, Number | str]) -> None:
        self.source, self.config, self.chosen = source, config, quantities
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
        plan, about = self.tables.get("plan", {}), self.tables.get("about", {})
        parameters, rules = self.tables.get("parameters", []), self.tables.get("rules", [])
        self._check_keys(plan, _PLAN, "[plan]", "plan")
        self._check_keys(about, _ABOUT, "[about]", "about")
        self._check_config()
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
        about = About.of(about)
        quantities = evaluated(self._quantities(about), self.problems, lambda name: self.where("quantities", name))
        self.problems.check()
        made_rules = [self._rule(table, number) for number, table in enumerate(rules)]
        made = [self._parameters(table, number, quantities) for number, table in enumerate(parameters)]
        parts = [self._fused(table, number) for number, table in enumerate(fused)]
        made_rules = self._counting("rules", made_rules, quantities)
        parts = self._counting("fused", parts, quantities)
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
            about,
        )

    def _check_config(self) -> None:
        """Note what cannot stand in ``[config]``."""
        config = self.tables.get("config", {})
        quantities = self.tables.get("quantities", {})
        self._check_keys(config, dict.fromkeys(config, _CONFIG), "[config]", "config")
        for name, entry in config.items():
            if isinstance(entry, dict):
                self._check_keys(entry, _ENTRY, f"[config]: {name}", "config", name)
                paths = entry.get("key", "")
                if isinstance(paths, list) and not (paths and all(isinstance(path, str) for path in paths)):
                    self.problems.add(
                        f"[config]: {name}: key must be {_ENTRY['key'][1]}, not {paths!r}.", self.where("config", name)
                    )
                bare = entry.get("unused") or (name in quantities and "every" not in entry)
                for key in ["key"] if bare else ["key", "values"]:
                    if key not in entry:
                        self.problems.add(
                            f"[config]: {name} needs {key}: {_ENTRY[key][1]}.", self.where("config", name)
                        )
            elif name not in quantities:
                self.problems.add(
                    f"[config]: {name!r} is no quantity, nor has it the key and the values of a check.",
                    self.where("config", name),
                )

    def _quantities(self, about: About) -> dict[str, Any]:
        """The quantities of the plan, with the numbers that a configuration and the caller have for them."""
        quantities = dict(self.tables.get("quantities", {}))
        if self.config is not None:
            keys = self.tables.get("config", {})
            quantities.update(given(opened(self.config), keys, quantities, about, self.source))
        for name, value in self.chosen.items():
            if name not in quantities:
                raise PlanError(f"{self.source} has no quantity {name!r}; {nearest(name, quantities)}")
            quantities[name] = value
        return quantities

    def _counting(self, kind: str, made: list[T], quantities: Mapping[str, Number]) -> list[T]:
        """What counts: that whose ``when`` is not 0."""
        tables = self.tables.get(kind, [])
        return [
            each
            for number, (each, table) in enumerate(zip(made, tables, strict=True))
            if "when" not in table
            or self._attempt(lambda table=table: evaluate(table["when"], quantities), kind, number, "when")
        ]

    def _attempt(self, make: Any, *path: str | int, said: str = "") -> Any:
        try:
            return make()
        except FaninError as error:
            self.problems.add(f"{said}{error}", self.where(*path), error)
        return None

    def _rule(self, table: dict[str, Any], number: int) -> Rule | None:
        path = ("rules", number)
        rule: Rule | None = self._attempt(
            lambda: Rule(**_unconditional(table), where=self.where(*path)), *path, said=f"rule {number + 1}: "
        )
        return rule

    def _fused(self, table: dict[str, Any], number: int) -> Fused | None:
        path = ("fused", number)
        made: Fused | None = self._attempt(lambda: Fused(**_unconditional(table), where=self.where(*path)), *path)
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
            texts += [table[key] for key in ("initializer", "expect", "when") if isinstance(table.get(key), str)]
            texts += [row for row in table.get("zero_rows", []) if isinstance(row, str)]
        for table in self.tables.get("fused", []):
            others = (table.get("groups"), table.get("when"))
            texts += [text for text in (*table.get("sizes", []), *others) if isinstance(text, str)]
        for name in unused(quantities, texts):
            self.problems.add(
                f"quantity {name!r} is not used; remove it, or write it where its number stands now.",
                self.where("quantities", name),
            )
        self.problems.check()


def _unconditional(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "when"}
