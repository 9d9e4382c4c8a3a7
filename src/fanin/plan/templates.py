"""Templates of parameters, as a file writes them: one name with braces for many tensors."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from fanin.errors import ExpressionError, PlanError
from fanin.expressions import Number, evaluate
from fanin.models import Parameter
from fanin.plan.quantities import check_name, names_in, whole_number
from fanin.plan.selectors import filled, placeholders

__all__ = ["expanded", "expressions_of"]

MOST = 2**20  # parameters of one table of values

Values = dict[str, int | str]
N = TypeVar("N", bound=Number)


def expanded(table: Mapping[str, Any], quantities: Mapping[str, Number], where: str) -> list[Parameter]:
    """The parameters that a table stands for.

    Args:
        table: ``name``, ``shape``, and maybe ``for``, ``when``, ``layout`` and ``dtype``, of the right types.
        quantities: that expressions may use.
        where: the place of the table.

    Raises:
        PlanError, ExpressionError, or what `Parameter` raises.
    """
    name, holes = table["name"], placeholders(table["name"])
    if re.search("[{}]", filled(name, dict.fromkeys(holes, ""))):
        raise PlanError(f"{name!r} has a brace that is part of no {{name}}.")
    parameters = []
    dimensions = [_Computed(text, quantities, whole_number) for text in table["shape"]]
    condition = _Computed(table.get("when", "1"), quantities, evaluate)
    for values in _loops(table.get("for", {}), quantities):
        if set(values) != set(holes):
            missing = sorted(set(holes) - set(values))
            problem = f"for does not say what {{{missing[0]}}} is" if missing else "the name does not use all of for"
            raise PlanError(
                f"{problem}: the name has {sorted(set(holes))}, for has {sorted(values)}. Write the name with braces, "
                f"such as name = 'h.{{i}}.weight', and for = {{ i = 'n_layer' }}."
            )
        if not condition.of(values):
            continue
        shape = tuple(dimension.of(values) for dimension in dimensions)
        parameters.append(Parameter(filled(name, values), shape, table.get("dtype"), table.get("layout"), where=where))
    return parameters


def expressions_of(table: Mapping[str, Any]) -> list[str]:
    """The expressions of a table, right or wrong."""
    loops = table.get("for", {})
    counts = [value for loop in (loops if isinstance(loops, list) else [loops]) for value in loop.values()]
    return [text for text in (*table["shape"], *counts, table.get("when")) if isinstance(text, str)]


class _Computed(Generic[N]):
    """What an expression gives, the length of an axis or whether it counts: computed once for each of its values."""

    def __init__(
        self, text: int | str, quantities: Mapping[str, Number], compute: Callable[[Any, Mapping[str, Number]], N]
    ) -> None:
        self._text = text
        self._quantities = quantities
        self._compute = compute
        self._names = names_in(text) if isinstance(text, str) else set()
        self._found: dict[tuple[tuple[str, int], ...], N] = {}

    def of(self, values: Values) -> N:
        used = tuple((key, value) for key, value in values.items() if key in self._names and isinstance(value, int))
        if used not in self._found:
            self._found[used] = self._compute(self._text, {**self._quantities, **dict(used)})
        return self._found[used]


def _loops(loops: Any, quantities: Mapping[str, Number]) -> Iterator[Values]:
    """All combinations of values, the last name running fastest; tables in a list follow each other."""
    for loop in loops if isinstance(loops, list) else [loops]:
        for name in loop:
            complaint = check_name(name) or (f"{name!r} is a quantity already." if name in quantities else "")
            if complaint:
                raise PlanError(f"for: {complaint}")
        axes = [_values(name, given, quantities) for name, given in loop.items()]
        if math.prod(map(len, axes)) > MOST:
            raise PlanError(f"for asks for more than {MOST} parameters.")
        for combination in itertools.product(*axes):
            yield dict(zip(loop, combination, strict=True))


def _values(name: str, given: Any, quantities: Mapping[str, Number]) -> Sequence[int | str]:
    if isinstance(given, list):
        good = [bool(item) if isinstance(item, str) else type(item) is int and item >= 0 for item in given]
        if not good or not all(good):
            raise PlanError(f"for: {name} is {given!r}; a list has texts and integers from 0.")
        return given
    try:
        return range(min(whole_number(given, quantities), MOST + 1))  # of which no more than MOST are taken
    except ExpressionError as error:
        raise PlanError(f"for: {name} must be a count, an expression or a list of values: {error}") from None
