"""What the arrays of each kind of Keras layer are: roles, layouts, gates, and which logical tensors they hold.

Layouts are those of docs/layouts.md, roles those of docs/plans.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keras import layers

from fanin.errors import LayoutError
from fanin.layouts import Shape, as_layout
from fanin.models.held import Held

__all__ = ["describe"]

Shapes = Mapping[str, Shape]  # of a layer's own weights, by name


def describe(layer: Any, key: str, shapes: Shapes, parent: Any) -> Held:
    """Say what one weight of a layer is, as the layer's class and arguments have it.

    Args:
        layer: that has it.
        key: its name in the layer.
        shapes: of all the layer's own weights.
        parent: the layer that this one is in.

    Returns:
        nothing known, where a subclass makes a weight of that name in another shape.
    """
    if isinstance(parent, _CONVOLUTIONAL_LSTM):
        function: Callable[[Any, str, Shapes], Held] | None = _lstm  # whose cell is of no public class
    else:
        function = next((function for classes, function in _LAYERS if isinstance(layer, classes)), None)
    held = Held() if function is None else function(layer, key, shapes)
    if isinstance(parent, _ATTENTION) and layer.name in _PROJECTIONS:
        held = replace(held, role=held.role.replace("dense", "attention"))
    return held if held.shape in (None, shapes[key]) and _fits(held.layout, shapes[key]) else Held()


def _fits(layout: str | None, shape: Shape) -> bool:
    try:
        as_layout(layout).axes(shape)
    except LayoutError:
        return False
    return True


def _dense(layer: Any, key: str, shapes: Shapes) -> Held:
    inputs = _inputs(shapes, "kernel", -2)
    return _adapted(key, "i o") or Held.of_layer(key, (inputs, layer.units), "i o", "dense", (layer.units,), "kernel")


def _adapted(key: str, layout: str) -> Held | None:
    """The low-rank matrices of LoRA."""
    if not key.startswith("lora_"):
        return None
    return Held("lora.a", layout) if key.endswith("_a") else Held("lora.b", "i o")


def _einsum(layer: Any, key: str, shapes: Shapes) -> Held:
    """A kernel by its equation: axes that are summed are inputs, those of the result alone are outputs.

    Several merge in the order in which the data has them, whatever that in the kernel is.
    """
    inputs, weights, outputs = layer.equation.replace("...", "").replace("->", ",").split(",")
    feeding = sorted(set(weights) - set(outputs), key=inputs.index)
    made = sorted(set(weights) - set(inputs), key=outputs.index)
    layout = _written(weights, feeding, made)
    if adapted := _adapted(key, layout):
        return adapted
    kernel, bias = shapes.get("kernel", ()), shapes.get("bias", ())
    if len(kernel) != len(weights):
        return Held()
    held = Held.of_layer(key, kernel, layout, "dense", bias, "kernel")
    if key != "bias" or len(bias) < 2:
        return held
    first = min(map(outputs.index, layer.bias_axes))
    labels = [label if label in layer.bias_axes else "" for label in outputs[first:]]
    labels += [""] * (len(bias) - len(labels))  # axes of the data that the equation leaves out have length one
    return replace(held, layout=_written(labels, [], [label for label in made if label in labels]))


def _written(labels: Sequence[str], feeding: Sequence[str], made: Sequence[str]) -> str:
    """A layout for axes with labels; what is neither an input nor an output is a batch axis."""
    letters = []
    for label in labels:
        letter, merged = ("o", made) if label in made else ("i", feeding) if label in feeding else ("b", [label])
        letters.append(f"{letter}{merged.index(label) + 1}" if len(merged) > 1 else letter)
    return " ".join(letters)


def _convolution(layer: Any, key: str, shapes: Shapes) -> Held:
    layout = f"*k i o/{layer.groups}" if layer.groups > 1 else "*k i o"
    kernel = (*layer.kernel_size, _inputs(shapes, "kernel", -2), layer.filters)
    return _adapted(key, "*k i o") or Held.of_layer(key, kernel, layout, "conv", (layer.filters,), "kernel")


def _inputs(shapes: Shapes, kernel: str, axis: int) -> int:
    """The length of an axis of a kernel that no argument of the layer tells."""
    shape = shapes.get(kernel, ())
    return shape[axis] if len(shape) >= -axis else 0


def _transposed(layer: Any, key: str, shapes: Shapes) -> Held:
    kernel = (*layer.kernel_size, layer.filters, _inputs(shapes, "kernel", -1))
    return Held.of_layer(key, kernel, "*k o i", "conv_transpose", (layer.filters,), "kernel")


def _depthwise(layer: Any, key: str, shapes: Shapes, name: str = "kernel") -> Held:
    channels = _inputs(shapes, name, -2)
    kernel = (*layer.kernel_size, channels, layer.depth_multiplier)
    layout = f"*k o1/{channels} o2" if channels else "*k o1 o2"
    return Held.of_layer(key, kernel, layout, "conv", (channels * layer.depth_multiplier,), name)


def _separable(layer: Any, key: str, shapes: Shapes) -> Held:
    """Two convolutions in one; the bias is that of the second."""
    if key == "depthwise_kernel":
        return _depthwise(layer, key, shapes, key)
    kernel = (*(1 for _ in layer.kernel_size), _inputs(shapes, "pointwise_kernel", -2), layer.filters)
    return Held.of_layer(key, kernel, "*k i o", "conv", (layer.filters,), "pointwise_kernel")


def _embedding(layer: Any, key: str, shapes: Shapes) -> Held:
    table = (layer.input_dim, layer.output_dim)
    facts = {"fan_in": table[0], "fan_out": table[1]}
    if key == "embeddings":
        return Held("embedding.table", None, table, facts=facts)
    if key == "reverse_embeddings":  # a table of its own, stored transposed
        return Held("embedding.table", "o i", table[::-1], facts=facts)
    return _adapted(key, "i o") or Held()


_NORMS = {
    "gamma": "scale", "scale": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "variance",
    "renorm_mean": "mean", "moving_stddev": "variance", "renorm_stddev": "variance",
    "mean": "mean", "variance": "variance", "count": "count",
}  # fmt: skip


def _norm(layer: Any, key: str, shapes: Shapes) -> Held:
    return Held(f"norm.{_NORMS[key]}") if key in _NORMS else Held()


def _lstm(layer: Any, key: str, shapes: Shapes) -> Held:
    return _recurrent(layer, key, shapes, "ifco", "ifco")


def _gru(layer: Any, key: str, shapes: Shapes) -> Held:
    return _recurrent(layer, key, shapes, "zrh", "rzh")


def _simple(layer: Any, key: str, shapes: Shapes) -> Held:
    return _recurrent(layer, key, shapes, "", "")


def _recurrent(layer: Any, key: str, shapes: Shapes, stored: str, listed: str) -> Held:
    """Gates side by side on the last axis: ``kernel`` of an LSTM holds ``kernel_i``, ``kernel_f``, ...

    Args:
        layer: a cell.
        key: of the weight.
        shapes: of the cell's weights.
        stored: the letters of the gates as they lie in memory.
        listed: the same as they are listed, in the order that other frameworks have.
    """
    units = layer.filters if hasattr(layer, "filters") else layer.units
    count = len(stored) or 1
    shape = (*shapes[key][:-1], count * units)
    window = math.prod(shapes.get("kernel", ())[:-2])
    inputs = _inputs(shapes, "kernel", -2)
    facts = {"fan_in": window * inputs, "fan_out": window * count * units, "units": units, "gates": count}
    names = tuple(f"{key}_{gate}" for gate in listed)
    places = tuple(stored.index(gate) for gate in listed)
    if key in ("kernel", "recurrent_kernel"):
        grid, layout = (*(1 for _ in shape[:-1]), count), "i o" if len(shape) == 2 else "*k i o"
        return Held(f"recurrent.{key}", layout, shape, names, grid, places, facts)
    if key != "bias":
        return Held()
    if len(shape) == 1:
        return Held("recurrent.bias", None, shape, names, (count,), places, facts)
    # Of a GRU that resets after the product: that of the inputs, then that of the state.
    names += tuple(f"recurrent_{name}" for name in names)
    places += tuple(count + place for place in places)
    return Held("recurrent.bias", None, (2, count * units), names, (2, count), places, facts)


def _slope(layer: Any, key: str, shapes: Shapes) -> Held:
    return Held("activation.slope") if key == "alpha" else Held()


def _additive(layer: Any, key: str, shapes: Shapes) -> Held:
    """The weights of a sum over the width, which Keras counts as a vector."""
    width = math.prod(shapes[key])
    return Held(facts={"fan_in": width, "fan_out": 1}) if key == "scale" else Held()


_ATTENTION = (layers.MultiHeadAttention, layers.GroupQueryAttention)
_PROJECTIONS = ("query", "key", "value", "gate")
_CONVOLUTIONAL_LSTM = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)
_NORMALIZATIONS = (
    layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization, layers.Normalization,
    getattr(layers, "RMSNormalization", layers.LayerNormalization),  # from Keras 3.9 on
)  # fmt: skip
_LAYERS: Sequence[tuple[type | tuple[type, ...], Callable[[Any, str, Shapes], Held]]] = (
    (layers.Dense, _dense),
    (layers.EinsumDense, _einsum),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    (layers.Embedding, _embedding),
    (_NORMALIZATIONS, _norm),
    (layers.LSTMCell, _lstm),
    (layers.GRUCell, _gru),
    (layers.SimpleRNNCell, _simple),
    (layers.PReLU, _slope),
    (layers.AdditiveAttention, _additive),
)
