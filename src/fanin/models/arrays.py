"""A model as plans see it: its arrays, what each holds, and how what is here of them is written."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fanin import engines
from fanin.layouts import Shape
from fanin.models.parameter import Parameter
from fanin.recipe import ConstantValue, Draw, Piece, Recipe, Whole, Window

__all__ = ["Array", "Copied", "Model", "Part", "Readable", "computed_once", "pieces_of", "write", "zeros_of"]


@dataclass(frozen=True)
class Array:
    """An array of a model, and the logical tensors that it holds.

    Attributes:
        name: of the array, without what wrappers put before it.
        handle: the model's own object.
        shape: of the whole array, wherever its shards are.
        parameters: the tensors that it holds, which cover it.
        zero_rows: indices on the first axis that are zero whatever is drawn, such as that of padding.
        offset: of a handle that is one plain shard; None where the handle tells its own place.
        persistent: whether checkpoints of the model hold it.
    """

    name: str
    handle: Any
    shape: Shape
    parameters: tuple[Parameter, ...]
    zero_rows: tuple[int, ...] = ()
    offset: Shape | None = None
    persistent: bool = True


class Readable(Protocol):
    """What can be looked at: a model, or a checkpoint."""

    @property
    def arrays(self) -> Sequence[Array]:
        """All that it has, in its order."""

    def read(self, array: Array) -> "Sequence[Part]":
        """What of an array is here, to be looked at.

        Returns:
            parts that do not overlap, each with the `Part.view` that is NumPy's array over the memory, in the
            dtype that fanin calls it by (bfloat16 and float8 are those of ml_dtypes); or, of memory that the
            host cannot reach, a `Copied`. Nothing where another process has all of it. Of an array whose
            values many processes have, each gives its own: fingerprints count equal windows once.

            A kind of models whose arrays the host can see gives ``[Part(Window.whole(array.shape),
            np.asarray(array.handle))]``; of a `jax.Array` it is one part for each different index of its
            addressable shards, ``Part(Window.of(array.shape, shard.index), np.asarray(shard.data))``.

        Raises:
            OutputError: there are no values, as on the meta device, or none that can be read.
        """


class Model(Readable, Protocol):
    """What a plan needs of a model; one class for each kind."""

    def check(self, array: Array) -> None:
        """Refuse an array that cannot be written.

        Raises:
            OutputError: and why.
            ShapeError, ArgumentError: it cannot be made as it is to be split over devices.
        """

    def write(self, array: Array, pieces: Iterable[Piece]) -> None:
        """Write what this process has of an array, by the pieces that the whole is made of."""

    def result(self) -> Any:
        """The model with what has been written: itself, or a new one where models of its kind do not change.

        Raises:
            PlanError: it has changed meanwhile.
        """


@dataclass(frozen=True)
class Part:
    """A box of an array that this process has.

    Attributes:
        window: of the whole array.
        view: an array or tensor of the window's shape.
    """

    window: Window
    view: Any


@dataclass(frozen=True)
class Copied:
    """Memory that the host cannot reach, as much of an array as reading needs: a slice of it is a copy.

    Attributes:
        shape: as an array has it.
        dtype: of the copies.
        copy: gives NumPy's array of a box.
    """

    shape: Shape
    dtype: np.dtype
    copy: Callable[[tuple[slice, ...]], np.ndarray]

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        return self.copy(box)


def pieces_of(parameter: Parameter, recipe: Recipe, zero_rows: Iterable[int] = ()) -> tuple[Piece, ...]:
    """Where the tensor of a recipe goes in the array that holds it, and then zeros to some of its rows."""
    places = parameter.places
    recipe = computed_once(recipe) if len(places) > 1 else recipe
    pieces = [Piece(recipe, inside, outside.slices) for inside, outside in places]
    zero = Draw(ConstantValue(0), parameter.shape)
    for row in zero_rows:
        for inside, outside in places:
            if inside.start[0] <= row < inside.stop[0]:
                at = outside.start[0] + row - inside.start[0]
                one = Window((row, *inside.start[1:]), (row + 1, *inside.stop[1:]))
                pieces.append(Piece(zero, one, (slice(at, at + 1), *outside.slices[1:])))
    return tuple(pieces)


def zeros_of(array: Array) -> tuple[Piece, ...]:
    """What makes the rows of an array zero that are so whatever is drawn."""
    zero = Draw(ConstantValue(0), array.shape)
    rows = [Window((row, *(0,) * (len(array.shape) - 1)), (row + 1, *array.shape[1:])) for row in array.zero_rows]
    return tuple(Piece(zero, row, row.slices) for row in rows)


def write(pieces: Iterable[Piece], parts: Iterable[Part], zero: Recipe | None = None, rows: Iterable[int] = ()) -> None:
    """Write an array: of every piece what lies in the parts, then zeros to some of the rows.

    Args:
        pieces: what the array is made of.
        parts: what of it is here.
        zero: a recipe of zeros of the array's shape.
        rows: that are zero.
    """
    parts = tuple(parts)
    for piece in pieces:
        recipe = computed_once(piece.recipe) if len(parts) > 1 else piece.recipe
        for part in parts:
            offset = tuple(each.start - start for each, start in zip(piece.at, piece.window.start, strict=True))
            _write(recipe, offset, piece.window, part)
    for row in rows:
        assert zero is not None
        for part in parts:
            start, stop = (row, *part.window.start[1:]), (row + 1, *part.window.stop[1:])
            _write(zero, (0,) * len(start), Window(start, stop), part)


def _write(recipe: Recipe, offset: Shape, window: Window, part: Part) -> None:
    """Write what a window, moved by an offset, has in common with a part."""
    first = tuple(a + b for a, b in zip(offset, window.start, strict=True))
    last = tuple(a + b for a, b in zip(offset, window.stop, strict=True))
    start = tuple(map(max, first, part.window.start))
    stop = tuple(map(min, last, part.window.stop))
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return
    box = Window(*(tuple(a - b for a, b in zip(end, offset, strict=True)) for end in (start, stop)))
    here = tuple(slice(a - c, b - c) for a, b, c in zip(start, stop, part.window.start, strict=True))
    engines.fill(recipe, box, part.view[(*here, ...)])  # of no axes, NumPy would give a number without the ellipsis


def computed_once(recipe: Recipe) -> Recipe:
    """A tensor that can only be computed whole, computed once for all parts, and only where one has some of it."""
    if not isinstance(recipe, Whole) or recipe.windowable:
        return recipe
    return Whole(functools.cache(recipe.compute), recipe.shape)
