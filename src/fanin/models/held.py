"""What a layer says of one of its arrays, and the logical tensors that follow from it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fanin.layouts import Shape, as_layout
from fanin.models.parameter import Parameter
from fanin.recipe import Window

__all__ = ["Held"]


@dataclass(frozen=True)
class Held:
    """What a layer says of one of its arrays.

    Attributes:
        role: of what it holds; nothing where that is not known.
        layout: of each tensor in it; None is array order.
        shape: that the array has by the layer's arguments, where these tell.
        names: of the tensors in equal parts of it; none for one tensor of the array's own name.
        grid: into how many parts each axis is cut, the last ones left out where that is one; by default
            the first axis into one for each name.
        places: of each name the part that it is, counted in C order; by default they follow one another.
        facts: of the layer as a whole.
        zero_rows: that are zero whatever is drawn.
    """

    role: str = ""
    layout: str | None = None
    shape: Shape | None = None
    names: tuple[str, ...] = ()
    grid: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    facts: Mapping[str, int] = field(default_factory=dict)
    zero_rows: tuple[int, ...] = ()

    @classmethod
    def of_layer(
        cls, key: str, weight: Shape, layout: str, role: str, outputs: Shape, kernel: str = "weight"
    ) -> "Held":
        """One array of a layer of one kernel and, mostly, a bias.

        Args:
            key: of the array in the layer.
            weight: the shape of the kernel.
            layout: of the kernel.
            role: of the layer, such as ``"dense"``.
            outputs: the shape of the bias.
            kernel: the key of the kernel.
        """
        fans = as_layout(layout).fans(weight)
        facts = {"fan_in": fans.fan_in, "fan_out": fans.fan_out}
        if key == kernel:
            return cls(f"{role}.kernel", layout, weight, facts=facts)
        return cls(f"{role}.bias", shape=outputs, facts=facts) if key == "bias" else cls()

    def parameters(self, prefix: str, key: str, shape: Shape, dtype: str, module: str) -> Iterator[Parameter]:
        """The logical tensors in an array.

        Args:
            prefix: of the names, that of the layer with its dot.
            key: of the array in the layer.
            shape: of the whole array.
            dtype: of the array.
            module: the class of the layer.
        """
        if not self.names:
            yield Parameter(prefix + key, shape, dtype, self.layout, module=module, role=self.role, facts=self.facts)
            return
        grid = (self.grid or (len(self.names),)) + (1,) * (len(shape) - (len(self.grid) or 1))
        own = tuple(length // number for length, number in zip(shape, grid, strict=True))
        for number, name in enumerate(self.names):
            start = _start(self.places[number] if self.places else number, grid, own)
            window = Window(start, tuple(a + n for a, n in zip(start, own, strict=True)))
            yield Parameter(
                prefix + name, own, dtype, self.layout, array=prefix + key, at=window, module=module, role=self.role,
                facts=self.facts,
            )  # fmt: skip


def _start(place: int, grid: Shape, own: Shape) -> Shape:
    """Where a part begins, by its number in C order."""
    start = []
    for axis, length in enumerate(own):
        start.append(place // math.prod(grid[axis + 1 :]) % grid[axis] * length)
    return tuple(start)
