"""What a plan does to a model, row by row: which rule, which distribution, what to expect, what to doubt."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from fanin import checkpoint, models
from fanin.initializers import TruncatedNormal
from fanin.layouts import Layout, Shape, as_layout
from fanin.models import Naming, Parameter
from fanin.plan import Entry, Plan
from fanin.plan.application import Only, chosen
from fanin.proof.moments import Moments, moments, of_values
from fanin.proof.subjects import is_path
from fanin.recipe import ConstantValue, Diagonal, Draw, Normal, Recipe, UniformInterval
from fanin.spec import FORMATS
from fanin.tables import Table, number, shaped

__all__ = ["Explained", "Explanation", "expected", "explain", "explained", "text_of"]

NEVER = 6.338  # standard deviations that no variate of the plain normal passes
SMALL = 2**20  # elements up to which what is computed whole is computed to be described
SUBNORMAL = 0.05  # of the values that may lie below a dtype's least normal one before it is told
LOST = 0.01  # of the values that may become zero
HEADROOM = 16.0  # times that a dtype's greatest value should be beyond the values


@dataclass(frozen=True)
class Explained:
    """What is known of a tensor before anything is drawn.

    Attributes:
        name: of the tensor.
        shape, layout, dtype: as the plan has them; the layout is empty for array order.
        rule: how the rule that claimed it selects; empty without a plan.
        where: the place of that rule, such as ``"gpt2.toml, line 9"``.
        initializer: what the rule stands for.
        seed: that it is drawn with; None where nothing is drawn.
        fan_in, fan_out: by the layout; None where there is none to count by.
        distribution: what is drawn, in words.
        mean, std: expected of the values, after truncation and after rounding to the dtype; None where they are
            known only once a large tensor has been computed whole.
        low, high: a closed interval that holds every value.
        warnings: what is to be doubted.
    """

    name: str
    shape: Shape
    layout: str
    dtype: str
    rule: str = ""
    where: str = ""
    initializer: str = ""
    seed: int | None = None
    fan_in: int | None = None
    fan_out: int | None = None
    distribution: str = ""
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The tensors of a plan or a model, in order; `str` is a table, `to_dict` is for JSON."""

    tensors: tuple[Explained, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that is to be doubted, with the names."""
        return tuple(f"{each.name}: {text}" for each in self.tensors for text in each.warnings)

    def to_dict(self) -> dict[str, Any]:
        """It as plain data. Numbers that JSON has no way to write do not occur."""
        return {"tensors": [asdict(each) for each in self.tensors]}

    def table(self) -> Table:
        """It as a table, tensors that differ in the numbers of their names on one row."""
        columns = (
            "name", "shape", "layout", "dtype", "initializer", "fan in", "fan out", "distribution", "mean", "std",
            "bounds", "rule",
        )  # fmt: skip
        rows = [_row(each, count) for each, count in _grouped(self.tensors)]
        elements = sum(math.prod(each.shape) for each in self.tensors)
        below = [f"{len(self.tensors):,} tensors, {elements:,} parameters"]
        for text, names in _collected(self.tensors).items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            below.append(f"warning: {names[0]}{more}: {text}")
        return Table.of(columns, rows, below)

    def __str__(self) -> str:
        return str(self.table())


def explain(
    model: Any,
    plan: Plan | None = None,
    *,
    seed: int = 0,
    names: Naming = None,
    only: Only = None,
    shards: Mapping[str, Any] | None = None,
) -> Explanation:
    """Say what a plan does: of every tensor the rule, the fans, the distribution, what to expect, what to doubt.

    Nothing is drawn, but for small tensors that are computed whole.

    Args:
        model: a plan that lists its parameters, entries of a plan, a model, or the path of a checkpoint,
            whose names and shapes count.
        plan: for the model. Without one only layouts and fans are told.
        seed: see `fanin.Plan.apply`.
        names: see `fanin.Plan.apply`.
        only: see `fanin.Plan.apply`.
        shards: see `fanin.Plan.apply`.

    Raises:
        PlanError: the plan does not fit, or it is no model.

    >>> from fanin import Parameter, Plan, Rule, explain
    >>> plan = Plan([Rule("*", "truncated_normal(stddev=0.02)")], parameters=[Parameter("table", (1000, 64))])
    >>> row = explain(plan).tensors[0]
    >>> print(f"{row.std:.6f} [{row.low:.2f}, {row.high:.2f}]")
    0.017593 [-0.04, 0.04]
    """
    if isinstance(model, Plan):
        return _of_entries(model.resolve(seed=seed), only)
    if isinstance(model, Sequence) and not isinstance(model, str) and all(isinstance(each, Entry) for each in model):
        return _of_entries(model, only)
    if is_path(model):
        parameters: Sequence[Parameter] = checkpoint.shapes(model)
    else:
        arrays = models.renamed(models.opened(model, shards).arrays, names)
        if plan is not None:
            return _of_entries(plan.of_arrays(arrays, seed=seed, only=only), only)
        parameters = [parameter for array in arrays for parameter in array.parameters]
    if plan is None:
        return Explanation(tuple(map(_unplanned, _means(parameters, only))))
    return _of_entries(plan.resolve(parameters, seed=seed), only)


def _of_entries(entries: Iterable[Entry], only: Only) -> Explanation:
    by_name = {entry.name: entry for entry in entries}
    parameters = _means([entry.parameter for entry in by_name.values()], only)
    return Explanation(tuple(explained(by_name[parameter.name]) for parameter in parameters))


def _means(parameters: Sequence[Parameter], only: Only) -> list[Parameter]:
    arrays = [models.Array(each.array or each.name, None, each.shape, (each,)) for each in parameters]
    return [array.parameters[0] for array in chosen(arrays, only)]


def _unplanned(parameter: Parameter) -> Explained:
    layout = as_layout(parameter.layout)
    found = Explained(parameter.name, parameter.shape, str(layout), parameter.dtype or "")
    if layout.stated:
        return _with_fans(found, layout)
    if len(parameter.shape) >= 2 and not parameter.role:
        text = "which axis is which is not known: an initializer that counts fans needs a layout from its rule"
        return replace(found, warnings=(text,))
    return found


def _with_fans(found: Explained, layout: Layout) -> Explained:
    fans = layout.fans(found.shape)
    return replace(found, fan_in=fans.fan_in, fan_out=fans.fan_out)


def explained(entry: Entry) -> Explained:
    """What is known of a resolved tensor."""
    known = expected(entry)
    stream = entry.recipe.stream if isinstance(entry.recipe, Draw) else None
    found = Explained(
        entry.name,
        entry.shape,
        str(entry.layout),
        entry.dtype.name,
        entry.rule.selector,
        entry.rule.where,
        text_of(entry.initializer),
        entry.seed if stream is not None or not isinstance(entry.recipe, Draw) else None,
        distribution=_distribution(entry.recipe),
        warnings=tuple(_doubts(entry, known)),
    )
    if known is not None:
        found = replace(found, mean=known.mean, std=known.std, low=known.low, high=known.high)
    return _with_fans(found, entry.layout) if entry.layout.stated else found


def expected(entry: Entry) -> Moments | None:
    """What is expected of a tensor's values; None of a large one that is computed whole."""
    recipe = entry.recipe
    if isinstance(recipe, Draw):
        if not math.prod(entry.shape):
            return None
        *rows, columns = entry.layout.canonical_shape(entry.shape) or (1,)
        return moments(recipe.distribution, entry.dtype, (math.prod(rows), columns))
    return of_values(recipe.compute()) if 0 < math.prod(entry.shape) <= SMALL else None


def text_of(initializer: Any) -> str:
    """How an initializer is written."""
    value = getattr(initializer, "value", None)
    if value is not None and getattr(value, "shape", ()) != ():
        return f"an array of shape {shaped(tuple(value.shape))}"
    name = getattr(initializer, "__qualname__", None)
    return name if isinstance(name, str) else repr(initializer)


def _distribution(recipe: Recipe) -> str:
    if not isinstance(recipe, Draw):
        return "computed whole"
    match recipe.distribution:
        case ConstantValue(value):
            return f"{value!r}"
        case Diagonal(value):
            return f"{value!r} on the diagonal"
        case UniformInterval(low, high):
            return f"U[{number(low)}, {number(high)})"
        case Normal(mean, std, lower, upper):
            cut = "" if math.isinf(lower) and math.isinf(upper) else f" in [{number(lower)}, {number(upper)}] sd"
            return f"N({number(mean)}, {number(std)}^2){cut}"


def _doubts(entry: Entry, known: Moments | None) -> Iterable[str]:
    """What is to be doubted of a tensor."""
    initializer, recipe, dtype = entry.initializer, entry.recipe, entry.dtype.name
    if isinstance(initializer, TruncatedNormal):
        cuts = [("lower", initializer.lower, -1.0), ("upper", initializer.upper, 1.0)]
        idle = [(side, bound) for side, bound, sign in cuts if math.isfinite(bound) and sign * bound >= NEVER]
        if idle and initializer.stddev:
            told = " and ".join(f"{side}={bound:g}" for side, bound in idle)
            yield (
                f"{told} never bites: bounds are in standard deviations, and no value is beyond {NEVER}. An absolute "
                f"bound b is b / stddev here."
            )
    if known is None or dtype not in FORMATS or not isinstance(recipe, Draw):
        return
    if known.zeros > LOST:
        yield f"{known.zeros:.0%} of the values are zero in {dtype}, whose least value is {_least(dtype):.3g}"
    elif known.subnormal > SUBNORMAL:
        yield f"{known.subnormal:.0%} of the values are subnormal in {dtype}, with few bits left; give it a scale"
    reach = max(abs(known.low), abs(known.high))
    if reach * HEADROOM > FORMATS[dtype].greatest:
        yield f"values reach {reach:.4g}, near the greatest {dtype}, {FORMATS[dtype].greatest:g}: sums of few overflow"


def _least(dtype: str) -> float:
    form = FORMATS[dtype]
    return math.ldexp(1.0, 1 - form.bias - form.mantissa)


def _row(each: Explained, count: int) -> tuple[str, ...]:
    bounds = "" if each.low is None else f"[{number(each.low)}, {number(each.high)}]"
    constant = each.std == 0.0
    return (
        each.name + (f" (and {count - 1} alike)" if count > 1 else ""),
        shaped(each.shape),
        each.layout,
        each.dtype,
        each.initializer.partition("(")[0],
        "" if each.fan_in is None else str(each.fan_in),
        "" if each.fan_out is None else str(each.fan_out),
        each.distribution,
        number(each.mean),
        number(each.std),
        "" if constant else bounds,
        each.where or each.rule,
    )


def _grouped(tensors: Iterable[Explained]) -> list[tuple[Explained, int]]:
    """Tensors that differ in the numbers of their names only, and how many there are of each."""
    groups: dict[tuple[Explained, str], list[Explained]] = {}
    for each in tensors:
        key = (replace(each, name=""), re.sub("[0-9]+", "0", each.name))
        groups.setdefault(key, []).append(each)
    return [(group[0], len(group)) for group in groups.values()]


def _collected(tensors: Iterable[Explained]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for each in tensors:
        for text in each.warnings:
            texts.setdefault(text, []).append(each.name)
    return texts
