"""Law: a window of a tensor is exactly that slice of the whole, and costs the window only."""

import itertools
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from harness import FAST, SLOW, assert_same_bits, poisoned, use
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin import engines
from fanin.errors import WindowError
from fanin.layouts import as_layout
from fanin.recipe import Draw, Normal, Stream, Window

LAYOUTS = {1: [None, "i"], 2: [None, "o i"], 3: [None, "i o1 o2", "b o i"], 4: [None, "o i *k", "*~k i o"]}


@st.composite
def boxes(draw: st.DrawFn) -> tuple[Draw, Window]:
    """A small tensor with a layout, and a window of it."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    start = tuple(draw(st.integers(0, n)) for n in shape)
    stop = tuple(draw(st.integers(a, n)) for a, n in zip(start, shape, strict=True))
    layout = draw(st.sampled_from(LAYOUTS[len(shape)]))
    return Draw(Normal(0.0, 1.0), shape, as_layout(layout), Stream("w", 1)), Window(start, stop)


@pytest.mark.parametrize("configuration", [name for name in ["reference", *FAST] if name not in SLOW])
@given(box=boxes())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_window_is_that_slice_of_the_whole(configuration: str, box: tuple[Draw, Window]) -> None:
    check_window(configuration, *box)


@pytest.mark.parametrize("configuration", SLOW)
@given(box=boxes())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_window_is_that_slice_of_the_whole_on_slow_engines(configuration: str, box: tuple[Draw, Window]) -> None:
    check_window(configuration, *box)


def check_window(configuration: str, recipe: Draw, window: Window) -> None:
    with use(configuration):
        whole = poisoned(recipe.shape, np.dtype(np.float32))
        engines.fill(recipe, Window.whole(recipe.shape), whole)
        part = poisoned(window.shape, np.dtype(np.float32))
        engines.fill(recipe, window, part)
    assert_same_bits(part, whole[window.slices])


@pytest.mark.parametrize("configuration", FAST)
def test_a_window_far_inside_a_huge_tensor_is_that_of_the_reference(configuration: str) -> None:
    for shape, start in [
        ((2**20, 2**16), (2**20 - 3, 2**16 - 7)),
        ((2**31, 8), (2**31 - 3, 1)),
        ((4, 2**34), (1, 2**34 - 7)),
    ]:
        recipe = Draw(Normal(0.0, 1.0), shape, stream=Stream("w", 1))
        window = Window(start, tuple(a + n for a, n in zip(start, (3, 7), strict=True)))
        outputs = []
        for name in (configuration, "reference"):
            view = poisoned(window.shape, np.dtype(np.float32))
            with use(name):
                engines.fill(recipe, window, view)
            outputs.append(view)
        assert_same_bits(*outputs)


PEAK = """
def peak():  # KiB; not getrusage's, which begins with that of the process that started this one
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
import sys
import numpy as np
import fanin
from fanin import engines
from fanin.recipe import Draw, Normal, Stream, Window
from fanin.layouts import as_layout
shape, layout, start, stop = eval(sys.argv[2])
recipe = Draw(Normal(0.0, 1.0), shape, as_layout(layout), Stream("w", 1))
with fanin.use(engine=sys.argv[1]):
    engines.fill(recipe, Window((0,) * len(shape), (1,) * len(shape)), np.empty((1,) * len(shape), np.float32))
    window = Window(start, stop)
    view = np.ones(window.shape, np.float32)  # touched before the measurement
    before = peak()
    engines.fill(recipe, window, view)
print(peak() - before)
"""


REQUESTS = [
    ((2**20, 2**16), None, (1000, 0), (1003, 2**16)),
    ((2**16, 2**20), "o i", (0, 1000), (2**16, 1003)),
    ((2**24, 5), None, (0, 0), (2**23, 5)),
    ((2**23, 3), "o i", (0, 0), (2**23, 3)),
]
SHORTER = [((2**21, 5), None, (0, 0), (2**20, 5)), ((2**20, 3), "o i", (0, 0), (2**20, 3))]


@pytest.mark.parametrize(
    ("engine", "request_"),
    [
        *itertools.product(["numpy", "numba"], REQUESTS),
        *itertools.product(["torch"], REQUESTS[:2] + SHORTER),  # 40 times slower, in tiles of the same size
    ],
)
def test_memory_is_the_output_plus_64_mib(engine: str, request_: object) -> None:
    """Each request in a process of its own: peak memory never falls."""
    run = subprocess.run(
        [sys.executable, "-c", PEAK, engine, repr(request_)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) <= 64 * 1024  # KiB


def test_time_is_that_of_the_window() -> None:
    """2**36 elements would take a minute even at memory speed; three rows of them must not."""
    recipe = Draw(Normal(0.0, 1.0), (2**20, 2**16), stream=Stream("w", 1))
    window = Window((5, 0), (8, 2**16))
    view = np.empty(window.shape, np.float32)
    engines.fill(recipe, window, view)
    started = time.perf_counter()
    engines.fill(recipe, window, view)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("slices", "fragment"),
    [
        ((slice(0, 5),), "asks for 0:5 of 4"),
        ((slice(-1, 2),), "do not wrap"),
        ((slice(3, 2),), "asks for 3:2"),
        ((slice(0, 4, 2),), "without a step"),
        ((1,), "axis 0 is 1"),
        ((slice(0, 1.5),), "no integers"),
        ((slice(0, 1),) * 3, "3 slices"),
    ],
)
def test_bad_windows_are_named(slices: object, fragment: str) -> None:
    with pytest.raises(WindowError, match=fragment):
        Window.of((4, 6), slices)


def test_windows_read_like_indices() -> None:
    assert Window.of((4, 6), (slice(1, 3),)) == Window((1, 0), (3, 6))
    assert Window.of((4, 5, 6), (..., slice(2, 4))) == Window((0, 0, 2), (4, 5, 4))
    assert Window.of((4, 6), None) == Window.whole((4, 6))
    assert math.prod(Window.of((4, 6), (slice(2, 2),)).shape) == 0
