"""fanin for Keras 3: Keras' initializers with fanin's values, the same on every backend.

    import fanin.keras

    keras.layers.Dense(64, kernel_initializer=fanin.keras.HeNormal(seed=7))
    fanin.keras.install()
    keras.layers.Dense(64, kernel_initializer="he_normal")

Each class is a subclass of the Keras class of its name: it has its arguments, defaults, attributes and
configuration, returns tensors of the backend, and is taken wherever Keras takes its own. The classes
answer to their names in lower case too: ``fanin.keras.he_normal(seed=7)``.
"""

from typing import Any as _Any

import keras as _keras

from fanin import initializers as _ours
from fanin.keras.installation import TWINS as _TWINS
from fanin.keras.installation import install, installed, uninstall
from fanin.keras.twins import twin as _twin

__all__ = [
    "STFT",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "install",
    "installed",
    "uninstall",
]

Constant = _twin(_ours.Constant, _keras.initializers.Constant)
GlorotNormal = _twin(_ours.GlorotNormal, _keras.initializers.GlorotNormal)
GlorotUniform = _twin(_ours.GlorotUniform, _keras.initializers.GlorotUniform)
HeNormal = _twin(_ours.HeNormal, _keras.initializers.HeNormal)
HeUniform = _twin(_ours.HeUniform, _keras.initializers.HeUniform)
Identity = _twin(_ours.Identity, _keras.initializers.Identity)
LecunNormal = _twin(_ours.LecunNormal, _keras.initializers.LecunNormal)
LecunUniform = _twin(_ours.LecunUniform, _keras.initializers.LecunUniform)
Ones = _twin(_ours.Ones, _keras.initializers.Ones)
Orthogonal = _twin(_ours.Orthogonal, _keras.initializers.Orthogonal)
RandomNormal = _twin(_ours.RandomNormal, _keras.initializers.RandomNormal)
RandomUniform = _twin(_ours.RandomUniform, _keras.initializers.RandomUniform)
STFT = _twin(_ours.STFT, _keras.initializers.STFT)
TruncatedNormal = _twin(_ours.TruncatedNormal, _keras.initializers.TruncatedNormal)
VarianceScaling = _twin(_ours.VarianceScaling, _keras.initializers.VarianceScaling)
Zeros = _twin(_ours.Zeros, _keras.initializers.Zeros)

for _name in _ours.__all__:  # those that Keras has not, so that saved models find them
    _class = getattr(_ours, _name)
    if isinstance(_class, type) and issubclass(_class, _ours.Initializer) and _class is not _ours.Initializer:
        _keras.saving.register_keras_serializable(package="fanin.initializers")(_class)

_TWINS.update({cls.__base__: cls for cls in map(globals().get, __all__) if isinstance(cls, type)})


def __getattr__(name: str) -> _Any:
    """Find a class under its Keras name, ``fanin.keras.he_normal``."""
    if not name.startswith("_") and (twin := _TWINS.get(getattr(_keras.initializers, name, None))):
        return twin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
