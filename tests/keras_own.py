"""Keras' own tests of its initializers, with fanin's classes in place of Keras'. Run by `test_keras_own`.

    KERAS_BACKEND=torch python tests/keras_own.py

runs the tests that are installed with Keras twice, first with its own classes, and prints the outcomes as JSON.
"""

import functools
import json
import sys
import types
import unittest
import warnings
from collections.abc import Callable
from typing import Any

warnings.simplefilter("error")
# Keras 3.15 with NumPy 2.4, whenever it reads a tensor of torch
warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)

import keras  # noqa: E402

import fanin.keras  # noqa: E402

MODULES = ("random_initializers_test", "constant_initializers_test")


def skip_if_backend(backend: str, reason: str) -> Callable[[Any], Any]:
    """What the tests take from a file of Keras' repository that is not installed."""
    return unittest.skipIf(keras.backend.backend() == backend, reason)


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


def outcomes(initializers: types.ModuleType) -> dict[str, str]:
    """Run the tests with a module in place of `keras.src.initializers`."""
    sys.modules["conftest"] = stub = types.ModuleType("conftest")
    stub.skip_if_backend = skip_if_backend  # type: ignore[attr-defined]
    result = Outcomes()
    for name in MODULES:
        module = __import__(f"keras.src.initializers.{name}", fromlist=[name])
        module.initializers = initializers
        unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    return result.by_name


def main() -> None:
    theirs = sys.modules[keras.initializers.get.__module__]
    ours = types.ModuleType("initializers")
    calls: dict[str, int] = {}
    for name, value in vars(theirs).items():
        twin = getattr(fanin.keras, name, None) if isinstance(value, type) else None
        setattr(ours, name, value if twin is None else twin)
        if twin is not None:
            twin.__call__ = counted(twin.__call__, name, calls)
    report = {"backend": keras.backend.backend(), "keras": outcomes(theirs)}
    assert not calls
    with fanin.keras.installed():
        report["fanin"] = outcomes(ours)
    print(json.dumps({**report, "calls": calls}))


def counted(call: Callable[..., Any], name: str, calls: dict[str, int]) -> Callable[..., Any]:
    @functools.wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls[name] = calls.get(name, 0) + 1
        return call(*args, **kwargs)

    return wrapper


if __name__ == "__main__":
    main()
