"""Initializers with Keras' names, arguments and defaults, that return NumPy arrays.

Drawn elementwise, with all the laws of the stream: `Zeros`, `Ones`, `Constant` (of a number),
`Identity`, `RandomNormal`, `RandomUniform`, `TruncatedNormal`, `VarianceScaling`, `GlorotUniform`,
`GlorotNormal`, `HeUniform`, `HeNormal`, `LecunUniform`, `LecunNormal`, `Scaled` (of one of these).
Computed whole, on the host: `Constant` of an array, `Orthogonal`, `STFT`, `LogUniform`, `Arange`, `Sinusoids`,
`Masked`, `Transformed`, `Scaled` (of one of these).

The classes answer to their Keras names in lower case too: ``initializers.he_normal(seed=7)``.
"""

from typing import Any

from fanin.initializers.base import Initializer
from fanin.initializers.constants import Constant, Identity, Ones, Zeros
from fanin.initializers.distributions import LogUniform, RandomNormal, RandomUniform, TruncatedNormal
from fanin.initializers.fourier import STFT
from fanin.initializers.masks import Masked
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
from fanin.initializers.sequences import Arange, Sinusoids
from fanin.initializers.transforms import Transformed
from fanin.initializers.wrappers import Scaled

__all__ = [
    "ALIASES",
    "STFT",
    "Alias",
    "Arange",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "LogUniform",
    "Masked",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "Scaled",
    "Sinusoids",
    "Transformed",
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
