"""Recipes beside the real models that they are for: what `recipe_*.py` list as cases, and how a case is checked.

Expected numbers stand in the cases, as the reference code has them, and never come from the recipe.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import fanin
from fanin import Plan, checkpoint, recipes

SEED = 11
SIGMAS = 6.0  # of a mean or a deviation, by chance in 2 of 10**9 cases
WHOLE = "computed whole"  # of such a tensor `fanin.explain` tells what its values are, and expects nothing


@dataclass(frozen=True)
class Law:
    """A distribution as a reference has it: deviation after any cut, and the closed interval of the values."""

    mean: float
    std: float
    low: float = -math.inf
    high: float = math.inf
    kurtosis: float = 3.0


def normal(std: float, mean: float = 0.0) -> Law:
    return Law(mean, std)


def truncated(std: float, low: float, high: float) -> Law:
    """A normal of a deviation before the cut, cut at absolute bounds."""
    law = stats.truncnorm(low / std, high / std, scale=std)
    mean, variance, kurtosis = (float(each) for each in law.stats("mvk"))
    return Law(mean, math.sqrt(variance), low, high, kurtosis + 3)


def uniform(low: float, high: float) -> Law:
    return Law((low + high) / 2, (high - low) / math.sqrt(12), low, high, 1.8)


def within(bound: float) -> Law:
    return uniform(-bound, bound)


def constant(value: float) -> Law:
    return Law(value, 0.0, value, value)


def transformed(quantiles: Callable[[np.ndarray], np.ndarray]) -> Law:
    """What a monotone function makes of a uniform in [0, 1)."""
    values = quantiles((np.arange(2**20) + 0.5) / 2**20)
    mean, std = float(values.mean()), float(values.std())
    low, high = sorted(float(end) for end in quantiles(np.array([0.0, 1.0])))
    return Law(mean, std, low, high, float(((values - mean) ** 4).mean()) / std**4)


@dataclass(frozen=True)
class Orthogonal:
    """A matrix of the first axis and the others, whose rows, or columns where these are fewer, are orthonormal."""

    gain: float


Expected = Law | Orthogonal | np.ndarray  # of the array's shape, or one that broadcasts to it


@dataclass(frozen=True)
class Case:
    """A recipe and a real model that it is for.

    Attributes:
        recipe: its name.
        model: makes the model, as its library initializes it; called with torch's global seed set.
        expected: by pattern what the tensors are; the first pattern that matches counts, and each has to match.
        config: for the recipe.
        quantities: for the recipe.
        only: which arrays of the model the recipe is for, the others staying as they are; None is all.
        names: of the model's tensors, where the recipe has others; see `fanin.Plan.apply`.
        lists: whether the recipe lists its tensors itself.
        departs: by pattern of names a fragment of what `fanin.diff` tells of the tensors that the library
            initializes otherwise; every pattern has to match, and no other tensor may depart. None where the library
            leaves memory as it finds it or has no initialization of its own.
        forward: calls a model of transformers, one that was loaded from a checkpoint of the recipe, and returns a
            tensor of what comes out; None where it has no checkpoints.
        tag: what tells this case of the recipe from others.
    """

    recipe: str
    model: Callable[[], Any]
    expected: Mapping[str, Expected]
    config: Any = None
    quantities: Mapping[str, Any] = field(default_factory=dict)
    names: Any = None
    only: str | None = None
    lists: bool = True
    departs: Mapping[str, str] | None = field(default_factory=dict)
    forward: Callable[[Any], torch.Tensor] | None = None
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.recipe}-{self.tag}" if self.tag else self.recipe

    def plan(self) -> Plan:
        return recipes.load(self.recipe, self.config, **self.quantities)

    def built(self) -> Any:
        torch.manual_seed(1)
        return self.model()

    def others(self, model: Any) -> list[tuple[Any, np.ndarray]]:
        """The arrays that the recipe is not for, with their values."""
        opened = fanin.models.opened(model)
        arrays = [] if self.only is None else fanin.models.renamed(opened.arrays, self.names)
        left = [array for array in arrays if not fnmatchcase(array.name, self.only or "*")]
        return [(array, opened.read(array)[0].view) for array in left]


def pattern_of(name: str, patterns: Mapping[str, object]) -> str | None:
    """The first pattern that matches a name."""
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)


def check_list(case: Case) -> int:
    """Raise unless the tensors that a recipe lists are the model's, and drawn alike; say how many there are."""
    plan = case.plan()
    own = plan.resolve(seed=SEED)
    model = fanin.models.renamed(fanin.models.opened(case.built()).arrays, case.names)
    theirs = plan.of_arrays(model, seed=SEED)
    listed, there = ({each.name: each.shape for each in entries} for entries in (own, theirs))
    assert listed == there, f"only in one: {set(listed.items()) ^ set(there.items())}"
    one, two = ({each.name: fanin.plan.digest([each]) for each in entries} for entries in (own, theirs))
    assert one == two, f"drawn otherwise: {[name for name in one if one[name] != two[name]]}"
    return len(own)


