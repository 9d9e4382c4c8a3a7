"""fanin.jax: JAX's names and protocol, keys of every kind, and the bits of fanin.initializers however it is run."""

import dataclasses
import inspect
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import assert_same_bits
from jax import lax

import fanin
import fanin.jax as fj
from fanin import errors, initializers
from fanin.dtypes import FLOATS
from fanin.engines.jax import STRIP, _product, _variates, draw_window, origin_of
from fanin.engines.tables import table
from fanin.layouts import ARRAY_ORDER
from fanin.recipe import Draw, Normal, Stream, UniformInterval, Window
from fanin.spec import normal as spec_normal
from fanin.spec.tables import table as spec_table

SHAPE = (24, 17)
THEIRS = jax.nn.initializers
NAMES = sorted(name for name in dir(THEIRS) if not name.startswith("_"))

# Of fanin.jax, and what fanin.initializers has for the same.
PAIRS: list[tuple[fj.Initializer, type[initializers.Initializer], dict[str, Any]]] = [
    (fj.zeros, initializers.Zeros, {}),
    (fj.ones, initializers.Ones, {}),
    (fj.constant(0.1), initializers.Constant, {"value": 0.1}),
    (fj.uniform(3.0), initializers.RandomUniform, {"minval": 0.0, "maxval": 3.0, "seed": 7}),
    (fj.normal(0.5), initializers.RandomNormal, {"stddev": 0.5, "seed": 7}),
    (fj.truncated_normal(0.5), initializers.TruncatedNormal, {"stddev": 0.5, "seed": 7}),
    (
        fj.truncated_normal(0.5, lower=-1.0, upper=3.0),
        initializers.TruncatedNormal,
        {"stddev": 0.5, "lower": -1.0, "upper": 3.0, "seed": 7},
    ),
    (
        fj.variance_scaling(3.0, "fan_geo_avg", "normal"),
        initializers.VarianceScaling,
        {"scale": 3.0, "mode": "fan_geo_avg", "distribution": "untruncated_normal", "seed": 7},
    ),
    (fj.glorot_uniform(), initializers.GlorotUniform, {"seed": 7}),
    (fj.glorot_normal(), initializers.GlorotNormal, {"seed": 7}),
    (fj.lecun_uniform(), initializers.LecunUniform, {"seed": 7}),
    (fj.lecun_normal(), initializers.LecunNormal, {"seed": 7}),
    (fj.he_uniform(), initializers.HeUniform, {"seed": 7}),
    (fj.he_normal(), initializers.HeNormal, {"seed": 7}),
    (fj.orthogonal(2.0), initializers.Orthogonal, {"gain": 2.0, "seed": 7}),
]
IDS = [repr(pair[0]) for pair in PAIRS]
DRAWN = [(ours, theirs, arguments) for ours, theirs, arguments in PAIRS if "seed" in arguments]


def expected(pair: Any, shape: tuple[int, ...] = SHAPE, dtype: str = "float32", **call: Any) -> np.ndarray:
    _, theirs, arguments = pair
    with fanin.use(engine="numpy"):
        return theirs(**arguments)(shape, dtype, **call)


# JAX's surface ----------------------------------------------------------------------------------


def test_the_names_are_those_of_jax() -> None:
    assert sorted({*fj.__all__} - {"init_sharded", "shapes"}) == NAMES
    assert len(NAMES) == 20


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Initializer"])
def test_the_arguments_are_those_of_jax(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(module, name)) for module in (fj, THEIRS))
    found = {p.name: p.default for p in ours.parameters.values() if p.kind is not p.KEYWORD_ONLY}
    assert found == {p.name: p.default for p in theirs.parameters.values()}
    assert list(found) == list(theirs.parameters)


def test_the_protocol_is_that_of_jax() -> None:
    for init, *_ in PAIRS:
        assert isinstance(init, THEIRS.Initializer)
        assert isinstance(init, fj.Initializer)


