"""Reading tensors: what has no values is refused, what the host can reach is seen where it is, the rest is copied."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fanin.engines.tensors import array_over, carrier, dtype_of, is_on_host
from fanin.errors import OutputError
from fanin.models.arrays import Array, Copied, Part
from fanin.models.torch.shards import misplaced, parts
from fanin.recipe import Window

__all__ = ["read"]


def read(array: Array) -> Sequence[Part]:
    """What this process has of a tensor, each element once.

    Raises:
        OutputError: it has no values, or none that can be read.
    """
    tensor = array.handle
    problem = _problem(tensor)
    if problem:
        raise OutputError(f"{array.name!r} {problem}")
    whole = Window.whole(array.shape)
    with torch.no_grad():
        here = parts(tensor, array.offset)
        gathered = [part for part in here if part.window == whole]  # by ZeRO-3, beside the partition
        return [Part(part.window, _seen(part.view.detach())) for part in (gathered[:1] or here)]


def _problem(tensor: torch.Tensor) -> str:
    local: Any = getattr(tensor, "_local_tensor", tensor)
    if tensor.is_meta:
        return "is on the meta device: it was never initialized."
    if tensor.is_quantized:
        return "is quantized; look at the floating-point module that it was made of."
    if tensor.is_nested:
        return "is a nested tensor; look at the tensors that it is of, tensor.unbind()."
    if local.layout is not torch.strided:
        return f"has the layout {local.layout}, not dense memory; look at tensor.to_dense()."
    return misplaced(tensor)


def _seen(tensor: torch.Tensor) -> "np.ndarray | Copied":
    tensor = tensor.resolve_neg()
    if is_on_host(tensor):
        found = array_over(tensor)
        assert isinstance(found, np.ndarray)
        return found
    dtype = dtype_of(tensor)
    return Copied(tuple(tensor.shape), dtype, lambda box: carrier(tensor[box]).cpu().numpy().view(dtype))
