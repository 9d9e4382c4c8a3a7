"""Quantities: the numbers of a plan, by name, each an expression over earlier ones."""

import keyword
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping

from fanin.errors import ExpressionError
from fanin.expressions import _CONSTANTS, FUNCTIONS, Number, evaluate  # the grammar's own names
from fanin.models.parameter import FACTS
from fanin.plan.problems import Problems

__all__ = ["check_name", "evaluated", "names_in", "unused", "whole_number"]

_NAME = re.compile(r"[^\W\d]\w*")


def names_in(text: str) -> set[str]:
    """The names that an expression mentions, and maybe more: those of functions and arguments."""
    return set(_NAME.findall(text))


def check_name(name: str) -> str:
    """Say why a name cannot be that of a quantity; nothing where it can."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        return f"{name!r} cannot stand in an expression; use letters, digits and underscores, such as 'n_layer'."
    if name in _CONSTANTS or name in FUNCTIONS or name in FACTS:
        return f"{name!r} has a meaning in every expression; use another name."
    return ""


def evaluated(
    given: Mapping[str, object], problems: Problems, where: Callable[[str], str] = lambda name: ""
) -> dict[str, Number]:
    """Compute quantities in their order.

    Args:
        given: numbers and expressions by name.
        problems: where what is wrong is noted.
        where: tells the place of a name.
    """
    values: dict[str, Number] = {}
    wrong: set[str] = set()
    for name, value in given.items():
        if isinstance(value, str) and names_in(value) & wrong:
            wrong.add(name)  # what it refers to has been told
            continue
        try:
            values[name] = _quantity(name, value, values, given)
        except ExpressionError as error:
            wrong.add(name)
            problems.add(f"quantity {name!r}: {error}", where(name), error)
    return values


def _quantity(name: str, value: object, values: Mapping[str, Number], given: Mapping[str, object]) -> Number:
    complaint = check_name(name)
    if complaint:
        raise ExpressionError(complaint)
    if isinstance(value, str):
        later = sorted(names_in(value) & given.keys() - values.keys())
        if later:
            raise ExpressionError(
                f"refers to {later[0]!r}, which is not above it; quantities may use earlier ones only."
            )
        value = evaluate(value, values)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ExpressionError(f"is {value!r}; give a finite number or an expression.")
    return float(value)


def whole_number(value: object, quantities: Mapping[str, Number], least: int = 0) -> int:
    """Compute a count: an integer, or an expression that gives one.

    Raises:
        ExpressionError: it does not, or gives less than `least`.
    """
    number = evaluate(value, quantities) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        shown = f"{value!r} is {number!r}" if isinstance(value, str) else repr(value)
        hint = "; divide integers by //" if isinstance(value, str) and isinstance(number, float) else ""
        raise ExpressionError(f"{shown}, which is no integer from {least}{hint}.")
    return number


def unused(quantities: Iterable[str], texts: Iterable[str]) -> list[str]:
    """The quantities that no expression mentions."""
    mentioned = set().union(*map(names_in, texts))
    return [name for name in quantities if name not in mentioned]
