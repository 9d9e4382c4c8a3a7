"""`fanin.backend`: what custom initializers draw, alone and for a plan."""

import contextvars
import threading

import numpy as np
import pytest
from harness import assert_same_bits

from fanin import backend, initializers
from fanin.errors import ArgumentError, LogicalNameError, SeedError, ShapeError
from fanin.initializers.custom import custom_recipe
from fanin.recipe import Window

DRAWS = {
    "random_normal": (backend.random_normal, initializers.RandomNormal(0.0, 1.0, seed=5)),
    "random_uniform": (backend.random_uniform, initializers.RandomUniform(0.0, 1.0, seed=5)),
    "truncated_normal": (backend.truncated_normal, initializers.TruncatedNormal(0.0, 1.0, seed=5)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_seeded_draws_are_those_of_the_initializers(name: str) -> None:
    function, initializer = DRAWS[name]
    assert_same_bits(function((3, 5), seed=5), initializer((3, 5)))
    assert_same_bits(function((3, 5), dtype="bfloat16", seed=5), initializer((3, 5), "bfloat16"))


@pytest.mark.parametrize("name", DRAWS)
def test_unseeded_draws_are_fresh(name: str) -> None:
    function = DRAWS[name][0]
    assert not np.array_equal(function((8,)), function((8,)))


@pytest.mark.parametrize("name", DRAWS)
def test_in_a_drawing_each_call_has_a_stream_of_its_own(name: str) -> None:
    function, initializer = DRAWS[name]
    with backend.drawing("head.kernel", 5):
        first, seeded, second = function((4,)), function((4,), seed=5), function((4,))
    assert_same_bits(first, initializer((4,), name="head.kernel\\#0"))
    assert_same_bits(second, initializer((4,), name="head.kernel\\#1"))
    assert_same_bits(seeded, initializer((4,)))


def test_unseeded_initializers_draw_from_the_drawing_too() -> None:
    with backend.drawing("w", 9):
        normal, orthogonal = initializers.HeNormal()((4, 6)), initializers.Orthogonal()((4, 6))
    assert_same_bits(normal, initializers.HeNormal(seed=9)((4, 6), name="w\\#0"))
    assert_same_bits(orthogonal, initializers.Orthogonal(seed=9)((4, 6), name="w\\#1"))


def test_drawings_nest_and_end() -> None:
    with backend.drawing("outer", 1):
        with backend.drawing("inner", 2):
            inner = backend.random_normal((4,))
        outer = backend.random_normal((4,))
    assert_same_bits(inner, backend_named("inner\\#0", 2))
    assert_same_bits(outer, backend_named("outer\\#0", 1))
    with pytest.raises(RuntimeError, match="inside"), backend.drawing("broken", 3):
        raise RuntimeError("inside")
    assert not np.array_equal(backend.random_normal((4,)), backend.random_normal((4,)))


def backend_named(name: str, seed: int) -> np.ndarray:
    return initializers.RandomNormal(0.0, 1.0, seed=seed)((4,), name=name)


def test_a_thread_shares_a_drawing_only_with_its_context() -> None:
    results: dict[str, np.ndarray] = {}

    def draw(key: str) -> None:
        results[key] = backend.random_normal((4,))

    with backend.drawing("w", 1):
        context = contextvars.copy_context()
        for target, key in ((draw, "bare"), (lambda key: context.run(draw, key), "copied")):
            thread = threading.Thread(target=target, args=(key,))
            thread.start()
            thread.join()
    assert_same_bits(results["copied"], backend_named("w\\#0", 1))
    assert not np.array_equal(results["bare"], results["copied"])


def test_a_drawing_needs_a_name_and_a_seed() -> None:
    with pytest.raises(SeedError, match="not -1"), backend.drawing("w", -1):
        pass
    for name in (None, 3, b"w"):
        with pytest.raises(LogicalNameError, match=f"name must be a text.*not {name!r}"), backend.drawing(name, 1):
            pass


def test_deterministic_functions() -> None:
    assert_same_bits(backend.zeros((2, 3), "int8"), np.zeros((2, 3), np.int8))
    assert_same_bits(backend.ones((2,)), np.ones(2, np.float32))
    assert_same_bits(backend.constant(3), np.array(3, np.float32))
    assert_same_bits(backend.constant([1, 2], "float64"), np.array([1.0, 2.0]))
    assert_same_bits(backend.constant([1, 2], shape=(2, 2)), np.array([[1, 2], [1, 2]], np.float32))
    assert_same_bits(backend.eye(2), np.eye(2, dtype=np.float32))
    assert_same_bits(backend.eye((2, 3), "int32"), np.eye(2, 3, dtype=np.int32))
    assert_same_bits(backend.eye(np.int64(2)), np.eye(2, dtype=np.float32))
    for size in (2.5, "ab", None, (2, -1), -1, (2, 3, 4)):
        with pytest.raises(ShapeError, match="shape"):
            backend.eye(size)
    for value in (object(), "a", 1j, 10**400, [[1], [1, 2]]):
        with pytest.raises(ArgumentError, match=r"cast_to_floatx: .* is no array of real numbers"):
            backend.cast_to_floatx(value)
    assert_same_bits(backend.cast_to_floatx([0.1]), np.array([0.1], np.float32))
    assert backend.floatx() == "float32"


def test_the_recipe_of_a_callable_is_the_same_at_every_computation() -> None:
    def mine(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return backend.random_normal(shape, dtype=dtype) * backend.random_uniform(shape, dtype=dtype)

    recipe = custom_recipe(mine, (3, 4), "w", 7)
    assert not recipe.windowable
    first = recipe.compute()
    assert_same_bits(recipe.compute(), first)
    with backend.drawing("w", 7):
        assert_same_bits(mine((3, 4), "float32"), first)
    assert not np.array_equal(custom_recipe(mine, (3, 4), "v", 7).compute(), first)


@pytest.mark.parametrize(
    ("made", "error", "fragment"),
    [
        (np.zeros((2, 3)), ShapeError, "made the shape (2, 3) for 'w'; (3, 2) was asked for"),
        (None, ArgumentError, "made 'NoneType' for 'w'"),
        ("text", ArgumentError, "made 'str' for 'w'"),
        (np.zeros((3, 2), complex), ArgumentError, "return an array of real numbers"),
        (np.full((3, 2), np.nan, np.float16), ArgumentError, "made NaN, infinity or a number beyond float32 for 'w'"),
        (np.full((3, 2), -np.inf), ArgumentError, "return finite numbers"),
        (np.full((3, 2), 1e39), ArgumentError, "a number beyond float32"),
    ],
)
def test_a_callable_that_returns_something_else_is_told(made: object, error: type[Exception], fragment: str) -> None:
    with pytest.raises(error) as caught:
        custom_recipe(lambda shape, dtype=None: made, (3, 2), "w", 7).compute()
    assert fragment in str(caught.value)


def test_a_subclass_of_ones_own_has_that_recipe() -> None:
    class Half(initializers.HeNormal):
        def __call__(self, shape: tuple[int, ...], dtype: object = None) -> np.ndarray:  # type: ignore[override]
            return super().__call__(shape, dtype) / 2

    recipe = Half().recipe((4, 6), name="w", seed=7)
    whole = initializers.HeNormal(seed=7)((4, 6), name="w\\#0") / 2
    assert_same_bits(recipe.compute()[Window.whole((4, 6)).slices], whole)  # type: ignore[union-attr]
