"""fanin.defaults against the frameworks' own layers: the same constants, bounds and deviations, layer by layer."""

import inspect
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.linen
import jax
import keras
import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin.errors import PlanError
from fanin.models.torch import arrays, layers

TORCH = fanin.defaults("torch")


def moments(values: np.ndarray) -> tuple[float, float, float]:
    wide = values.astype(np.float64)
    return float(wide.mean()), float(wide.std()), float(np.abs(wide).max())


def assert_alike(found: np.ndarray, expected: np.ndarray, name: str) -> None:
    """Check two samples of one distribution: equal constants, else mean, deviation and reach within 6 standard errors.

    The smallest error that is seen is 6 sqrt(1 / n) of the deviation, 2 % at n = 100 000.
    """
    assert found.shape == expected.shape, name
    if np.ptp(expected) == 0:
        assert np.array_equal(found, expected), (name, found.ravel()[:3], expected.ravel()[:3])
        return
    n = found.size
    mean, std, reach = moments(found)
    other_mean, other_std, other_reach = moments(expected)
    kurtosis = float((((expected - other_mean) / other_std) ** 4).mean())
    assert std == pytest.approx(other_std, rel=6 * math.sqrt(2 * max(kurtosis - 1, 0.5) / (4 * n))), name
    assert abs(mean - other_mean) < 6 * other_std * math.sqrt(2 / n), name
    if kurtosis < 2.1:  # uniform: the reach is the bound, missed by a share of some 1 / n
        assert reach == pytest.approx(other_reach, rel=30 / n), name
    else:
        assert reach == pytest.approx(other_reach, rel=0.5), name


def test_a_wrong_distribution_is_told() -> None:
    draws = np.random.default_rng(7)
    uniform, normal = draws.uniform(-1, 1, 50_000), draws.normal(0, 1, 50_000)
    assert_alike(uniform, draws.uniform(-1, 1, 50_000), "a")
    assert_alike(normal, draws.normal(0, 1, 50_000), "a")
    for wrong in (uniform * 1.03, uniform + 0.05, draws.normal(0, 3**-0.5, 50_000), uniform * 0, np.abs(uniform)):
        with pytest.raises(AssertionError):
            assert_alike(wrong, uniform, "a")
    with pytest.raises(AssertionError):
        assert_alike(np.full(3, 0.2), np.full(3, 0.25), "a")


# torch's own layers --------------------------------------------------------------------------------


def separate() -> nn.Module:
    return nn.MultiheadAttention(256, 4, kdim=128, vdim=192)


FRESH: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(300, 400),
    "Linear, many outputs": lambda: nn.Linear(16, 20_000),
    "Bilinear": lambda: nn.Bilinear(40, 30, 50),
    "Conv1d": lambda: nn.Conv1d(64, 96, 5),
    "Conv2d": lambda: nn.Conv2d(64, 96, 3),
    "Conv2d in groups": lambda: nn.Conv2d(64, 512, 3, groups=8),
    "Conv2d, depthwise": lambda: nn.Conv2d(4096, 4096, 5, groups=4096),
    "Conv3d": lambda: nn.Conv3d(16, 64, 3),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(64, 96, 5),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(64, 96, 3),
    "ConvTranspose2d in groups": lambda: nn.ConvTranspose2d(256, 128, 3, groups=4),
    "ConvTranspose3d": lambda: nn.ConvTranspose3d(16, 64, 3),
    "Embedding": lambda: nn.Embedding(1000, 64),
    "Embedding with padding": lambda: nn.Embedding(1000, 64, padding_idx=3),
    "EmbeddingBag": lambda: nn.EmbeddingBag(1000, 64, padding_idx=3),
    "LayerNorm": lambda: nn.LayerNorm((8, 9)),
    "GroupNorm": lambda: nn.GroupNorm(2, 8),
    "RMSNorm": lambda: nn.RMSNorm(8),
    "BatchNorm1d": lambda: nn.BatchNorm1d(8),
    "BatchNorm2d": lambda: nn.BatchNorm2d(8),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
    "MultiheadAttention": lambda: nn.MultiheadAttention(256, 4),
    "MultiheadAttention, separate": separate,
    "MultiheadAttention with bias_kv": lambda: nn.MultiheadAttention(1024, 1, kdim=1, vdim=1, add_bias_kv=True),
    "LSTM": lambda: nn.LSTM(64, 96, 2, bidirectional=True),
    "LSTM with a projection": lambda: nn.LSTM(64, 128, 2, proj_size=64),
    "GRU": lambda: nn.GRU(64, 96, 2),
    "RNN": lambda: nn.RNN(64, 256),
    "LSTMCell": lambda: nn.LSTMCell(64, 96),
    "GRUCell": lambda: nn.GRUCell(64, 96),
    "RNNCell": lambda: nn.RNNCell(64, 256),
    "PReLU": lambda: nn.PReLU(5),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(128, 4, 512),
    "TransformerDecoderLayer": lambda: nn.TransformerDecoderLayer(128, 4, 512),
}


