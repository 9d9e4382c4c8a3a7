"""What the arrays of the layers of Flax are, by their arguments: linen and nnx store them alike.

Layouts are those of docs/layouts.md, roles those of docs/plans.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from fanin.layouts import Shape, as_layout
from fanin.models.einsum import einsum_layouts
from fanin.models.held import Held

__all__ = [
    "Layer", "attention", "conv", "conv_transpose", "dense", "einsum", "embedding", "norm", "recurrent",
    "stacked",
]  # fmt: skip

_NORMS = {"scale": "scale", "bias": "bias", "mean": "mean", "var": "variance"}


class Layer(NamedTuple):
    """What is known of an array by its layer.

    Attributes:
        held: what the layer says of it.
        key: the end of the array's name, which is of the layer.
        module: the class of the layer.
        order: in which the array was created, where that is known.
    """

    held: Held
    key: str
    module: str
    order: int = 0


def stacked(held: Held, shape: Shape) -> Held:
    """What an array of a shape holds: that of the layer, or of several such layers side by side.

    Those are stacked on first axes, or on one other. An array of any other shape holds nothing that is
    known, so that no fans are read off it wrongly.
    """
    if held.shape is None or held.shape == shape:
        return held
    more = len(shape) - len(held.shape)
    places = [at for at in range(len(shape)) if more == 1 and shape[:at] + shape[at + 1 :] == held.shape]
    if more > 0 and shape[more:] == held.shape:
        at = 0
    elif places:
        at = places[0]
    else:
        return Held()
    layout = None
    if held.layout is not None:
        axes = _spelled(held.layout, held.shape)
        layout = " ".join([*axes[:at], *["b"] * more, *axes[at:]])
    grid = held.grid or (len(held.names),)
    grid += (1,) * (len(held.shape) - len(grid))
    return replace(held, layout=layout, shape=shape, grid=(*grid[:at], *(1,) * more, *grid[at:]) if held.names else ())


def _spelled(layout: str, shape: Shape) -> list[str]:
    """One letter for each axis, with its marks."""
    axes = as_layout(layout).axes(shape)
    return [
        f"{'~' * axis.flip}{axis.role}{axis.order or ''}{f'/{axis.groups}' if axis.groups > 1 else ''}" for axis in axes
    ]


def dense(key: str, inputs: Shape, outputs: Shape, batch: Shape = (), role: str = "dense") -> Held:
    """A kernel of any input and output axes, or its bias."""
    rows, columns, several = _axes("i", inputs), _axes("o", outputs), ["b"] * len(batch)
    held = Held.of_layer(
        key, (*batch, *inputs, *outputs), " ".join([*several, *rows, *columns]), role, (*batch, *outputs), "kernel"
    )
    left = [*several, *columns]
    return replace(held, layout=" ".join(left)) if key == "bias" and len(left) > 1 else held


def _axes(letter: str, lengths: Shape) -> list[str]:
    return [f"{letter}{number}" for number in range(1, len(lengths) + 1)] if len(lengths) != 1 else [letter]


def conv(key: str, window: Shape, inputs: int, outputs: int, groups: int) -> Held:
    """A kernel (*window, in / groups, out), or its bias."""
    split = f"/{groups}" if groups > 1 else ""
    return Held.of_layer(key, (*window, inputs // groups, outputs), f"*k i o{split}", "conv", (outputs,), "kernel")


def conv_transpose(key: str, window: Shape, inputs: int, outputs: int, swapped: bool) -> Held:
    """A kernel (*window, in, out) back to front, or (*window, out, in) as a convolution has it; or its bias."""
    weight, layout = ((*window, outputs, inputs), "*k o i") if swapped else ((*window, inputs, outputs), "*~k i o")
    return Held.of_layer(key, weight, layout, "conv_transpose", (outputs,), "kernel")


def einsum(key: str, equation: str | None, kernel: Shape, bias: Shape | None) -> Held:
    """The kernel of an equation, or its bias."""
    layout, left = einsum_layouts(equation or "")
    if layout is None or len(layout.split()) != len(kernel):
        return Held()
    held = Held.of_layer(key, kernel, layout, "dense", bias or (), "kernel")
    return replace(held, layout=left) if key == "bias" and bias and left and len(left.split()) == len(bias) else held


def embedding(key: str, rows: int, width: int) -> Held:
    """A table (vocabulary, width)."""
    if key != "embedding":
        return Held()
    return Held("embedding.table", None, (rows, width), facts={"fan_in": rows, "fan_out": width})


def norm(key: str) -> Held:
    """Scales, biases and running statistics."""
    return Held(f"norm.{_NORMS[key]}") if key in _NORMS else Held()


def attention(held: Held) -> Held:
    """What a projection of attention holds, by what it holds as a dense layer."""
    return replace(held, role=held.role.replace("dense.", "attention."))


def recurrent(side: str, key: str, inputs: int, units: int, gates: int, names: Sequence[str] = ()) -> Held:
    """The kernel or the bias of one gate of a cell, or of all its gates side by side.

    Args:
        side: "i" of what reads the inputs, "h" of what reads the state.
        key: "kernel" or "bias".
        inputs: of the cell.
        units: the width of its state.
        gates: how many the cell has.
        names: of the gates in the array; none of an array of one gate.
    """
    if key not in ("kernel", "bias"):
        return Held()
    facts: Mapping[str, int] = {"fan_in": inputs, "fan_out": gates * units, "units": units, "gates": gates}
    outputs, named = units * (len(names) or 1), tuple(f"{name}.{key}" for name in names)
    if key == "bias":
        return Held("recurrent.bias", None, (outputs,), named, facts=facts)
    role, rows = ("kernel", inputs) if side == "i" else ("recurrent_kernel", units)
    grid = (1, len(names)) if names else ()
    return Held(f"recurrent.{role}", "i o", (rows, outputs), named, grid, facts=facts)
