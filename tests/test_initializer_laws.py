"""The laws again, through the initializers: every one of them, on every engine configuration.

`DRAW` and `WHOLE` together hold every initializer. All laws reach the first; `REACH` says which reach
the others, and each "not" is shown as well. A liar per law proves that its check can fail.
"""

import itertools
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from harness import CONFIGURATIONS, INF, SLOW, assert_same_bits, bits, poisoned, use

from fanin import backend, engines, initializers
from fanin.dtypes import FLOATS, resolve
from fanin.errors import DTypeError, FaninError, ShapeError
from fanin.initializers import (
    STFT,
    Arange,
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    Initializer,
    LecunNormal,
    LecunUniform,
    LogUniform,
    Masked,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    Scaled,
    Sinusoids,
    Transformed,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)
from fanin.initializers.scaling import DISTRIBUTIONS, MODES
from fanin.layouts import as_layout
from fanin.recipe import Draw, Whole, Window
from fanin.spec import round_bits

SEED = 7
SINGLE = np.dtype(np.float32)

CONSTANTS = [Zeros(), Ones(), Constant(2.5), Constant(-0.0), Constant(0.1), Constant(True), Constant(-3)]
DIAGONALS = [Identity(), Identity(-0.1)]
DRAWN = [
    RandomNormal(seed=SEED),
    RandomNormal(1.0, 0.5, SEED),
    RandomNormal(-100.0, 1e-4, SEED),
    RandomNormal(0.25, 0.0, SEED),  # a deviation of zero draws nothing
    RandomUniform(seed=SEED),
    RandomUniform(-1.0, 2.0, SEED),
    RandomUniform(100.0, 101.0, SEED),
    RandomUniform(0.5, 0.5, SEED),
    TruncatedNormal(seed=SEED),
    TruncatedNormal(1.0, 0.5, SEED),
    TruncatedNormal(0.0, 1.0, SEED, -INF, 1.0),
    TruncatedNormal(0.0, 1.0, SEED, 0.0, INF),
    TruncatedNormal(0.0, 1.0, SEED, 3.0, 5.0),
    TruncatedNormal(2.0, 0.1, SEED, -1.0, 3.0),
    TruncatedNormal(0.0, 1.0, SEED, -7.0, 7.0),  # bounds that never bite
    *(VarianceScaling(0.5, *case, SEED) for case in itertools.product(MODES, DISTRIBUTIONS)),
    GlorotUniform(SEED),
    GlorotNormal(SEED),
    HeUniform(2**64 - 1),
    HeNormal(SEED),
    LecunUniform(0),
    LecunNormal(SEED),
    Scaled(HeNormal(SEED), -0.5),
    Scaled(RandomUniform(-1.0, 2.0, SEED), -0.3),
    Scaled(TruncatedNormal(1.0, 0.5, SEED, -1.0, 3.0), -2.0),
]
DRAW: list[Initializer] = [*CONSTANTS, *DIAGONALS, *DRAWN]


class Custom(Initializer):
    """A callable of a user's own: a product of two draws, which only the whole array has."""

    def __call__(self, shape: tuple[int, ...], dtype: object = None) -> np.ndarray:  # type: ignore[override]
        return backend.random_normal(shape, dtype="float64") * backend.random_uniform(shape, dtype="float64")


SAMPLES = [[0.1, -2.0, 3.0]]
WHOLE: list[Initializer] = [
    Orthogonal(0.7, SEED),
    STFT("imag", [1.0, 0.3, 2.0]),
    Constant(SAMPLES),
    LogUniform(0.001, 0.1, SEED),
    Transformed(RandomUniform(1.0, 16.0, SEED), "log"),
    Arange(1),
    Sinusoids(),
    Masked(RandomNormal(seed=SEED), "lower"),
    Scaled(Orthogonal(0.7, SEED), -2.0),
    Custom(),
]

