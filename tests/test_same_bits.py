"""Law: every engine writes the same bits for the same request."""

import numpy as np
import pytest
from harness import FAST, assert_same_bits, cases, filled

from fanin import engines

CASES = cases()


def test_the_table_of_cases_is_whole() -> None:
    assert len(CASES) == 2448
    assert engines.NAMES == ("reference", "numpy", "numba")


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    return [filled(case, "reference") for case in CASES]


@pytest.mark.parametrize("order", ["C", "F", "strided"])
@pytest.mark.parametrize("configuration", FAST)
def test_engines_equal_the_reference(configuration: str, order: str, expected: list[np.ndarray]) -> None:
    compared = 0
    for case, reference in zip(CASES, expected, strict=True):
        assert_same_bits(filled(case, configuration, order=order), reference)
        compared += 1
    assert compared == len(CASES)


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
