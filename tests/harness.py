"""What the law tests share: engine configurations, a table of cases, poisoned outputs, comparison of bits."""

import itertools
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

import fanin
from fanin import engines
from fanin.dtypes import FLOATS
from fanin.layouts import as_layout
from fanin.recipe import Distribution, Draw, Normal, Stream, UniformInterval, Window

INF = math.inf

CONFIGURATIONS = {
    "reference": {"engine": "reference"},
    "numpy, 1 thread": {"engine": "numpy", "threads": 1},
    "numpy, 3 threads": {"engine": "numpy", "threads": 3},
    "numba, 1 thread": {"engine": "numba", "threads": 1},
    "numba, 3 threads": {"engine": "numba", "threads": 3},
    "torch": {"engine": "torch"},
    "triton, interpreted": {"engine": "triton"},
    "jax, jit": {"engine": "jax"},
}
FAST = [name for name in CONFIGURATIONS if name != "reference"]
SLOW = ["triton, interpreted", "jax, jit"]  # some 50 ms a fill, however small; a compilation for each shape and dtype

DISTRIBUTIONS: list[Distribution] = [
    UniformInterval(-0.05, 0.05),
    UniformInterval(0.0, 1.0),
    UniformInterval(100.0, 101.0),
    UniformInterval(-1e-20, 1e-20),
    Normal(0.0, 1.0),
    Normal(0.0, 0.02, -2.0, 2.0),
    Normal(0.0, 1.0, -INF, 1.0),
    Normal(0.0, 1e-20, 3.0, 5.0),
    Normal(0.5, 0.1),
    Normal(-100.0, 1e-4, -1.0, 3.0),
    Normal(1e-3, 2.0, -2.0, 2.0),
    Normal(2.0, 0.5, 3.0, 5.0),
]

# Shape and layout: ranks 0 to 5, odd widths, every role, merges, flips, one long and one wide axis.
FORMS: list[tuple[tuple[int, ...], str | None]] = [
    ((), None),
    ((1,), None),
    ((7,), None),
    ((7,), "i"),
    ((5, 9), None),
    ((5, 9), "o i"),
    ((9, 1), None),
    ((1, 9), "o i"),
    ((150, 3), None),
    ((3, 150), "o i"),
    ((3, 3, 5, 6), None),
    ((6, 5, 3, 3), "o i *k"),
    ((6, 5, 3, 2), "i o *~k"),
    ((4, 3, 5), "i o1 o2"),
    ((4, 3, 5), "o2 i o1"),
    ((4, 3, 5), "i1 i2 o"),
    ((3, 5, 4), "b o i"),
    ((2, 3, 2, 3, 4), "b k ~k i o"),
]


def use(configuration: str) -> AbstractContextManager[None]:
    """Choose a configuration for a block; an engine that is missing is an error, not a skip."""
    return fanin.use(**CONFIGURATIONS[configuration])


@dataclass(frozen=True)
class Case:
    """One request."""

    draw: Draw
    window: Window
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.draw} {self.window} {self.dtype}"


def cases() -> list[Case]:
    """Every distribution on every form and dtype that can hold it, whole and one window."""
    result = []
    for (distribution, (shape, layout)), dtype in itertools.product(
        itertools.product(DISTRIBUTIONS, FORMS), FLOATS.values()
    ):
        draw = Draw(distribution, shape, as_layout(layout), Stream("encoder.0.kernel", 7))
        try:
            draw.check_dtype(dtype)
        except fanin.errors.DTypeError:
            continue
        inner = Window(tuple(n // 3 for n in shape), tuple(n - n // 4 for n in shape))
        result.append(Case(draw, Window.whole(shape), dtype))
        if inner.shape != shape:
            result.append(Case(draw, inner, dtype))
    return result


def covering() -> list[Case]:
    """Few of the cases in which any two of distribution, form, dtype and kind of window still meet."""
    met: set[object] = set()
    result = []
    for case in cases()[::11] + cases():
        parts = (case.draw.distribution, (case.draw.shape, case.draw.layout), case.dtype, case.window == _whole(case))
        pairs = set(itertools.combinations(enumerate(parts), 2))
        if pairs - met:
            met |= pairs
            result.append(case)
    return result


def _whole(case: Case) -> Window:
    return Window.whole(case.draw.shape)


def cases_for(configuration: str) -> list[Case]:
    """All cases; for a slow configuration those that cover them."""
    return covering() if configuration in SLOW else cases()


def poisoned(shape: tuple[int, ...], dtype: np.dtype, *, order: str = "C") -> np.ndarray:
    """An array whose bytes are all 0xA5, so that what was never written shows."""
    array = np.empty(shape, dtype, order="C" if order == "strided" else order)
    if order == "strided":  # every second element, backwards, along each axis
        big = np.empty([2 * n + 1 for n in shape], dtype)
        big.view(np.uint8).fill(0xA5) if big.ndim else None
        array = big[tuple(slice(2 * n - 1, None, -2) if n else slice(0, 0) for n in shape)] if shape else array
    np.copyto(array, np.frombuffer(b"\xa5" * array.itemsize, dtype)[0])
    return array


def filled(case: Case, configuration: str, *, order: str = "C") -> np.ndarray:
    """Fill a poisoned array."""
    view = poisoned(case.window.shape, case.dtype, order=order)
    with use(configuration):
        engines.fill(case.draw, case.window, view)
    return view


def bits(array: np.ndarray) -> np.ndarray:
    """The unsigned view of an array."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare dtype, shape, then bit patterns; values would let -0.0 pass for 0.0."""
    assert found.dtype == expected.dtype, (found.dtype, expected.dtype)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    differing = np.flatnonzero(bits(found).reshape(-1) != bits(expected).reshape(-1))
    if differing.size:
        first = int(differing[0])
        index = np.unravel_index(first, found.shape)
        raise AssertionError(
            f"{differing.size} of {found.size} elements differ, first at {tuple(map(int, index))}: "
            f"{bits(found).reshape(-1)[first]:#x} for {bits(expected).reshape(-1)[first]:#x}"
        )
