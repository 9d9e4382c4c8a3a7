"""Names of initializers: one table for every name that Keras and others use, and what reads them.

A name is found in any case and with or without underscores.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fanin.errors import ArgumentError, SeedError, UnknownInitializerError
from fanin.expressions import FUNCTIONS, Argument, Call, Number, parse_call
from fanin.initializers.base import Initializer, construct
from fanin.initializers.constants import Constant, Identity, Ones, Zeros
from fanin.initializers.distributions import LogUniform, RandomNormal, RandomUniform, TruncatedNormal
from fanin.initializers.fourier import STFT
from fanin.initializers.orthonormal import Orthogonal
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

__all__ = ["ALIASES", "KERAS_NAMES", "Alias", "deserialize", "get", "named", "serialize"]

C = TypeVar("C", bound=type[Initializer])


class Alias(NamedTuple):
    """What a name stands for.

    Attributes:
        initializer: the class.
        defaults: arguments that the name implies.
        note: how the name means something else elsewhere.
    """

    initializer: type[Initializer]
    defaults: Mapping[str, Any] = {}
    note: str = ""


# Names of Keras 1, 2 and 3, which are attributes of `fanin.initializers` as well.
KERAS_NAMES: dict[str, type[Initializer]] = {
    "constant": Constant,
    "glorot_normal": GlorotNormal,
    "glorot_uniform": GlorotUniform,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "identity": Identity,
    "lecun_normal": LecunNormal,
    "lecun_uniform": LecunUniform,
    "normal": RandomNormal,
    "one": Ones,
    "ones": Ones,
    "orthogonal": Orthogonal,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "stft": STFT,
    "truncated_normal": TruncatedNormal,
    "uniform": RandomUniform,
    "variance_scaling": VarianceScaling,
    "zero": Zeros,
    "zeros": Zeros,
}

ALIASES: dict[str, Alias] = {
    **{name: Alias(cls) for name, cls in KERAS_NAMES.items()},
    "normal": Alias(RandomNormal, note="deviation 0.05, as in Keras; 1 in torch, 0.01 in JAX"),
    "uniform": Alias(RandomUniform, note="[-0.05, 0.05), as in Keras; [0, 1) in torch, [0, 0.01) in JAX"),
    "truncated_normal": Alias(TruncatedNormal, note="deviation 0.05, as in Keras; 0.01 in JAX"),
    **{f"{name}_v2": Alias(cls) for name, cls in KERAS_NAMES.items()},  # tf.keras
    **{f"{name}_initializer": Alias(cls) for name, cls in KERAS_NAMES.items()},  # TensorFlow; some in Keras 3
    "arange": Alias(Arange),
    "assign": Alias(Constant),  # Paddle
    "eye": Alias(Identity),
    "kaiming_normal": Alias(HeNormal, note="truncated at 2 deviations, as in Keras and JAX; not so in torch"),
    "kaiming_uniform": Alias(HeUniform, note="gain sqrt(2), as in Keras and JAX; a torch layer's default is another"),
    "log_uniform": Alias(LogUniform),
    "msra_prelu": Alias(  # MXNet: slope 0.25
        VarianceScaling, {"scale": 2 / (1 + 0.25**2), "mode": "fan_avg", "distribution": "untruncated_normal"}
    ),
    "sinusoids": Alias(Sinusoids),
    "trunc_normal": Alias(TruncatedNormal, note="bounds in deviations, as in Keras and JAX; absolute in torch"),
    "xavier_normal": Alias(GlorotNormal, note="truncated at 2 deviations, as in Keras and JAX; not so in torch"),
    "xavier_uniform": Alias(GlorotUniform),
}

# Names that others use for what no class here is, and what to do.
_FOREIGN = {
    "bilinear": "compute the kernel with NumPy and pass the array.",
    "delta_orthogonal": "use fanin.jax.delta_orthogonal.",
    "dirac": "use fanin.torch.dirac_.",
    "glorot": "say glorot_uniform or glorot_normal.",
    "he": "say he_uniform or he_normal.",
    "kaiming": "say he_uniform or he_normal.",
    "lecun": "say lecun_uniform or lecun_normal.",
    "lstm_bias": "give each gate of the bias a rule of its own, Ones for the forget gate and Zeros for the others.",
    "msra": "say he_uniform or he_normal.",
    "nan": "fanin writes finite values only; fill the array with numpy.nan.",
    "sparse": "use fanin.torch.sparse_.",
    "uniform_scaling": "use VarianceScaling(factor ** 2, 'fan_in', 'uniform').",
    "uniform_unit_scaling": "use VarianceScaling(factor ** 2, 'fan_in', 'uniform').",
    "xavier": "say glorot_uniform or glorot_normal; libraries differ in which of them it is.",
}


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


_BY_PLAIN_NAME = {_plain(name): alias for name, alias in ALIASES.items()}
_FOREIGN_BY_PLAIN_NAME = {_plain(name): advice for name, advice in _FOREIGN.items()}
_SUGGESTED = {_plain(name): name for name in ALIASES if not name.endswith(("_v2", "_initializer"))}
_TORCH_NAMES = ("constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_", "orthogonal_",
                "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_")  # fmt: skip


def named(name: str) -> Callable[[C], C]:
    """Enter a class into the table, one of those that read other initializers by it."""

    def enter(cls: C) -> C:
        ALIASES[name] = _BY_PLAIN_NAME[_plain(name)] = Alias(cls)
        _SUGGESTED[_plain(name)] = name
        return cls

    return enter


def find(name: str, others: Iterable[str] = ()) -> Alias:
    """Return what a name stands for.

    Args:
        name: to look up.
        others: further names that may have been meant.

    Raises:
        UnknownInitializerError: nothing; the message has the nearest names.
    """
    plain = _plain(name)
    if plain in _FOREIGN_BY_PLAIN_NAME:
        raise UnknownInitializerError(f"no initializer is called {name!r}: {_FOREIGN_BY_PLAIN_NAME[plain]}")
    if plain in _BY_PLAIN_NAME:
        if name.endswith("_"):
            function = name if name in _TORCH_NAMES else f"init_(tensor, {name.rstrip('_')!r})"
            raise UnknownInitializerError(
                f"{name!r} ends in an underscore, as torch names what writes into a tensor: use fanin.torch."
                f"{function}. The initializer is called {name.rstrip('_')!r}, and has Keras' meaning."
            )
        return _BY_PLAIN_NAME[plain]
    suggested = {**_SUGGESTED, **{other: other for other in others}}
    near = [suggested[match] for match in difflib.get_close_matches(plain, suggested, n=3)]
    if near:
        raise UnknownInitializerError(f"no initializer is called {name!r}; did you mean {' or '.join(near)}?")
    classes = sorted({alias.initializer.__name__ for alias in ALIASES.values()})
    raise UnknownInitializerError(f"no initializer is called {name!r}; there are {', '.join(classes)}.")


def get(identifier: Any, quantities: Mapping[str, Number] | None = None) -> Callable[..., Any] | None:
    """Return the initializer that something stands for.

    Args:
        identifier: an initializer or any other callable, returned as it is; a class, which is
            instantiated; a name of any library, ``"he_normal"``; a name with arguments,
            ``"he_normal(seed=1)"``, which may be such calls themselves, ``"scaled(he_normal(), 0.5)"``; a
            configuration (see `deserialize`); an array, which makes a `Constant`; or None, which is returned.
        quantities: names that the arguments in a text may use, such as ``{"n_layer": 12}``.

    Raises:
        UnknownInitializerError: the identifier is none of these; names are suggested.
        ExpressionError: the text has arguments that cannot be read.
        ArgumentError: the arguments do not fit the initializer.

    Differs from Keras 3, where an array must have the very shape asked for, names have one
    spelling, and texts take no arguments.

    >>> get("variance_scaling(1 / 3, distribution='uniform')")
    VarianceScaling(scale=0.3333333333333333, distribution='uniform')
    """
    if identifier is None or isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str):
        return _from_text(identifier, quantities)
    if isinstance(identifier, Mapping):
        return deserialize(identifier)  # type: ignore[no-any-return]  # as callable as custom objects are
    if inspect.isclass(identifier):
        made = construct(identifier, (), {}) if issubclass(identifier, Initializer) else identifier()
        if callable(made):
            return made
    elif callable(identifier):
        return identifier  # type: ignore[no-any-return]
    elif hasattr(identifier, "__array__") and hasattr(identifier, "__len__") and hasattr(identifier, "shape"):
        return Constant(identifier)
    number = isinstance(identifier, list | tuple | float | int | np.number)
    hint = f"; for a constant write Constant({identifier!r})" if number else ""
    raise UnknownInitializerError(
        f"{identifier!r} stands for no initializer{hint}. Give an initializer, its name, a configuration, a callable "
        f"f(shape, dtype=None), an array or None."
    )


def _from_text(text: str, quantities: Mapping[str, Number] | None) -> Initializer:
    if "(" not in text:
        alias = find(text.strip())
        return construct(alias.initializer, (), alias.defaults)
    call = parse_call(text, quantities)
    alias = find(call.name)
    try:
        return _made(alias, call)
    except (ArgumentError, SeedError) as error:
        raise type(error)(f"{text!r}: {error}") from None


def _made(alias: Alias, call: Call) -> Initializer:
    """The initializer of a call, those in its arguments made first."""

    def read(argument: Argument) -> object:
        return _made(find(argument.name, FUNCTIONS), argument) if isinstance(argument, Call) else argument

    args = [read(argument) for argument in call.args]
    return construct(
        alias.initializer, args, {**alias.defaults, **{key: read(value) for key, value in call.kwargs.items()}}
    )


def serialize(initializer: Any) -> dict[str, Any] | None:
    """Return the configuration of an initializer, plain data that JSON can hold.

    Args:
        initializer: an initializer, or any object with `get_config`; None gives None.

    Returns:
        ``{"class_name": ..., "config": ...}``.

    Raises:
        UnknownInitializerError: the object has no configuration, such as a function.

    >>> from fanin.initializers import HeNormal
    >>> serialize(HeNormal(seed=7))
    {'class_name': 'HeNormal', 'config': {'seed': 7, 'input_axes': None, 'output_axes': None}}
    """
    if initializer is None:
        return None
    if inspect.isclass(initializer) or not hasattr(initializer, "get_config"):
        raise UnknownInitializerError(
            f"{initializer!r} has no configuration; serialize an instance of a class with get_config."
        )
    return {"class_name": type(initializer).__name__, "config": initializer.get_config()}


def deserialize(config: Mapping[str, Any] | str | None, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the initializer of a configuration written by `serialize`, Keras 2 or Keras 3.

    Args:
        config: ``{"class_name", "config"}``, as Keras 3 writes it with ``"module"`` and
            ``"registered_name"`` too; a name; or None, which is returned.
        custom_objects: classes of one's own by class name.

    Raises:
        UnknownInitializerError: the configuration is of another form, or of no known class.
        ArgumentError: its arguments do not fit the class.

    >>> deserialize({"class_name": "Constant", "config": {"value": 3}})
    Constant(value=3)
    """
    if config is None:
        return None
    if isinstance(config, str):
        config = {"class_name": config}
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        raise UnknownInitializerError(f"{config!r} is no configuration: give {{'class_name': ..., 'config': ...}}.")
    unknown = sorted(map(str, config.keys() - {"class_name", "config", "module", "registered_name", "build_config"}))
    if unknown:
        raise UnknownInitializerError(
            f"the configuration of {config['class_name']!r} has {', '.join(map(repr, unknown))}, which no initializer "
            f"has; give class_name and config."
        )
    name, arguments = config["class_name"], config.get("config")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise UnknownInitializerError(f"the config of {name!r} must be a dict of arguments, not {arguments!r}.")
    if not (custom_objects is None or isinstance(custom_objects, Mapping)):
        raise UnknownInitializerError(f"custom_objects must be a dict of classes by name, not {custom_objects!r}.")
    for key, custom in (custom_objects or {}).items():
        if key in (name, config.get("registered_name")):
            return _custom(key, custom, arguments)
    module = config.get("module")
    if module is not None and str(module).partition(".")[0] not in ("fanin", "keras", "tensorflow", "tf_keras"):
        raise UnknownInitializerError(
            f"{name!r} is of the module {module!r}; give its class as custom_objects={{{name!r}: ...}}."
        )
    alias = find(name)
    return alias.initializer.from_config({**alias.defaults, **arguments})


def _custom(name: str, custom: Any, arguments: Mapping[str, Any]) -> Any:
    if not callable(custom):
        raise UnknownInitializerError(f"custom_objects has {custom!r} for {name!r}; give a class or a function.")
    if hasattr(custom, "from_config"):
        return custom.from_config(dict(arguments))
    return custom(**arguments) if inspect.isclass(custom) else custom