def test_initializers_are_records() -> None:
    assert fj.he_normal() == fj.kaiming_normal() == fj.variance_scaling(2.0, "fan_in", "truncated_normal")
    assert fj.he_normal() != fj.he_normal(dtype=jnp.bfloat16)
    assert fj.he_normal(in_axis=[0, 1]) == fj.he_normal(in_axis=(0, 1))
    assert fj.constant(0.0) != fj.constant(-0.0)
    assert fj.constant([1, 2]) == fj.constant(np.array([1, 2])) != fj.constant([1, 3])
    assert len({init for init, *_ in PAIRS}) == len({repr(init) for init, *_ in PAIRS}) == len(PAIRS)
    assert repr(fj.normal(2)) == "normal(stddev=2.0, dtype=None)"
    for init, *_ in [*PAIRS, (fj.constant([1, 2]),)]:
        assert pickle.loads(pickle.dumps(init)) == init
    with pytest.raises(AttributeError):
        fj.normal().stddev = 2.0  # type: ignore[misc]


# Bits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS, ids=IDS)
def test_outside_and_inside_of_a_trace_the_bits_are_the_same(pair: Any) -> None:
    init, key, wanted = pair[0], jax.random.key(7), expected(pair)
    assert_same_bits(np.asarray(init(key, SHAPE)), wanted)
    assert_same_bits(np.asarray(init(7, SHAPE)), wanted)
    assert_same_bits(np.asarray(jax.jit(lambda key: init(key, SHAPE))(key)), wanted)
    assert_same_bits(np.asarray(jax.jit(lambda: init(7, SHAPE))()), wanted)
    assert jax.eval_shape(lambda key: init(key, SHAPE, jnp.float16), key).dtype == jnp.float16
    named = expected(pair, name="fc.kernel", layout="o i") if pair in PAIRS[:-1] else expected(pair, name="fc.kernel")
    call = {"name": "fc.kernel"} | ({"layout": "o i"} if pair in PAIRS[:-1] else {})
    assert_same_bits(np.asarray(init(7, SHAPE, **call)), named)
    assert_same_bits(np.asarray(jax.jit(lambda key: init(key, SHAPE, **call))(key)), named)


@pytest.mark.parametrize("dtype", [name for name in FLOATS if name != "float64"])
def test_dtypes_round_once(dtype: str) -> None:
    """Also where XLA could drop a narrow rounding before a wide one."""
    init, key = fj.normal(0.5), jax.random.key(7)
    wanted = expected(PAIRS[4], dtype=dtype)
    assert_same_bits(np.asarray(init(key, SHAPE, dtype)), wanted)
    assert_same_bits(np.asarray(jax.jit(lambda key: init(key, SHAPE, dtype))(key)), wanted)
    wide = jax.jit(lambda key: init(key, SHAPE, dtype).astype(jnp.float32))(key)
    assert_same_bits(np.asarray(wide), wanted.astype(np.float32))
    assert_same_bits(np.asarray(fj.normal(0.5, dtype)(key, SHAPE)), wanted)


def test_keys_of_every_kind() -> None:
    init = fj.normal()
    compared = 0
    for implementation in ("threefry2x32", "rbg", "unsafe_rbg"):
        typed = jax.random.key(7, impl=implementation)
        raw = jax.random.key_data(typed)
        alike = [init(typed, SHAPE), init(raw, SHAPE), init(np.asarray(raw), SHAPE)]
        alike += [jax.jit(lambda key: init(key, SHAPE))(key) for key in (typed, raw)]
        w = [int(word) for word in np.asarray(raw)] + [0, 0]
        draw = Draw(Normal(0.0, 0.01), SHAPE, ARRAY_ORDER, Stream("", w[0] << 32 | w[1], (w[2], w[3])))
        wanted = np.empty(SHAPE, np.float32)
        with fanin.use(engine="reference"):
            fanin.engines.fill(draw, Window.whole(SHAPE), wanted)
        for found in alike:
            assert_same_bits(np.asarray(found), wanted)
            compared += 1
    assert compared == 15
    big = 2**63 + 12345
    assert_same_bits(
        np.asarray(init(big, SHAPE)), np.asarray(init(np.array([big >> 32, big & 0xFFFFFFFF], np.uint32), SHAPE))
    )