# Which laws reach what is computed whole, and why the others do not.
REACH = {
    "Orthogonal": {"same bits", "window", "dtype", "name", "layout", "purity"},  # growth: another matrix
    "STFT": {"same bits", "window", "dtype", "name", "purity"},  # layout: array order; growth: another period
    "Constant": {"same bits", "window", "dtype", "name", "purity"},  # layout: array order; growth: no broadcast
    "LogUniform": {"same bits", "window", "dtype", "name", "layout", "growth", "purity"},
    "Arange": {"same bits", "window", "dtype", "name", "growth", "purity"},  # layout: array order
    "Sinusoids": {"same bits", "window", "dtype", "name", "purity"},  # array order; growth: other frequencies
    "Masked": {"same bits", "window", "dtype", "name", "layout", "growth", "purity"},
    "Transformed": {"same bits", "window", "dtype", "name", "layout", "growth", "purity"},
    "Scaled": {"same bits", "window", "dtype", "name", "layout", "purity"},  # as what it scales, an orthogonal matrix
    "Custom": {"same bits", "window", "dtype", "name", "purity"},  # array order; growth: it sees only the shape
}

# Shape and layout: every rank to 4, an odd width, a width of one, roles, merges and a flip.
FORMS: list[tuple[tuple[int, ...], str | None]] = [
    ((), None),
    ((7,), None),
    ((5, 6), None),
    ((6, 5), "o i"),
    ((6, 1), None),
    ((4, 2, 3), "i o2 o1"),
    ((3, 4, 5), "o b i"),
    ((2, 3, 2, 5), "~k k i o"),
]


def forms(initializer: Initializer) -> Iterator[tuple[tuple[int, ...], str | None]]:
    """The forms that an initializer makes."""
    if isinstance(initializer, STFT):
        yield from [((3, 1, 4), None), ((3, 1, 5), "k i o")]
    elif isinstance(initializer, Identity):
        yield from (form for form in FORMS if len(form[0]) == 2)
    elif isinstance(initializer, Orthogonal | Masked) or (isinstance(initializer, Scaled) and initializer in WHOLE):
        yield from (form for form in FORMS if len(form[0]) >= 2)
    elif isinstance(initializer, Arange):
        yield from (form for form in FORMS if form[0])
    elif isinstance(initializer, Sinusoids):
        yield from [((5, 4), None), ((3, 6), "o i"), ((2, 3, 2), None)]
    elif isinstance(initializer, STFT | Constant | Custom) and initializer in WHOLE:
        yield from [((5, 3), None), ((3, 3), "o i"), ((2, 4, 3), None)]
    else:
        yield from FORMS


def dtypes(initializer: Initializer) -> Iterator[np.dtype]:
    """The dtypes that can hold its values."""
    shape = next(forms(initializer))[0]
    for dtype in [*FLOATS.values(), np.dtype(np.int8), np.dtype(np.bool_)]:
        try:
            recipe = initializer.recipe(shape, seed=SEED)
            engines.fill(recipe, Window.whole(shape), np.empty(shape, dtype))
        except DTypeError:
            continue
        yield dtype


def made(
    initializer: Initializer,
    shape: tuple[int, ...],
    layout: str | None = None,
    *,
    name: str = "block.0.kernel",
    dtype: np.dtype = SINGLE,
    order: str = "C",
) -> np.ndarray:
    """The array, written over poison; an initializer of one's own has its draws from the name."""
    out = poisoned(shape, dtype, order=order)
    if isinstance(initializer, Custom):
        engines.fill(initializer.recipe(shape, name=name, seed=SEED), Window.whole(shape), out)
    else:
        assert initializer(shape, name=name, layout=layout, out=out) is out
    return out


def window(
    initializer: Initializer, shape: tuple[int, ...], layout: str | None, box: Window, dtype: np.dtype
) -> np.ndarray:
    """A window, written over poison."""
    out = poisoned(box.shape, dtype)
    if isinstance(initializer, Custom):
        engines.fill(initializer.recipe(shape, name="block.0.kernel", seed=SEED), box, out)
    else:
        initializer.window(shape, box.slices, name="block.0.kernel", layout=layout, out=out)
    return out


def draws(initializer: Initializer) -> bool:
    """Whether the values depend on a seed."""
    recipe = initializer.recipe(next(forms(initializer))[0], seed=SEED)
    if isinstance(recipe, Whole):
        return not isinstance(initializer, STFT | Constant | Arange | Sinusoids)
    return initializer in DRAWN and recipe.distribution.grid() is not None


# The two lists ---------------------------------------------------------------------------------


def exported() -> set[type[Initializer]]:
    found = [getattr(initializers, name) for name in initializers.__all__]
    return {cls for cls in found if isinstance(cls, type) and issubclass(cls, Initializer)} - {Initializer}


