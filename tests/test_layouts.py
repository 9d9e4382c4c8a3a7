"""Law: coordinates are logical, and so are fans. Growth keeps what was there."""

import numpy as np
import pytest
from harness import FAST, assert_same_bits, use

from fanin import engines
from fanin.errors import LayoutError, ShapeError
from fanin.layouts import Fans, Layout, as_layout, fans
from fanin.recipe import Draw, Normal, Stream, Window


def drawn(shape: tuple[int, ...], layout: str | None = None) -> np.ndarray:
    view = np.empty(shape, np.float32)
    engines.fill(Draw(Normal(0.0, 1.0), shape, as_layout(layout), Stream("w", 3)), Window.whole(shape), view)
    return view


@pytest.mark.parametrize("configuration", FAST)
def test_one_logical_tensor_in_every_layout(configuration: str) -> None:
    with use(configuration):
        kernel = drawn((3, 5, 6, 7), "*k i o")
        assert_same_bits(drawn((7, 6, 3, 5), "o i *k"), kernel.transpose(3, 2, 0, 1))
        assert_same_bits(drawn((6, 7, 3, 5), "i o *k"), kernel.transpose(2, 3, 0, 1))
        assert_same_bits(drawn((3, 5, 6, 7), "*~k i o"), kernel[::-1, ::-1])
        assert_same_bits(drawn((3, 5, 7, 6), "*k o i"), kernel.transpose(0, 1, 3, 2))
        assert_same_bits(drawn((3, 5, 6, 7)), kernel)
        dense = drawn((12, 30))
        assert_same_bits(drawn((12, 5, 6), "i o1 o2"), dense.reshape(12, 5, 6))
        assert_same_bits(drawn((12, 6, 5), "i o2 o1"), dense.reshape(12, 5, 6).transpose(0, 2, 1))
        assert_same_bits(drawn((3, 4, 30), "i1 i2 o"), dense.reshape(3, 4, 30))
        assert_same_bits(drawn((3, 1, 8), "*k i o"), drawn((3, 4, 2), "*k o1 o2").reshape(3, 1, 8))
        experts = drawn((4, 5, 6))
        assert_same_bits(drawn((6, 4, 5), "o b i"), experts.transpose(2, 0, 1))


@pytest.mark.parametrize("configuration", FAST)
def test_growing_the_first_or_the_last_axis_keeps_what_was_there(configuration: str) -> None:
    with use(configuration):
        for shape, layout in [((11, 7), None), ((3, 5, 6), "b i o"), ((5, 2, 3, 4), "*k i o")]:
            small = drawn(shape, layout)
            taller = drawn((shape[0] + 3, *shape[1:]), layout)
            wider = drawn((*shape[:-1], shape[-1] + 5), layout)
            assert_same_bits(taller[: shape[0]], small)
            assert_same_bits(wider[..., : shape[-1]], small)
        assert_same_bits(drawn((9, 6), "o i")[:7], drawn((7, 6), "o i"))


def test_fans_of_torch_layers() -> None:
    """Counted on the real layers: how many inputs reach one output unit, how many outputs one input reaches."""
    import torch

    for groups in (1, 4, 32):
        weight = torch.nn.Conv2d(32, 64, (3, 5), groups=groups).weight
        assert fans(weight.shape, f"o/{groups} i *k") == Fans(32 // groups * 15, 64 // groups * 15)
        weight = torch.nn.ConvTranspose2d(32, 64, (3, 5), groups=groups).weight
        assert fans(weight.shape, f"i/{groups} o *k") == Fans(32 // groups * 15, 64 // groups * 15)
    assert fans(torch.nn.Linear(20, 30).weight.shape, "o i *k") == Fans(20, 30)
    weight = torch.nn.Conv2d(20, 30, 3).weight
    assert fans(weight.shape, "o i *k") == torch.nn.init._calculate_fan_in_and_fan_out(weight)


def test_fans_of_keras_layers() -> None:
    import keras

    def kernel(layer: keras.layers.Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
        layer.build(shape)
        return tuple(layer.weights[0].shape)

    assert fans(kernel(keras.layers.Dense(30), (None, 20))) == Fans(20, 30)
    assert fans(kernel(keras.layers.Conv2D(8, 3), (None, 9, 9, 4))) == Fans(36, 72)
    depthwise = kernel(keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (None, 9, 9, 4))
    assert fans(depthwise, "*k o1/4 o2") == Fans(9, 18)
    transposed = kernel(keras.layers.Conv2DTranspose(8, 3), (None, 9, 9, 4))
    assert fans(transposed, "*k o i") == Fans(36, 72)
    heads = kernel(keras.layers.EinsumDense("abc,cde->abde", (None, 4, 8)), (None, 5, 32))
    assert heads == (32, 4, 8)
    assert fans(heads, "i o1 o2") == Fans(32, 32)


def test_fans_of_flax_kernels() -> None:
    import flax.linen as nn
    import jax

    shapes = jax.eval_shape(nn.Conv(8, (3, 3), feature_group_count=2).init, jax.random.key(0), np.zeros((1, 9, 9, 4)))
    kernel = shapes["params"]["kernel"].shape
    assert fans(kernel, "*k i o/2") == Fans(18, 36)


@pytest.mark.parametrize(
    ("shape", "expected"), [((), (1, 1)), ((5,), (5, 5)), ((5, 6), (5, 6)), ((2, 3, 5, 6), (30, 36))]
)
def test_fans_without_a_layout_are_those_of_keras(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    from keras.src.initializers.random_initializers import compute_fans

    assert fans(shape) == expected == compute_fans(shape)


@pytest.mark.parametrize(
    ("text", "shape", "fragment"),
    [
        ("x i", (2, 3), "cannot read 'x'"),
        ("", (2, 3), "empty"),
        ("o i", (2, 3, 4), "is for rank 2, but the shape"),
        ("o i *k", (2,), "rank 2 or more"),
        ("*k *b i", (2, 3), "only one axis can be starred"),
        ("o o", (2, 3), "Number them"),
        ("~o i", (2, 3), "only window axes"),
        ("o/0 i", (2, 3), "no groups"),
        ("o/4 i", (6, 3), "do not split"),
    ],
)
def test_bad_layouts_are_named(text: str, shape: tuple[int, ...], fragment: str) -> None:
    with pytest.raises(LayoutError, match=fragment.replace("*", r"\*")):
        fans(shape, text)


def test_a_tensor_beyond_the_stream_is_named() -> None:
    with pytest.raises(ShapeError, match=r"addresses 2\*\*32 rows"):
        Layout("*k i o").coordinates((2**20, 2**13, 3))
    with pytest.raises(ShapeError, match=r"2\*\*34 columns"):
        as_layout(None).coordinates((2**34 + 1,))
    with pytest.raises(LayoutError, match="must be a text"):
        as_layout(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, 3, b"i o", ["i", "o"], np.zeros(2)])
def test_a_layout_is_read_from_a_text(text: object) -> None:
    with pytest.raises(LayoutError, match="read from a text such as 'o i"):
        Layout(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shape", [None, "ab", b"ab", (2, -1), (2.0, 3), (2, None), {2: 3}, np.ones((2, 2)), (2**40, 2**40)]
)
def test_fans_are_of_a_shape(shape: object) -> None:
    for layout in (None, "i o"):
        with pytest.raises(ShapeError, match="shape"):
            fans(shape, layout)  # type: ignore[arg-type]
