"""Configurations of models: which of their entries are quantities of a plan, and whether the plan is for them.

A configuration is what a model's authors write down of its size, such as the ``config.json`` of transformers. A plan
says in ``[about]`` which kinds of models it is for, and in ``[config]`` what its quantities are called there.
"""

import json
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fanin.errors import PlanError
from fanin.expressions import Number
from fanin.plan.about import About
from fanin.plan.problems import Problems, joined

__all__ = ["Config", "Keys", "content", "given", "opened", "parsed"]

Config = Any  # a mapping, an object with `to_dict`, such as one of transformers, or the path of a JSON file
Keys = Mapping[str, str | Mapping[str, Any]]

_MISSING = object()


def opened(config: Config) -> Mapping[str, Any]:
    """The entries of a configuration.

    Raises:
        PlanError: it is none, or its file cannot be read.
    """
    if isinstance(config, str | os.PathLike):
        return parsed(content(config), config)
    entries = config if isinstance(config, Mapping) else getattr(config, "to_dict", dict)()
    if not isinstance(entries, Mapping) or not entries:
        raise PlanError(
            f"config={config!r} is no configuration; give a mapping, an object with to_dict, or a JSON file."
        )
    return entries


def content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a configuration's file.

    Raises:
        PlanError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # a ValueError is of a name that no file can have
        why = getattr(error, "strerror", error)
        raise PlanError(f"the configuration {os.fspath(path)!r} cannot be read: {why}.") from error


