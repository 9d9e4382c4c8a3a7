"""The list of public names: what is here is promised, and a change of it is a change of this file."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import fanin
from fanin.errors import FaninError

NAMES = {
    "fanin": [
        "Fused", "Parameter", "Plan", "Resolved", "Rule", "defaults", "diff", "errors", "explain", "fingerprint",
        "names_like", "parameters", "recipes", "use", "verify",
    ],
    "fanin.plan": ["About", "Entry", "Fused", "Parameter", "Plan", "Resolved", "Rule", "defaults", "digest"],
    "fanin.torch": [
        "Shard", "accelerate", "calculate_gain", "constant_", "dirac_", "eye_", "init_", "kaiming_normal_",
        "kaiming_uniform_", "materialize", "missing", "normal_", "ones_", "orthogonal_", "sparse_", "trunc_normal_",
        "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
    ],
    "fanin.jax": [
        "Initializer", "constant", "delta_orthogonal", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
        "init_sharded", "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform", "normal", "ones",
        "orthogonal", "shapes", "truncated_normal", "uniform", "variance_scaling", "xavier_normal", "xavier_uniform",
        "zeros",
    ],
    "fanin.keras": [
        "STFT", "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "LecunNormal",
        "LecunUniform", "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling",
        "Zeros", "install", "installed", "uninstall",
    ],
    "fanin.checkpoint": [
        "File", "Forecast", "Stored", "Written", "bytes_of", "forecast", "opened", "settle", "shapes", "write",
        "write_sharded",
    ],
    "fanin.recipes": ["NAMES", "Listed", "Listing", "listing", "load", "text"],
    "fanin.proof": [
        "Compared", "Comparison", "Explained", "Explanation", "Finding", "Fingerprint", "TensorFingerprint",
        "Verification", "diff", "explain", "fingerprint", "verify",
    ],
    "fanin.initializers": [
        "ALIASES", "Alias", "Arange", "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform",
        "Identity", "Initializer", "LecunNormal", "LecunUniform", "LogUniform", "Masked", "Ones", "Orthogonal",
        "RandomNormal", "RandomUniform", "STFT", "Scaled", "Sinusoids", "Transformed", "TruncatedNormal",
        "VarianceScaling", "Zeros", "deserialize", "get", "serialize",
    ],
    "fanin.backend": [
        "cast_to_floatx", "constant", "drawing", "eye", "floatx", "ones", "random_normal", "random_uniform",
        "truncated_normal", "zeros",
    ],
    "fanin.spec": [
        "FORMATS", "STREAM", "affine", "from_bits", "identity", "join_name", "normal", "round_bits", "scaled",
        "uniform", "words",
    ],
    "fanin.layouts": ["ARRAY_ORDER", "Coordinates", "Fans", "Layout", "fans"],
    "fanin.engines": ["NAMES", "available", "current", "fill", "use"],
    "fanin.errors": [
        "ArgumentError", "CheckpointError", "DTypeError", "EngineError", "ExpressionError", "FactoryError",
        "FaninError", "LayoutError", "LogicalNameError", "OutputError", "PlanError", "SeedError", "SelftestError",
        "ShapeError", "StreamError", "UnknownInitializerError", "VerificationError", "WindowError",
    ],
}  # fmt: skip


def public(module: ModuleType) -> list[str]:
    """The names that a module promises: its `__all__`, or without one what it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return [name for name in own if not name.startswith("_")]


@pytest.mark.parametrize("name", NAMES)
def test_the_public_names_are_these(name: str) -> None:
    module = importlib.import_module(name)
    found = public(module)
    assert len(found) == len(set(found))
    assert sorted(found) == sorted(NAMES[name])
    for each in found:
        assert not each.startswith("_")
        value = getattr(module, each)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"{name}.{each} has no docstring"
            assert not (value.__doc__ or "").startswith(f"{each}("), f"{name}.{each} has a generated docstring"
            assert value.__module__.startswith("fanin."), f"{name}.{each} is not of this package"


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_read_alone(name: str) -> None:
    """Every module can be the first that is imported, and its names can be imported by star."""
    code = f"from {name} import *\nprint(*sorted(key for key in dir() if not key.startswith('_')))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(NAMES[name])


def test_every_error_has_a_base_that_users_would_catch() -> None:
    from fanin import errors

    classes = [getattr(errors, name) for name in NAMES["fanin.errors"]]
    for cls in classes:
        if cls is not FaninError:
            base, builtin = cls.__bases__
            assert base is FaninError
            assert (builtin.__module__, builtin is Exception) == ("builtins", False)
    assert len(classes) == 18


def test_every_submodule_is_imported_by_this_test() -> None:
    """No module fails to import, and none of a public module's names is shadowed by a submodule."""
    modules = [
        module.name for module in pkgutil.walk_packages(fanin.__path__, "fanin.") if "__main__" not in module.name
    ]
    assert len(modules) >= 30
    for name in modules:
        importlib.import_module(name)
    for name, names in NAMES.items():
        for each in names:
            value = getattr(importlib.import_module(name), each)
            assert not inspect.ismodule(value) or f"{name}.{each}" in NAMES, f"{name}.{each} is a module"


def test_the_list_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from fanin import backend

    monkeypatch.setattr(backend, "__all__", [*backend.__all__, "np"])
    with pytest.raises(AssertionError):
        test_the_public_names_are_these("fanin.backend")
    monkeypatch.undo()
    test_the_public_names_are_these("fanin.backend")