def check_values(case: Case) -> int:
    """Raise unless what the recipe makes of the real model is as expected; say how many tensors were looked at."""
    plan, model = case.plan(), case.built()
    before = {array.name: values.copy() for array, values in case.others(model)}
    model = plan.apply(model, seed=SEED, names=case.names, only=case.only)
    assert fanin.verify(model, plan, seed=SEED, names=case.names, only=case.only).ok
    seen = fanin.explain(model, plan, seed=SEED, names=case.names, only=case.only)
    told = {each.name: each for each in seen.tensors}
    for array, values in case.others(model):
        np.testing.assert_array_equal(values, before[array.name], err_msg=array.name)
    opened = fanin.models.opened(model)
    matched, looked_at = set(), 0
    for array in plan.arrangement.arrays(fanin.models.renamed(opened.arrays, case.names)):
        if array.name in before:
            continue
        (part,) = opened.read(array)
        for parameter in array.parameters:
            pattern = pattern_of(parameter.name, case.expected) or pattern_of(parameter.array, case.expected)
            assert pattern is not None, f"nothing is expected of {parameter.name}"
            matched.add(pattern)
            looked_at += 1
            values, expected = values_of(parameter, np.asarray(part.view, np.float64)), case.expected[pattern]
            if isinstance(expected, np.ndarray):
                expected = np.broadcast_to(expected, values.shape)
                np.testing.assert_allclose(values, expected, 1e-6, 1e-7, err_msg=parameter.name)
                continue
            if isinstance(expected, Orthogonal):
                check_orthogonal(parameter.name, values, expected.gain)
                continue
            check_law(parameter.name, values, expected)
            if told[parameter.name].distribution != WHOLE:
                check_told(told[parameter.name], expected)
    assert matched == set(case.expected), f"matches nothing: {set(case.expected) - matched}"
    return looked_at


def values_of(parameter: fanin.Parameter, array: np.ndarray) -> np.ndarray:
    """The tensor that lies in some places of an array."""
    values = np.full(parameter.shape, np.nan)
    for inside, outside in parameter.places:
        values[inside.slices] = array[outside.slices]
    return values


def check_law(name: str, values: np.ndarray, law: Law) -> None:
    """Raise where values are not such as a law gives."""
    slack = 1e-6 * max(abs(law.mean), law.std)
    assert np.isfinite(values).all(), name
    assert law.low - slack <= values.min() <= values.max() <= law.high + slack, (name, values.min(), values.max(), law)
    assert abs(values.mean() - law.mean) <= SIGMAS * law.std / math.sqrt(values.size) + slack, (
        name,
        values.mean(),
        law,
    )
    if values.size >= 100 and law.std:
        apart = abs(values.std() / law.std - 1)
        assert apart <= SIGMAS * math.sqrt((law.kurtosis - 1) / (4 * values.size)), (name, values.std(), law)


def check_orthogonal(name: str, values: np.ndarray, gain: float) -> None:
    """Raise where a matrix times its transpose is not gain squared times the identity."""
    matrix = values.reshape(len(values), -1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram / gain**2, np.eye(len(gram)), atol=1e-5, err_msg=name)


def check_told(told: Any, law: Law) -> None:
    """Raise where `fanin.explain` expects another law, to six digits."""
    assert math.isclose(told.std, law.std, rel_tol=1e-6, abs_tol=1e-12), (told.name, told.std, law)
    assert math.isclose(told.mean, law.mean, rel_tol=1e-6, abs_tol=1e-6 * law.std), (told.name, told.mean, law)
    for ours, theirs in ((told.low, law.low), (told.high, law.high)):
        if math.isfinite(theirs):
            assert math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-6 * law.std), (told.name, ours, law)
        else:
            assert abs(ours - law.mean) > 6 * law.std, (told.name, ours, law)


def check_loads(case: Case, folder: Path) -> int:
    """Raise unless transformers loads a checkpoint of a recipe, all of it, and computes with it; count tensors."""
    assert case.forward is not None
    case.config.save_pretrained(folder)
    entries = case.plan().resolve(seed=SEED)
    checkpoint.write(folder / "model.safetensors", entries, metadata={"format": "pt"})
    model, told = type(case.built()).from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    with torch.no_grad():
        result = case.forward(model.eval())
    assert torch.isfinite(result).all()
    assert result.std() > 0
    return len(entries)


def check_reference(case: Case) -> int:
    """Raise unless the library's own initialization departs from the recipe in just what is known; count tensors."""
    assert case.departs is not None
    model = case.built()
    found = fanin.diff(model, case.plan(), seed=SEED, names=case.names, only=case.only)
    matched, departing = set(), {each.name for each in found.differing}
    for each in found.tensors:
        pattern = pattern_of(each.name, case.departs)
        if pattern is None:
            assert each.name not in departing, f"{each.name} departs: {each.status}, {each.text}"
            continue
        matched.add(pattern)
        assert each.name in departing, f"{each.name} does not depart"
        assert case.departs[pattern] in each.text, f"{each.name}: {each.text!r}"
    assert matched == set(case.departs), f"departs nowhere: {set(case.departs) - matched}"
    opened = fanin.models.opened(model)
    for array in fanin.models.renamed(opened.arrays, case.names):  # which no test of moments sees
        expected = case.expected.get(pattern_of(array.name, case.expected) or "")
        if isinstance(expected, Orthogonal):
            check_orthogonal(array.name, np.asarray(opened.read(array)[0].view, np.float64), expected.gain)
    return len(found.tensors)
