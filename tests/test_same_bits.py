"""Law: every engine writes the same bits for the same request."""

import numpy as np
import pytest
from harness import DISTRIBUTIONS, FAST, FORMS, SLOW, assert_same_bits, cases, covering, filled

from fanin import engines
from fanin.dtypes import FLOATS

CASES = cases()


def test_the_table_of_cases_is_whole() -> None:
    assert len(CASES) == 2448
    assert engines.NAMES == ("reference", "numpy", "numba", "torch", "triton", "jax")
    assert engines.available() == engines.NAMES


COMPARED = {"C": 231, "F": 116, "strided": 115}  # by slow configurations


def some(configuration: str, order: str) -> list[int]:
    """Which cases to compare: all, or of a slow configuration a covering part, halved for other orders than C."""
    if configuration not in SLOW:
        return list(range(len(CASES)))
    chosen = [CASES.index(case) for case in covering()]
    return chosen if order == "C" else chosen[order == "strided" :: 2]


def test_the_part_for_slow_engines_has_everything() -> None:
    for order, count in COMPARED.items():
        part = [CASES[index] for index in some(SLOW[0], order)]
        assert len(part) == count
        assert {case.draw.distribution for case in part} == set(DISTRIBUTIONS)
        assert {(case.draw.shape, case.draw.layout.text or None) for case in part} == set(FORMS)
        assert {case.dtype for case in part} == set(FLOATS.values())
        assert {case.window.shape == case.draw.shape for case in part} == {True, False}


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    return [filled(case, "reference") for case in CASES]


@pytest.mark.parametrize("order", ["C", "F", "strided"])
@pytest.mark.parametrize("configuration", FAST)
def test_engines_equal_the_reference(configuration: str, order: str, expected: list[np.ndarray]) -> None:
    compared = 0
    for index in some(configuration, order):
        assert_same_bits(filled(CASES[index], configuration, order=order), expected[index])
        compared += 1
    assert compared == (COMPARED[order] if configuration in SLOW else len(CASES))


@pytest.mark.parametrize("configuration", FAST)
def test_large_tensors_agree_whatever_the_threads(configuration: str) -> None:
    """Long enough that every engine takes several threads and pieces."""
    from harness import Case

    from fanin.layouts import as_layout
    from fanin.recipe import Draw, Normal, Stream, Window

    for shape, layout in [((1031, 1033), None), ((1031, 1033), "o i"), ((3, 2**19 + 5), None), ((2**20 + 3,), None)]:
        draw = Draw(Normal(0.0, 1.0), shape, as_layout(layout), Stream("w", 3))
        case = Case(draw, Window.whole(shape), np.dtype(np.float32))
        assert_same_bits(filled(case, configuration), filled(case, "numpy, 1 thread"))