def parsed(data: bytes, path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The entries of a configuration's file.

    Args:
        data: what is in it.
        path: of it, for messages.

    Raises:
        PlanError: it is no JSON, or no table.
    """
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"the configuration {os.fspath(path)!r} is no JSON that can be read: {error}.") from None
    if not isinstance(entries, Mapping) or not entries:
        raise PlanError(f"the configuration {os.fspath(path)!r} is no table of names and values, as config.json is.")
    return entries


def given(
    entries: Mapping[str, Any], keys: Keys, quantities: Mapping[str, object], about: About, source: str
) -> dict[str, Number | str]:
    """The quantities of a plan that a configuration gives.

    Args:
        entries: of the configuration.
        keys: by quantity the path of its entry, ``"text_config.hidden_size"``, ``"depths.0"``, or ``"depths.#"`` for
            how many there are in a list or a table; or a table of the path as ``key``, or of several of which the
            first that is there counts, and what is known of the entry. ``values`` are all that it may be: a list
            of them, or a table of what texts mean. ``means`` is a table of numbers and expressions for what is no
            number, such as ``auto`` or ``null``; numbers are themselves. ``every`` is the item of a list that comes
            every so often and nowhere else, which is the quantity; then ``values`` are the items that are known.
            Without a path it is the entry of the quantity's own name, and null is no entry. A name that is no
            quantity is a check: the entry has to be one of ``values``, or is known and ``unused``, so that a
            configuration that tells no kind of model may have it.
        quantities: of the plan.
        about: says which models the plan is for.
        source: what messages call the plan.

    Raises:
        PlanError: the plan is not for such a model, or an entry is not what a quantity can be.
    """
    if not quantities and not keys:
        raise PlanError(
            f"{source} takes nothing from a configuration. Leave it out, and apply the plan to a model or a checkpoint."
        )
    problems = Problems()
    _check_kind(entries, about, source)
    told = {name: _entry_of(name, keys.get(name, name)) for name in dict.fromkeys([*quantities, *keys])}
    if not about.model_type:
        used = {path.partition(".")[0] for each in told.values() for path in each["key"]}
        known = joined(sorted(used), 20)
        for name in sorted(set(entries) - used):
            problems.add(f"the configuration has {name!r}, which {source} does not know; it knows {known}.")
    found: dict[str, Number | str] = {}
    for name, entry in told.items():
        try:
            value = _value(entries, entry, source, name in quantities)
        except _Unfit as error:
            problems.add(f"the configuration has {error}")
        else:
            if name in quantities and value is not None:
                found[name] = value
    problems.check()
    return found


class _Unfit(Exception):  # noqa: N818 - never leaves this file
    """An entry that the plan cannot use; the text completes 'the configuration has ...'."""


def _entry_of(name: str, key: str | Mapping[str, Any]) -> dict[str, Any]:
    """What a plan says of an entry, with the paths where it may be."""
    entry = {"key": key} if isinstance(key, str) else dict(key)
    paths = entry.get("key", name)
    return entry | {"key": [paths] if isinstance(paths, str) else list(paths)}


def _value(entries: Mapping[str, Any], entry: Mapping[str, Any], source: str, needed: bool) -> Number | str | None:
    """The number that an entry is, or an expression for it; None where there is none, or where it is only checked.

    Raises:
        _Unfit: it is what the plan does not know, or no number where one is needed.
    """
    path, value = _first(entries, entry["key"], source)
    shown, values = _shown(value), entry.get("values", ())
    if shown in entry.get("means", ()):
        return entry["means"][shown]  # type: ignore[no-any-return]  # a number or an expression, or its use tells
    if value is _MISSING or value is None:
        return None
    if "every" in entry:
        period = _period(value, entry["every"], values)
        if period is None:
            raise _Unfit(
                f"{path} = {value!r}, and {source} can follow a list of {joined(values, 20)} where every so many is "
                f"{entry['every']!r} and no other."
            )
        return period
    if values:
        if shown not in map(str, values):
            known = joined([str(each) for each in values], 20)
            raise _Unfit(f"{path} = {value!r}, which {source} does not know; it knows {known}.")
        value = values[shown] if isinstance(values, Mapping) else value
    if not needed:
        return None
    if not isinstance(value, numbers.Real):
        raise _Unfit(f"{path} = {value!r}, and {source} needs a number.")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _first(entries: Mapping[str, Any], paths: Sequence[str], source: str) -> tuple[str, Any]:
    """The first of some paths where there is something, and what."""
    for path in paths:
        try:
            value = _entry(entries, path)
        except LookupError as error:
            raise _Unfit(f"{error.args[0]}, and {source} needs {path}, which would be in it.") from None
        if value is not _MISSING:
            return path, value
    return paths[0], _MISSING


def _shown(value: object) -> str:
    """How a plan writes an entry that is no number."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _period(items: object, item: str, known: Sequence[str]) -> int | None:
    """The n of a list in which every n-th is an item, and no other; None where there is no such number."""
    if not isinstance(items, list | tuple) or not all(each in known for each in items):
        return None
    found = [each == item for each in items]
    period = found.index(True) + 1 if any(found) else len(found) + 1
    return period if found == [(number + 1) % period == 0 for number in range(len(found))] else None


def _check_kind(entries: Mapping[str, Any], about: About, source: str) -> None:
    """Refuse a model of another kind, whose tensors would be others."""
    for key, known in (("model_type", about.model_type), ("architectures", about.architectures)):
        told = entries.get(key)
        if not known or (key == "architectures" and not told):  # a configuration need not say for which class it is
            continue
        kinds = told if isinstance(told, Iterable) and not isinstance(told, str) else [told]
        if not any(kind in known for kind in kinds):
            raise PlanError(
                f"the configuration is of {key} {told!r}, and {source} is for {joined(known, 20)}. Give another "
                f"configuration, or another plan: fanin list tells the recipes there are."
            )


def _entry(entries: Any, path: str) -> Any:
    """What is at a path.

    Raises:
        LookupError: something on the way can hold nothing, a number say.
    """
    parts = path.split(".")
    for number, part in enumerate(parts):
        if isinstance(entries, Mapping) and part in entries:
            entries = entries[part]
        elif isinstance(entries, Sequence) and not isinstance(entries, str) and part.isdecimal():
            entries = entries[int(part)] if int(part) < len(entries) else _MISSING
        elif isinstance(entries, Mapping | Sequence) and not isinstance(entries, str) and part == "#":
            entries = len(entries)
        elif entries is None or isinstance(entries, Mapping):
            return _MISSING
        else:
            raise LookupError(f"{'.'.join(parts[:number])} = {entries!r}")
    return entries
