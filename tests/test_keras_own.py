"""Keras' own tests of its initializers pass with fanin's classes: all that pass with Keras' own, none left out.

The tests are those that are installed with Keras. Run on the backend of this process, and by `test_keras_backends`
on the others.
"""

import functools
import importlib
import sys
import types
import unittest
from collections.abc import Callable
from typing import Any

import keras
import pytest

import fanin.keras

# Keras 3.15 with NumPy 2.4, whenever it reads a tensor of torch
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

MODULES = ("random_initializers_test", "constant_initializers_test")
THEIRS = sys.modules[keras.initializers.get.__module__]
CALLS = {  # as many as the tests make: another class in the place of one would not be counted
    "Constant": 2, "Identity": 1, "LecunNormal": 4, "Ones": 1, "Orthogonal": 1, "RandomNormal": 10, "RandomUniform": 1,
    "STFT": 4, "VarianceScaling": 4, "Zeros": 5,
}  # fmt: skip


class Outcomes(unittest.TestResult):
    """What became of each test, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, str] = {}

    def _add(self, test: unittest.TestCase, outcome: str) -> None:
        self.by_name[test.id().rpartition(".")[2]] = outcome

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._add(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self._add(test, f"skipped: {reason}")

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        self._add(test, f"failed: {err[1]!r}")

    addFailure = addError  # noqa: N815


def skip_if_backend(backend: str, reason: str) -> Callable[[Any], Any]:
    """What the tests take from a file of Keras' repository that is not installed."""
    return unittest.skipIf(keras.backend.backend() == backend, reason)


def outcomes(initializers: types.ModuleType, patch: pytest.MonkeyPatch) -> dict[str, str]:
    """Run the tests with a module in place of `keras.src.initializers`."""
    stub = types.ModuleType("conftest")
    stub.skip_if_backend = skip_if_backend  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "conftest", stub)
    result = Outcomes()
    for name in MODULES:
        module = importlib.import_module(f"keras.src.initializers.{name}")
        patch.setattr(module, "initializers", initializers)
        unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    return result.by_name


def substitute(calls: dict[str, int], patch: pytest.MonkeyPatch) -> types.ModuleType:
    """Keras' module of initializers with fanin's classes in it, whose calls are counted."""
    ours = types.ModuleType("initializers")
    for name, value in vars(THEIRS).items():
        twin = getattr(fanin.keras, name, None) if isinstance(value, type) else None
        setattr(ours, name, value if twin is None else twin)
        if twin is not None:
            patch.setattr(twin, "__call__", counted(twin.__call__, name, calls))
    return ours


def counted(call: Callable[..., Any], name: str, calls: dict[str, int]) -> Callable[..., Any]:
    @functools.wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls[name] = calls.get(name, 0) + 1
        return call(*args, **kwargs)

    return wrapper


def test_what_passes_with_keras_classes_passes_with_fanins() -> None:
    """No test of either file is left out: all pass with Keras' classes on each backend, and with fanin's."""
    calls: dict[str, int] = {}
    with pytest.MonkeyPatch.context() as patch:
        ours = substitute(calls, patch)
        with_theirs = outcomes(THEIRS, patch)
        assert not calls
        with fanin.keras.installed():
            with_ours = outcomes(ours, patch)
    assert with_theirs == with_ours == dict.fromkeys(with_theirs, "passed")
    assert len(with_theirs) == 20
    assert calls == CALLS


def test_a_class_that_is_wrong_is_told() -> None:
    class Wrong(fanin.keras.Zeros):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs) + 1

    with pytest.MonkeyPatch.context() as patch:
        ours = substitute({}, patch)
        ours.Zeros = Wrong  # type: ignore[attr-defined]
        failed = {name for name, outcome in outcomes(ours, patch).items() if outcome != "passed"}
    assert "test_zeros_initializer" in failed
    assert len(failed) < 5