@pytest.mark.parametrize("pair", [*DRAWN[:3], DRAWN[-2], DRAWN[-1]], ids=lambda pair: repr(pair[0]))
def test_mapped_and_scanned_keys_give_what_a_loop_gives(pair: Any) -> None:
    init, keys = pair[0], jax.random.split(jax.random.key(3), 6)
    wanted = np.stack([np.asarray(init(key, SHAPE)) for key in keys])
    assert len(np.unique(wanted[:, 0, 0])) == 6
    assert_same_bits(np.asarray(jax.vmap(lambda key: init(key, SHAPE))(keys)), wanted)
    nested = jax.jit(jax.vmap(jax.vmap(lambda key: init(key, SHAPE))))(keys.reshape(2, 3))
    assert_same_bits(np.asarray(nested).reshape(wanted.shape), wanted)
    scanned = lax.scan(lambda carry, key: (carry, init(key, SHAPE)), 0, keys)[1]
    assert_same_bits(np.asarray(scanned), wanted)


def test_x64_changes_nothing_but_the_default_dtype() -> None:
    init = fj.normal(0.5)
    assert not jax.config.jax_enable_x64
    wanted = expected(PAIRS[4])
    with jax.enable_x64(True):
        key = jax.random.key(7)
        for found in (init(key, SHAPE, jnp.float32), jax.jit(lambda key: init(key, SHAPE, jnp.float32))(key)):
            assert_same_bits(np.asarray(found), wanted)
        for found in (init(key, SHAPE), jax.jit(lambda key: init(key, SHAPE))(key)):
            assert_same_bits(np.asarray(found), wanted.astype(np.float64))
    assert not jax.config.jax_enable_x64
    assert jax.jit(lambda key: init(key, SHAPE, "float64"))(jax.random.key(7)).dtype == jnp.float32


def test_nothing_of_full_size_is_baked_into_a_program() -> None:
    shape = (1024, 1024)
    for init in (fj.normal(), fj.zeros, fj.constant(0.5), fj.orthogonal()):
        text = jax.jit(lambda init=init: init(7, shape)).lower().as_text()
        assert len(text) < 400_000, init  # the table takes 130 kB; 2**20 elements would take 8 MB


def test_outside_of_a_trace_memory_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    from fanin.models.jax import making

    made: list[np.ndarray] = []
    allocate = making.aligned
    monkeypatch.setattr(making, "aligned", lambda *arguments: made.append(allocate(*arguments)) or made[-1])
    for dtype in ("float32", "bfloat16", "float8_e4m3fn"):
        array = fj.normal()(7, (1000, 100), dtype)
        assert array.unsafe_buffer_pointer() == made[-1].ctypes.data
    assert len(made) == 3


def test_a_window_whose_start_is_traced() -> None:
    """What a shard does inside `shard_map`; also far out, where columns take more than 32 bits."""
    shape = (2**31, 2**33 + 8)
    draw = Draw(UniformInterval(0.0, 1.0), shape, ARRAY_ORDER, Stream("w", 7))
    (k0, k1), (n2, n3) = Stream("w", 7).words()
    words = tuple(map(np.uint32, (k0, k1, n2, n3)))
    compared = 0
    for start in ((0, 0), (5, 3), (2**31 - 3, 2**33 - 2), (2**30, 2**32 - 2)):
        window = Window(start, (start[0] + 3, start[1] + 7))
        wanted = np.empty(window.shape, np.float32)
        with fanin.use(engine="numpy"):
            fanin.engines.fill(draw, window, wanted)
        origin = origin_of(draw.coordinates(window))
        drawn = jax.jit(lambda origin, window=window: draw_window(draw, window, words, np.dtype("float32"), origin))
        assert_same_bits(np.asarray(drawn(origin)), wanted)
        compared += 1
    assert compared == 4


