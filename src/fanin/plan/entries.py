"""What a plan resolves to: a recipe for each tensor, and one hash for all of them."""

import dataclasses
import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fanin.initializers import Constant, Initializer, serialize
from fanin.initializers.wrappers import Wrapper
from fanin.layouts import Layout, Shape
from fanin.models import Parameter
from fanin.plan.rules import Rule
from fanin.recipe import ConstantValue, Diagonal, Draw, Recipe
from fanin.spec import STREAM

__all__ = ["Entry", "digest"]


@dataclass(frozen=True)
class Entry:
    """One tensor, resolved: everything that decides its numbers, and the rule that said so.

    Attributes:
        parameter: the tensor: its name, which is that of its stream, its shape, and where it is.
        dtype: of the array.
        recipe: what `fanin.engines.fill` writes.
        rule: that claimed the tensor.
        initializer: what the rule stands for.
        layout: of the array; without a text it is array order.
        seed: that the initializer draws with.
        zero_rows: indices on the first axis that are zero whatever is drawn.
    """

    parameter: Parameter
    dtype: np.dtype
    recipe: Recipe
    rule: Rule
    initializer: Any
    layout: Layout
    seed: int
    zero_rows: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The name of the tensor."""
        return self.parameter.name

    @property
    def shape(self) -> Shape:
        """The shape of the whole tensor."""
        return self.parameter.shape


def digest(entries: Iterable[Entry]) -> str:
    """Hash what decides the numbers of all entries: SHA-256, in hexadecimal.

    It covers the stream's version and, for every tensor, its name, shape and dtype; of a constant
    its value; of what is drawn elementwise the distribution, the logical coordinates and the seed;
    of what is computed whole the initializer with its arguments, the roles of the axes and the seed.
    Neither the order of the entries enters nor how rules, names of initializers and arithmetic are
    written: two plans that ask for the same draws have the same digest.

    A function of one's own enters by its name only, not by what it does.

    Args:
        entries: of different names.

    Returns:
        64 hexadecimal digits.

    >>> from fanin import Parameter, Plan, Rule
    >>> weight = [Parameter("fc.weight", (10, 512), layout="o i")]
    >>> one = Plan([Rule("*", "he_normal")]).resolve(weight)
    >>> other = Plan([Rule("fc.*", "variance_scaling(4 / 2, mode='fan_in')")]).resolve(weight)
    >>> digest(one) == digest(other)
    True
    """
    tensors = {unicodedata.normalize("NFC", entry.name): _facts(entry) for entry in entries}
    text = json.dumps({"stream": STREAM, "tensors": tensors}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _facts(entry: Entry) -> dict[str, Any]:
    """What decides the numbers of a tensor, as plain data, the same for equal numbers where that can be told."""
    common: dict[str, Any] = {"shape": entry.shape, "dtype": entry.dtype.name}
    if entry.zero_rows:
        common["zero rows"] = sorted(entry.zero_rows)
    recipe = entry.recipe
    if not isinstance(recipe, Draw):
        return {**common, **_whole(entry)}
    distribution = recipe.distribution
    if isinstance(distribution, ConstantValue):
        return {**common, "constant": _number(distribution.value)}
    if not isinstance(distribution, Diagonal) and distribution.grid() is None:
        return {**common, "constant": _number(distribution.bounds()[0])}
    facts = {
        **common,
        "kind": type(distribution).__name__,
        "arguments": {key: _number(value + 0.0) for key, value in dataclasses.asdict(distribution).items()},
        "coordinates": _coordinates(recipe),
    }
    return facts if recipe.stream is None else {**facts, "seed": recipe.stream.seed}


def _whole(entry: Entry) -> dict[str, Any]:
    initializer = entry.initializer
    axes = [[axis.role, axis.order, axis.flip] for axis in entry.layout.axes(entry.shape)]
    if isinstance(initializer, Wrapper):
        own = {"wrapper": [type(initializer).__name__, initializer._arguments()], "of": _facts(_inside(entry))}
        return {**own, "axes": axes} if initializer._reads_axes() else own
    if isinstance(initializer, Constant):
        value = np.asarray(initializer.value)
        doubles = value.astype(np.float64)
        value = doubles if np.array_equal(doubles, value) else value
        return {"values": hashlib.sha256(value.tobytes()).hexdigest(), "of": [value.dtype.name, value.shape]}
    if isinstance(initializer, Initializer) and initializer._is_described():
        made = serialize(initializer)
        assert made is not None
        seed = entry.seed if "seed" in made["config"] or initializer._is_custom() else None
        made = made | {"config": made["config"] | {"seed": None}}
        return {"initializer": made, "axes": axes, "seed": seed, **_member(entry)}
    cls = type(initializer) if not hasattr(initializer, "__qualname__") else initializer
    return {"function": f"{cls.__module__}.{cls.__qualname__}", "seed": entry.seed, **_member(entry)}


def _inside(entry: Entry) -> Entry:
    """The tensor that a wrapper changes, as if it had an entry."""
    wrapper = entry.initializer
    recipe = wrapper._inner(entry.shape, entry.layout, entry.name, entry.seed)
    return dataclasses.replace(entry, initializer=wrapper.initializer, recipe=recipe)


def _member(entry: Entry) -> dict[str, int]:
    """Which member of an ensemble it is of; of what is drawn elementwise the coordinates tell."""
    return {"member": entry.layout.member} if entry.layout.member else {}


def _coordinates(recipe: Draw) -> list[Any]:
    """The logical coordinates; an axis of one element has no step."""
    row, rows, column, columns = recipe.layout.coordinates(recipe.shape)[1:]
    steps = [[0, 0] if n == 1 else [a, b] for n, a, b in zip(recipe.shape, rows, columns, strict=True)]
    return [row, column, steps]


def _number(value: float | int | bool) -> int | str:
    """An integer as it is, any other number by its bits; minus zero is no integer."""
    if value == value and abs(value) != math.inf and value == int(value) and (value or math.copysign(1, value) > 0):
        return int(value)
    return float(value).hex()
