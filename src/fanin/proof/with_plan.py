"""A model or a checkpoint compared with a plan: the same bits, the same distribution, or where it departs."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fanin.initializers import Initializer
from fanin.plan import Resolved
from fanin.plan.application import Only
from fanin.progress import Progress
from fanin.proof.blocks import Block, blocks, shared
from fanin.proof.checking import checks, compared, size_of
from fanin.proof.compared import ALIKE, DIFFERS, FIRST, SAME, SECOND, Compared
from fanin.proof.drawing import Check, Difference, carried, neighbours
from fanin.proof.explanation import expected
from fanin.proof.moments import Moments, of_values
from fanin.proof.provenance import origin
from fanin.proof.statistics import Statistics, departures
from fanin.proof.subjects import Subject, matched
from fanin.recipe import Draw
from fanin.spec import FORMATS

__all__ = ["compared_with_plan"]

CLOSE = 1e-3  # of the greatest value: so close are sines and logarithms of others, who compute in single precision


def compared_with_plan(
    subject: Subject, entries: Resolved, seed: int, only: Only, progress: Progress | None
) -> list[Compared]:
    """Compare what there is with what a plan has, and where the bits are others, the distributions."""
    found = matched(entries, subject, only)
    comparable, unfit = checks(subject, found.pairs)
    told = {
        name: Compared(name, each.status, each.text, (each.shape, None), (each.dtype, ""))
        for name, each in unfit.items()
    }
    results = compared(subject.name, comparable, progress)
    for check, differences in zip(comparable, results, strict=True):
        told[check.entry.name] = _compared(check, differences, comparable, seed)
    listed = [told[entry.name] for entry, _ in found.pairs]
    listed += [Compared(array.name, FIRST, "", (array.shape, None)) for array in found.unexpected]
    return listed + [Compared(entry.name, SECOND, "", (None, entry.shape)) for entry in found.missing]


def _compared(check: Check, differences: Sequence[Difference], checks: Sequence[Check], seed: int) -> Compared:
    entry, dtype = check.entry, check.drawn.dtype
    base = Compared(
        entry.name, SAME, "", (entry.shape, entry.shape), (str(dtype), entry.dtype.name), size_of(check),
        sum(each.count for each in differences),
    )  # fmt: skip
    if not base.differing:
        return base
    recipe = entry.recipe
    known = _known(check)
    found = statistics(check)
    if known is None or dtype.name not in FORMATS:
        return replace(base, status=DIFFERS, text=f"{base.differing:,} of {base.elements:,} elements differ")
    distribution = recipe.distribution if isinstance(recipe, Draw) else None
    departs = departures(found, known, distribution, dtype)
    base = replace(base, means=(found.mean, known.mean), stds=(found.std, known.std))
    if departs:
        return replace(base, status=DIFFERS, text="; ".join(departs))
    if distribution is None and _last_places(check):
        return replace(base, status=ALIKE, text=f"{base.differing:,} of {base.elements:,} differ in the last place")
    if isinstance(entry.initializer, Initializer) and not entry.initializer._draws():
        apart = _apart(check)
        text = f"{base.differing:,} of {base.elements:,} elements differ, by {apart:.2g} at most"
        close = apart <= CLOSE * max(abs(known.low), abs(known.high))
        return replace(base, status=ALIKE if close else DIFFERS, text=text, greatest=apart)
    if 2 * base.differing < base.elements or known.std == 0.0:
        text = f"{base.differing:,} of {base.elements:,} elements differ, the others are the plan's"
        return replace(base, status=DIFFERS, text=text)
    return replace(base, status=ALIKE, text=origin(check, checks, seed))


def _apart(check: Check) -> float:
    """How far an element is from the plan's, at most."""
    greatest = 0.0
    for block in blocks(check.entry.parameter.places, check.parts)[1]:
        room = np.empty(math.prod(block.window.shape) * check.drawn.dtype.itemsize, np.uint8)
        values, expected = block.values(), check.drawn.values(block, room)
        greatest = max(greatest, float(np.abs(values.astype(np.float64) - expected.astype(np.float64)).max()))
    return greatest


def _last_places(check: Check) -> bool:
    """Whether each element is the plan's or its neighbour, as another library's logarithm makes it."""
    for block in blocks(check.entry.parameter.places, check.parts)[1]:
        room = np.empty(math.prod(block.window.shape) * check.drawn.dtype.itemsize, np.uint8)
        if not neighbours(carried(block.values()), carried(check.drawn.values(block, room))).all():
            return False
    return True


def _known(check: Check) -> Moments | None:
    """What is expected of the values, in the dtype that they have."""
    if isinstance(check.entry.recipe, Draw):
        return expected(replace(check.entry, dtype=check.drawn.dtype))
    return of_values(check.drawn.whole)


def statistics(check: Check) -> Statistics:
    """The statistics of what is here of a tensor; rows that are zero by design are left out."""

    def work(block: Block) -> Statistics:
        values = block.values()
        inside = check.drawn.zeros(block) if check.drawn.zero_rows or check.drawn.own_rows else []
        return Statistics.of(np.delete(values, inside, 0) if inside else values)

    cut = blocks(check.entry.parameter.places, check.parts)[1]
    return sum(shared(cut, work, size_of(check), lambda block: None), Statistics())
