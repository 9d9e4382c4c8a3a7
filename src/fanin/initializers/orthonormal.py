"""The orthogonal initializer: a matrix drawn uniformly from those with orthonormal rows or columns."""

import dataclasses
import math
from typing import Any

import numpy as np

from fanin import engines
from fanin.errors import ArgumentError, ShapeError
from fanin.initializers.base import RandomInitializer, Seed, real
from fanin.initializers.custom import unseeded
from fanin.layouts import ARRAY_ORDER, Layout, Shape
from fanin.recipe import Draw, Normal, Recipe, Stream, Whole, Window
from fanin.spec import FORMATS
from fanin.spec.grids import LEAST_SCALE

_STANDARD = Normal(0.0, 1.0)

PARTS = ("real", "imag")


def part_name(name: str, part: str) -> str:
    """The logical name of one part of a complex tensor: ``fc.kernel.real``."""
    return f"{name}.{part}" if name else part


class Orthogonal(RandomInitializer):
    """A random orthogonal matrix times a gain; rows or columns are orthonormal where it is rectangular.

    The matrix has ``rows = prod(all canonical axes but the last)`` and the last canonical axis for
    columns (see `fanin.layouts.Layout`); a batch axis holds independent matrices. A Gaussian matrix
    A, ``max(rows, columns)`` by ``min(rows, columns)``, is factorized, A = Q R, the columns of Q
    take the signs of R's diagonal, which makes Q Haar-distributed, and the wide case is transposed.

    Args:
        gain: 0, or of magnitude from 2**-90 to the greatest float32.
        seed: see `Initializer`.

    Returns (from a call): values in [-|gain|, |gain|], up to rounding.

    Raises:
        ShapeError: there are no two axes for rows and columns (at the call).

    Exactness: computed whole, in float64 by LAPACK, and rounded once to float32, which is the value:
    the same numbers on every engine, but another LAPACK may differ in the last bit of a few elements.
    A window costs the whole.
    Differs from Keras 3, which factorizes in the dtype asked for, and from Keras 2, which uses an SVD.

    References: Saxe, McClelland, Ganguli 2014, arXiv:1312.6120; Mezzadri 2007, arXiv:math-ph/0609050,
    section 5, for the signs.

    >>> from fanin import initializers
    >>> w = initializers.Orthogonal(seed=7)((64, 32))
    >>> gram = w.T @ w
    >>> bool(abs(gram - gram.round()).max() < 1e-6), float(gram.trace().round(3))
    (True, 32.0)
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = real(self, "gain", gain)
        if self.gain and not LEAST_SCALE <= abs(self.gain) <= FORMATS["float32"].greatest:
            raise ArgumentError(
                f"Orthogonal: gain is {gain!r}; give 0, or a magnitude from 2**-90 (about 8e-28) to the greatest of "
                f"float32."
            )
        super().__init__(seed)

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        own = seed if self.seed is None else self.seed
        return orthogonal_recipe(self.gain, shape, layout, Stream(*(unseeded(name) if own is None else (name, own))))

    def _needs_roles(self) -> str:
        return "rows and columns"

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"gain": self.gain, **super().get_config()}


def orthogonal_recipe(gain: float, shape: Shape, layout: Layout, stream: Stream, part: str = "") -> Whole:
    """Make the recipe of an orthogonal matrix, see `Orthogonal`, or of one part of a unitary one.

    A unitary matrix is the same of a complex Gaussian matrix, whose parts have the streams
    ``<name>.real`` and ``<name>.imag``; phases take the place of signs.

    Args:
        gain: to multiply by.
        shape: of the array.
        layout: which axes are rows and columns.
        stream: of the matrix.
        part: "real" or "imag", of a unitary matrix; nothing for an orthogonal one.
    """
    groups = layout.canonical_axes(shape)
    axes = layout.axes(shape)
    batch = sum(axis.role == "b" for axis in axes)
    if len(groups) - batch < 2:
        raise ShapeError(
            f"Orthogonal needs two axes or more, for rows and columns; the shape {shape!r}"
            f"{f' with layout {layout.text!r}' if layout.stated else ''} has {len(groups) - batch}."
        )
    lengths = layout.canonical_shape(shape)
    rows, columns = math.prod(lengths[batch:-1]), lengths[-1]
    tall = (*lengths[:batch], max(rows, columns), min(rows, columns))
    stream.words()
    order = dataclasses.replace(ARRAY_ORDER, member=layout.member)
    order.coordinates(tall)
    streams = [dataclasses.replace(stream, name=part_name(stream.name, each)) for each in PARTS] if part else [stream]
    gaussian = [Draw(_STANDARD, tall, order, each) for each in streams]

    def compute() -> np.ndarray:
        matrix = np.empty(tall, complex if part else float)
        for draw, each in zip(gaussian, PARTS, strict=False):
            engines.fill(draw, Window.whole(tall), getattr(matrix, each))
        q = _orthonormal(matrix, gain)
        q = getattr(q, part) if part else q
        if rows < columns:
            q = q.swapaxes(-1, -2)
        canonical = [a for group in groups for a in group]
        array = q.astype(np.float32).reshape([shape[a] for a in canonical]).transpose(np.argsort(canonical))
        return array[tuple(slice(None, None, -1 if axis.flip else 1) for axis in axes)]

    return Whole(compute, shape)


def _orthonormal(matrix: np.ndarray, gain: float) -> np.ndarray:
    """Return the orthonormal factor of tall matrices, unique by a positive diagonal of R, times a gain."""
    if matrix.size == 0:
        return matrix
    q, r = np.linalg.qr(matrix)
    diagonal = np.diagonal(r, axis1=-2, axis2=-1)
    if np.iscomplexobj(diagonal):
        q *= gain * (diagonal / np.where(diagonal == 0, 1, abs(diagonal)))[..., None, :]
    else:
        q *= np.where(diagonal < 0, -gain, gain)[..., None, :]
    return q
