"""What the arrays of each kind of nnx layer are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import nnx

from fanin.models.held import Held
from fanin.models.jax import layers
from fanin.models.jax.layers import Layer, stacked
from fanin.models.trees.walking import Trail, name_of

__all__ = ["layer_of"]

# The gates as they are stacked, or as the cell names its layers; a plain cell has none to tell apart.
_GATES = {
    nnx.LSTMCell: ("i", "f", "g", "o"), nnx.OptimizedLSTMCell: ("i", "f", "g", "o"), nnx.GRUCell: ("r", "z", "n"),
    nnx.SimpleCell: (),
}  # fmt: skip


def layer_of(trail: Trail, shape: tuple[int, ...]) -> Layer | None:
    """What an array is by the layer that it belongs to, or the layer around that; None where none is of nnx."""
    steps = [step for step in trail if step.key != ()]
    owner, key = steps[-1]
    if not isinstance(owner, nnx.Module):
        return None
    outer = steps[-2] if len(steps) > 1 else None
    if outer is not None:
        for classes, function in _OUTER:
            if isinstance(outer.owner, classes):
                held = function(outer.owner, str(outer.key), owner, str(key))
                if held is not None:
                    return Layer(stacked(held, shape), name_of(tuple(steps[-2:])), type(outer.owner).__name__)
    return Layer(stacked(_described(owner, str(key)), shape), name_of((steps[-1],)), type(owner).__name__)


def _described(layer: nnx.Module, key: str) -> Held:
    for classes, function in _LAYERS:
        if isinstance(layer, classes):
            held: Held = function(layer, key)
            return held
    return Held()


def _linear(layer: nnx.Linear, key: str) -> Held:
    return layers.dense(key, (layer.in_features,), (layer.out_features,))


def _general(layer: nnx.LinearGeneral, key: str) -> Held:
    batch: Mapping[Any, int] = layer.batch_axis
    return layers.dense(key, tuple(layer.in_features), tuple(layer.out_features), tuple(batch.values()))


def _einsum(layer: nnx.Einsum, key: str) -> Held:
    bias = None if layer.bias_shape is None else tuple(layer.bias_shape)
    return layers.einsum(key, layer.einsum_str, tuple(layer.kernel_shape), bias)


def _conv(layer: nnx.Conv, key: str) -> Held:
    return layers.conv(key, tuple(layer.kernel_size), layer.in_features, layer.out_features, layer.feature_group_count)


def _conv_transpose(layer: nnx.ConvTranspose, key: str) -> Held:
    return layers.conv_transpose(
        key, tuple(layer.kernel_size), layer.in_features, layer.out_features, layer.transpose_kernel
    )


def _embed(layer: nnx.Embed, key: str) -> Held:
    return layers.embedding(key, layer.num_embeddings, layer.features)


def _norm(layer: nnx.Module, key: str) -> Held:
    return layers.norm(key)


def _prelu(layer: nnx.PReLU, key: str) -> Held:
    return Held("activation.slope") if key == "negative_slope" else Held()


def _lora(layer: nnx.LoRA, key: str) -> Held:
    return Held({"lora_a": "lora.a", "lora_b": "lora.b"}.get(key, ""), "i o")


def _attention(layer: nnx.MultiHeadAttention, child: str, inner: Any, key: str) -> Held | None:
    if not isinstance(inner, nnx.LinearGeneral):
        return None
    held = _general(inner, key)
    return layers.attention(held) if child in ("query", "key", "value") else held


def _cell(cell: Any, child: str, inner: Any, key: str) -> Held | None:
    if not isinstance(inner, nnx.Linear):
        return None
    letters = next(letters for cls, letters in _GATES.items() if isinstance(cell, cls))
    inputs, units, gates = cell.in_features, cell.hidden_features, len(letters) or 1
    side = child.removeprefix("dense_")[0]
    names: Sequence[str] = ()
    if child.startswith("dense_"):  # of all gates; named as LSTMCell names the layers of each
        names = [side + letter + ("_" if side + letter == "if" else "") for letter in letters]
    return layers.recurrent(side, key, inputs, units, gates, names)


_OUTER: Sequence[tuple[type | tuple[type, ...], Callable[..., Held | None]]] = (
    (nnx.MultiHeadAttention, _attention),
    (tuple(_GATES), _cell),
)
_LAYERS: Sequence[tuple[type | tuple[type, ...], Callable[..., Held]]] = (
    (nnx.Linear, _linear),
    (nnx.LinearGeneral, _general),
    (nnx.Einsum, _einsum),
    (nnx.Conv, _conv),
    (nnx.ConvTranspose, _conv_transpose),
    (nnx.Embed, _embed),
    ((nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.InstanceNorm), _norm),
    (nnx.PReLU, _prelu),
    (nnx.LoRA, _lora),
)
