"""Two models or checkpoints compared, tensor by tensor: how values differ, and what they have in common."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fanin.errors import OutputError
from fanin.layouts import as_layout
from fanin.models import Array, Part
from fanin.plan.application import Only, chosen
from fanin.progress import Progress, shown
from fanin.proof.blocks import Block, blocks, shared
from fanin.proof.checking import SHAPE, UNINITIALIZED
from fanin.proof.compared import DIFFERS, FIRST, OTHER_DTYPE, RENAMED, SAME, SECOND, Compared
from fanin.proof.counting import counted
from fanin.proof.drawing import carried
from fanin.proof.statistics import Statistics
from fanin.proof.subjects import Subject, Tensor
from fanin.proof.sums import Lanes
from fanin.recipe import Window
from fanin.spec import FORMATS

__all__ = ["compared_pairs"]


@dataclass(frozen=True)
class _Tally:
    """What two tensors have in common, block by block.

    Attributes:
        differing: how many elements do.
        greatest: how far apart two are, at most.
        first, second: what the values are like.
        negated: whether each is the negative of the other.
        ratios: the least and the greatest quotient of the second and the first; none where a zero meets another number.
    """

    differing: int = 0
    greatest: float = 0.0
    first: Statistics = field(default_factory=Statistics)
    second: Statistics = field(default_factory=Statistics)
    negated: bool = True
    ratios: tuple[float, float] | None = (math.inf, -math.inf)

    def __add__(self, other: "_Tally") -> "_Tally":
        ratios = None
        if self.ratios is not None and other.ratios is not None:
            ratios = min(self.ratios[0], other.ratios[0]), max(self.ratios[1], other.ratios[1])
        return _Tally(
            self.differing + other.differing, max(self.greatest, other.greatest), self.first + other.first,
            self.second + other.second, self.negated and other.negated, ratios,
        )  # fmt: skip


def compared_pairs(one: Subject, two: Subject, only: Only, progress: Progress | None) -> list[Compared]:
    """Compare arrays of the same names; those of one only by what they hold."""
    means = {array.name for array in chosen([*one.arrays, *two.arrays], only)}
    first = {array.name: array for array in one.arrays if array.name in means}
    second = {array.name: array for array in two.arrays if array.name in means}
    both = [name for name in first if name in second]
    total = sum(math.prod(first[name].shape) for name in both)
    found = {}
    done = 0
    with shown(progress, one.name, total) as tell:
        for name in both:
            found[name] = _compared(one, two, first[name], second[name])
            done += math.prod(first[name].shape)
            tell(done, total)
    alone = [[array for name, array in held.items() if name not in found] for held in (first, second)]
    for left, right in _renamed(one, two, *alone):
        text = f"the values of {right.name!r} in the second"
        found[left.name] = Compared(left.name, RENAMED, text, (left.shape, right.shape))
        alone[1] = [array for array in alone[1] if array is not right]
    listed = [found.get(name, Compared(name, FIRST, "", (array.shape, None))) for name, array in first.items()]
    return listed + [Compared(array.name, SECOND, "", (None, array.shape)) for array in alone[1]]


def _compared(one: Subject, two: Subject, left: Array, right: Array) -> Compared:
    base = Compared(left.name, SAME, "", (left.shape, right.shape))
    if left.shape != right.shape:
        text = "transposed: the same values" if _is_transposed(one, two, left, right) else ""
        return replace(base, status=SHAPE, text=text)
    try:
        here, there = one.readable.read(left), two.readable.read(right)
    except OutputError as error:
        return replace(base, status=UNINITIALIZED, text=str(error))
    boxes = list(_boxes(here, there))
    elements = sum(math.prod(block.window.shape) for block, _ in boxes)
    dtypes = tuple(str(parts[0].view.dtype) if parts else "" for parts in (here, there))
    base = replace(base, dtypes=(dtypes[0], dtypes[1]), elements=elements)
    equal = shared(boxes, _equal if dtypes[0] == dtypes[1] else _equal_values, elements, lambda job: None)
    if all(equal):
        return base if dtypes[0] == dtypes[1] else replace(base, status=OTHER_DTYPE, text="the same values")
    tally = sum(shared(boxes, _tally, elements, lambda job: None), _Tally())
    base = replace(
        base,
        status=DIFFERS,
        differing=tally.differing,
        greatest=tally.greatest,
        means=(tally.first.mean, tally.second.mean),
        stds=(tally.first.std, tally.second.std),
    )
    if dtypes[0] != dtypes[1] and all(shared(boxes, _equal_rounded, elements, lambda job: None)):
        return replace(base, status=OTHER_DTYPE, text="the values of one, rounded to the other's dtype")
    return replace(base, text="; ".join(_told(one, two, left, right, base, tally)))


def _boxes(here: Sequence[Part], there: Sequence[Part]) -> Iterator[tuple[Block, Block]]:
    """What both have, in blocks of the same elements."""
    for part in here:
        for other in there:
            places = [(part.window, part.window)]
            for block in blocks(places, [other])[1]:
                start = tuple(a - b for a, b in zip(block.at.start, part.window.start, strict=True))
                stop = tuple(a - b for a, b in zip(block.at.stop, part.window.start, strict=True))
                yield replace(block, view=part.view, here=Window(start, stop).slices), block


def _equal(job: tuple[Block, Block]) -> bool:
    return bool(np.array_equal(carried(job[0].values()), carried(job[1].values())))


def _equal_values(job: tuple[Block, Block]) -> bool:
    first, second = (block.values().astype(np.float64) for block in job)
    return bool(np.array_equal(first.view(np.uint64), second.view(np.uint64)))


def _equal_rounded(job: tuple[Block, Block]) -> bool:
    """Whether the narrower of two is the wider one, rounded."""
    first, second = (block.values() for block in job)
    wide, narrow = (first, second) if first.dtype.itemsize > second.dtype.itemsize else (second, first)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.array_equal(carried(wide.astype(narrow.dtype)), carried(narrow)))


def _tally(job: tuple[Block, Block]) -> _Tally:
    first, second = (np.ascontiguousarray(block.values()).astype(np.float64).reshape(-1) for block in job)
    with np.errstate(all="ignore"):
        apart = np.abs(first - second)
        differing = int(np.count_nonzero(first.view(np.uint64) != second.view(np.uint64)))
        greatest = float(np.nanmax(apart, initial=0.0))
        zero = first == 0.0
        ratios: tuple[float, float] | None = None
        if np.array_equal(zero, second == 0.0):
            quotients = second[~zero] / first[~zero]
            ratios = float(quotients.min(initial=math.inf)), float(quotients.max(initial=-math.inf))
        negated = bool(np.array_equal(first, -second))
    return _Tally(differing, greatest, Statistics.of(first), Statistics.of(second), negated, ratios)


def _told(one: Subject, two: Subject, left: Array, right: Array, base: Compared, tally: _Tally) -> Iterator[str]:
    """How two tensors differ."""
    yield f"{base.differing:,} of {base.elements:,} differ, by up to {tally.greatest:.4g}"
    first, second = tally.first, tally.second
    if first.nans != second.nans or first.infinite != second.infinite:
        yield f"{first.nans:,} and {second.nans:,} NaN, {first.infinite:,} and {second.infinite:,} infinite"
    constant = [each.low == each.high for each in (first, second)]
    if all(constant):
        yield f"all are {first.low:.6g}, and {second.low:.6g}"
        return
    if any(constant):
        yield f"all are {(first if constant[0] else second).low:.6g} in the {'first' if constant[0] else 'second'}"
        return
    if tally.negated:
        yield "the sign is the other one, everywhere"
    elif tally.ratios is not None and _is_scaled(tally.ratios, base.dtypes):
        yield f"the second is {tally.ratios[0]:.6g} times the first, everywhere"
    elif _is_transposed(one, two, left, right):
        yield "transposed: the same values"
    else:
        yield f"std {first.std:.4g} and {second.std:.4g}, mean {first.mean:.4g} and {second.mean:.4g}"


def _is_scaled(ratios: tuple[float, float], dtypes: tuple[str, str]) -> bool:
    low, high = ratios
    if not (math.isfinite(low) and math.isfinite(high)) or not all(name in FORMATS for name in dtypes):
        return False
    rounding = math.ldexp(4.0, -min(FORMATS[name].mantissa for name in dtypes))
    return high - low <= rounding * max(abs(low), abs(high))


def _is_transposed(one: Subject, two: Subject, left: Array, right: Array) -> bool:
    """Whether one matrix is the other, transposed: by their fingerprints, with rows and columns changed."""
    if len(left.shape) != 2 or left.shape != right.shape[::-1]:
        return False
    return _lanes(one, left, "i o") == _lanes(two, right, "o i")


def _lanes(subject: Subject, array: Array, layout: str | None) -> Lanes:
    parameter = replace(array.parameters[0], name=array.name, shape=array.shape, layout=None, at=None)
    tensor = Tensor(parameter, array)
    (found,) = counted(subject, [(tensor, as_layout(layout), False)], lambda done, total: None)
    return found.lanes


def _renamed(
    one: Subject, two: Subject, first: Sequence[Array], second: Sequence[Array]
) -> Iterator[tuple[Array, Array]]:
    """Arrays of different names that hold the same values, where that is no constant's coincidence."""
    shapes = {array.shape for array in first} & {array.shape for array in second}
    try:
        held = {
            _lanes(two, array, None): array for array in second if array.shape in shapes and math.prod(array.shape) > 1
        }
        for array in first:
            if array.shape in shapes and math.prod(array.shape) > 1:
                other = held.pop(_lanes(one, array, None), None)
                if other is not None:
                    yield array, other
    except OutputError:  # nothing can be told of what has no values
        return