@pytest.mark.parametrize("kind", FRESH)
def test_torch_layers_are_as_torch_makes_them(kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = FRESH[kind]().state_dict()
    layer = FRESH[kind]()
    with torch.no_grad():
        for tensor in layer.state_dict().values():
            tensor.fill_(77)
    TORCH.apply(layer, seed=7)
    compared = 0
    for name, tensor in layer.state_dict().items():
        assert_alike(tensor.numpy(), expected[name].numpy(), f"{kind}: {name}")
        compared += 1
    assert compared == len(expected) >= 1


def test_what_a_transformer_of_torch_does_besides_is_documented() -> None:
    """nn.Transformer draws all matrices of its layers again, by xavier_uniform_: rules above the defaults say so."""
    source = inspect.getsource(nn.Transformer._reset_parameters)
    assert re.search(r"dim\(\) > 1:\s+xavier_uniform_\(p\)", source)
    again = fanin.Plan([fanin.Rule(role="dense.kernel", initializer="glorot_uniform"), *TORCH.rules])

    def made() -> nn.Module:
        return nn.Transformer(64, 4, 1, 1, 128, batch_first=True)

    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = made().state_dict()
    model = made()
    again.apply(model, seed=7)
    for name, tensor in model.state_dict().items():
        assert_alike(tensor.numpy(), expected[name].numpy(), name)
    page = (Path(__file__).parent.parent / "docs" / "torch.md").read_text("utf-8")
    assert "nn.Transformer" in page


# Roles ---------------------------------------------------------------------------------------------


def zoo() -> Iterator[nn.Module]:
    yield from (make() for kind, make in FRESH.items() if "many" not in kind and "depthwise" not in kind)
    from transformers.pytorch_utils import Conv1D

    yield Conv1D(6, 4)


def roles() -> set[str]:
    return {parameter.role for layer in zoo() for found in arrays(layer) for parameter in found.parameters}


def keras_zoo() -> Iterator[Any]:
    """Layers of Keras with weights that torch has not."""
    with keras.StatelessScope(initialize_variables=False):  # their values are not wanted
        for layer, shape in (
            (keras.layers.LSTM(3), (None, 5, 4)),
            (keras.layers.Dense(3, lora_rank=2), (None, 4)),
            (keras.layers.SpectralNormalization(keras.layers.Dense(3)), (None, 4)),
            (keras.layers.Attention(use_scale=True), [(None, 5, 4), (None, 5, 4)]),
            (keras.layers.AdditiveAttention(), [(None, 5, 4), (None, 5, 4)]),
        ):
            layer.build(shape)
            yield layer


def test_the_zoo_has_every_role_that_there_is() -> None:
    source = inspect.getsource(layers)
    kinds = set(re.findall(r'"(dense|conv|conv_transpose|bilinear)"', source))
    written = set(re.findall(r'"((?:embedding|attention|recurrent|activation)\.\w+)"', source))
    norm = {f"norm.{role}" for role in ("scale", "bias", "mean", "variance", "count")}
    expected = {f"{kind}.{part}" for kind in kinds for part in ("kernel", "bias")} | written | norm
    assert roles() == expected | {"attention.bias_k", "attention.bias_v"}
    assert len(roles()) == 23


@pytest.mark.parametrize("framework", ["torch", "keras", "flax"])
def test_the_rules_cover_every_role(framework: str) -> None:
    plan = fanin.defaults(framework)
    assert all(rule.optional for rule in plan.rules)
    found = [parameter for layer in zoo() for each in arrays(layer) for parameter in each.parameters]
    found += [parameter for layer in keras_zoo() for parameter in fanin.parameters(layer)]
    for parameter in found:
        if framework == "keras" or parameter.role:
            plan.resolve([parameter])
    for rule in plan.rules:
        assert any(rule.claims(parameter) is not None for parameter in found), f"{rule} claims nothing that there is"


def test_the_roles_are_those_of_the_documents() -> None:
    for page in ("plans.md", "torch.md"):
        text = (Path(__file__).parent.parent / "docs" / page).read_text("utf-8")
        kinds = "dense|conv|conv_transpose|bilinear|embedding|norm|attention|recurrent|activation"
        assert set(re.findall(rf"`((?:{kinds})\.\w+)`", text)) == roles(), page


def test_another_framework_is_told() -> None:
    for name in ("tensorflow", "Torch", "", None):
        with pytest.raises(PlanError, match="torch, keras, flax"):
            fanin.defaults(name)  # type: ignore[arg-type]


def test_what_belongs_to_no_layer_is_left_to_other_rules() -> None:
    model = nn.ParameterDict({"token": nn.Parameter(torch.empty(3))})
    with pytest.raises(PlanError, match="no rule claims 1 of 1"):
        TORCH.apply(model)
    fanin.Plan([fanin.Rule("token", "zeros"), *TORCH.rules]).apply(model)
    assert model["token"].tolist() == [0, 0, 0]


# Keras and Flax ------------------------------------------------------------------------------------


def applied(framework: str, layer: nn.Module) -> dict[str, np.ndarray]:
    fanin.defaults(framework).apply(layer, seed=7)
    return {name: tensor.numpy() for name, tensor in layer.state_dict().items()}


def of_keras(layer: Any, *shape: int) -> dict[str, np.ndarray]:
    keras.utils.set_random_seed(7)
    layer.build(shape)
    return {variable.path.rpartition("/")[2]: np.asarray(variable.value) for variable in layer.variables}


def test_a_dense_layer_of_keras() -> None:
    theirs = of_keras(keras.layers.Dense(400), None, 300)
    ours = applied("keras", nn.Linear(300, 400))
    assert_alike(ours["weight"].T, theirs["kernel"], "kernel")
    assert_alike(ours["bias"], theirs["bias"], "bias")


def test_convolutions_of_keras() -> None:
    theirs = of_keras(keras.layers.Conv2D(96, 3), None, 9, 9, 64)
    ours = applied("keras", nn.Conv2d(64, 96, 3))
    assert_alike(ours["weight"].transpose(2, 3, 1, 0), theirs["kernel"], "kernel")
    theirs = of_keras(keras.layers.Conv2DTranspose(96, 3), None, 9, 9, 64)
    ours = applied("keras", nn.ConvTranspose2d(64, 96, 3))
    assert_alike(ours["weight"].transpose(2, 3, 1, 0), theirs["kernel"], "kernel")
    assert_alike(ours["bias"], theirs["bias"], "bias")


def test_an_embedding_of_keras() -> None:
    theirs = of_keras(keras.layers.Embedding(1000, 64), None)
    assert_alike(applied("keras", nn.Embedding(1000, 64))["weight"], theirs["embeddings"], "embeddings")


def test_norms_of_keras() -> None:
    theirs = of_keras(keras.layers.BatchNormalization(), None, 8)
    ours = applied("keras", nn.BatchNorm1d(8))
    pairs = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for name, other in pairs.items():
        assert_alike(ours[name], theirs[other], name)
    theirs = of_keras(keras.layers.PReLU(), None, 8)
    assert_alike(applied("keras", nn.PReLU(8))["weight"], theirs["alpha"], "alpha")


@pytest.mark.parametrize(
    ("make", "other", "gates"),
    [(keras.layers.LSTM, nn.LSTM, 4), (keras.layers.GRU, nn.GRU, 3), (keras.layers.SimpleRNN, nn.RNN, 1)],
    ids=["LSTM", "GRU", "SimpleRNN"],
)
def test_recurrent_layers_of_keras(make: Any, other: Any, gates: int) -> None:
    theirs = of_keras(make(128), None, 5, 96)
    layer = other(96, 128)
    ours = applied("keras", layer)
    assert_alike(ours["weight_ih_l0"].T, theirs["kernel"], "kernel")
    assert_alike(ours["weight_hh_l0"].T, theirs["recurrent_kernel"], "recurrent_kernel")
    for whole in (ours["weight_hh_l0"].T, theirs["recurrent_kernel"]):
        assert np.abs(whole @ whole.T - np.eye(128)).max() < 1e-5
    for gate in np.split(ours["weight_hh_l0"], gates):  # each by itself as well
        assert np.abs(gate @ gate.T * gates - np.eye(128)).max() < 1e-5
    bias = theirs["bias"].reshape(-1, gates * 128)[0]
    assert np.array_equal(np.unique(ours["bias_ih_l0"]), np.unique(bias))
    assert ours["bias_ih_l0"].sum() + ours["bias_hh_l0"].sum() == (128 if other is nn.LSTM else 0)


def test_attention_of_keras() -> None:
    keras.utils.set_random_seed(7)
    layer = keras.layers.MultiHeadAttention(4, 64)
    layer.build((None, 5, 256), (None, 5, 256))
    theirs = {variable.path.split("/", 1)[1]: np.asarray(variable.value) for variable in layer.variables}
    ours = applied("keras", nn.MultiheadAttention(256, 4))
    parts = dict(zip(("query", "key", "value"), np.split(ours["in_proj_weight"], 3), strict=True))
    for name, part in parts.items():
        assert_alike(part.T, theirs[f"{name}/kernel"].reshape(256, 256), name)
    assert_alike(ours["out_proj.weight"].T, theirs["attention_output/kernel"].reshape(256, 256), "output")
    assert not ours["in_proj_bias"].any()
    assert not theirs["query/bias"].any()


# A layer, the shapes that it is built for, and the weight that is not alike, as the documents say.
KERAS: dict[str, tuple[Callable[[], Any], tuple[Any, ...], str]] = {
    "Dense": (lambda: keras.layers.Dense(400), ((None, 300),), ""),
    "EinsumDense": (
        lambda: keras.layers.EinsumDense("abc,cde->abde", (None, 8, 32), bias_axes="de"), ((None, 5, 128),), ""
    ),
    "Conv2D": (lambda: keras.layers.Conv2D(96, 3), ((None, 9, 9, 64),), ""),
    "Conv2DTranspose": (lambda: keras.layers.Conv2DTranspose(96, 3), ((None, 9, 9, 64),), ""),
    "DepthwiseConv2D": (lambda: keras.layers.DepthwiseConv2D(3), ((None, 9, 9, 64),), "kernel"),
    "Embedding": (lambda: keras.layers.Embedding(1000, 64), ((None, 5),), ""),
    "ReversibleEmbedding": (lambda: keras.layers.ReversibleEmbedding(900, 64, tie_weights=False), ((None, 5),), ""),
    "BatchNormalization": (lambda: keras.layers.BatchNormalization(renorm=True), ((None, 8),), ""),
    "LayerNormalization": (keras.layers.LayerNormalization, ((None, 8),), ""),
    "RMSNormalization": (keras.layers.RMSNormalization, ((None, 8),), ""),
    "PReLU": (keras.layers.PReLU, ((None, 8),), ""),
    "LSTM": (lambda: keras.layers.LSTM(128), ((None, 5, 96),), ""),
    "GRU": (lambda: keras.layers.GRU(128), ((None, 5, 96),), ""),
    "SimpleRNN": (lambda: keras.layers.SimpleRNN(128), ((None, 5, 96),), ""),
    "ConvLSTM2D": (lambda: keras.layers.ConvLSTM2D(32, 3), ((None, 5, 9, 9, 24),), ""),
    "Bidirectional": (lambda: keras.layers.Bidirectional(keras.layers.LSTM(96)), ((None, 5, 96),), ""),
    "MultiHeadAttention": (lambda: keras.layers.MultiHeadAttention(4, 64), ((None, 5, 256), (None, 5, 128)), ""),
    "Attention": (lambda: keras.layers.Attention(use_scale=True), ([(None, 5, 8), (None, 5, 8)],), ""),
    "AdditiveAttention": (keras.layers.AdditiveAttention, ([(None, 5, 20_000), (None, 5, 20_000)],), ""),
    "Dense with LoRA": (lambda: keras.layers.Dense(300, lora_rank=64), ((None, 300),), ""),
    "SpectralNormalization": (
        lambda: keras.layers.SpectralNormalization(keras.layers.Dense(20_000)), ((None, 2),), ""
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KERAS)
def test_keras_layers_are_as_keras_makes_them(kind: str) -> None:
    make, shapes, otherwise = KERAS[kind]
    keras.utils.set_random_seed(7)
    layer = make()
    layer.build(*shapes)
    before = [np.array(weight.value) for weight in layer.weights]
    fanin.defaults("keras").apply(layer, seed=7)
    compared = 0
    for weight, expected in zip(layer.weights, before, strict=True):
        found = np.array(weight.value)
        if weight.name == otherwise:
            assert np.abs(found).std() > 1.1 * np.abs(expected).std()
        else:
            assert_alike(found, expected, f"{kind}: {weight.path}")
        compared += 1
    assert compared >= 1


def test_the_gates_of_a_layer_of_keras_are_orthogonal_together() -> None:
    with keras.StatelessScope(initialize_variables=False):
        layer, images = keras.layers.LSTM(16), keras.layers.ConvLSTM2D(4, (1, 2))
        layer.build((None, 5, 8))
        images.build((None, 5, 9, 9, 3))
    fanin.defaults("keras").apply(layer, seed=7)
    fanin.defaults("keras").apply(images, seed=7)
    whole = np.array(layer.cell.recurrent_kernel.value)
    assert np.abs(whole @ whole.T - np.eye(16)).max() < 1e-5
    small = np.array(images.cell.recurrent_kernel.value)
    assert small.std() == pytest.approx(1 / math.sqrt(16), rel=0.02)  # of 8 rows of 16


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def of_flax(layer: Any, *arguments: Any) -> dict[str, np.ndarray]:
    found = layer.init(jax.random.key(7), *arguments)
    leaves = jax.tree_util.tree_leaves_with_path(found)
    return {"/".join(str(key.key) for key in path[1:]): np.asarray(value) for path, value in leaves}


def test_layers_of_flax() -> None:
    theirs = of_flax(flax.linen.Dense(400), ones(1, 300))
    ours = applied("flax", nn.Linear(300, 400))
    assert_alike(ours["weight"].T, theirs["kernel"], "kernel")
    assert_alike(ours["bias"], theirs["bias"], "bias")
    theirs = of_flax(flax.linen.Conv(512, (3, 3), feature_group_count=8), ones(1, 9, 9, 64))
    ours = applied("flax", nn.Conv2d(64, 512, 3, groups=8))
    assert_alike(ours["weight"].transpose(2, 3, 1, 0), theirs["kernel"], "kernel")
    theirs = of_flax(flax.linen.ConvTranspose(96, (3, 3)), ones(1, 9, 9, 64))
    ours = applied("flax", nn.ConvTranspose2d(64, 96, 3))
    assert_alike(ours["weight"].transpose(2, 3, 0, 1), theirs["kernel"], "kernel")
    theirs = of_flax(flax.linen.Embed(1000, 64), np.zeros(1, np.int32))
    assert_alike(applied("flax", nn.Embedding(1000, 64))["weight"], theirs["embedding"], "embedding")


def test_norms_of_flax() -> None:
    theirs = of_flax(flax.linen.BatchNorm(use_running_average=True), ones(1, 8))
    ours = applied("flax", nn.BatchNorm1d(8))
    for name, other in {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}.items():
        assert_alike(ours[name], theirs[other], name)
    theirs = of_flax(flax.linen.PReLU(), ones(1, 8))
    assert_alike(applied("flax", nn.PReLU())["weight"], theirs["negative_slope"].reshape(1), "slope")


def test_recurrent_layers_of_flax() -> None:
    cell = flax.linen.LSTMCell(128)
    carry = cell.initialize_carry(jax.random.key(0), (1, 96))
    theirs = of_flax(cell, carry, ones(1, 96))
    layer = nn.LSTMCell(96, 128)
    ours = applied("flax", layer)
    for gate, kernel, recurrent in zip(
        "ifgo", np.split(ours["weight_ih"], 4), np.split(ours["weight_hh"], 4), strict=True
    ):
        assert_alike(kernel.T, theirs[f"i{gate}/kernel"], gate)
        for square in (recurrent, theirs[f"h{gate}/kernel"]):
            assert np.abs(square @ square.T - np.eye(128)).max() < 1e-5
        assert not theirs[f"h{gate}/bias"].any()
    assert not ours["bias_ih"].any()
    assert not ours["bias_hh"].any()


def test_attention_of_flax() -> None:
    theirs = of_flax(flax.linen.MultiHeadDotProductAttention(4), ones(1, 5, 256), ones(1, 5, 256))
    ours = applied("flax", nn.MultiheadAttention(256, 4))
    for name, part in zip(("query", "key", "value"), np.split(ours["in_proj_weight"], 3), strict=True):
        assert_alike(part.T, theirs[f"{name}/kernel"].reshape(256, 256), name)
    assert_alike(ours["out_proj.weight"].T, theirs["out/kernel"].reshape(256, 256), "out")
