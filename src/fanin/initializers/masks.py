"""Masks: an initializer with zeros where there is to be no connection."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fanin.errors import ArgumentError, ShapeError
from fanin.initializers.arrays import array
from fanin.initializers.elementwise import mapped
from fanin.initializers.indices import index
from fanin.initializers.registry import named
from fanin.initializers.wrappers import Wrapper
from fanin.layouts import Layout, Shape
from fanin.recipe import Draw, Recipe, Whole, Window

__all__ = ["Masked"]

# What each mask keeps, of the input index i and the output index o.
_TRIANGLES: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "lower": operator.ge,
    "upper": operator.le,
    "strictly_lower": operator.gt,
    "strictly_upper": operator.lt,
}
_CAUSAL: dict[str, Callable[[np.ndarray, int], Any]] = {"causal": operator.le, "strictly_causal": operator.lt}
NAMES = (*_TRIANGLES, "band", "block_diagonal", *_CAUSAL)


@named("masked")
class Masked(Wrapper):
    """What another initializer makes, with zeros where a mask is zero.

    With i the index of the row and o that of the column of a matrix, the last two canonical axes (see
    `fanin.layouts.Layout`: inputs and outputs), every further axis holding matrices of its own, these are kept:

    * ``"lower"``: i >= o; ``"upper"``: i <= o; ``"strictly_lower"``, ``"strictly_upper"``: without i = o.
    * ``"band"``: -above <= i - o <= below.
    * ``"block_diagonal"``: i and o in the same of `groups` blocks of equal size.
    * ``"causal"``: all up to the centre, k <= K // 2, of the first window axis, of length K;
      ``"strictly_causal"``: k < K // 2.

    Fans are those of the initializer inside, and count what the mask takes away.

    Args:
        initializer: whatever `get` takes.
        mask: one of these names; or an array of booleans or numbers that broadcasts to the shape, of
            the array as it is stored, whatever the layout.
        below: of a band, how many diagonals beside the main one, on the side of larger i; None for all.
        above: on the side of larger o; None for all.
        groups: how many blocks.

    Raises:
        ArgumentError: the mask is none of these, or an argument is not of the mask.
        ShapeError: the shape has no such axes, is not divided by the groups, or the array does not broadcast to it
            (at the call).

    Exactness: that of the initializer inside, the zeros included; a window costs only the window where it does there.

    References: van den Oord et al. 2016, arXiv:1601.06759, section 3.4, for causal masks.

    >>> from fanin import initializers
    >>> initializers.Masked("ones", "lower")((3, 4))
    array([[1., 0., 0., 0.],
           [1., 1., 0., 0.],
           [1., 1., 1., 0.]], dtype=float32)
    >>> initializers.get("masked(ones(), 'block_diagonal', groups=2)")((2, 4))
    array([[1., 1., 0., 0.],
           [0., 0., 1., 1.]], dtype=float32)
    """

    mask: str | np.ndarray

    def __init__(
        self, initializer: Any, mask: Any, below: int | None = 0, above: int | None = 0, groups: int = 1
    ) -> None:
        super().__init__(initializer)
        if isinstance(mask, str):
            if mask not in NAMES:
                raise ArgumentError(f"Masked: mask must be one of {', '.join(NAMES)}, or an array, not {mask!r}.")
            self.mask = mask
        else:
            kept = array(Masked, "mask", mask) != 0
            kept.flags.writeable = False
            self.mask = kept
        self.below = None if below is None else _count("below", below, 0)
        self.above = None if above is None else _count("above", above, 0)
        self.groups = _count("groups", groups, 1)
        own = {"below": "band", "above": "band", "groups": "block_diagonal"}
        for argument, value in (("below", self.below), ("above", self.above), ("groups", self.groups - 1)):
            if value != 0 and not (isinstance(mask, str) and mask == own[argument]):
                raise ArgumentError(f"Masked: {argument} is an argument of mask={own[argument]!r} only.")

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        keeps = self._keeps(shape, layout)
        return mapped(
            self._inner(shape, layout, name, seed),
            lambda values, window: np.where(keeps(window), values, values.dtype.type(0)),
        )

    def _keeps(self, shape: Shape, layout: Layout) -> Callable[[Window], np.ndarray]:
        """What is kept of a window, as booleans that broadcast to it."""
        mask = self.mask
        if not isinstance(mask, str):
            try:
                whole = np.broadcast_to(mask, shape)
            except ValueError:
                raise ShapeError(
                    f"Masked: a mask of shape {mask.shape!r} does not broadcast to the shape {shape!r}."
                ) from None
            return lambda window: whole[window.slices]
        if mask in _CAUSAL:
            first, length = _first_window_axis(shape, layout)
            return lambda window: _CAUSAL[mask](index(layout, shape, first, window), length // 2)
        lengths = layout.canonical_shape(shape)
        if len(lengths) < 2:
            raise ShapeError(
                f"Masked: mask={mask!r} needs two axes or more, for rows and columns; the shape {shape!r} has "
                f"{len(lengths)}."
            )
        inputs, outputs = lengths[-2:]
        if inputs % self.groups or outputs % self.groups:
            raise ShapeError(f"Masked: groups={self.groups} do not divide the {inputs} rows and {outputs} columns.")
        keep = self._matrix(inputs, outputs)
        return lambda window: keep(*(index(layout, shape, axis, window) for axis in (-2, -1)))

    def _matrix(self, inputs: int, outputs: int) -> Callable[[np.ndarray, np.ndarray], Any]:
        if self.mask == "band":
            below = inputs if self.below is None else self.below
            above = outputs if self.above is None else self.above
            return lambda i, o: (i - o <= below) & (o - i <= above)
        if self.mask == "block_diagonal":
            rows, columns = max(1, inputs // self.groups), max(1, outputs // self.groups)
            return lambda i, o: i // rows == o // columns
        return _TRIANGLES[str(self.mask)]

    def _reads_axes(self) -> bool:
        return isinstance(self.mask, str)

    def _needs_roles(self) -> str:
        if not isinstance(self.mask, str):
            return super()._needs_roles()
        return super()._needs_roles() or ("window axes" if self.mask in _CAUSAL else "rows and columns")

    def _check_computed(self, recipe: Whole, layout: Layout, dtype: np.dtype) -> None:
        inner = self._inner(recipe.shape, layout, "", 0)
        if isinstance(inner, Draw):
            inner.check_dtype(dtype)
        else:
            super()._check_computed(recipe, layout, dtype)

    def _arguments(self) -> dict[str, Any]:
        mask = self.mask if isinstance(self.mask, str) else self.mask.tolist()
        return {"mask": mask, "below": self.below, "above": self.above, "groups": self.groups}


def _first_window_axis(shape: Shape, layout: Layout) -> tuple[int, int]:
    """The canonical number and the length of the first window axis; without a layout, of all but the last two axes."""
    roles = [axis.role for axis in layout.axes(shape)] if layout.stated else ["k"] * (len(shape) - 2)
    if "k" not in roles:
        raise ShapeError(
            f"Masked: a causal mask needs a window axis; the shape {shape!r}"
            f"{f' with layout {layout.text!r}' if layout.stated else ''} has none."
        )
    first = roles.count("b")
    return first, layout.canonical_shape(shape)[first]


def _count(argument: str, value: object, least: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)  # type: ignore[arg-type]  # refusing what has no __index__ is the point
    except TypeError:
        count = least - 1
    if count < least:
        raise ArgumentError(f"Masked: {argument} must be an integer from {least}, not {value!r}.")
    return count