def test_every_exported_class_is_in_one_of_the_lists() -> None:
    drawn, whole = {type(i) for i in DRAW}, {type(i) for i in WHOLE}
    assert len(exported()) == 22
    assert drawn | whole == exported() | {Custom}
    assert drawn & whole == {Constant, Scaled}  # of a number and of an array, of what is drawn and of what is not
    assert (len(DRAW), sum(map(draws, DRAW)), len(WHOLE)) == (49, 38, 10)
    assert {type(i).__name__ for i in WHOLE} == REACH.keys()


def test_the_lists_are_those_of_the_recipes() -> None:
    for initializer in DRAW:
        assert type(initializer.recipe((4, 4), seed=0)) is Draw, initializer
    for initializer in WHOLE:
        assert type(initializer.recipe(next(forms(initializer))[0], seed=0)) is Whole, initializer


def test_the_documentation_has_the_same_lists() -> None:
    text = initializers.__doc__ or ""
    drawn, whole = text.split("Drawn elementwise")[1].split("Computed whole")
    whole = whole.split("\n\n")[0]
    assert set(re.findall("`([A-Z]\\w+)`", drawn)) == {type(i).__name__ for i in DRAW}
    assert set(re.findall("`([A-Z]\\w+)`", whole)) == {type(i).__name__ for i in WHOLE} - {"Custom"}


# The checks: each raises, and says how many arrays it compared ----------------------------------

Expected = dict[tuple[int, str], np.ndarray]


def check_same_bits(initializer: Initializer, expected: Expected) -> int:
    """Equal to what the reference wrote, for every form and dtype, in three memory orders."""
    compared = 0
    for at, (shape, layout) in enumerate(forms(initializer)):
        for dtype in dtypes(initializer):
            for order in ("C", "F", "strided"):
                found = made(initializer, shape, layout, dtype=dtype, order=order)
                assert_same_bits(found, expected[at, dtype.name])
                compared += 1
    return compared


