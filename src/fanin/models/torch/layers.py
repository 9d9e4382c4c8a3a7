"""What the arrays of each kind of torch layer are: roles, layouts, gates, and which logical tensors they hold.

Layouts are those of docs/layouts.md, roles those of docs/plans.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from fanin.errors import ShapeError
from fanin.layouts import Shape, as_layout

__all__ = ["Held", "describe"]

# torch.nn.LSTM and torch.nn.GRU: the gates as they are stacked, by the letters of torch's documentation.
_GATES = {"LSTM": "ifgo", "GRU": "rzn"}


@dataclass(frozen=True)
class Held:
    """What a layer says of one of its arrays.

    Attributes:
        role: of what it holds; nothing where that is not known.
        layout: of each tensor in it; None is array order.
        shape: that the array has by the layer's arguments, where these tell.
        names: of the tensors stacked along the first axis, in equal parts; none for one of the array's own.
        facts: of the layer as a whole.
        zero_rows: that are zero whatever is drawn.
    """

    role: str = ""
    layout: str | None = None
    shape: Shape | None = None
    names: tuple[str, ...] = ()
    facts: Mapping[str, int] = field(default_factory=dict)
    zero_rows: tuple[int, ...] = ()


def describe(layer: nn.Module, name: str, shape: Shape) -> Held:
    """Say what one array of a layer is.

    Args:
        layer: that has it.
        name: of the array in the layer.
        shape: of the whole array.

    Raises:
        ShapeError: the layer's arguments say another shape.
    """
    for classes, function in _LAYERS:
        if isinstance(layer, classes):
            held = function(layer, name)
            break
    else:
        held = _conv1d(layer, name) if _is_conv1d(layer) else Held()
    if held.shape is not None and held.shape != shape:
        raise ShapeError(
            f"{name!r} has shape {shape!r}, but its {type(layer).__name__} has arguments for {held.shape!r}. Where it "
            f"is a shard of the whole, say so by shards= (fanin.torch), else fans and coordinates would be wrong."
        )
    return held


def _layer(weight: Shape, layout: str, role: str, name: str) -> Held:
    """A layer of one kernel and, mostly, a bias."""
    fans = as_layout(layout).fans(weight)
    facts = {"fan_in": fans.fan_in, "fan_out": fans.fan_out}
    if name == "weight":
        return Held(f"{role}.kernel", layout, weight, facts=facts)
    return Held(f"{role}.bias", facts=facts) if name == "bias" else Held()


def _linear(layer: nn.Linear, name: str) -> Held:
    return _layer((layer.out_features, layer.in_features), "o i", "dense", name)


def _bilinear(layer: nn.Bilinear, name: str) -> Held:
    held = _layer((layer.out_features, layer.in1_features, layer.in2_features), "o i1 i2", "bilinear", name)
    return replace(held, facts={**held.facts, "units": layer.in1_features})


def _convolution(layer: "nn.modules.conv._ConvNd", name: str) -> Held:
    groups = layer.groups
    if layer.transposed:
        shape = (layer.in_channels, layer.out_channels // groups, *layer.kernel_size)
        return _layer(shape, f"i/{groups} o *k" if groups > 1 else "i o *k", "conv_transpose", name)
    shape = (layer.out_channels, layer.in_channels // groups, *layer.kernel_size)
    return _layer(shape, f"o/{groups} i *k" if groups > 1 else "o i *k", "conv", name)


def _embedding(layer: nn.Embedding | nn.EmbeddingBag, name: str) -> Held:
    if name != "weight":
        return Held()
    padding = () if layer.padding_idx is None else (layer.padding_idx,)
    facts = {"fan_in": layer.num_embeddings, "fan_out": layer.embedding_dim}
    return Held("embedding.table", None, (layer.num_embeddings, layer.embedding_dim), facts=facts, zero_rows=padding)


def _norm(layer: nn.Module, name: str) -> Held:
    roles = {
        "weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance",
        "num_batches_tracked": "count",
    }  # fmt: skip
    return Held(f"norm.{roles[name]}") if name in roles else Held()


def _attention(layer: nn.MultiheadAttention, name: str) -> Held:
    width = layer.embed_dim
    facts = {"fan_in": width, "fan_out": width}
    separate = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    if name == "in_proj_weight":
        return Held("attention.kernel", "o i", (3 * width, width), separate, facts)
    if name in separate:
        inputs = (width, layer.kdim, layer.vdim)[separate.index(name)]
        return Held("attention.kernel", "o i", (width, inputs), facts={"fan_in": inputs, "fan_out": width})
    if name == "in_proj_bias":
        return Held("attention.bias", facts=facts)
    return Held(f"attention.{name}", facts=facts) if name in ("bias_k", "bias_v") else Held()


def _recurrent(layer: "nn.RNNBase | nn.RNNCellBase", name: str) -> Held:
    """Stacked gates: ``weight_ih_l0`` of an LSTM holds ``weight_ii_l0``, ``weight_if_l0``, ..."""
    kind, _, rest = name.partition("_")
    letters, _, suffix = rest.partition("_")
    if kind not in ("weight", "bias") or letters not in ("ih", "hh", "hr"):
        return Held()
    facts = {"fan_in": layer.input_size, "units": layer.hidden_size}
    if letters == "hr":
        return Held("recurrent.projection", "o i", facts=facts)
    gates = _GATES.get(type(layer).__name__.removesuffix("Cell"), "")
    names = tuple("_".join([kind, letters[0] + gate, *([suffix] if suffix else [])]) for gate in gates)
    if kind == "bias":
        return Held("recurrent.bias", names=names, facts=facts)
    role = "recurrent.kernel" if letters == "ih" else "recurrent.recurrent_kernel"
    return Held(role, "o i", names=names, facts=facts)


def _prelu(layer: nn.PReLU, name: str) -> Held:
    return Held("activation.slope") if name == "weight" else Held()


def _is_conv1d(layer: nn.Module) -> bool:
    """Whether it is transformers' linear layer that stores (in, out); that library is not imported to look."""
    return type(layer).__name__ == "Conv1D" and hasattr(layer, "nf") and hasattr(layer, "nx")


def _conv1d(layer: Any, name: str) -> Held:
    return _layer((layer.nx, layer.nf), "i o", "dense", name)


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
