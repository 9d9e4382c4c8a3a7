"""Applying a plan to a model: all of it resolved and checked, then written array by array."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fanin.errors import PlanError
from fanin.models import Array, Model
from fanin.plan.problems import joined
from fanin.plan.selectors import Selector
from fanin.progress import Progress, shown

if TYPE_CHECKING:
    from fanin.plan.resolved import Resolved

__all__ = ["Only", "apply", "chosen"]

Only = str | Sequence[str] | Callable[[str, Any], bool] | None


def apply(
    resolved: "Resolved", model: Model, arrays: Sequence[Array], only: Only, progress: Progress | None, title: str
) -> Any:
    """Write the arrays of a model.

    Args:
        resolved: what is in them.
        model: that they are of.
        arrays: all of the model's, with the tensors that the plan says they hold.
        only: which of the arrays are written.
        progress: called with the bytes written so far, and in all.
        title: of the bar that is shown.

    Returns:
        the model with what was written.
    """
    written = chosen(arrays, only)
    for array in written:
        model.check(array)
    sizes = [math.prod(array.shape) * resolved.held(array)[0][1].dtype.itemsize for array in written]
    done, total = 0, sum(sizes)
    with shown(progress, title, total) as report:
        for array, size in zip(written, sizes, strict=True):
            model.write(array, resolved.pieces(array))
            done += size
            report(done, total)
    return model.result()


def chosen(arrays: Sequence[Array], only: Only) -> list[Array]:
    """The arrays that `only` means: a pattern, patterns, or a test of name and array; None means all.

    Raises:
        PlanError: a pattern means none.
    """
    if only is None:
        return list(arrays)
    if callable(only):
        return [array for array in arrays if only(array.name, array.handle)]
    selectors = [Selector.of_pattern(pattern) for pattern in ([only] if isinstance(only, str) else only)]
    found = {id(selector): [array for array in arrays if _means(selector, array)] for selector in selectors}
    for selector in selectors:
        if not found[id(selector)]:
            near = sorted((array.name for array in arrays), key=selector.distance)
            raise PlanError(f"only={selector.text!r} means no array; the nearest names are {joined(near)}.")
    means = {array.name for some in found.values() for array in some}
    return [array for array in arrays if array.name in means]


def _means(selector: Selector, array: Array) -> bool:
    names: Iterable[str] = (array.name, *(parameter.name for parameter in array.parameters))
    return any(selector.match(name) is not None for name in names)