def check_window(initializer: Initializer) -> int:
    """A window is that slice of the whole; windows put together are the whole."""
    compared = 0
    for shape, layout in forms(initializer):
        whole = made(initializer, shape, layout)
        inner = Window(tuple(n // 3 for n in shape), tuple(n - n // 4 for n in shape))
        last = Window(tuple(n - 1 for n in shape), shape)
        empty = Window((0,) * len(shape), (0,) * len(shape))
        for box in (inner, last, empty, Window.whole(shape)):
            assert_same_bits(window(initializer, shape, layout, box, SINGLE), whole[box.slices])
            compared += 1
        for axis, length in enumerate(shape):
            joined = []
            for start, stop in itertools.pairwise(sorted({0, length // 2, length})):
                low, high = [0] * len(shape), list(shape)
                low[axis], high[axis] = start, stop
                joined.append(window(initializer, shape, layout, Window(tuple(low), tuple(high)), SINGLE))
            assert_same_bits(np.concatenate(joined, axis), whole)
            compared += 1
    return compared


def check_dtype(initializer: Initializer) -> int:
    """One rounding to nearest even: of the float32 that a value is, or of a constant that is known in float64."""
    compared = 0
    for shape, layout in forms(initializer):
        exact = made(initializer, shape, layout, dtype=FLOATS["float64"])
        if not isinstance(initializer, Constant | Identity | Arange):
            assert np.array_equal(exact, exact.astype(np.float32))
        for dtype in dtypes(initializer):
            found = made(initializer, shape, layout, dtype=dtype)
            if dtype.name in FLOATS:
                rounded = [round_bits(float(value), dtype.name) for value in exact.reshape(-1)]
                assert_same_bits(bits(found).reshape(-1), np.array(rounded, f"u{dtype.itemsize}"))
            else:
                assert_same_bits(found, exact.astype(dtype))
            compared += 1
    return compared


def check_name(initializer: Initializer) -> int:
    """Whatever other parameters are made, and in whatever order, those of one name are the same."""
    shape, layout = list(forms(initializer))[-1]
    names = ["a", "b", "a.b", "a.0", "", "café"]
    alone = {name: made(initializer, shape, layout, name=name) for name in names}
    compared = 0
    for order in (names[::-1], names[2:], [names[1], "new", *names[3:]], names):
        for name in order:
            again = made(initializer, shape, layout, name=name)
            if name in alone:
                assert_same_bits(again, alone[name])
                compared += 1
    patterns = {bits(array).tobytes() for array in alone.values()}
    assert len(patterns) == (len(names) if draws(initializer) else 1)
    return compared


def check_layout(initializer: Initializer) -> int:
    """One logical tensor, in the orders and splits that frameworks store it in."""
    compared = 0
    kernel = made(initializer, (6, 8), "i o")
    same = [("o i", kernel.T)]
    if not isinstance(initializer, Identity):
        same += [
            ("i o1 o2", kernel.reshape(6, 2, 4)),
            ("i o2 o1", kernel.reshape(6, 2, 4).transpose(0, 2, 1)),
            ("o2 i o1", kernel.reshape(6, 2, 4).transpose(2, 0, 1)),
            ("i1 i2 o", kernel.reshape(2, 3, 8)),
        ]
        convolution = made(initializer, (2, 3, 4, 5), "k k i o")
        for text, axes in (("o i k k", (3, 2, 0, 1)), ("i o k k", (2, 3, 0, 1)), ("k k o i", (0, 1, 3, 2))):
            same.append((text, convolution.transpose(axes)))
        same += [("~k k i o", convolution[::-1]), ("~k ~k i o", convolution[::-1, ::-1])]
        experts = made(initializer, (3, 4, 5), "b i o")
        same += [("o b i", experts.transpose(2, 0, 1)), ("b o i", experts.transpose(0, 2, 1))]
    for text, expected in same:
        assert_same_bits(made(initializer, expected.shape, text), expected)
        compared += 1
    return compared


def check_growth(initializer: Initializer) -> int:
    """Growing the first or the last canonical axis keeps what was there, where the distribution stays."""
    compared = 0
    grown = [
        ((7,), None, (9,)),
        ((5, 6), None, (8, 6)),
        ((5, 6), None, (5, 11)),
        ((6, 5), "o i", (11, 5)),
        ((3, 4, 5), "b i o", (4, 4, 5)),
        ((3, 4, 5), "b i o", (3, 4, 7)),
        ((4, 3, 5), "o b i", (4, 5, 5)),
        ((2, 3, 4, 5), "k k i o", (2, 3, 4, 9)),
    ]
    for shape, layout, larger in grown:
        if (isinstance(initializer, Identity) and len(shape) != 2) or (
            isinstance(initializer, Masked) and len(shape) < 2
        ):
            continue
        small, big = (initializer.recipe(s, layout=layout, seed=SEED) for s in (shape, larger))
        if isinstance(small, Draw) and isinstance(big, Draw) and small.distribution != big.distribution:
            continue  # the fans grew too, and with them the scale: see below
        kept = made(initializer, larger, layout)[tuple(slice(n) for n in shape)]
        assert_same_bits(kept, made(initializer, shape, layout))
        compared += 1
    return compared


def states() -> list[bytes]:
    """Every global random state that there is, of every library."""
    import torch
    from keras.src.backend.common.global_state import get_global_attribute

    kind, words, *rest = np.random.get_state()
    keras = get_global_attribute("global_seed_generator")
    return [
        repr(random.getstate()).encode(),
        repr((kind, words.tobytes(), rest)).encode(),
        torch.get_rng_state().numpy().tobytes(),
        np.asarray(keras.state.value).tobytes(),
    ]


def check_purity(initializer: Initializer) -> int:
    """No global random state is read or advanced; calling twice is calling once."""
    import keras

    runs = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)  # Python's, NumPy's, the backend's and Keras' own
        keras.random.normal((1,))  # Keras makes its generator at the first draw
        before = states()
        runs += [[made(initializer, *form) for form in forms(initializer)] for _ in range(2)]
        assert states() == before
    compared = 0
    for again in runs[1:]:
        for first, other in zip(runs[0], again, strict=True):
            assert_same_bits(other, first)
            compared += 1
    return compared


# The laws --------------------------------------------------------------------------------------

# Arrays compared, over all of DRAW and over those of WHOLE that the law reaches.
CHECKS: dict[str, tuple[Callable[[Initializer], int], int, int]] = {
    "window": (check_window, 2339, 334),
    "dtype": (check_dtype, 2370, 319),
    "name": (check_name, 980, 200),
    "layout": (check_layout, 566, 60),
    "growth": (check_growth, 284, 31),
    "purity": (check_purity, 1146, 156),
}


@pytest.fixture(scope="module")
def expected() -> dict[int, Expected]:
    """What the reference writes."""
    with use("reference"):
        return {
            number: {
                (at, dtype.name): made(initializer, shape, layout, dtype=dtype)
                for at, (shape, layout) in enumerate(forms(initializer))
                for dtype in dtypes(initializer)
            }
            for number, initializer in enumerate([*DRAW, *WHOLE])
        }


def some(items: list, configuration: str) -> list:
    """All, or of a slow configuration every fourth: `test_same_bits` has it draw every distribution."""
    return items[::4] if configuration in SLOW else items


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_engine_writes_the_same_bits(configuration: str, expected: dict[int, Expected]) -> None:
    with use(configuration):
        numbered = some(list(enumerate([*DRAW, *WHOLE])), configuration)
        counts = [check_same_bits(init, expected[number]) for number, init in numbered]
    assert sum(counts) == 3 * sum(len(expected[number]) for number, _ in numbered)
    assert configuration in SLOW or sum(counts) == 8067


@pytest.mark.parametrize("law", CHECKS)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_law_reaches_what_is_drawn(configuration: str, law: str) -> None:
    check, arrays, _ = CHECKS[law]
    with use(configuration):
        counts = [check(initializer) for initializer in some(DRAW, configuration)]
    assert min(counts) > 0
    assert sum(counts) == arrays if configuration not in SLOW else len(counts) >= len(DRAW) // 4


@pytest.mark.parametrize("law", CHECKS)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_laws_reach_what_is_computed_whole_as_far_as_the_list_says(configuration: str, law: str) -> None:
    check, _, arrays = CHECKS[law]
    count = 0
    with use(configuration):
        for initializer in some(WHOLE, configuration):
            if law in REACH[type(initializer).__name__]:
                count += check(initializer)
            else:
                with pytest.raises((AssertionError, ShapeError)):
                    check(initializer)
    assert count == arrays if configuration not in SLOW else count > 0


def test_a_scale_that_grows_with_the_fans_leaves_the_words() -> None:
    """Growth of an axis that a fan counts rescales: same variates, another factor."""
    compared = 0
    for initializer in DRAWN:
        for shape, larger in (((5, 6), (8, 6)), ((5, 6), (5, 11))):
            small, big = (initializer.recipe(s).distribution for s in (shape, larger))  # type: ignore[union-attr]
            if small != big:
                a, b = made(initializer, shape), made(initializer, larger)[:5, :6]
                ratio = big.bounds()[1] / small.bounds()[1]
                assert ratio < 0.99
                assert np.abs(b - ratio * a).max() < 1e-6 * small.bounds()[1]
                compared += 1
    assert compared == 33


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_axes_of_the_fans_are_those_of_the_array(configuration: str) -> None:
    with use(configuration):
        for mode, distribution in itertools.product(MODES, DISTRIBUTIONS):
            make = [VarianceScaling(1.0, mode, distribution, SEED, *axes) for axes in (([0], [1, 2]), ([2], [0, 1]))]
            kernel = made(make[0], (6, 2, 4), "i o1 o2")
            assert_same_bits(made(make[1], (2, 4, 6), "o1 o2 i"), kernel.transpose(1, 2, 0))
            assert_same_bits(made(VarianceScaling(1.0, mode, distribution, SEED), (6, 8)), kernel.reshape(6, 8))


def test_without_a_seed_values_are_fresh_and_no_generator_is_read() -> None:
    import keras

    needing: list[Initializer] = [
        LogUniform(1.0, 2.0),
        Scaled("he_normal", 2.0),
        Masked("he_normal", "block_diagonal", groups=2),
        Transformed("random_normal", "exp"),
    ]
    made_of_none = [cls() for cls in sorted(exported() - {type(each) for each in needing}, key=str)]
    unseeded = [each for each in made_of_none if "seed" in each.get_config()] + needing
    assert len(unseeded) == 15
    for initializer in unseeded:
        seen = set()
        for _ in range(2):
            keras.utils.set_random_seed(1)
            keras.random.normal((1,))
            before = states()
            seen |= {initializer((4, 4)).tobytes(), initializer((4, 4)).tobytes()}
            assert states() == before
        assert len(seen) == 4


def test_refusals_are_the_same_on_every_engine() -> None:
    """What cannot be made fails alike, and nothing is written."""
    asked = [
        (RandomNormal(0.0, 2e4, SEED), (3, 3), "float16", None),
        (HeNormal(SEED), (3, 3), "int8", None),
        (Constant(0.5), (3,), "int8", None),
        (Identity(0.5), (3, 3), "int8", None),
        (Identity(), (3,), "float32", None),
        (Orthogonal(1.0, SEED), (3,), "float32", None),
        (STFT(), (3, 3), "float32", None),
        (Constant(SAMPLES), (2, 2), "float32", None),
        (HeNormal(SEED), (3, 3), "float32", "o i k"),
    ]
    for initializer, shape, dtype, layout in asked:
        messages = set()
        for configuration in CONFIGURATIONS:
            out = poisoned(shape, resolve(dtype))
            with use(configuration), pytest.raises(FaninError) as caught:
                initializer(shape, layout=layout, out=out)
            messages.add(f"{type(caught.value)}{caught.value}")
            assert_same_bits(out, poisoned(shape, resolve(dtype)))
        assert len(messages) == 1


# Every check can fail --------------------------------------------------------------------------

Fill = Callable[[Draw, Window, np.ndarray, int], None]


def one_ulp(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        honest(draw, window, view, threads)
        if view.ndim == 4 and view.shape[-1] == 5:
            view.view(f"u{view.itemsize}")[1, 2, 1, 4] ^= 1

    return lying


def counted_from_its_window(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        honest(replace(draw, shape=view.shape), Window.whole(view.shape), view, threads)

    return lying


def truncating(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        honest(draw, window, view, threads)
        if view.dtype == FLOATS["bfloat16"]:
            single = np.empty(view.shape, np.float32)
            honest(draw, window, single, threads)
            view[...] = (single.view(np.uint32) >> 16).astype(np.uint16).view(view.dtype)

    return lying


def in_order_of_calls(honest: Fill) -> Fill:
    calls = itertools.count()

    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        assert draw.stream is not None
        honest(replace(draw, stream=replace(draw.stream, seed=next(calls))), window, view, threads)

    return lying


def nameless(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        assert draw.stream is not None
        honest(replace(draw, stream=replace(draw.stream, name="")), window, view, threads)

    return lying


def in_array_order(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        honest(replace(draw, layout=as_layout(None)), window, view, threads)

    return lying


def by_a_flat_index(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        size = math.prod(draw.shape)
        flat = np.empty(size, view.dtype)
        honest(replace(draw, shape=(size,), layout=as_layout(None)), Window.whole((size,)), flat, threads)
        view[...] = flat.reshape(draw.shape)[window.slices]

    return lying


def advancing_a_generator(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        np.random.random()
        honest(draw, window, view, threads)

    return lying


def reading_a_generator(honest: Fill) -> Fill:
    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        assert draw.stream is not None
        seed = int(np.random.get_state()[1][1])
        honest(replace(draw, stream=replace(draw.stream, seed=seed)), window, view, threads)

    return lying


@pytest.mark.parametrize(
    ("law", "lie"),
    [
        ("same bits", one_ulp),
        ("window", counted_from_its_window),
        ("dtype", truncating),
        ("name", in_order_of_calls),
        ("name", nameless),
        ("layout", in_array_order),
        ("growth", by_a_flat_index),
        ("purity", advancing_a_generator),
        ("purity", reading_a_generator),
    ],
)
def test_a_liar_is_caught_for_every_initializer_that_draws(
    law: str, lie: Callable[[Fill], Fill], expected: dict[int, Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = engines._engine("numpy")
    caught = 0
    for number, initializer in enumerate(DRAW):
        if not draws(initializer):
            continue
        with use("numpy, 1 thread"):
            for liar in (honest, lie(honest)):
                monkeypatch.setattr(engines, "_engine", lambda name, fill=liar: fill)
                try:
                    if law == "same bits":
                        check_same_bits(initializer, expected[number])
                    else:
                        CHECKS[law][0](initializer)
                except AssertionError:
                    assert liar is not honest
                    caught += 1
    assert caught == 38