@pytest.mark.parametrize(("shape", "layout"), [((2**21 + 5,), None), ((1449, 1451), "o i"), ((3, 5, 800, 200), None)])
def test_what_is_drawn_strip_by_strip(shape: tuple[int, ...], layout: str | None) -> None:
    """Long enough for strips, the last of which goes over the one before it; in bfloat16 too, and mapped over keys."""
    assert np.prod(shape) >= 16 * STRIP
    init = fj.truncated_normal(0.02)
    for dtype in ("float32", "bfloat16"):
        wanted = np.asarray(init(7, shape, dtype, layout=layout))
        found = jax.jit(lambda key, dtype=dtype: init(key, shape, dtype, layout=layout))(jax.random.key(7))
        assert_same_bits(np.asarray(found), wanted)
    mapped = jax.jit(jax.vmap(lambda key: init(key, shape, layout=layout)))(jax.random.split(jax.random.key(7), 2))
    for key, found in zip(jax.random.split(jax.random.key(7), 2), mapped, strict=True):
        assert_same_bits(np.asarray(found), np.asarray(init(key, shape, layout=layout)))


def test_extreme_words() -> None:
    words = np.array([0, 1, 2, 3, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1], np.uint32)
    compared = 0
    for bounds in ((-np.inf, np.inf), (-2.0, 2.0), (3.0, 5.0), (-np.inf, 1.0)):
        found = jax.jit(lambda words, bounds=bounds: _variates(words, table(*bounds)[0]))(words)
        assert np.asarray(found).tolist() == [spec_normal(int(word), spec_table(*bounds)) for word in words]
        compared += 1
    assert compared == 4
    for factor in (0, 1, 0xFFFF, 0x10000, 0xD2511F53, 2**32 - 1):
        high, low = jax.jit(_product)(words, np.uint32(factor))
        products = [int(word) * factor for word in words]
        assert np.asarray(high).tolist() == [product >> 32 for product in products]
        assert np.asarray(low).tolist() == [product & 0xFFFFFFFF for product in products]


# Complex dtypes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "part"),
    [
        (fj.normal(0.5), initializers.RandomNormal(stddev=0.5 / math.sqrt(2), seed=7)),
        (fj.he_normal(), initializers.VarianceScaling(1.0, "fan_in", "truncated_normal", seed=7)),
        (fj.glorot_uniform(), initializers.VarianceScaling(0.5, "fan_avg", "uniform", seed=7)),
        (
            fj.variance_scaling(3.0, "fan_out", "normal"),
            initializers.VarianceScaling(1.5, "fan_out", "untruncated_normal", seed=7),
        ),
    ],
)
def test_parts_of_complex_values_are_tensors_of_their_own(init: Any, part: Any) -> None:
    for made in (
        init(7, SHAPE, "complex64", name="w"),
        jax.jit(lambda key: init(key, SHAPE, jnp.complex64, name="w"))(jax.random.key(7)),
        dataclasses.replace(init, dtype=np.complex128)(7, SHAPE, name="w"),  # without x64, as in JAX
    ):
        assert made.dtype == jnp.complex64
        assert_same_bits(np.real(made), part(SHAPE, name="w.real"))
        assert_same_bits(np.imag(made), part(SHAPE, name="w.imag"))
    assert_same_bits(np.imag(init(7, SHAPE, "complex64")), part(SHAPE, name="imag"))
    with jax.enable_x64(True):
        wide = init(7, SHAPE, "complex128", name="w")
        assert wide.dtype == jnp.complex128
        assert_same_bits(np.real(wide), part(SHAPE, "float64", name="w.real"))


