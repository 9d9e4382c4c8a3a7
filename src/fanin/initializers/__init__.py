"""Initializers with Keras' names, arguments and defaults, that return NumPy arrays.

Drawn elementwise, with all the laws of the stream: `Zeros`, `Ones`, `Constant` (of a number),
`Identity`, `RandomNormal`, `RandomUniform`, `TruncatedNormal`, `VarianceScaling`, `GlorotUniform`,
`GlorotNormal`, `HeUniform`, `HeNormal`, `LecunUniform`, `LecunNormal`. Computed whole, on the host:
`Constant` of an array, `Orthogonal`, `STFT`.

The classes answer to their Keras names in lower case too: ``initializers.he_normal(seed=7)``.
"""

from typing import Any

from fanin.initializers.base import Initializer
from fanin.initializers.constants import Constant, Identity, Ones, Zeros
from fanin.initializers.distributions import RandomNormal, RandomUniform, TruncatedNormal
from fanin.initializers.fourier import STFT
from fanin.initializers.orthonormal import Orthogonal
from fanin.initializers.registry import ALIASES, KERAS_NAMES, Alias, deserialize, get, serialize
from fanin.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)

__all__ = [
    "ALIASES",
    "STFT",
    "Alias",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "deserialize",
    "get",
    "serialize",
]


def __getattr__(name: str) -> Any:
    """Find a class under its Keras name, ``initializers.he_normal``."""
    if name in KERAS_NAMES:
        return KERAS_NAMES[name]
    if name in ("IdentityInitializer", "OrthogonalInitializer", "STFTInitializer"):  # Keras 3 has these as well
        return ALIASES[f"{name.removesuffix('Initializer').lower()}_initializer"].initializer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *KERAS_NAMES})
