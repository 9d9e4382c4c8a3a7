"""A distribution's grid as one flat record of numbers, for kernels that take every form through the same arguments."""

import functools
import math
from typing import NamedTuple

from fanin.recipe import Normal, UniformInterval
from fanin.spec.grids import Affine, Scaled, Uniform

__all__ = ["AFFINE", "SCALED", "UNIFORM", "Form", "form_of"]

UNIFORM, SCALED, AFFINE = range(3)


class Form(NamedTuple):
    """Which of the forms of `fanin.spec.variates`, and its numbers; those that a form does not use are 0.

    Attributes:
        kind: `UNIFORM`, `SCALED` or `AFFINE`.
        origin: int32.
        slope: uint32; the width of a uniform.
        least: int32.
        greatest: int32.
        unit: a float32: what the integer is multiplied by in the end.
        lower: the table's bounds; infinite where there is no table.
        upper: see `lower`.
    """

    kind: int
    origin: int
    slope: int
    least: int
    greatest: int
    unit: float
    lower: float = -math.inf
    upper: float = math.inf


@functools.lru_cache(maxsize=256)
def form_of(distribution: Normal | UniformInterval) -> Form:
    """The form of a distribution that draws."""
    grid = distribution.grid()
    if isinstance(grid, Uniform):
        return Form(UNIFORM, grid.origin, grid.width, 0, 0, grid.unit)
    if isinstance(grid, Scaled):
        return Form(SCALED, 0, 0, 0, 0, grid.scale, grid.lower, grid.upper)
    assert isinstance(grid, Affine)
    return Form(AFFINE, grid.origin, grid.slope, grid.least, grid.greatest, grid.unit, grid.lower, grid.upper)