def test_the_variance_of_complex_values_is_that_of_jax() -> None:
    shape = (512, 512)
    for name, arguments in (("normal", (0.5,)), ("lecun_normal", ()), ("he_uniform", ()), ("orthogonal", (2.0,))):
        ours, theirs = (
            getattr(module, name)(*arguments)(jax.random.key(7), shape, jnp.complex64)
            for module in (fj, jax.nn.initializers)
        )
        assert float(jnp.var(ours)) == pytest.approx(float(jnp.var(theirs)), rel=0.02), name


@pytest.mark.parametrize("shape", [(24, 16), (16, 24)])
def test_a_complex_orthogonal_matrix_is_unitary(shape: tuple[int, int]) -> None:
    matrix = np.asarray(fj.orthogonal(2.0)(jax.random.key(7), shape, jnp.complex64))
    gram = matrix.conj().T @ matrix if shape[0] > shape[1] else matrix @ matrix.conj().T
    np.testing.assert_allclose(gram, 4 * np.eye(16), atol=2e-5)
    assert abs(matrix.imag).max() > 0.5
    inside = jax.jit(lambda key: fj.orthogonal(2.0)(key, shape, jnp.complex64))(jax.random.key(7))
    assert np.asarray(inside).tobytes() == matrix.tobytes()
    delta = np.asarray(fj.delta_orthogonal()(jax.random.key(7), (3, 16, 24), jnp.complex64))
    assert not delta[0].any()
    np.testing.assert_allclose(delta[1] @ delta[1].conj().T, np.eye(16), atol=1e-5)


def test_complex_constants() -> None:
    assert fj.constant(1 + 2j)(0, (2,), "complex64").tolist() == [1 + 2j] * 2
    assert fj.constant(np.array([1j, 2.0]))(0, (3, 2), "complex64").tolist() == [[1j, 2]] * 3
    assert fj.ones(0, (2,), "complex64").tolist() == [1, 1]
    assert fj.constant(1j) == fj.constant(1j) != fj.constant(1)


def test_what_has_no_complex_values() -> None:
    for init in (fj.uniform(), fj.truncated_normal()):
        with pytest.raises(errors.DTypeError, match="no complex values, as in JAX") as caught:
            init(7, (2,), "complex64")
        assert isinstance(caught.value, TypeError)
    for value in (1j, np.array([1j])):
        with pytest.raises(errors.DTypeError, match="is complex, which float32 cannot hold; give complex64"):
            fj.constant(value)(7, (1,))


# Fans -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "fan_in"),
    [
        ((512, 256), {}, 512),
        ((3, 3, 64, 32), {}, 3 * 3 * 64),
        ((4, 64, 32), {"batch_axis": 0}, 64),
        ((64, 4, 32), {"in_axis": 0, "out_axis": (1, 2)}, 64),
        ((4, 32, 64), {"in_axis": (0, 1), "out_axis": -1}, 4 * 32),
        ((1000, 64), {"out_axis": 0}, 64),  # Flax's Embed: its first axis is input and output at once
        ((64,), {"in_axis": 0, "out_axis": ()}, 64),
    ],
)
def test_axes_decide_the_fans(shape: tuple[int, ...], axes: dict[str, Any], fan_in: int) -> None:
    wanted = fj.normal(float(np.sqrt(1.0 / fan_in)))(7, shape)
    assert_same_bits(np.asarray(fj.variance_scaling(1.0, "fan_in", "normal", **axes)(7, shape)), np.asarray(wanted))
    theirs = THEIRS.variance_scaling(1.0, "fan_in", "normal", **axes)(jax.random.key(0), (*shape,))
    assert abs(float(theirs.std()) * np.sqrt(fan_in) - 1) < 6 / np.sqrt(2 * np.prod(shape))


