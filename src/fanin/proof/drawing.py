"""What a plan has for a box of an array, drawn again, and whether that is what is there."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fanin import engines
from fanin.engines.rounding import round_array
from fanin.layouts import Shape
from fanin.models import Part
from fanin.plan import Entry
from fanin.proof.blocks import Block
from fanin.proof.subjects import Tensor
from fanin.recipe import Draw, Recipe, Whole
from fanin.spec import FORMATS

__all__ = ["Check", "Difference", "Drawn", "bits_of", "carried", "neighbours"]


@dataclass(frozen=True)
class Difference:
    """How a box differs from what its plan has.

    Attributes:
        count: of the elements that differ.
        near: of those of a tensor computed whole that differ by one unit in the last place, which is allowed.
        first: the index in the array of the first that differs.
        index: the same, in the tensor.
        found, expected: that element, and what the plan has.
        start, stop: the box in the array that holds all that differ.
        same: whether all that differ hold one value.
    """

    count: int
    near: int = 0
    first: Shape = ()
    index: Shape = ()
    found: np.ndarray | None = None
    expected: np.ndarray | None = None
    start: Shape = ()
    stop: Shape = ()
    same: bool = False


@dataclass(frozen=True)
class Drawn:
    """A tensor to be drawn again.

    Attributes:
        recipe: of the tensor.
        dtype: of the array that it is in.
        zero_rows: of that array.
        own_rows: of the tensor, that are zero as well.
    """

    recipe: Recipe
    dtype: np.dtype
    zero_rows: Sequence[int] = ()
    own_rows: Sequence[int] = ()

    def zeros(self, block: Block) -> list[int]:
        """The rows of a block that are zero by design, counted in it."""
        rows = {row - block.at.start[0] for row in self.zero_rows}
        rows |= {row - block.window.start[0] for row in self.own_rows}
        return sorted(row for row in rows if 0 <= row < block.window.shape[0])

    @functools.cached_property
    def whole(self) -> np.ndarray:
        """All of a tensor that can only be computed whole, in the dtype."""
        assert isinstance(self.recipe, Whole)
        return round_array(self.recipe.compute(), self.dtype)

    def values(self, block: Block, room: np.ndarray) -> np.ndarray:
        """What is expected in a block, in memory that is given."""
        size = math.prod(block.window.shape)
        values = room[: size * self.dtype.itemsize].view(self.dtype).reshape(block.window.shape)
        if isinstance(self.recipe, Draw):
            engines.fill(self.recipe, block.window, values)
        else:
            values[...] = self.whole[block.window.slices]
        if self.zero_rows or self.own_rows:
            values[self.zeros(block)] = 0
        return values

    def compared(self, block: Block, room: np.ndarray) -> Difference:
        """Compare a block with what is expected, bit for bit."""
        expected = self.values(block, room)
        found = block.values()
        here, there = carried(found), carried(expected)
        if np.array_equal(here, there):
            return Difference(0)
        differs = here != there
        near = 0
        if not self.recipe.windowable and self.dtype.name in FORMATS:
            allowed = differs & neighbours(here, there)
            near = int(np.count_nonzero(allowed))
            differs &= ~allowed
        count = int(np.count_nonzero(differs))
        if not count:
            return Difference(0, near)
        where = np.argwhere(differs)
        first = tuple(where[0].tolist())
        wrong = here[differs]
        low, high = (tuple(ends.tolist()) for ends in (where.min(0), where.max(0)))
        origin = block.at.start
        return Difference(
            count,
            near,
            _plus(origin, first),
            _plus(block.window.start, first),
            np.array(found[first]),
            np.array(expected[first]),
            _plus(origin, low),
            _plus(origin, tuple(each + 1 for each in high)),
            bool((wrong == wrong[0]).all()),
        )


@dataclass(frozen=True)
class Check:
    """A tensor to be compared.

    Attributes:
        entry: what the plan says.
        tensor: what there is.
        drawn: how it is drawn again.
        parts: that are here.
    """

    entry: Entry
    tensor: Tensor
    drawn: Drawn
    parts: Sequence[Part]


def _plus(one: Shape, other: Shape) -> Shape:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def carried(values: np.ndarray) -> np.ndarray:
    """An array as unsigned integers of its bits."""
    return np.asarray(values.view(f"u{values.dtype.itemsize}"))


def bits_of(value: np.ndarray) -> str:
    """The bits of one element, in hexadecimal."""
    width = value.dtype.itemsize
    return f"0x{int(carried(np.atleast_1d(value))[0]):0{2 * width}x}"


def neighbours(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Whether two bit patterns are of neighbouring numbers, the two zeros being one."""
    return np.asarray(np.abs(_ordered(here) - _ordered(there)) <= 1)


def _ordered(bits: np.ndarray) -> np.ndarray:
    """Integers in the order of the numbers; of 64 bits modulo 2**64, where differences of one still show."""
    top = 8 * bits.dtype.itemsize - 1
    size = (bits & np.asarray(2**top - 1, bits.dtype)).astype(np.int64)
    return np.asarray(np.where(bits >> np.asarray(top, bits.dtype), -size, size))
