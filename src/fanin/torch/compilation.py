"""Inside torch.compile: a call becomes one operator, whose only constants are texts."""

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import torch

__all__ = ["compilable"]

F = TypeVar("F", bound=Callable[..., Any])

_FUNCTIONS: dict[str, Callable[..., Any]] = {}


@torch.library.custom_op("fanin::call", mutates_args={"tensor"})
def _call(tensor: torch.Tensor, function: str, arguments: str) -> None:
    args, kwargs = json.loads(arguments)
    _FUNCTIONS[function](tensor, *args, **kwargs)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch has no type for it
def _written(args: list[Any], kwargs: dict[str, Any]) -> str:
    """The arguments of a call as JSON, which has all floats, infinities as well, to the last bit."""
    return json.dumps((args, kwargs))


@torch.compiler.disable(  # type: ignore[no-untyped-call, untyped-decorator]  # likewise
    reason="fanin.torch: inside torch.compile(fullgraph=True) arguments are numbers, texts, and lists and dicts of "
    "them, such as 'he_normal' for an initializer. Pass such, or call it outside."
)
def _outside(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


# Traced, both: what JSON does not have must not reach `_written`, nor a number that may differ in the next call.


def _is_plain(value: Any) -> bool:
    """Whether JSON has a value."""
    if isinstance(value, tuple | list):
        return all([_is_plain(each) for each in value])  # noqa: C419 - torch traces no generator here
    if isinstance(value, dict):
        return all([isinstance(key, str) and _is_plain(each) for key, each in value.items()])  # noqa: C419
    return value is None or isinstance(value, bool | int | float | str)


def _settled(value: Any) -> Any:
    """The same value, its numbers constants of the trace, as it makes those that are keys of a dict."""
    if isinstance(value, tuple | list):
        return [_settled(each) for each in value]
    if isinstance(value, dict):
        return {key: _settled(each) for key, each in value.items()}
    return list({value: None})[0] if isinstance(value, int | float) else value  # noqa: RUF015 - likewise


def compilable(function: F) -> F:
    """Make a function of a tensor one operator where torch.compile traces it."""
    name = function.__name__
    _FUNCTIONS[name] = function

    @functools.wraps(function)
    def called(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            result: torch.Tensor = function(tensor, *args, **kwargs)
        elif _is_plain((args, kwargs)):
            _call(tensor, name, _written(_settled(args), _settled(kwargs)))
            result = tensor
        else:
            result = _outside(function, tensor, *args, **kwargs)
        return result

    return called  # type: ignore[return-value]  # of the function's own signature
