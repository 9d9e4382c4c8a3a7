"""Layouts: which axis of an array plays which role, and the fans that follow from it.

A layout is written as one letter per array axis, in array order::

    i   input axis          o   output axis
    k   window axis         b   batch axis (experts, scanned layers)

``*k`` stands for any number of axes (none included). Axes of one role that form one logical axis
are numbered in the order in which they merge, the first outermost: ``i o1 o2`` is an attention
kernel (width, heads, head width) whose output axis is heads * head width. ``~k`` is a window axis
stored back to front. ``o/32`` says that the operation splits that axis into 32 groups.

The canonical axes are ``(*batch, *window, in, out)``, those that are absent left out. The *column*
of an element is its index on the last canonical axis, its *row* the C-order index over all others.
The layout decides both the fans and, through rows and columns, the numbers (docs/stream.md).
"""

import functools
import math
import operator
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from fanin.errors import LayoutError, ShapeError

__all__ = ["ARRAY_ORDER", "Coordinates", "Fans", "Layout", "fans"]

Shape = tuple[int, ...]

MAX_ROWS = 2**32  # the row is one counter word
MAX_COLUMNS = 2**34  # a counter word addresses four columns
MAX_AXES = 64  # of NumPy's arrays

_TOKEN = re.compile(r"(?P<many>\*?)(?P<flip>~?)(?P<role>[bkio])(?P<order>\d*)(?:/(?P<groups>\d+))?")
_ROLES = {"b": "batch", "k": "window", "i": "input", "o": "output"}


def check_shape(shape: Any) -> Shape:
    """Turn dimensions, or one dimension, into a tuple of ints.

    Raises:
        ShapeError: a dimension is negative, fractional or no integer, or the tensor has 2**63 elements or 65 axes.
    """
    try:
        dimensions = (shape,) if isinstance(shape, str | bytes | bytearray | Mapping | Set) else tuple(shape)
    except TypeError:  # not to be iterated: one dimension, if anything
        dimensions = (shape,)
    result = []
    for dimension in dimensions:
        try:
            length = operator.index(dimension)
        except (TypeError, AttributeError):  # of which TensorFlow's floats raise the second
            raise ShapeError(
                f"shape {shape!r}: dimension {dimension!r} is not an integer; give a tuple of non-negative integers."
            ) from None
        if isinstance(dimension, bool) or length < 0:
            raise ShapeError(f"shape {shape!r}: dimension {dimension!r} is not a non-negative integer.")
        result.append(length)
    if len(result) > MAX_AXES:
        raise ShapeError(f"a shape of {len(result)} axes is beyond the {MAX_AXES} that an array of NumPy can have.")
    if max(result, default=0) >= 2**63 or math.prod(result) >= 2**63:
        raise ShapeError(f"shape {shape!r} has 2**63 elements or more, which no array can hold.")
    return tuple(result)


class Fans(NamedTuple):
    """How many inputs feed one output unit, and how many output units one input feeds."""

    fan_in: int
    fan_out: int


class Coordinates(NamedTuple):
    """An affine map from the indices of an array to logical rows and columns.

    The element at index ``x`` has ``row = row_start + sum(row_steps[a] * x[a])`` and
    ``column = column_start + sum(column_steps[a] * x[a])``; on each axis one of the steps is 0.
    """

    shape: Shape
    row_start: int
    row_steps: tuple[int, ...]
    column_start: int
    column_steps: tuple[int, ...]

    def window(self, start: Shape, stop: Shape) -> "Coordinates":
        """The same map for the elements from `start` to `stop`, counted from `start`."""
        return Coordinates(
            tuple(b - a for a, b in zip(start, stop, strict=True)),
            self.row_start + sum(map(int.__mul__, self.row_steps, start)),
            self.row_steps,
            self.column_start + sum(map(int.__mul__, self.column_steps, start)),
            self.column_steps,
        )


class _Axis(NamedTuple):
    role: str
    order: int
    flip: bool
    groups: int


