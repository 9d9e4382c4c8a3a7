"""Inside torch.compile: a call becomes one operator, whose only constants are texts."""

import ast
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from fanin.errors import ArgumentError

__all__ = ["compilable"]

F = TypeVar("F", bound=Callable[..., Any])

_FUNCTIONS: dict[str, Callable[..., Any]] = {}


@torch.library.custom_op("fanin::call", mutates_args={"tensor"})
def _call(tensor: torch.Tensor, function: str, arguments: str) -> None:
    args, kwargs = ast.literal_eval(arguments)
    _FUNCTIONS[function](tensor, *args, **kwargs)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch has no type for it
def _written(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The arguments of a call, as a literal."""
    text = repr((args, kwargs))
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ArgumentError(
            f"fanin.torch.{function}: inside torch.compile arguments are numbers, texts and tuples of them, such as "
            f"'he_normal' for an initializer, not {text}."
        ) from None
    return text


def compilable(function: F) -> F:
    """Make a function of a tensor one operator where torch.compile traces it."""
    name = function.__name__
    _FUNCTIONS[name] = function

    @functools.wraps(function)
    def called(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if torch.compiler.is_compiling():
            _call(tensor, name, _written(name, args, kwargs))
            return tensor
        result: torch.Tensor = function(tensor, *args, **kwargs)
        return result

    return called  # type: ignore[return-value]  # of the function's own signature
