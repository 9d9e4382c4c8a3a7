"""Layers and models of Keras, and what their weights have to be: written by hand, from Keras' documentation.

Run by `test_keras_models`, in this process and in one for each other backend.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import ml_dtypes
import numpy as np
from keras import layers


@dataclass(frozen=True)
class Weight:
    """A logical tensor of a layer.

    Attributes:
        name: of it.
        shape: of it.
        layout: of it.
        role: of it.
        fan_in: of the layer; None where that is not known.
        array: the name of the array that holds it, where that is another.
        at: where in that array.
    """

    name: str
    shape: tuple[int, ...]
    layout: str | None
    role: str
    fan_in: int | None = None
    array: str = ""
    at: tuple[slice, ...] = ()


@dataclass(frozen=True)
class Case:
    """A layer, the shapes that it is built for, and its weights in their order."""

    make: Callable[[], Any]
    shapes: tuple[tuple[int | None, ...], ...]
    weights: tuple[Weight, ...]

    def built(self) -> Any:
        """The layer, built, its variables without values: Keras would compile a program for each shape of them."""
        with keras.StatelessScope(initialize_variables=False):
            layer = self.make()
            layer.build(*self.shapes)
        return layer


def simple(
    role: str, kernel: tuple[int, ...], layout: str, fan_in: int, bias: tuple[int, ...], bias_layout: str | None = None
) -> tuple[Weight, ...]:
    """A kernel and a bias."""
    return (
        Weight("kernel", kernel, layout, f"{role}.kernel", fan_in),
        Weight("bias", bias, bias_layout, f"{role}.bias", fan_in),
    )


def norm(shape: tuple[int, ...], **roles: str) -> tuple[Weight, ...]:
    return tuple(Weight(name, shape, None, f"norm.{role}") for name, role in roles.items())


def gates(
    cell: str, stored: str, listed: str, inputs: tuple[int, ...], units: int, bias_rows: int = 0
) -> tuple[Weight, ...]:
    """The gates of a cell, side by side in three arrays.

    Args:
        cell: the name of the cell in its layer.
        stored: the gates in the order of the memory.
        listed: in the order of the list.
        inputs: the window of a convolution, and the width of the input.
        units: of the cell.
        bias_rows: of a bias of two axes.
    """
    found = []
    fan_in = int(np.prod(inputs))
    kernels = {"kernel": inputs, "recurrent_kernel": (*inputs[:-1], units)}
    for key, leading in kernels.items():
        layout = " ".join([*["k"] * (len(inputs) - 1), "i", "o"])
        for gate in listed:
            at = (*(slice(0, n) for n in leading), part(stored, gate, units))
            name = f"{cell}.{key}_{gate}"
            found.append(Weight(name, (*leading, units), layout, f"recurrent.{key}", fan_in, f"{cell}.{key}", at))
    for row in range(bias_rows or 1):
        for gate in listed:
            name = f"{cell}.{'recurrent_' if row else ''}bias_{gate}"
            first = (slice(row, row + 1),) if bias_rows else ()
            shape = (1, units) if bias_rows else (units,)
            at = (*first, part(stored, gate, units))
            found.append(Weight(name, shape, None, "recurrent.bias", fan_in, f"{cell}.bias", at))
    return tuple(found)


def part(stored: str, gate: str, units: int) -> slice:
    return slice(stored.index(gate) * units, (stored.index(gate) + 1) * units)


def inside(prefix: str, weights: tuple[Weight, ...]) -> tuple[Weight, ...]:
    """The weights of a layer inside of another."""
    return tuple(
        Weight(f"{prefix}.{w.name}", w.shape, w.layout, w.role, w.fan_in, w.array and f"{prefix}.{w.array}", w.at)
        for w in weights
    )


def attention(heads: dict[str, tuple[int, int, int]], output: tuple[int, int, int]) -> tuple[Weight, ...]:
    found: tuple[Weight, ...] = ()
    for name, (width, number, size) in heads.items():
        kernel = (width, number, size)
        found += inside(name, simple("attention", kernel, "i o1 o2", width, (number, size), "o1 o2"))
    number, size, width = output
    return found + inside("attention_output", simple("dense", output, "i1 i2 o", number * size, (width,)))


CASES: dict[str, Case] = {
    "Dense": Case(lambda: layers.Dense(6), ((None, 5),), simple("dense", (5, 6), "i o", 5, (6,))),
    "Dense without a bias": Case(
        lambda: layers.Dense(6, use_bias=False),
        ((None, 3, 5),),
        simple("dense", (5, 6), "i o", 5, (6,))[:1],
    ),
    "EinsumDense, one axis": Case(
        lambda: layers.EinsumDense("...x,xy->...y", 4, bias_axes="y"),
        ((None, 5, 8),),
        simple("dense", (8, 4), "i o", 8, (4,)),
    ),
    "EinsumDense, two outputs": Case(
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 4), bias_axes="de"),
        ((None, 5, 8),),
        simple("dense", (8, 2, 4), "i o1 o2", 8, (2, 4), "o1 o2"),
    ),
    "EinsumDense, two outputs, stored the other way": Case(
        lambda: layers.EinsumDense("abc,ced->abde", (None, 2, 4), bias_axes="e"),
        ((None, 5, 8),),
        simple("dense", (8, 4, 2), "i o2 o1", 8, (4,)),
    ),
    "EinsumDense, two inputs, stored the other way": Case(
        lambda: layers.EinsumDense("abc,dcb->ad", 6, bias_axes="d"),
        ((None, 5, 8),),
        simple("dense", (6, 8, 5), "o i2 i1", 40, (6,)),
    ),
    "EinsumDense, a batch of kernels": Case(
        lambda: layers.EinsumDense("abc,bcd->abd", (5, 6), bias_axes="bd"),
        ((None, 5, 8),),
        simple("dense", (5, 8, 6), "b i o", 8, (5, 6), "b o"),
    ),
    "EinsumDense, axes after those that it names": Case(
        lambda: layers.EinsumDense("ab...,bc->ac...", (6, None), bias_axes="c"),
        ((None, 5, 8),),
        simple("dense", (5, 6), "i o", 5, (6, 1), "o b"),
    ),
    "Conv1D": Case(lambda: layers.Conv1D(6, 5), ((None, 9, 4),), simple("conv", (5, 4, 6), "k i o", 20, (6,))),
    "Conv2D in groups": Case(
        lambda: layers.Conv2D(12, (3, 2), groups=4),
        ((None, 9, 9, 8),),
        simple("conv", (3, 2, 2, 12), "*k i o/4", 12, (12,)),
    ),
    "Conv2D, channels first": Case(
        lambda: layers.Conv2D(6, 3, data_format="channels_first"),
        ((None, 4, 9, 9),),
        simple("conv", (3, 3, 4, 6), "*k i o", 36, (6,)),
    ),
    "Conv3D": Case(
        lambda: layers.Conv3D(6, (3, 1, 2)), ((None, 9, 9, 9, 4),), simple("conv", (3, 1, 2, 4, 6), "*k i o", 24, (6,))
    ),
    "DepthwiseConv1D": Case(
        lambda: layers.DepthwiseConv1D(5), ((None, 9, 4),), simple("conv", (5, 4, 1), "k o1/4 o2", 5, (4,))
    ),
    "DepthwiseConv2D": Case(
        lambda: layers.DepthwiseConv2D((3, 2), depth_multiplier=3),
        ((None, 9, 9, 4),),
        simple("conv", (3, 2, 4, 3), "*k o1/4 o2", 6, (12,)),
    ),
    "SeparableConv1D": Case(
        lambda: layers.SeparableConv1D(6, 3, depth_multiplier=2),
        ((None, 9, 4),),
        (
            Weight("depthwise_kernel", (3, 4, 2), "k o1/4 o2", "conv.kernel", 3),
            Weight("pointwise_kernel", (1, 8, 6), "k i o", "conv.kernel", 8),
            Weight("bias", (6,), None, "conv.bias", 8),
        ),
    ),
    "SeparableConv2D": Case(
        lambda: layers.SeparableConv2D(6, 3, use_bias=False),
        ((None, 9, 9, 4),),
        (
            Weight("depthwise_kernel", (3, 3, 4, 1), "*k o1/4 o2", "conv.kernel", 9),
            Weight("pointwise_kernel", (1, 1, 4, 6), "*k i o", "conv.kernel", 4),
        ),
    ),
    "Conv1DTranspose": Case(
        lambda: layers.Conv1DTranspose(6, 4),
        ((None, 9, 8),),
        simple("conv_transpose", (4, 6, 8), "k o i", 32, (6,)),
    ),
    "Conv2DTranspose": Case(
        lambda: layers.Conv2DTranspose(6, (3, 2)),
        ((None, 9, 9, 8),),
        simple("conv_transpose", (3, 2, 6, 8), "*k o i", 48, (6,)),
    ),
    "Conv3DTranspose": Case(
        lambda: layers.Conv3DTranspose(6, 2),
        ((None, 5, 5, 5, 3),),
        simple("conv_transpose", (2, 2, 2, 6, 3), "*k o i", 24, (6,)),
    ),
    "Embedding": Case(
        lambda: layers.Embedding(9, 4, mask_zero=True),
        ((None, 5),),
        (Weight("embeddings", (9, 4), None, "embedding.table", 9),),
    ),
    "ReversibleEmbedding, not tied": Case(
        lambda: layers.ReversibleEmbedding(9, 4, tie_weights=False),
        ((None, 5),),
        (
            Weight("embeddings", (9, 4), None, "embedding.table", 9),
            Weight("reverse_embeddings", (4, 9), "o i", "embedding.table", 9),
        ),
    ),
    "BatchNormalization": Case(
        layers.BatchNormalization,
        ((None, 3, 4),),
        norm((4,), gamma="scale", beta="bias", moving_mean="mean", moving_variance="variance"),
    ),
    "BatchNormalization with renorm": Case(
        lambda: layers.BatchNormalization(renorm=True, scale=False),
        ((None, 4),),
        norm(
            (4,), beta="bias", moving_mean="mean", moving_variance="variance", moving_stddev="variance",
            renorm_mean="mean", renorm_stddev="variance",
        ),
    ),
    "LayerNormalization of two axes": Case(
        lambda: layers.LayerNormalization(axis=[1, 2]), ((None, 3, 4),), norm((3, 4), gamma="scale", beta="bias")
    ),
    "GroupNormalization": Case(
        lambda: layers.GroupNormalization(2), ((None, 3, 4),), norm((4,), gamma="scale", beta="bias")
    ),
    "RMSNormalization": Case(layers.RMSNormalization, ((None, 4),), norm((4,), scale="scale")),
    "UnitNormalization": Case(layers.UnitNormalization, ((None, 4),), ()),
    "Normalization": Case(
        layers.Normalization,
        ((None, 4),),
        (*norm((4,), mean="mean", variance="variance"), Weight("count", (), None, "norm.count")),
    ),
    "SpectralNormalization": Case(
        lambda: layers.SpectralNormalization(layers.Dense(6)),
        ((None, 5),),
        (Weight("vector_u", (1, 6), None, ""), *inside("dense", simple("dense", (5, 6), "i o", 5, (6,)))),
    ),
    "PReLU": Case(
        lambda: layers.PReLU(shared_axes=[1]),
        ((None, 3, 4),),
        (Weight("alpha", (1, 4), None, "activation.slope"),),
    ),
    "LSTM": Case(lambda: layers.LSTM(4), ((None, 5, 3),), gates("lstm_cell", "ifco", "ifco", (3,), 4)),
    "GRU": Case(lambda: layers.GRU(4), ((None, 5, 3),), gates("gru_cell", "zrh", "rzh", (3,), 4, bias_rows=2)),
    "GRU that resets before": Case(
        lambda: layers.GRU(4, reset_after=False), ((None, 5, 3),), gates("gru_cell", "zrh", "rzh", (3,), 4)
    ),
    "SimpleRNN": Case(
        lambda: layers.SimpleRNN(4),
        ((None, 5, 3),),
        inside(
            "simple_rnn_cell",
            (
                Weight("kernel", (3, 4), "i o", "recurrent.kernel", 3),
                Weight("recurrent_kernel", (4, 4), "i o", "recurrent.recurrent_kernel", 3),
                Weight("bias", (4,), None, "recurrent.bias", 3),
            ),
        ),
    ),
    "LSTMCell without a bias": Case(
        lambda: layers.RNN(layers.LSTMCell(4, use_bias=False, name="mine")),
        ((None, 5, 3),),
        gates("mine", "ifco", "ifco", (3,), 4)[:8],
    ),
    "stacked cells": Case(
        lambda: layers.RNN([layers.GRUCell(2), layers.LSTMCell(4), layers.GRUCell(3)]),
        ((None, 5, 3),),
        inside(
            "stacked_rnn_cells",
            gates("gru_cell", "zrh", "rzh", (3,), 2, 2)
            + gates("lstm_cell", "ifco", "ifco", (2,), 4)
            + gates("gru_cell_1", "zrh", "rzh", (4,), 3, 2),
        ),
    ),
    "ConvLSTM2D": Case(
        lambda: layers.ConvLSTM2D(4, (3, 2)),
        ((None, 5, 6, 6, 3),),
        gates("conv_lstm_cell", "ifco", "ifco", (3, 2, 3), 4),
    ),
    "Bidirectional": Case(
        lambda: layers.Bidirectional(layers.LSTM(4)),
        ((None, 5, 3),),
        inside("forward_lstm", gates("lstm_cell", "ifco", "ifco", (3,), 4))
        + inside("backward_lstm", gates("lstm_cell", "ifco", "ifco", (3,), 4)),
    ),
    "TimeDistributed": Case(
        lambda: layers.TimeDistributed(layers.Conv1D(6, 3)),
        ((None, 5, 9, 4),),
        inside("conv1d", simple("conv", (3, 4, 6), "*k i o", 12, (6,))),
    ),
    "MultiHeadAttention": Case(
        lambda: layers.MultiHeadAttention(2, 4, value_dim=3),
        ((None, 5, 8), (None, 6, 7)),
        attention({"query": (8, 2, 4), "key": (7, 2, 4), "value": (7, 2, 3)}, (2, 3, 8)),
    ),
    "MultiHeadAttention with a gate": Case(
        lambda: layers.MultiHeadAttention(2, 4, use_gate=True),
        ((None, 5, 8), (None, 6, 8)),
        attention({"query": (8, 2, 4), "key": (8, 2, 4), "gate": (8, 2, 4), "value": (8, 2, 4)}, (2, 4, 8)),
    ),
    "GroupQueryAttention": Case(
        lambda: layers.GroupQueryAttention(4, 6, 2),
        ((None, 5, 8), (None, 6, 7)),
        attention({"query": (8, 6, 4), "key": (7, 2, 4), "value": (7, 2, 4)}, (6, 4, 8)),
    ),
    "Attention": Case(
        lambda: layers.Attention(use_scale=True, score_mode="concat"),
        ([(None, 5, 8), (None, 6, 8)],),  # type: ignore[arg-type]
        (Weight("scale", (), None, ""), Weight("concat_score_weight", (), None, "")),
    ),
    "AdditiveAttention": Case(
        layers.AdditiveAttention,
        ([(None, 5, 8), (None, 6, 8)],),  # type: ignore[arg-type]
        (Weight("scale", (8,), None, "", 8),),
    ),
    "Dense with LoRA": Case(
        lambda: layers.Dense(6, lora_rank=2),
        ((None, 5),),
        (
            *simple("dense", (5, 6), "i o", 5, (6,)),
            Weight("lora_kernel_a", (5, 2), "i o", "lora.a"),
            Weight("lora_kernel_b", (2, 6), "i o", "lora.b"),
        ),
    ),
    "Conv2D with LoRA": Case(
        lambda: layers.Conv2D(6, 3, lora_rank=2, use_bias=False),
        ((None, 9, 9, 4),),
        (
            Weight("kernel", (3, 3, 4, 6), "*k i o", "conv.kernel", 36),
            Weight("lora_kernel_a", (3, 3, 4, 2), "*k i o", "lora.a"),
            Weight("lora_kernel_b", (2, 6), "i o", "lora.b"),
        ),
    ),
    "EinsumDense with LoRA": Case(
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 4), lora_rank=3),
        ((None, 5, 8),),
        (
            Weight("kernel", (8, 2, 4), "i o1 o2", "dense.kernel", 8),
            Weight("lora_kernel_a", (8, 2, 3), "i o1 o2", "lora.a"),
            Weight("lora_kernel_b", (3, 4), "i o", "lora.b"),
        ),
    ),
    "Embedding with LoRA": Case(
        lambda: layers.Embedding(9, 4, lora_rank=2),
        ((None, 5),),
        (
            Weight("embeddings", (9, 4), None, "embedding.table", 9),
            Weight("lora_embeddings_a", (9, 2), "i o", "lora.a"),
            Weight("lora_embeddings_b", (2, 4), "i o", "lora.b"),
        ),
    ),
}  # fmt: skip


def contents(variable: Any) -> np.ndarray:
    """The value of a variable as a NumPy array of its own dtype, which NumPy has not of every tensor of torch."""
    name = keras.backend.standardize_dtype(variable.dtype)
    exact = keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32") if "float" in name else variable.value)
    return exact.astype(getattr(ml_dtypes, name, name))


def poison(model: Any) -> Any:
    """Give all weights of a model a value that no plan gives them."""
    for weight in model.weights:
        weight.assign(keras.ops.cast(keras.ops.full(weight.shape, 77), weight.dtype))
    return model


# Models --------------------------------------------------------------------------------------------


def unfilled(make: Callable[[], Any]) -> Any:
    """A model whose variables have no values."""
    with keras.StatelessScope(initialize_variables=False):
        return make()


@keras.saving.register_keras_serializable("zoo")
class Block(keras.layers.Layer):
    """A block of a transformer, with names of its own and names of Keras'."""

    def __init__(self, width: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
        self.mlp = keras.Sequential([layers.Dense(2 * width, "gelu", name="up"), layers.Dense(width, name="down")])
        self.drop = layers.Dropout(0.1)

    def build(self, shape: Any) -> None:
        self.attention.build(shape, shape)
        for each in (*self.norms, self.mlp):
            each.build(shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = x + self.drop(self.attention(y := self.norms[0](x), y), training=training)
        return x + self.mlp(self.norms[1](x))


class Transformer(keras.Model):
    """A subclassed model, whose layers are in attributes, in a list and in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.table = layers.Embedding(11, 8)
        self.blocks = [Block(8, 2) for _ in range(2)]
        self.heads = {"a": layers.Dense(3), "b": layers.Dense(1)}

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.table(x)
        for block in self.blocks:
            x = block(x, training=training)
        return keras.ops.concatenate([head(x) for head in self.heads.values()], -1)
