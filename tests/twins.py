"""One architecture in torch, Keras and Flax, started from the same logical weights: the outputs that they give.

A script, because Keras has one backend in a process: `python twins.py` prints a line for each pair.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import torch
from flax import linen, nnx
from torch import nn

import fanin
import fanin.jax
from fanin import Plan, Rule

# Every kind of tensor has values that show when they are missing or in the wrong place.
PLAN = Plan(
    [
        Rule(["*.bias_h?_l0", "bias_h?_l0"], "zeros", optional=True),  # torch's second bias, which no other has
        Rule(role="norm.count", initializer="zeros", optional=True),
        Rule(role="norm.variance", initializer="random_uniform(0.5, 1.5)", optional=True),
        Rule(role="norm.scale", initializer="random_normal(1, 0.2)", optional=True),
        Rule(role=["*.bias", "norm.mean"], initializer="random_normal(stddev=0.1)"),
        Rule(role="embedding.table", initializer="random_normal(stddev=0.5)", optional=True),
        Rule(
            role=["recurrent.kernel", "recurrent.recurrent_kernel"],
            initializer="random_normal(stddev=1 / sqrt(units))",
            optional=True,
        ),
        Rule(role="*.kernel", initializer="he_normal"),
    ]
)
SEED = 7


def mlp() -> tuple[Any, Any, Any, Any]:
    """Two dense layers and a normalization between them."""
    ours = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
    theirs = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(32),
            keras.layers.BatchNormalization(epsilon=1e-5),
            keras.layers.ReLU(),
            keras.layers.Dense(5),
        ]
    )

    class MLP(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.one = nnx.Linear(12, 32, rngs=rngs)
            self.norm = nnx.BatchNorm(32, use_running_average=True, rngs=rngs)
            self.two = nnx.Linear(32, 5, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.two(nnx.relu(self.norm(self.one(x))))

    class LinenMLP(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            x = linen.BatchNorm(use_running_average=True)(linen.Dense(32)(x))
            return linen.Dense(5)(linen.relu(x))

    return ours, theirs, nnx.eval_shape(lambda: MLP(nnx.Rngs(0))), LinenMLP()


def cnn() -> tuple[Any, Any, Any, Any]:
    """Convolutions: plain, grouped with an even window, depthwise, and transposed with an odd and an even one."""

    class Ours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 2, groups=4), nn.ReLU(),
                nn.Conv2d(16, 32, 3, groups=16), nn.ReLU(), nn.ConvTranspose2d(32, 8, 3, stride=2), nn.ReLU(),
                nn.ConvTranspose2d(8, 4, 4, stride=2),
            )  # fmt: skip
            self.head = nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> Any:
            y = self.body(x.permute(0, 3, 1, 2))
            return self.head((y * torch.linspace(0, 1, 24)).sum((2, 3)) / 24)

    inputs = keras.Input((10, 10, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.Conv2D(16, 2, groups=4, activation="relu")(x)
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(x)
    x = keras.layers.Conv2DTranspose(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.Conv2DTranspose(4, 4, strides=2)(x)
    x = keras.layers.Lambda(lambda y: keras.ops.sum(y * keras.ops.linspace(0.0, 1.0, 24)[:, None], (1, 2)) / 24)(x)
    theirs = keras.Model(inputs, keras.layers.Dense(5)(x))

    def flax(module: Any, **more: Any) -> list[Any]:
        """The layers of linen, or of nnx, which also wants the number of inputs."""
        sizes = [(3, 8), (8, 16), (16, 32), (32, 8), (8, 4)]
        windows = [(3, 3), (2, 2), (3, 3), (3, 3), (4, 4)]
        groups = [{}, {"feature_group_count": 4}, {"feature_group_count": 16}, {"strides": (2, 2)}, {"strides": (2, 2)}]
        made = []
        for number, (size, window, group) in enumerate(zip(sizes, windows, groups, strict=True)):
            kind = module.Conv if number < 3 else module.ConvTranspose
            lengths = size if module is nnx else size[1:]
            made.append(kind(*lengths, window, padding="VALID", **group, **more))
        return made

    def run(layers: Any, head: Any, x: Any) -> Any:
        for number, layer in enumerate(layers):
            x = layer(x) if number == 4 else nnx.relu(layer(x))
        return head((x * jnp.linspace(0, 1, 24)[:, None]).sum((1, 2)) / 24)

    class CNN(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.layers = nnx.List(flax(nnx, rngs=rngs))
            self.head = nnx.Linear(4, 5, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return run(self.layers, self.head, x)

    class LinenCNN(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            return run(flax(linen), linen.Dense(5), x)

    return Ours(), theirs, nnx.eval_shape(lambda: CNN(nnx.Rngs(0))), LinenCNN()


def lstm() -> tuple[Any, Any, Any, Any]:
    """An LSTM, whose gates torch and Keras pack, each in its way, and Flax does not."""

    class Ours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(6, 16, batch_first=True), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> Any:
            return self.head(self.lstm(x)[0])

    theirs = keras.Sequential(
        [keras.Input((7, 6)), keras.layers.LSTM(16, return_sequences=True), keras.layers.Dense(5)]
    )

    class LSTM(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.lstm = nnx.RNN(nnx.LSTMCell(6, 16, rngs=rngs), rngs=rngs)
            self.head = nnx.Linear(16, 5, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.head(self.lstm(x))

    class LinenLSTM(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            return linen.Dense(5)(linen.RNN(linen.LSTMCell(16))(x))

    return Ours(), theirs, nnx.eval_shape(lambda: LSTM(nnx.Rngs(0))), LinenLSTM()


def transformer() -> tuple[Any, Any, Any, Any]:
    """An embedding, a block of attention and a perceptron with normalizations before them, and a head."""

    class Ours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm1 = nn.Embedding(20, 32), nn.LayerNorm(32)
            self.attention, self.norm2 = nn.MultiheadAttention(32, 4, batch_first=True), nn.LayerNorm(32)
            self.up, self.down, self.norm, self.head = (
                nn.Linear(32, 64), nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 20),
            )  # fmt: skip

        def forward(self, tokens: torch.Tensor) -> Any:
            x = self.embed(tokens)
            y = self.norm1(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            x = x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))
            return self.head(self.norm(x))

    inputs = keras.Input((9,), dtype="int32")
    x = keras.layers.Embedding(20, 32)(inputs)
    y = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(4, 8)(y, y, y)])
    y = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    y = keras.layers.Dense(64)(y)
    y = keras.layers.Dense(32)(keras.layers.Lambda(lambda z: keras.activations.gelu(z, approximate=False))(y))
    x = keras.layers.LayerNormalization(epsilon=1e-5)(keras.layers.Add()([x, y]))
    theirs = keras.Model(inputs, keras.layers.Dense(20)(x))

    def block(layers: Callable[..., Any], x: Any) -> Any:
        y = layers("norm1")(x)
        x = x + layers("attention")(y)
        y = layers("up")(layers("norm2")(x))
        x = x + layers("down")(jax.nn.gelu(y, approximate=False))
        return layers("head")(layers("norm")(x))

    class Transformer(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.embed = nnx.Embed(20, 32, rngs=rngs)
            self.norm1 = nnx.LayerNorm(32, epsilon=1e-5, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(4, 32, decode=False, rngs=rngs)
            self.norm2 = nnx.LayerNorm(32, epsilon=1e-5, rngs=rngs)
            self.up, self.down = nnx.Linear(32, 64, rngs=rngs), nnx.Linear(64, 32, rngs=rngs)
            self.norm, self.head = nnx.LayerNorm(32, epsilon=1e-5, rngs=rngs), nnx.Linear(32, 20, rngs=rngs)

        def __call__(self, tokens: Any) -> Any:
            return block(lambda name: getattr(self, name), self.embed(tokens))

    class LinenTransformer(linen.Module):
        @linen.compact
        def __call__(self, tokens: Any) -> Any:
            layers = {
                "attention": lambda: linen.MultiHeadDotProductAttention(4),
                "up": lambda: linen.Dense(64), "down": lambda: linen.Dense(32), "head": lambda: linen.Dense(20),
            }  # fmt: skip
            norm = lambda: linen.LayerNorm(epsilon=1e-5)  # noqa: E731
            return block(lambda name: layers.get(name, norm)(), linen.Embed(20, 32)(tokens))

    return Ours(), theirs, nnx.eval_shape(lambda: Transformer(nnx.Rngs(0))), LinenTransformer()


INPUTS = {
    mlp: np.linspace(-2, 2, 48, dtype=np.float32).reshape(4, 12),
    cnn: 3 * np.sin(np.arange(600, dtype=np.float32) ** 1.5).reshape(2, 10, 10, 3),
    lstm: np.cos(np.arange(84, dtype=np.float32)).reshape(2, 7, 6),
    transformer: np.arange(18).reshape(2, 9) * 7 % 20,
}


def check_fingerprints(ours: Any, *others: Any) -> None:
    """One plan, one model: the fingerprint does not tell of which framework it is, nor whether it is a plain dict."""
    wanted = fanin.fingerprint(ours)
    for model in others:
        assert fanin.fingerprint(model, names=fanin.names_like(ours, model)) == wanted, type(model)
    entries = fanin.Plan(PLAN.rules).resolve(fanin.parameters(ours), seed=SEED)
    plain: Any = {}
    for entry in entries:
        *path, last = entry.name.split(".")
        owner = plain
        for component in path:
            owner = owner.setdefault(component, {})
        owner[last] = np.empty(entry.shape, np.float32)
    kinds = [
        Rule(entry.name, entry.initializer, layout=entry.layout if entry.layout.stated else None) for entry in entries
    ]
    Plan(kinds).apply(plain, seed=SEED)
    assert fanin.fingerprint(plain, Plan(kinds)) == wanted
    assert fanin.verify(others[0], PLAN, seed=SEED, names=fanin.names_like(ours, others[0])).ok


def main() -> None:
    """Start every architecture in all frameworks from one seed, and print how far apart their outputs are."""
    for make, x in INPUTS.items():
        ours, theirs, flax, module = make()
        ignore = "*bias_h*" if make is lstm else ()
        PLAN.apply(ours, seed=SEED)
        with torch.no_grad():
            wanted = ours.eval()(torch.from_numpy(x)).numpy()
        assert math.isfinite(wanted.sum())
        assert wanted.std(0).max() > 0.02, wanted  # outputs depend on inputs
        PLAN.apply(theirs, seed=SEED, names=fanin.names_like(ours, theirs, ignore=ignore))
        PLAN.apply(flax, seed=SEED, names=fanin.names_like(ours, flax, ignore=ignore))
        shapes = fanin.jax.shapes(module, x)
        variables = PLAN.apply(shapes, seed=SEED, names=fanin.names_like(ours, shapes, ignore=ignore))
        if make is transformer:  # the others have tensors that not all frameworks have
            check_fingerprints(ours, theirs, flax)
            names = fanin.names_like(ours, shapes)
            layers = PLAN.resolve(fanin.parameters(shapes, names=names), seed=SEED)
            assert fanin.fingerprint(variables, layers, names=dict(names)) == fanin.fingerprint(ours)
        outputs = {
            "keras": keras.ops.convert_to_numpy(theirs(x)),
            "nnx": np.asarray(flax(x)),
            "linen": np.asarray(module.apply(variables, x)),
        }
        for name, found in outputs.items():
            apart = float(abs(found - wanted).max())
            assert found.shape == wanted.shape, (make.__name__, name, found.shape)
            assert apart < 1e-5, (make.__name__, name, apart)
            print(make.__name__, name, f"{apart:.1e}")


if __name__ == "__main__":
    main()
