"""What the arrays of each kind of Equinox layer are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx

from fanin.layouts import Shape
from fanin.models.held import Held
from fanin.models.jax.layers import Layer, attention, stacked
from fanin.models.trees.walking import Trail, name_of

__all__ = ["is_state", "layer_of"]

_GATES = {eqx.nn.LSTMCell: "ifgo", eqx.nn.GRUCell: "rzn"}  # as they are stacked


def layer_of(trail: Trail, shape: Shape) -> Layer | None:
    """What an array is by the layer that it belongs to, or the layer around that; None where none is of Equinox."""
    owner, key = trail[-1]
    if is_state(trail):
        at = next(n for n, step in enumerate(trail) if isinstance(step.owner, eqx.nn.StateIndex))
        return _of_state(trail[at - 1 :]) if at else None
    if not isinstance(owner, eqx.Module):
        return None
    if len(trail) > 1 and isinstance(trail[-2].owner, eqx.nn.MultiheadAttention) and isinstance(owner, eqx.nn.Linear):
        outer = trail[-2]
        held = _linear(owner, str(key))
        held = held if outer.key == "output_proj" else attention(held)
        return Layer(stacked(held, shape), name_of(trail[-2:]), type(outer.owner).__name__)
    return Layer(stacked(_described(owner, str(key)), shape), name_of(trail[-1:]), type(owner).__name__)


def is_state(trail: Trail) -> bool:
    """Whether an array is the first value of a layer's state, which Equinox keeps apart from weights."""
    return any(isinstance(step.owner, eqx.nn.StateIndex) for step in trail)


def _of_state(steps: Trail) -> Layer:
    """The running statistics of a layer of which the state is abstract as well."""
    roles = {
        "batch_state_index.init.0": "mean", "batch_state_index.init.1": "variance", "batch_counter.init": "count",
        "ema_state_index.init.0": "mean", "ema_state_index.init.1": "variance",
    }  # fmt: skip
    layer, key = steps[0].owner, name_of(steps)
    role = roles.get(key) if isinstance(layer, eqx.nn.BatchNorm) else None
    return Layer(Held(f"norm.{role}" if role else ""), key, type(layer).__name__)


def _described(layer: eqx.Module, key: str) -> Held:
    for classes, function in _LAYERS:
        if isinstance(layer, classes):
            held: Held = function(layer, key)
            return held
    return Held()


def _linear(layer: eqx.nn.Linear, key: str) -> Held:
    inputs, outputs = (1 if size == "scalar" else size for size in (layer.in_features, layer.out_features))
    return Held.of_layer(key, (outputs, inputs), "o i", "dense", (outputs,))


def _conv(layer: eqx.nn.Conv | eqx.nn.ConvTranspose, key: str) -> Held:
    """Both are stored as the convolution that is run, so that a transposed one is back to front; biases (out, 1, 1)."""
    split, many = f"/{layer.groups}" if layer.groups > 1 else "", (1,) * layer.num_spatial_dims
    weight = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
    transposed = isinstance(layer, eqx.nn.ConvTranspose)
    layout, role = (f"o{split} i *~k", "conv_transpose") if transposed else (f"o{split} i *k", "conv")
    held = Held.of_layer(key, weight, layout, role, (layer.out_channels, *many))
    return replace(held, layout="o *k") if key == "bias" else held


def _embedding(layer: eqx.nn.Embedding, key: str) -> Held:
    if key != "weight":
        return Held()
    facts = {"fan_in": layer.num_embeddings, "fan_out": layer.embedding_size}
    return Held("embedding.table", None, (layer.num_embeddings, layer.embedding_size), facts=facts)


def _norm(layer: Any, key: str) -> Held:
    return Held({"weight": "norm.scale", "bias": "norm.bias"}.get(key, ""))


def _cell(cell: Any, key: str) -> Held:
    """Stacked gates, named as torch's: ``weight_ih`` of an LSTM holds ``weight_ii``, ``weight_if``, ..."""
    letters = next(letters for cls, letters in _GATES.items() if isinstance(cell, cls))
    units, gates = cell.hidden_size, len(letters)
    facts = {"fan_in": cell.input_size, "fan_out": gates * units, "units": units, "gates": gates}
    if key == "weight_ih":
        names = tuple(f"weight_i{letter}" for letter in letters)
        return Held("recurrent.kernel", "o i", (gates * units, cell.input_size), names, facts=facts)
    if key == "weight_hh":
        names = tuple(f"weight_h{letter}" for letter in letters)
        return Held("recurrent.recurrent_kernel", "o i", (gates * units, units), names, facts=facts)
    if key == "bias":
        return Held(
            "recurrent.bias", None, (gates * units,), tuple(f"bias_i{letter}" for letter in letters), facts=facts
        )
    return Held("recurrent.bias", None, (units,), facts=facts) if key == "bias_n" else Held()


def _prelu(layer: eqx.nn.PReLU, key: str) -> Held:
    return Held("activation.slope") if key == "negative_slope" else Held()


_LAYERS: Sequence[tuple[type | tuple[type, ...], Callable[..., Held]]] = (
    (eqx.nn.Linear, _linear),
    ((eqx.nn.Conv, eqx.nn.ConvTranspose), _conv),
    (eqx.nn.Embedding, _embedding),
    ((eqx.nn.LayerNorm, eqx.nn.RMSNorm, eqx.nn.GroupNorm, eqx.nn.BatchNorm), _norm),
    (tuple(_GATES), _cell),
    (eqx.nn.PReLU, _prelu),
)