@dataclass(frozen=True)
class Layout:
    """Roles of the axes of an array, read from a text such as ``"o i *k"``.

    ``Layout("o i *k")`` is a convolution or linear weight as torch stores it, ``Layout("*k i o")``
    the same as Keras and Flax do. `ARRAY_ORDER` states no roles: columns run along the last array
    axis, and fans are those that Keras reads off a shape.

    Attributes:
        text: the layout.
        member: which member of an ensemble the array is of: it has the rows of that slice along one more
            batch axis in front of all others.

    Raises:
        LayoutError: the text is not a layout.
    """

    text: str
    member: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self._axes  # noqa: B018 - reading the text is the check of it

    @functools.cached_property
    def _axes(self) -> tuple[tuple[bool, _Axis], ...]:
        if not isinstance(self.text, str):
            raise LayoutError(f"a Layout is read from a text such as 'o i *k', not {self.text!r}.")
        axes = []
        for token in self.text.split():
            match = _TOKEN.fullmatch(token)
            if match is None:
                raise LayoutError(
                    f"layout {self.text!r}: cannot read {token!r}. Write one of i, o, k, b per axis, such as "
                    f"'o i *k' for a torch convolution or 'i o1 o2' for merged output axes."
                )
            axis = _Axis(match["role"], int(match["order"] or 0), bool(match["flip"]), int(match["groups"] or 1))
            if axis.groups < 1:
                raise LayoutError(f"layout {self.text!r}: {token!r} has no groups; write a number from 1.")
            if axis.flip and axis.role != "k":
                raise LayoutError(f"layout {self.text!r}: only window axes (k) can be flipped, not {token!r}.")
            axes.append((bool(match["many"]), axis))
        if sum(many for many, _ in axes) > 1:
            raise LayoutError(f"layout {self.text!r}: only one axis can be starred, else lengths are ambiguous.")
        for role in "io":
            orders = [axis.order for _, axis in axes if axis.role == role]
            if len(set(orders)) < len(orders):
                raise LayoutError(
                    f"layout {self.text!r}: several {_ROLES[role]} axes of one number. Number them in the order in "
                    f"which they merge, such as '{role}1 {role}2'."
                )
        return tuple(axes)

    def __str__(self) -> str:
        return self.text

    @property
    def stated(self) -> bool:
        """Whether the layout states roles, rather than being mere array order."""
        return bool(self.text)

    def axes(self, shape: Shape) -> tuple[_Axis, ...]:
        """The role of every axis of `shape`, the starred one expanded."""
        if not self.stated:
            return tuple(_Axis("k", 0, False, 1) for _ in shape)
        missing = len(shape) - len(self._axes)
        starred = any(many for many, _ in self._axes)
        if missing < (-1 if starred else 0) or (missing > 0 and not starred):
            raise LayoutError(
                f"layout {self.text!r} is for rank {len(self._axes) - starred}{' or more' if starred else ''}, "
                f"but the shape {shape!r} has rank {len(shape)}."
            )
        axes: list[_Axis] = []
        for many, axis in self._axes:
            axes.extend([axis] * (missing + 1 if many else 1))
        return tuple(axes)

    def canonical_axes(self, shape: Shape) -> list[list[int]]:
        """For each canonical axis ``(*batch, *window, in, out)``, the array axes that merge into it."""
        axes = self.axes(shape)
        single = [[a] for role in "bk" for a, axis in enumerate(axes) if axis.role == role]
        merged = [
            sorted((a for a, axis in enumerate(axes) if axis.role == role), key=lambda a: axes[a].order)
            for role in "io"
        ]
        return single + [group for group in merged if group]

    def canonical_shape(self, shape: Shape) -> Shape:
        """The lengths of the canonical axes of an array of `shape`."""
        return tuple(math.prod(shape[a] for a in group) for group in self.canonical_axes(shape))

    def coordinates(self, shape: Shape) -> Coordinates:
        """The logical row and column of every element of an array of `shape`.

        Raises:
            LayoutError: the layout does not fit the rank of the shape.
            ShapeError: more than 2**32 rows or 2**34 columns.
        """
        return _coordinates(self, tuple(shape))

    def fans(self, shape: Shape) -> Fans:
        """The fans of the operation that the layout describes; an absent role counts as one unit.

        ``fan_in = inputs * window``, ``fan_out = outputs * window``, both per group.
        """
        shape = tuple(shape)
        if not self.stated:
            return _keras_fans(shape)
        count = dict.fromkeys("bkio", 1)
        groups = dict.fromkeys("bkio", 1)
        for length, axis in zip(shape, self.axes(shape), strict=True):
            count[axis.role] *= length
            groups[axis.role] *= axis.groups
        for role, number in groups.items():
            if count[role] % number:
                raise LayoutError(
                    f"layout {self.text!r}: {count[role]} {_ROLES[role]} units of the shape {shape!r} do not split "
                    f"into {number} groups."
                )
        return Fans(count["i"] // groups["i"] * count["k"], count["o"] // groups["o"] * count["k"])


ARRAY_ORDER = Layout("")


def fans(shape: Sequence[int], layout: "Layout | str | None" = None) -> Fans:
    """Count the inputs of one output unit, and the outputs of one input unit, of a weight.

    ``fan_in = inputs * window`` and ``fan_out = outputs * window``, where the window is the
    product of the kernel's spatial extents, and grouped axes count one group.

    Args:
        shape: the shape of the array, in elements.
        layout: which axis is which, such as ``"o i *k"``; None reads the shape as Keras does:
            ``(*window, in, out)`` for rank >= 2, ``(n, n)`` for a vector, ``(1, 1)`` for a scalar.

    Returns:
        `Fans`, two integers.

    Raises:
        LayoutError: the layout cannot be read or does not fit the shape.
        ShapeError: the shape is not of non-negative integers.

    >>> fans((64, 32, 3, 3), "o i *k")  # torch.nn.Conv2d(32, 64, 3)
    Fans(fan_in=288, fan_out=576)
    >>> fans((64, 1, 3, 3), "o/64 i *k")  # the same, depthwise
    Fans(fan_in=9, fan_out=9)
    """
    return as_layout(layout).fans(check_shape(shape))


def as_layout(layout: "Layout | str | None") -> Layout:
    """Turn what a user passes as ``layout=`` into a `Layout`."""
    if isinstance(layout, Layout):
        return layout
    if layout is None:
        return ARRAY_ORDER
    if isinstance(layout, str):
        return _read(layout)
    raise LayoutError(f"layout must be a text such as 'o i *k', a Layout or None, not {layout!r}.")


@functools.lru_cache(maxsize=256)
def of_member(layout: Layout, member: int) -> Layout:
    """The layout of the same array of one member of an ensemble."""
    return replace(layout, member=member) if member else layout


@functools.lru_cache(maxsize=256)
def _read(text: str) -> Layout:
    if not text.split():
        raise LayoutError("layout '' is empty; pass None for array order.")
    return Layout(" ".join(text.split()))


def _keras_fans(shape: Shape) -> Fans:
    if len(shape) < 2:
        size = math.prod(shape)
        return Fans(size, size)
    window = math.prod(shape[:-2])
    return Fans(shape[-2] * window, shape[-1] * window)


@functools.lru_cache(maxsize=1024)
def _coordinates(layout: Layout, shape: Shape) -> Coordinates:
    axes = layout.axes(shape)
    *row_groups, column_group = layout.canonical_axes(shape) or [[]]
    row_start, row_steps, rows = _steps(shape, axes, [a for group in row_groups for a in group])
    column_start, column_steps, columns = _steps(shape, axes, column_group)
    member = layout.member
    if rows * (member + 1) > MAX_ROWS or columns > MAX_COLUMNS:
        others = f", with those of {member} members before it" if member else ""
        raise ShapeError(
            f"shape {shape!r} with layout {layout.text or 'array order'!r} has {rows} rows{others} and {columns} "
            f"columns; the stream addresses 2**32 rows and 2**34 columns. Split the tensor into several named ones."
        )
    if shape:
        row_start += member * rows
    else:  # the only axis of the scalars of all members, and so their column
        column_start = member
    return Coordinates(shape, row_start, row_steps, column_start, column_steps)


def _steps(shape: Shape, axes: Sequence[_Axis], order: Sequence[int]) -> tuple[int, tuple[int, ...], int]:
    """Start, step per array axis, and count of the C-order index over the array axes in `order`."""
    steps = [0] * len(shape)
    start, step = 0, 1
    for a in reversed(order):
        steps[a] = -step if axes[a].flip else step
        start += (shape[a] - 1) * step if axes[a].flip else 0
        step *= shape[a]
    return start, tuple(steps), step
