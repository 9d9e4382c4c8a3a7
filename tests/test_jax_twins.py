"""Layers of torch, nnx, linen and Equinox with the same logical weights compute the same: so layouts are right."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

import fanin
import fanin.jax
from fanin import Plan, Rule

KEY = jax.random.key(0)
DRAWN = [
    Rule(role="norm.variance", initializer="random_uniform(0.5, 1.5)", optional=True),
    Rule("*", "random_normal(stddev=0.5)"),
]
INPUTS = np.random.default_rng(7)

Run = Callable[[Any, np.ndarray], Any]


class Twin(NamedTuple):
    """One layer in every framework, and how it is called on inputs as torch has them."""

    torch: Callable[[], nn.Module]
    shape: tuple[int, ...]
    others: dict[str, tuple[Callable[[], Any], Run]]
    run: Run = lambda module, x: module(torch.from_numpy(x)).detach().numpy()
    ignore: str | list[str] = ()  # type: ignore[assignment]  # tensors that have no counterpart
    rules: list[Rule] = []  # noqa: RUF012 - never changed


def last(x: Any) -> np.ndarray:
    """From channels after the batch to channels last."""
    return jnp.moveaxis(x, 1, -1)


def second(y: Any) -> np.ndarray:
    return jnp.moveaxis(y, -1, 1)


def applied(module: linen.Module, *inputs: Any) -> tuple[Callable[[], Any], Run]:
    """The abstract variables of a linen module, and its call."""
    return lambda: fanin.jax.shapes(module, *inputs), lambda variables, x: module.apply(variables, x)


def image(module: linen.Module, shape: tuple[int, ...]) -> tuple[Callable[[], Any], Run]:
    return (
        lambda: fanin.jax.shapes(module, last(np.ones(shape, np.float32))),
        lambda variables, x: second(module.apply(variables, last(x))),
    )


def mapped(layer: Any, x: np.ndarray) -> Any:
    return jax.vmap(layer)(x)


def onto(layer: Any, x: np.ndarray) -> np.ndarray:
    return second(layer(last(x)))


def conv(rank: int, window: Any, inputs: int, outputs: int, groups: int = 1, stride: int = 1) -> Twin:
    shape = (2, inputs, 9, 8, 7)[: 2 + rank]
    windows = (window,) * rank if isinstance(window, int) else window
    options = {"kernel_size": windows, "strides": stride, "padding": "VALID", "feature_group_count": groups}
    return Twin(
        lambda: (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1](inputs, outputs, windows, stride=stride, groups=groups),
        shape,
        {
            "nnx": (lambda: nnx.Conv(inputs, outputs, rngs=nnx.Rngs(0), **options), onto),
            "linen": image(linen.Conv(outputs, **options), shape),
            "equinox": (lambda: eqx.nn.Conv(rank, inputs, outputs, windows, stride, groups=groups, key=KEY), mapped),
        },
    )


def transposed(rank: int, window: Any, inputs: int, outputs: int, stride: int = 1) -> Twin:
    shape = (2, inputs, 5, 4, 3)[: 2 + rank]
    windows = (window,) * rank if isinstance(window, int) else window
    options: dict[str, Any] = {"kernel_size": windows, "strides": (stride,) * rank, "padding": "VALID"}
    swapped = options | {"transpose_kernel": True}
    return Twin(
        lambda: (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1](
            inputs, outputs, windows, stride
        ),
        shape,
        {
            "nnx": (lambda: nnx.ConvTranspose(inputs, outputs, rngs=nnx.Rngs(0), **options), onto),
            "nnx, swapped": (lambda: nnx.ConvTranspose(inputs, outputs, rngs=nnx.Rngs(0), **swapped), onto),
            "linen": image(linen.ConvTranspose(outputs, **options), shape),
            "linen, swapped": image(linen.ConvTranspose(outputs, **swapped), shape),
            "equinox": (lambda: eqx.nn.ConvTranspose(rank, inputs, outputs, windows, stride, key=KEY), mapped),
        },
    )


def attention() -> Twin:
    x = jnp.ones((2, 5, 12))
    return Twin(
        lambda: nn.MultiheadAttention(12, 3, bias=False, batch_first=True),
        (2, 5, 12),
        {
            "nnx": (
                lambda: nnx.MultiHeadAttention(3, 12, use_bias=False, decode=False, rngs=nnx.Rngs(0)),
                lambda layer, x: layer(x),
            ),
            "linen": applied(linen.MultiHeadDotProductAttention(3, use_bias=False), x),
            "equinox": (
                lambda: eqx.nn.MultiheadAttention(3, 12, key=KEY),
                lambda layer, x: jax.vmap(lambda row: layer(row, row, row))(x),
            ),
        },
        lambda module, x: module(*[torch.from_numpy(x)] * 3)[0].detach().numpy(),
    )


def scanned(cell: Any, carry: Any, x: np.ndarray) -> Any:
    """The states of an Equinox cell along the second axis, `carry` of a row being known."""

    def step(state: Any, row: Any) -> tuple[Any, Any]:
        state = cell(row, state)
        return state, state[0] if isinstance(state, tuple) else state

    return jax.vmap(lambda row: jax.lax.scan(step, carry, row)[1])(x)


def recurrent(kind: str, ignore: str) -> Twin:
    cells = {
        "LSTM": ([nnx.LSTMCell, nnx.OptimizedLSTMCell], [linen.LSTMCell, linen.OptimizedLSTMCell]),
        "GRU": ([nnx.GRUCell], []),
        "RNN": ([nnx.SimpleCell], [linen.SimpleCell]),
    }[kind]
    x = jnp.ones((2, 4, 3))
    others: dict[str, Any] = {
        f"nnx {cell.__name__}": (
            lambda cell=cell: nnx.RNN(cell(3, 5, rngs=nnx.Rngs(0))), lambda layer, x: layer(x, rngs=nnx.Rngs(0))
        ) for cell in cells[0]
    } | {f"linen {cell.__name__}": applied(linen.RNN(cell(5)), x) for cell in cells[1]}  # fmt: skip
    if kind == "LSTM":
        zeros = (jnp.zeros(5), jnp.zeros(5))
        others["equinox"] = (lambda: eqx.nn.LSTMCell(3, 5, key=KEY), lambda cell, x: scanned(cell, zeros, x))
    return Twin(
        lambda: {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}[kind](3, 5, batch_first=True),
        (2, 4, 3),
        others,
        lambda module, x: module(torch.from_numpy(x))[0].detach().numpy(),
        ignore,
        [Rule(ignore, "zeros", optional=True)],
    )


def whole_gru() -> Twin:
    """With the bias of the state's part of the last gate, which torch, linen and Equinox have."""
    x = jnp.ones((2, 4, 3))
    return recurrent("GRU", "*bias_h[rz]*")._replace(
        others={
            "linen": applied(linen.RNN(linen.GRUCell(5)), x),
            "equinox": (lambda: eqx.nn.GRUCell(3, 5, key=KEY), lambda cell, x: scanned(cell, jnp.zeros(5), x)),
        },
        ignore=["bias_hr*", "bias_hz*"],
        rules=[Rule(["bias_hr*", "bias_hz*"], "zeros", optional=True)],
    )


