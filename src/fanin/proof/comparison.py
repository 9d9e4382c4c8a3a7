"""Comparison: of two models or checkpoints, of two plans, of a model or a checkpoint with a plan."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fanin.models import Array, Naming, Parameter
from fanin.plan import Entry, Plan, Resolved
from fanin.plan.application import Only, chosen
from fanin.progress import Progress
from fanin.proof.compared import Comparison
from fanin.proof.pairs import compared_pairs
from fanin.proof.plans import compared_plans
from fanin.proof.subjects import opened, recorded_seed, resolved
from fanin.proof.with_plan import compared_with_plan
from fanin.recipe import check_seed

__all__ = ["diff"]


def diff(
    first: Any,
    second: Any,
    *,
    seed: int | None = None,
    names: Naming = None,
    only: Only = None,
    shards: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Say what two models, checkpoints or plans do not have in common, tensor by tensor.

    Two models or checkpoints are compared bit for bit, by the names of their arrays; where they
    differ it is told how: by how much, negated, scaled, transposed, constant, under another name.

    A model or a checkpoint is compared with a plan bit for bit, too, and where the bits are others, by
    distribution: mean, standard deviation and extremes are tested against those that the plan
    expects, with so many elements, after rounding to the dtype. What passes is "as in the plan", whoever drew it:
    a deviation of 6 standard errors is told, so that a tensor as in the plan is called another one in
    less than one of 10 million cases, and n elements show an error of their deviation of 6 / sqrt(2 n).

    Two plans are compared by what decides the numbers, however that is written.

    Args:
        first: a model, the path of a checkpoint, a plan, or what a plan resolved to.
        second: likewise. A plan that lists no parameters is asked for those of the other one.
        seed: of plans; None is that which a checkpoint says it was made with, else 0.
        names: what the tensors of models and checkpoints are called, see `fanin.Plan.apply`.
        only: which arrays, see `fanin.Plan.apply`.
        shards: see `fanin.Plan.apply`.
        progress: called with what has been compared so far, and in all.

    Returns:
        a `Comparison`: true if all is the same or as in the plan; its text lists what is not.

    Raises:
        PlanError: a plan or the names do not fit.
        StreamError, CheckpointError: a checkpoint cannot be looked at.

    >>> import torch, fanin
    >>> plan = fanin.Plan([fanin.Rule("weight", "he_normal"), fanin.Rule("bias", "zeros")])
    >>> print(fanin.diff(torch.nn.Linear(512, 256), plan))  # doctest: +ELLIPSIS
    name    shape      dtype             how
    ...
    """
    sides = (first, second)
    planned = [_is_plan(side) for side in sides]
    if all(planned):
        one, two = _both(first, second, check_seed(seed or 0))
        tensors = compared_plans(_means(one, only), _means(two, only))
        return Comparison("the first plan", "the second plan", tuple(tensors))
    if not any(planned):
        left, right = (opened(side, names, shards) for side in sides)
        return Comparison(left.name, right.name, tuple(compared_pairs(left, right, only, progress)))
    plan, model = sides if planned[0] else sides[::-1]
    subject = opened(model, names, shards)
    used = check_seed(seed) if seed is not None else recorded_seed(subject) or 0
    tensors = compared_with_plan(subject, resolved(plan, subject, used, only), used, only, progress)
    return Comparison(subject.name, "the plan", tuple(tensors), (f"the plan is drawn with seed {used}",))


def _is_plan(side: object) -> bool:
    if isinstance(side, Plan | Resolved):
        return True
    return isinstance(side, list | tuple) and bool(side) and all(isinstance(each, Entry) for each in side)


def _both(first: Any, second: Any, seed: int) -> tuple[Sequence[Entry], Sequence[Entry]]:
    """The entries of two plans, one of which may be asked for the other's parameters."""
    made: list[Sequence[Entry] | None] = [_entries(side, seed) for side in (first, second)]
    for at, (side, other) in enumerate(((first, made[1]), (second, made[0]))):
        if made[at] is None:
            asked: Iterable[Parameter] | None = None if other is None else [entry.parameter for entry in other]
            made[at] = side.resolve(asked, seed=seed)
    one, two = made
    assert one is not None
    assert two is not None
    return one, two


def _entries(side: Any, seed: int) -> Sequence[Entry] | None:
    """What a side resolves to on its own; None of a plan that lists no parameters."""
    if not isinstance(side, Plan):
        return tuple(side)
    return side.resolve(seed=seed) if side.parameters else None


def _means(entries: Sequence[Entry], only: Only) -> list[Entry]:
    if only is None:
        return list(entries)
    arrays = {
        entry.name: Array(entry.parameter.array or entry.name, None, entry.shape, (entry.parameter,))
        for entry in entries
    }
    means = {id(array) for array in chosen(list(arrays.values()), only)}
    return [entry for entry in entries if id(arrays[entry.name]) in means]