def test_orthogonal_takes_its_columns_from_any_axis() -> None:
    key = jax.random.key(7)
    for axis, shape in ((-1, (3, 8, 5)), (0, (5, 3, 8)), (1, (8, 5, 3))):
        w = np.moveaxis(np.asarray(fj.orthogonal(column_axis=axis)(key, shape)), axis, -1).reshape(-1, 5)
        assert np.abs(w.T @ w - np.eye(5)).max() < 1e-6
    delta = np.array(fj.delta_orthogonal(2.0)(key, (3, 4, 5, 8)))
    centre = delta[1, 1].copy()
    assert np.abs(centre @ centre.T - 4 * np.eye(5)).max() < 1e-5
    assert_same_bits(centre, np.asarray(fj.orthogonal(2.0)(key, (5, 8))))
    delta[1, 1] = 0
    assert not delta.any()
    inside = jax.jit(lambda key: fj.delta_orthogonal(2.0)(key, (3, 4, 5, 8)))(key)
    assert_same_bits(np.asarray(inside)[1, 1], centre)


def test_constants_take_arrays() -> None:
    init = fj.constant([1.0, 2.0, 3.0])
    wanted = np.broadcast_to(np.array([1, 2, 3], np.float32), (2, 3)).copy()
    assert_same_bits(np.asarray(init(None, (2, 3))), wanted)
    assert_same_bits(np.asarray(jax.jit(lambda: init(None, (2, 3)))()), wanted)
    assert_same_bits(np.asarray(fj.ones(None, (3,), jnp.int8)), np.ones(3, np.int8))


def test_empty_and_scalar_shapes() -> None:
    for init, *_ in PAIRS[:-1]:
        assert init(7, (0, 4)).shape == jax.jit(lambda init=init: init(7, (0, 4)))().shape == (0, 4)
    assert fj.normal()(7, ()).shape == ()
    assert_same_bits(np.asarray(fj.normal()(7, ())), np.asarray(jax.jit(lambda: fj.normal()(7, ()))()))


# Flax -------------------------------------------------------------------------------------------


def test_linen_takes_them() -> None:
    from flax import linen

    layer = linen.Dense(8, kernel_init=fj.he_normal(), bias_init=fj.zeros)
    variables = layer.init(jax.random.key(0), jnp.ones((2, 16)))
    inside = jax.jit(layer.init)(jax.random.key(0), jnp.ones((2, 16)))
    kernel = variables["params"]["kernel"]
    assert_same_bits(np.asarray(kernel), np.asarray(inside["params"]["kernel"]))
    assert abs(float(kernel.std()) - (2 / 16) ** 0.5) < 0.1
    assert not variables["params"]["bias"].any()
    embed = linen.Embed(1000, 64, embedding_init=fj.variance_scaling(1.0, "fan_in", "normal", out_axis=0))
    table = embed.init(jax.random.key(0), jnp.zeros(1, jnp.int32))["params"]["embedding"]
    assert abs(float(table.std()) * 8 - 1) < 0.02


def test_nnx_takes_them() -> None:
    from flax import nnx

    layer = nnx.Linear(16, 8, kernel_init=fj.he_normal(), bias_init=fj.ones, rngs=nnx.Rngs(0))
    assert_same_bits(np.asarray(layer.kernel[...]), np.asarray(fj.he_normal()(nnx.Rngs(0).params(), (16, 8))))
    assert (np.asarray(layer.bias[...]) == 1).all()


# Bad input --------------------------------------------------------------------------------------

