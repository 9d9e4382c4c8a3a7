"""What the arrays of each kind of torch layer are: roles, layouts, gates, and which logical tensors they hold.

Layouts are those of docs/layouts.md, roles those of docs/plans.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from fanin.layouts import Shape
from fanin.models.held import Held

__all__ = ["class_name", "describe"]

# The gates as they are stacked, by the letters of torch's documentation; a plain RNN has none to tell apart.
_GATES = {(nn.LSTM, nn.LSTMCell): "ifgo", (nn.GRU, nn.GRUCell): "rzn"}


def class_name(layer: nn.Module) -> str:
    """The name of a layer's class, which `fully_shard` replaces by one that it makes: FSDPLinear of Linear."""
    classes = type(layer).__mro__
    return next(cls for cls in classes if not cls.__module__.startswith("torch.distributed.")).__name__


def describe(layer: nn.Module, name: str) -> Held:
    """Say what one array of a layer is, as the layer's class and arguments have it."""
    for classes, function in _LAYERS:
        if isinstance(layer, classes):
            return function(layer, name)
    return _conv1d(layer, name) if _is_conv1d(layer) else Held()


def _layer(weight: Shape, layout: str, role: str, name: str, outputs: int) -> Held:
    return Held.of_layer(name, weight, layout, role, (outputs,))


def _linear(layer: nn.Linear, name: str) -> Held:
    return _layer((layer.out_features, layer.in_features), "o i", "dense", name, layer.out_features)


def _bilinear(layer: nn.Bilinear, name: str) -> Held:
    weight = (layer.out_features, layer.in1_features, layer.in2_features)
    held = _layer(weight, "o i1 i2", "bilinear", name, layer.out_features)
    return replace(held, facts={**held.facts, "units": layer.in1_features})


def _convolution(layer: "nn.modules.conv._ConvNd", name: str) -> Held:
    inputs, outputs, groups = layer.in_channels, layer.out_channels, layer.groups
    split = f"/{groups}" if groups > 1 else ""
    if layer.transposed:
        weight = (inputs, outputs // groups, *layer.kernel_size)
        return _layer(weight, f"i{split} o *k", "conv_transpose", name, outputs)
    weight = (outputs, inputs // groups, *layer.kernel_size)
    return _layer(weight, f"o{split} i *k", "conv", name, outputs)


def _embedding(layer: nn.Embedding | nn.EmbeddingBag, name: str) -> Held:
    if name != "weight":
        return Held()
    padding = () if layer.padding_idx is None else (layer.padding_idx,)
    facts = {"fan_in": layer.num_embeddings, "fan_out": layer.embedding_dim}
    return Held("embedding.table", None, (layer.num_embeddings, layer.embedding_dim), facts=facts, zero_rows=padding)


def _norm(layer: Any, name: str) -> Held:
    roles = {
        "weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance",
        "num_batches_tracked": "count",
    }  # fmt: skip
    if name not in roles:
        return Held()
    if name == "num_batches_tracked":
        shape: Shape = ()
    elif isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        shape = tuple(layer.normalized_shape)
    else:
        shape = (layer.num_channels if isinstance(layer, nn.GroupNorm) else layer.num_features,)
    return Held(f"norm.{roles[name]}", shape=shape)


def _attention(layer: nn.MultiheadAttention, name: str) -> Held:
    width = layer.embed_dim
    facts = {"fan_in": width, "fan_out": width}
    separate = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    if name == "in_proj_weight":
        return Held("attention.kernel", "o i", (3 * width, width), separate, facts=facts)
    if name in separate:
        inputs = (width, layer.kdim, layer.vdim)[separate.index(name)]
        return Held("attention.kernel", "o i", (width, inputs), facts={"fan_in": inputs, "fan_out": width})
    if name == "in_proj_bias":
        biases = tuple(each.replace("weight", "bias") for each in separate)
        return Held("attention.bias", None, (3 * width,), biases, facts=facts)
    return Held(f"attention.{name}", facts=facts) if name in ("bias_k", "bias_v") else Held()


def _recurrent(layer: "nn.RNNBase | nn.RNNCellBase", name: str) -> Held:
    """Stacked gates: ``weight_ih_l0`` of an LSTM holds ``weight_ii_l0``, ``weight_if_l0``, ..."""
    kind, _, rest = name.partition("_")
    letters, _, suffix = rest.partition("_")
    if kind not in ("weight", "bias") or letters not in ("ih", "hh", "hr"):
        return Held()
    gates = next((gates for classes, gates in _GATES.items() if isinstance(layer, classes)), "")
    units, inputs, outputs = layer.hidden_size, layer.input_size, layer.hidden_size
    if isinstance(layer, nn.RNNBase):  # of many layers, each reading the outputs of that below
        outputs = layer.proj_size or units
        inputs = inputs if suffix.startswith("l0") else outputs * (2 if layer.bidirectional else 1)
    count = len(gates) or 1
    facts = {"fan_in": inputs, "fan_out": count * units, "units": units, "gates": count}
    if letters == "hr":
        return Held("recurrent.projection", "o i", (outputs, units), facts=facts)
    names = tuple("_".join([kind, letters[0] + gate, *([suffix] if suffix else [])]) for gate in gates)
    if kind == "bias":
        return Held("recurrent.bias", None, (count * units,), names, facts=facts)
    if letters == "ih":
        return Held("recurrent.kernel", "o i", (count * units, inputs), names, facts=facts)
    return Held("recurrent.recurrent_kernel", "o i", (count * units, outputs), names, facts=facts)


def _prelu(layer: nn.PReLU, name: str) -> Held:
    return Held("activation.slope") if name == "weight" else Held()


def _is_conv1d(layer: nn.Module) -> bool:
    """Whether it is transformers' linear layer that stores (in, out); that library is not imported to look."""
    return class_name(layer) == "Conv1D" and hasattr(layer, "nf") and hasattr(layer, "nx")


def _conv1d(layer: Any, name: str) -> Held:
    return _layer((layer.nx, layer.nf), "i o", "dense", name, layer.nf)


_Norms = (
    nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase,
)  # fmt: skip
_LAYERS: Sequence[tuple[type | tuple[type, ...], Callable[..., Held]]] = (
    (nn.Linear, _linear),
    (nn.Bilinear, _bilinear),
    (nn.modules.conv._ConvNd, _convolution),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    (_Norms, _norm),
    (nn.MultiheadAttention, _attention),
    ((nn.RNNBase, nn.RNNCellBase), _recurrent),
    (nn.PReLU, _prelu),
)
