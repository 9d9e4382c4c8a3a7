"""Resolution: from claims to recipes, all of them before anything is written."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fanin import dtypes
from fanin.errors import DTypeError, FaninError, LayoutError, PlanError, SeedError, ShapeError
from fanin.expressions import Number, evaluate
from fanin.initializers import Initializer, get
from fanin.initializers.base import RandomInitializer
from fanin.initializers.custom import custom_recipe
from fanin.initializers.wrappers import Wrapper
from fanin.layouts import ARRAY_ORDER, Layout, as_layout, of_member
from fanin.models import Parameter
from fanin.plan.claims import Claim, titled
from fanin.plan.entries import Entry
from fanin.plan.problems import Problems
from fanin.plan.quantities import names_in
from fanin.plan.rules import Rule
from fanin.recipe import Recipe, Whole, check_seed

__all__ = ["Settings", "resolved"]


class _Unfit(Exception):  # noqa: N818 - never leaves this file
    """A rule and a parameter do not fit; the text completes 'rule 4 claims x, shape (3,), ...'."""


@dataclass(frozen=True)
class Settings:
    """What holds for all parameters of one resolution."""

    quantities: Mapping[str, Number]
    layout: Layout | None
    dtype: np.dtype
    seed: int
    floating: np.dtype | None
    member: int = 0

    @classmethod
    def of(
        cls,
        quantities: Mapping[str, Number],
        layout: Layout | None,
        dtype: np.dtype,
        seed: object,
        floating: object,
        member: object,
    ) -> Self:
        """Check the seed, the dtype and the member that a call gives.

        Raises:
            SeedError: there is no seed.
            DTypeError: the dtype is no floating-point one.
            PlanError: the member is no integer from 0.
        """
        if member is not None and (isinstance(member, bool) or not isinstance(member, int) or member < 0):
            raise PlanError(f"member={member!r} is no member of an ensemble; give an integer from 0, or None.")
        if seed is None:
            raise SeedError("a plan has a seed, so that its weights can be made again; give one, such as seed=0.")
        override = None if floating is None else dtypes.resolve(floating)
        if override is not None and override.name not in dtypes.FLOATS:
            raise DTypeError(
                f"dtype={floating!r} is to replace the floating-point dtypes of the parameters; give one of "
                f"{', '.join(dtypes.FLOATS)}."
            )
        return cls(quantities, layout, dtype, check_seed(seed), override, member or 0)


def resolved(rules: Sequence[Rule], claims: Sequence[Claim], settings: Settings) -> tuple[Entry, ...]:
    """Make an entry of every claim.

    Raises:
        PlanError: some cannot be made; the problems of all are told.
    """
    makers = [_Maker(rule, settings) for rule in rules]
    entries = []
    unfit: dict[tuple[int, str], list[tuple[Parameter, Exception | None]]] = {}
    for claim in claims:
        try:
            entries.append(makers[claim.number].entry(claim))
        except _Unfit as error:
            unfit.setdefault((claim.number, str(error)), []).append((claim.parameter, error.__cause__))  # type: ignore[arg-type]  # an Exception
    problems = Problems()
    for (number, complaint), found in unfit.items():
        first, cause = found[0]
        more = f" (The same for {len(found) - 1} more.)" if len(found) > 1 else ""
        rule = rules[number]
        problems.add(f"{titled(number, rule)} claims {first}, {complaint}{more}", rule.where, cause)
    problems.check()
    return tuple(entries)


class _Maker:
    """Makes the entries of one rule."""

    def __init__(self, rule: Rule, settings: Settings) -> None:
        self.rule = rule
        self.settings = settings
        self.names = names_in(rule.initializer) if isinstance(rule.initializer, str) else set()
        self.made: dict[tuple[tuple[str, int], ...], Any] = {}

    def entry(self, claim: Claim) -> Entry:
        """Resolve one parameter.

        Raises:
            _Unfit: it cannot be made.
        """
        parameter = claim.parameter
        try:
            initializer = self.initializer({**parameter.facts, **claim.captures})
            seed = self.seed(initializer)
            layout = of_member(self.layout(parameter, initializer), self.settings.member)
            recipe: Recipe
            if isinstance(initializer, Initializer):
                recipe = initializer.recipe(parameter.shape, name=parameter.name, layout=layout, seed=seed)
            else:
                recipe = custom_recipe(initializer, parameter.shape, parameter.name, seed, layout.member)
            dtype = self.dtype(parameter)
            recipe.check_dtype(dtype)
            if isinstance(recipe, Whole) and isinstance(initializer, Initializer):
                initializer._check_computed(recipe, layout, dtype)
            rows = self.zero_rows(parameter, claim.captures)
        except FaninError as error:
            raise _Unfit(f"but it cannot be made: {error}") from error
        return Entry(parameter, dtype, recipe, self.rule, initializer, layout, seed, rows)

    def zero_rows(self, parameter: Parameter, captures: Mapping[str, int]) -> tuple[int, ...]:
        """The rows that are zero, counted from 0."""
        known = {**self.settings.quantities, **captures}
        rows = []
        for row in self.rule.zero_rows:
            number = evaluate(row, known) if isinstance(row, str) else row
            try:
                rows.append(range(parameter.shape[0] if parameter.shape else 0)[operator.index(number)])  # type: ignore[arg-type]  # refusing what has no __index__ is the point
            except (TypeError, IndexError):
                raise ShapeError(f"zero_rows has {row!r}, which is no row of the shape {parameter.shape!r}.") from None
        return tuple(sorted(set(rows)))

    def initializer(self, known: Mapping[str, int]) -> Callable[..., Any]:
        """What the rule stands for, read once for all of which the same is known."""
        used = tuple(sorted((name, value) for name, value in known.items() if name in self.names))
        if used not in self.made:
            self.made[used] = get(self.rule.initializer, {**self.settings.quantities, **dict(used)})
        return self.made[used]  # type: ignore[no-any-return]  # get's result, and never None

    def seed(self, initializer: object) -> int:
        """The seed that is drawn with: the initializer's own, the rule's, else that of all."""
        own = initializer.seed if isinstance(initializer, RandomInitializer | Wrapper) else None
        if own is not None and self.rule.seed is not None:
            raise _Unfit(
                f"with two seeds, {own} in the initializer and {self.rule.seed} in the rule; keep one of them."
            )
        return next(seed for seed in (own, self.rule.seed, self.settings.seed) if seed is not None)

    def dtype(self, parameter: Parameter) -> np.dtype:
        """The dtype of a parameter, or the one that replaces it."""
        dtype = self.settings.dtype if parameter.dtype is None else dtypes.resolve(parameter.dtype)
        floating = self.settings.floating
        return dtype if floating is None or dtype.name not in dtypes.FLOATS else floating

    def layout(self, parameter: Parameter, initializer: object) -> Layout:
        """The layout of a parameter: its rule's, its own, else the plan's where that fits."""
        shape, general = parameter.shape, self.settings.layout
        for stated in (self.rule.layout, parameter.layout):
            if stated is not None:
                layout = as_layout(stated)
                layout.axes(shape)
                break
        else:
            layout = general if general is not None and len(shape) >= 2 and _fits(general, shape) else ARRAY_ORDER
        if layout.stated or not isinstance(initializer, Initializer) or initializer._is_custom():
            return layout
        needs = initializer._needs_roles()
        if not needs:
            return layout
        if len(shape) < 2:
            if needs != "fans":
                return layout  # the initializer says itself that it takes no vectors
            raise _Unfit(
                "which has no input axis. For biases write a rule with zeros; for a vector with a fan of its "
                'own give the rule a layout, such as layout = "i".'
            )
        misfit = (
            f" (That of the plan, {general.text!r}, does not fit.)"
            if general is not None and not _fits(general, shape)
            else ""
        )
        raise _Unfit(
            f"whose {needs} depend on which axis is which. Give the rule, the parameter or the plan a layout, such as "
            f'layout = "o i *k" where arrays are (out, in, *window), "*k i o" where (*window, in, out).{misfit}'
        )


def _fits(layout: Layout, shape: tuple[int, ...]) -> bool:
    try:
        layout.axes(shape)
    except LayoutError:
        return False
    return True
