"""The suite can fail: a lying engine, a one-ulp change, a dropped element and a flipped zero sign are each caught."""

import numpy as np
import pytest
from harness import Case, assert_same_bits, cases, filled, poisoned

from fanin import engines
from fanin.recipe import Draw, Window


@pytest.fixture
def case() -> Case:
    return next(case for case in cases() if case.draw.shape == (5, 9) and case.dtype == np.float32)


def lie(monkeypatch: pytest.MonkeyPatch, change: object) -> None:
    """Make the NumPy engine lie."""
    honest = engines._engine("numpy")

    def lying(draw: Draw, window: Window, view: np.ndarray, threads: int) -> None:
        honest(draw, window, view, threads)
        change(view)  # type: ignore[operator]

    monkeypatch.setattr(engines, "_engine", lambda name: lying if name == "numpy" else engines.__dict__[name])


def one_ulp(view: np.ndarray) -> None:
    view[2, 3] = np.nextafter(view[2, 3], np.float32(np.inf))


def dropped(view: np.ndarray) -> None:
    view[4, 8] = poisoned((), view.dtype)


def swapped(view: np.ndarray) -> None:
    view[...] = view[::-1]


@pytest.mark.parametrize("change", [one_ulp, dropped, swapped])
def test_a_lying_engine_is_caught(change: object, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = filled(case, "reference")
    assert_same_bits(filled(case, "numpy, 1 thread"), expected)
    lie(monkeypatch, change)
    with pytest.raises(AssertionError, match="elements differ"):
        assert_same_bits(filled(case, "numpy, 1 thread"), expected)


def test_a_zero_of_the_other_sign_is_caught() -> None:
    with pytest.raises(AssertionError, match="1 of 2 elements differ"):
        assert_same_bits(np.array([0.0, -0.0]), np.array([0.0, 0.0]))


def test_another_dtype_or_shape_is_caught() -> None:
    with pytest.raises(AssertionError):
        assert_same_bits(np.zeros(2, np.float32), np.zeros(2, np.int32))
    with pytest.raises(AssertionError):
        assert_same_bits(np.zeros((2, 1)), np.zeros((1, 2)))


def test_poison_is_visible_in_every_order() -> None:
    for order in ("C", "F", "strided"):
        array = poisoned((3, 4), np.dtype(np.float32), order=order)
        assert np.all(array.copy().view(np.uint32) == 0xA5A5A5A5)


def test_an_unknown_engine_is_a_failure_and_not_a_skip() -> None:
    import fanin

    with pytest.raises(fanin.errors.EngineError, match="no engine"):
        fanin.use(engine="cuda")
