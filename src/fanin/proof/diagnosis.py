"""What wrong values look like: the likely cause of a difference, where one is to be seen."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fanin.layouts import Shape
from fanin.proof.blocks import blocks
from fanin.proof.counting import counted
from fanin.proof.drawing import Check, Difference, carried
from fanin.proof.explanation import expected
from fanin.proof.moments import Moments
from fanin.proof.provenance import origin
from fanin.proof.subjects import Subject
from fanin.recipe import Draw
from fanin.spec import FORMATS

__all__ = ["diagnosed"]

SEVERAL = 8  # elements from which on a pattern is no coincidence


def diagnosed(
    subject: Subject,
    check: Check,
    differences: Sequence[Difference],
    compared: int,
    checks: Sequence[Check],
    seed: int,
) -> tuple[str, ...]:
    """Say what the values of a tensor that differs look like.

    Args:
        subject: that it is of.
        check: the tensor.
        differences: of its blocks.
        compared: how many elements were.
        checks: all tensors.
        seed: of the plan.
    """
    wrong = [each for each in differences if each.count]
    return tuple(_causes(subject, check, wrong, compared, checks, seed))


def _causes(
    subject: Subject, check: Check, wrong: Sequence[Difference], compared: int, checks: Sequence[Check], seed: int
) -> Iterator[str]:
    drawn = isinstance(check.entry.recipe, Draw) and check.entry.recipe.stream is not None
    known = expected(check.entry)
    nans, infinite, outside, one = _scanned(check, known)
    if nans:
        yield f"{nans:,} are NaN"
    if infinite:
        yield f"{infinite:,} are infinite"
    if outside and known is not None:
        yield f"{outside:,} lie outside of [{known.low:.6g}, {known.high:.6g}]"
    count = sum(each.count for each in wrong)
    values = {each.found.tobytes() for each in wrong if each.same and each.found is not None}
    if drawn and one is not None and compared >= SEVERAL:
        yield f"all are {one!r}, where the plan draws"
        return
    if drawn and count >= SEVERAL and len(values) == 1 and all(each.same for each in wrong):
        yield f"those that differ are all {_item(wrong[0])!r}, a block in {_box(wrong)}"
        return
    if 2 * count < compared or not drawn:
        return
    alike = [
        other.entry.name
        for other in checks
        if other is not check and other.entry.shape == check.entry.shape and _same(subject, check, other)
    ]
    if alike:
        yield f"the very values of {alike[0]!r}{f' and {len(alike) - 1} more' if len(alike) > 1 else ''}"
    elif found := origin(check, checks, seed):
        yield found


def _scanned(check: Check, known: Moments | None) -> tuple[int, int, int, float | None]:
    """How many values are NaN, infinite, and outside of what is possible; and the value, where all are one."""
    nans = infinite = outside = 0
    seen: set[bytes] = set()
    one: float | None = None
    for block in blocks(check.entry.parameter.places, check.parts)[1]:
        values = block.values()
        bits = carried(np.ascontiguousarray(values).reshape(-1))
        if len(seen) < 2 and bits.size:
            seen.add(bits[0].tobytes() if bool((bits == bits[0]).all()) else b"several")
            one = float(values.reshape(-1)[0])
        if check.drawn.dtype.name in FORMATS:
            with np.errstate(invalid="ignore"):
                numbers = values.astype(np.float64) if values.dtype.itemsize < 4 else values
                nans += int(np.count_nonzero(np.isnan(numbers)))
                infinite += int(np.count_nonzero(np.isinf(numbers)))
                if known is not None:
                    beyond = ((numbers < known.low) | (numbers > known.high)) & np.isfinite(numbers)
                    outside += int(np.count_nonzero(beyond))
    return nans, infinite, outside, one if len(seen) == 1 and b"several" not in seen else None


def _same(subject: Subject, check: Check, other: Check) -> bool:
    """Whether two tensors hold the same values, by their fingerprints where their first elements agree."""
    first, second = (_first(each) for each in (check, other))
    if first is None or second is None or not np.array_equal(first, second):
        return False
    asked = [(each.tensor, each.entry.layout, False) for each in (check, other)]
    one, two = counted(subject, asked, lambda done, total: None)
    return one.lanes == two.lanes and one.complete == two.complete


def _first(check: Check) -> np.ndarray | None:
    if not check.parts:
        return None
    for block in blocks(check.entry.parameter.places, check.parts, SEVERAL)[1]:
        return carried(np.ascontiguousarray(block.values()))
    return None


def _item(difference: Difference) -> float:
    assert difference.found is not None
    return float(difference.found)


def _box(wrong: Iterable[Difference]) -> str:
    """The box that holds all that differ, as an index is written."""
    starts: list[Shape] = [each.start for each in wrong]
    stops: list[Shape] = [each.stop for each in wrong]
    low, high = (tuple(map(end, zip(*each, strict=True))) for end, each in ((min, starts), (max, stops)))
    return f"[{', '.join(f'{a}:{b}' for a, b in zip(low, high, strict=True))}]" if low else "it"