KEY = np.array([0, 7], np.uint32)


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        (lambda: fj.normal()(None, (2,)), TypeError, "key is None, a NoneType"),
        (lambda: fj.normal()("7", (2,)), TypeError, "key is '7', a str"),
        (lambda: fj.normal()(7.0, (2,)), TypeError, "key is 7.0, a float"),
        (lambda: fj.normal()(-1, (2,)), errors.SeedError, "seed must be an integer from 0"),
        (lambda: fj.normal()(True, (2,)), errors.SeedError, "seed must be an integer from 0"),
        (lambda: fj.normal()(2**64, (2,)), errors.SeedError, "seed must be an integer from 0"),
        (lambda: fj.normal()(jax.random.split(jax.random.key(0), 3), (2,)), TypeError, "an array of keys, of shape"),
        (lambda: fj.normal()(np.zeros(3, np.uint32), (2,)), TypeError, "words of shape (3,)"),
        (lambda: fj.normal()(np.zeros(2, np.int32), (2,)), TypeError, "an array of int32"),
        (lambda: jax.jit(lambda n: fj.normal()(KEY, (n,)))(3), errors.ShapeError, "is not an integer"),
        (lambda: fj.normal()(KEY, (-1,)), errors.ShapeError, "non-negative"),
        (lambda: fj.normal()(KEY, (2,), "int32"), errors.DTypeError, "int32 cannot hold random values"),
        (lambda: fj.normal()(KEY, (2,), "nothing"), errors.DTypeError, "unknown dtype"),
        (lambda: fj.normal(1e5)(KEY, (2,), "float16"), errors.DTypeError, "the greatest float16"),
        (lambda: fj.normal()(KEY, (2,), layout="o i"), errors.LayoutError, "rank"),
        (lambda: fj.normal()(KEY, (2,), out_sharding="x"), TypeError, "out_sharding must be"),
        (lambda: fj.normal()(KEY, (2,), out_sharding=jax.P("x")), errors.ArgumentError, "needs a mesh"),
        (lambda: fj.he_normal()(KEY, (2,)), errors.LayoutError, "fans of the shape (2,) are not known"),
        (lambda: fj.he_normal(in_axis=5)(KEY, (2, 3)), errors.ShapeError, "are not all axes"),
        (lambda: fj.he_normal(in_axis=0)(KEY, (2, 3), layout="o i"), errors.LayoutError, "axes of its own"),
        (lambda: fj.he_normal(in_axis="0"), errors.ArgumentError, "in_axis must be an axis"),
        (lambda: fj.variance_scaling(-1.0, "fan_in", "normal"), errors.ArgumentError, "scale must be at least 0"),
        (lambda: fj.variance_scaling(1.0, "fan", "normal"), errors.ArgumentError, "mode must be one of"),
        (lambda: fj.variance_scaling(1.0, "fan_in", "gamma"), errors.ArgumentError, "distribution must be one of"),
        (lambda: fj.normal(-1.0), errors.ArgumentError, "stddev must be at least 0"),
        (lambda: jax.jit(lambda s: fj.normal(s)(KEY, (2,)))(1.0), errors.ArgumentError, "stddev must be one finite"),
        (lambda: fj.truncated_normal(lower=2.0, upper=1.0), errors.ArgumentError, "lower must be below upper"),
        (lambda: fj.constant("x"), errors.ArgumentError, "must be"),
        (lambda: fj.constant([1, 2])(KEY, (3,)), errors.ShapeError, "does not broadcast"),
        (lambda: fj.orthogonal()(KEY, (3,)), errors.ShapeError, "two axes or more"),
        (lambda: fj.orthogonal(column_axis=4)(KEY, (3, 3)), errors.ShapeError, "column_axis 4"),
        (lambda: fj.delta_orthogonal()(KEY, (3, 3, 4, 2)), errors.ShapeError, "no more inputs than outputs"),
    ],
)
def test_what_cannot_be_met_is_told(call: Any, error: type[Exception], fragment: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, errors.FaninError)
    assert fragment in str(caught.value)


# Eight devices ----------------------------------------------------------------------------------


def test_shards_of_eight_devices() -> None:
    file = Path(__file__).parent / "jax_shards.py"
    done = subprocess.run([sys.executable, "-W", "error", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["compared", "30"]
