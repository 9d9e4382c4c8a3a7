"""What torch.nn.init draws and `fanin.initializers` does not: absolute bounds, dirac, sparse."""

import math
from typing import Any

import numpy as np

from fanin import engines
from fanin.errors import ArgumentError, ShapeError
from fanin.initializers import Initializer, RandomNormal, TruncatedNormal
from fanin.initializers.base import RandomInitializer, Seed, real, scalar
from fanin.initializers.custom import unseeded
from fanin.layouts import Layout, Shape
from fanin.recipe import Draw, Normal, Recipe, Stream, UniformInterval, Whole, Window

__all__ = ["Dirac", "Sparse", "truncated"]


def truncated(mean: float, std: float, a: float, b: float) -> Initializer:
    """A normal cut at absolute bounds.

    Raises:
        ArgumentError: an argument is no number, the bounds are in the wrong order, or next to nothing is between them.
    """
    parent = TruncatedNormal(mean, std)  # refuses what is no mean and no deviation
    low, high = scalar(parent, "a", a), scalar(parent, "b", b)
    if not low < high:
        raise ArgumentError(f"trunc_normal_: a must be below b: got a={a!r}, b={b!r}.")
    if parent.stddev == 0:
        if not low <= parent.mean <= high:
            raise ArgumentError(f"trunc_normal_: std=0 leaves only mean={mean!r}, which is not in [{a!r}, {b!r}].")
        return parent
    center, width = float(np.float32(parent.mean)), float(np.float32(parent.stddev))
    lower, upper = _inside(center, width, low, 1), _inside(center, width, high, -1)
    return TruncatedNormal(parent.mean, parent.stddev, lower=lower, upper=upper)


def _inside(center: float, width: float, bound: float, inwards: int) -> float:
    """A float32 bound in standard deviations that does not lie outside of an absolute one."""
    with np.errstate(over="ignore"):
        step = np.float32((bound - center) / width)
    while math.isfinite(step) and (center + float(step) * width - bound) * inwards < 0:
        step = np.nextafter(step, np.float32(math.copysign(math.inf, inwards)))
    return float(step)


class Dirac(Initializer):
    """One at the centre of the window where output and input of a group are the same, zero elsewhere."""

    def __init__(self, groups: int = 1) -> None:
        if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
            raise ArgumentError(f"dirac_: groups must be an integer from 1, not {groups!r}.")
        self.groups = groups

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        if len(shape) not in (3, 4, 5):
            raise ShapeError(f"dirac_ fills weights of convolutions, of rank 3 to 5, not of shape {shape!r}.")
        axes = layout.axes(shape)
        roles = [axis.role for axis in axes]
        if roles.count("o") != 1 or roles.count("i") != 1 or "b" in roles:
            raise ShapeError(f"dirac_ needs one output and one input axis; layout {layout.text!r} has other axes.")
        outputs, inputs = shape[roles.index("o")], shape[roles.index("i")]
        if outputs % self.groups:
            raise ShapeError(f"dirac_: groups={self.groups} do not divide the {outputs} outputs of {shape!r}.")

        def compute() -> np.ndarray:
            array = np.zeros(shape, np.float32)
            each = outputs // self.groups
            for output in range(outputs):
                if output % each < inputs:
                    index = [length // 2 for length in shape]
                    index[roles.index("o")], index[roles.index("i")] = output, output % each
                    array[tuple(index)] = 1
            return array

        return Whole(compute, shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"groups": self.groups}


class Sparse(RandomInitializer):
    """A normal of which every column has ceil(sparsity * rows) zeros, where the least of its uniforms are."""

    def __init__(self, sparsity: float, std: float = 0.01, seed: Seed = None) -> None:
        self.sparsity, self.std = real(self, "sparsity", sparsity), real(self, "std", std)
        if not 0 <= self.sparsity <= 1:
            raise ArgumentError(f"sparse_: sparsity must be a fraction from 0 to 1, not {sparsity!r}.")
        RandomNormal(0.0, self.std)  # refuses what is no deviation
        super().__init__(seed)

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        if len(shape) != 2:
            raise ShapeError(f"sparse_ fills matrices, not a tensor of shape {shape!r}.")
        own = seed if self.seed is None else self.seed
        name, own = unseeded(name) if own is None else (name, own)
        values = Draw(Normal(0.0, self.std), shape, layout, Stream(name, own))
        places = Draw(UniformInterval(0.0, 1.0), shape, layout, Stream(f"{name}\\#sparse", own))
        zeros = math.ceil(self.sparsity * shape[0])

        def compute() -> np.ndarray:
            array, places_ = np.empty(shape, np.float32), np.empty(shape, np.float32)
            engines.fill(values, Window.whole(shape), array)
            engines.fill(places, Window.whole(shape), places_)
            chosen = np.argsort(places_, axis=0, kind="stable")[:zeros]
            np.put_along_axis(array, chosen, 0.0, axis=0)
            return array

        return Whole(compute, shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"sparsity": self.sparsity, "std": self.std, **super().get_config()}
