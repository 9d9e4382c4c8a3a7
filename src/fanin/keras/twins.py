"""Classes of Keras that draw fanin's values: one mechanism for all of them.

A twin is a subclass of the Keras class, because Keras' layers ask `isinstance` of its own: arguments,
attributes and configuration are inherited. What is ours is the check of the arguments and the call, and
the call reads the attributes, because layers set `input_axes` on what they were given.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from fanin.errors import ArgumentError
from fanin.initializers import Initializer
from fanin.keras.seeds import checked, current
from fanin.keras.tensors import plain, tensor, unconverted

__all__ = ["twin"]


def twin(ours: type[Initializer], theirs: Any) -> Any:
    """Return a subclass of a Keras class that draws the values of the class of fanin."""
    name = ours.__name__
    taken = inspect.signature(theirs).parameters
    arguments = [argument for argument in inspect.signature(ours).parameters if argument in taken]
    body: dict[str, Any] = {
        "__module__": "fanin.keras",
        "__doc__": f"Keras' {name}, with the values of `fanin.initializers.{name}`.",
        "__call__": _call(ours, arguments),
    }
    if arguments:
        body["__init__"] = _constructor(ours, theirs, arguments)
        body["get_config"] = _configuration(theirs, arguments)
    cls = type(name, (theirs,), body)
    # Keras would take its own class of that name when it reads a model.
    keras.saving.register_keras_serializable(package="fanin.initializers")(ours)
    return keras.saving.register_keras_serializable(package="fanin")(cls)


def _constructor(ours: type[Initializer], theirs: Any, arguments: Sequence[str]) -> Callable[..., None]:
    signature = inspect.signature(theirs.__init__)

    @functools.wraps(theirs.__init__)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        given = signature.bind(self, *args, **kwargs)
        if "seed" in given.arguments:
            given.arguments["seed"] = checked(ours.__name__, given.arguments["seed"])
        refusal = _refusal(ours, {key: given.arguments[key] for key in arguments if key in given.arguments})
        try:
            theirs.__init__(*given.args, **given.kwargs)
        except (TypeError, ValueError, AttributeError) as error:
            if refusal is None:
                raise
            # Keras' words too, where it has some: they are what others' code looks for.
            added = f" (Keras: {error})" if isinstance(error, ValueError) else ""
            raise ArgumentError(f"{refusal}{added}") from None
        if refusal is not None:
            raise refusal

    return __init__


def _configuration(theirs: Any, arguments: Sequence[str]) -> Callable[[Any], dict[str, Any]]:
    def get_config(self: Any) -> dict[str, Any]:
        """Return the arguments that make this initializer, as Keras writes them."""
        config: dict[str, Any] = theirs.get_config(self)
        # Differs from Keras 3.15, whose Identity forgets its gain.
        return {**config, **{key: getattr(self, key) for key in arguments if key not in config}}

    return get_config


def _refusal(ours: type[Initializer], given: Mapping[str, Any]) -> ArgumentError | None:
    try:
        ours(**{key: plain(value) for key, value in given.items() if key != "seed"})
    except ArgumentError as error:
        return error
    return None


def _call(ours: type[Initializer], arguments: Sequence[str]) -> Callable[..., Any]:
    def __call__(self: Any, shape: Sequence[int], dtype: Any = None, layout: Any = None) -> Any:  # noqa: N807
        """Return a tensor of the backend.

        Its dtype is `keras.config.floatx()` where none is said, and the layout is where
        `keras.distribution` wants it to be.
        """
        given = {key: plain(getattr(self, key)) for key in arguments if key != "seed"}
        if "seed" in arguments:
            given["seed"] = current(ours.__name__, self.seed)
        return tensor(ours(**given), shape, dtype, layout)

    return unconverted(__call__)