TWINS: dict[str, Twin] = {
    "dense": Twin(
        lambda: nn.Linear(6, 4),
        (3, 6),
        {
            "nnx": (lambda: nnx.Linear(6, 4, rngs=nnx.Rngs(0)), lambda layer, x: layer(x)),
            "nnx general": (lambda: nnx.LinearGeneral(6, 4, rngs=nnx.Rngs(0)), lambda layer, x: layer(x)),
            "nnx einsum": (lambda: nnx.Einsum("bi,io->bo", (6, 4), (4,), rngs=nnx.Rngs(0)), lambda layer, x: layer(x)),
            "nnx einsum, out first": (
                lambda: nnx.Einsum("bi,oi->bo", (4, 6), (4,), rngs=nnx.Rngs(0)), lambda layer, x: layer(x)
            ),
            "linen": applied(linen.Dense(4), jnp.ones((3, 6))),
            "linen general": applied(linen.DenseGeneral(4), jnp.ones((3, 6))),
            "linen einsum": applied(linen.Einsum((6, 4), "bi,io->bo"), jnp.ones((3, 6))),
            "equinox": (lambda: eqx.nn.Linear(6, 4, key=KEY), mapped),
        },
    ),
    "conv, odd": conv(2, 3, 4, 6),
    "conv, even": conv(2, (2, 4), 4, 6, stride=2),
    "conv of one axis": conv(1, 5, 4, 6),
    "conv, grouped": conv(2, 3, 4, 6, groups=2),
    "conv, depthwise": conv(2, 3, 4, 8, groups=4),
    "conv transposed, odd": transposed(2, 3, 4, 6),
    "conv transposed, even": transposed(2, (4, 2), 4, 6, stride=2),
    "conv transposed of one axis": transposed(1, 3, 4, 6, stride=2),
    "attention": attention(),
    "LSTM": recurrent("LSTM", "*bias_h*"),
    "RNN": recurrent("RNN", "*bias_h*"),
    "GRU": recurrent("GRU", "*bias_h*"),
    "GRU, all biases": whole_gru(),
    "batch norm": Twin(
        lambda: nn.BatchNorm1d(6).eval(),
        (3, 6),
        {
            "nnx": (lambda: nnx.BatchNorm(6, use_running_average=True, rngs=nnx.Rngs(0)), lambda layer, x: layer(x)),
            "linen": applied(linen.BatchNorm(use_running_average=True), jnp.ones((3, 6))),
        },
        rules=[Rule("num_batches_tracked", "zeros", optional=True)],
    ),
    "layer norm": Twin(
        lambda: nn.LayerNorm(6, eps=1e-6),
        (3, 6),
        {
            "nnx": (lambda: nnx.LayerNorm(6, rngs=nnx.Rngs(0)), lambda layer, x: layer(x)),
            "linen": applied(linen.LayerNorm(), jnp.ones((3, 6))),
            "equinox": (lambda: eqx.nn.LayerNorm(6, eps=1e-6), mapped),
        },
    ),
    "group norm": Twin(
        lambda: nn.GroupNorm(2, 6, eps=1e-6),
        (3, 6, 4),
        {
            "nnx": (lambda: nnx.GroupNorm(6, 2, rngs=nnx.Rngs(0)), onto),
            "linen": image(linen.GroupNorm(2), (3, 6, 4)),
            "equinox": (lambda: eqx.nn.GroupNorm(2, 6, eps=1e-6), mapped),
        },
    ),
    "embedding": Twin(
        lambda: nn.Embedding(9, 4),
        (),
        {
            "nnx": (lambda: nnx.Embed(9, 4, rngs=nnx.Rngs(0)), lambda layer, x: layer(np.arange(9))),
            "linen": (
                lambda: fanin.jax.shapes(linen.Embed(9, 4), jnp.arange(9)),
                lambda variables, x: linen.Embed(9, 4).apply(variables, jnp.arange(9)),
            ),
            "equinox": (lambda: eqx.nn.Embedding(9, 4, key=KEY), lambda layer, x: mapped(layer, jnp.arange(9))),
        },
        lambda module, x: module(torch.arange(9)).detach().numpy(),
    ),
    "prelu": Twin(
        nn.PReLU,
        (3, 6),
        {
            "nnx": (lambda: nnx.PReLU(), lambda layer, x: layer(x)),
            "linen": applied(linen.PReLU(), jnp.ones((3, 6))),
            "equinox": (lambda: eqx.nn.PReLU(), mapped),
        },
    ),
}  # fmt: skip


def abstract(framework: str, make: Callable[[], Any]) -> Any:
    """A model without values, whose own initializers need not run."""
    if framework == "linen":
        return make()
    return nnx.eval_shape(make) if framework == "nnx" else eqx.filter_eval_shape(make)


CASES = [(layer, other) for layer, twin in TWINS.items() for other in twin.others]


@pytest.mark.parametrize(("layer", "other"), CASES, ids=[f"{layer}: {other}" for layer, other in CASES])
def test_a_layer_computes_what_that_of_torch_computes(layer: str, other: str) -> None:
    twin = TWINS[layer]
    plan = Plan([*twin.rules, *DRAWN])
    reference = twin.torch()
    make, run = twin.others[other]
    framework = other.split()[0].rstrip(",")
    model = abstract(framework, make)
    names = fanin.names_like(reference, model, ignore=twin.ignore)
    plan.apply(reference, seed=7)
    model = plan.apply(model, seed=7, names=names)
    x = INPUTS.standard_normal(twin.shape, np.float32)
    wanted = twin.run(reference, x)
    found = np.asarray(run(model, x) if framework == "nnx" else jax.jit(lambda x: run(model, x))(x))
    assert found.shape == wanted.shape
    assert np.ptp(wanted) > 0.1
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)
