"""Writing into tensors: what cannot be written is refused before anything is, and autograd is told."""

from collections.abc import Iterable
from typing import Any

import torch

from fanin.errors import OutputError
from fanin.initializers import Zeros
from fanin.models.arrays import Array, Part
from fanin.models.arrays import write as write_parts
from fanin.models.torch.shards import misplaced, parts
from fanin.recipe import Piece

__all__ = ["can_write", "check", "write"]


def can_write(tensor: torch.Tensor) -> bool:
    """Whether a tensor can be written in place."""
    return not _problem(tensor)


def check(tensor: torch.Tensor, name: str) -> None:
    """Refuse a tensor that cannot be written in place.

    Raises:
        OutputError: and why.
    """
    problem = _problem(tensor)
    if problem:
        raise OutputError(f"{name!r} {problem}")


def _problem(tensor: torch.Tensor) -> str:
    local: Any = getattr(tensor, "_local_tensor", tensor)
    if tensor.is_meta:
        return "is on the meta device and has no memory; fanin.torch.materialize(module, plan) gives it some."
    if tensor.is_quantized:
        return "is quantized; initialize the floating-point module, then quantize it."
    if tensor.is_nested:
        return "is a nested tensor; initialize the tensors that it is of, tensor.unbind()."
    if local.layout is not torch.strided:
        return f"has the layout {local.layout}, not dense memory; initialize a dense tensor, then convert it."
    if local.is_neg():
        return "is a view that negates; initialize what it is a view of."
    if tensor.grad_fn is not None and not (tensor._is_view() and tensor._base.is_leaf):  # type: ignore[union-attr]
        return "is a result inside a graph of autograd; initialize the leaf that it was computed from, or detach it."
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return "was made in inference mode and cannot be written outside of it; clone it first."
    if _overlaps(local):
        return f"is an expanded view (strides {tuple(local.stride())!r}), whose elements share memory; clone it first."
    return misplaced(tensor)


def _overlaps(tensor: torch.Tensor) -> bool:
    """Whether two elements may share memory: an axis steps less far than those inside it reach."""
    axes = sorted((stride, length) for stride, length in zip(tensor.stride(), tensor.shape, strict=True) if length > 1)
    reach = 0
    for stride, length in axes:
        if stride <= reach:
            return True
        reach += stride * (length - 1)
    return False


def write(array: Array, pieces: Iterable[Piece]) -> None:
    """Write what this process has of an array, by the pieces that the whole is made of."""
    tensor = array.handle
    zero = Zeros().recipe(array.shape) if array.zero_rows else None
    with torch.no_grad():
        here = parts(tensor, array.offset)
        write_parts(pieces, [Part(part.window, part.view.detach()) for part in here], zero, array.zero_rows)
    if not tensor.is_inference():  # what was written are views, which a DTensor does not notice
        torch.autograd.graph.increment_version(tensor)
