"""Tensors of torch as memory: the NumPy dtype that they hold, and arrays over their elements.

torch and NumPy share memory through integers as wide as the elements, *carriers*: NumPy's bfloat16
and float8 are unknown to torch. Nothing here imports torch before there is a tensor.
"""

from typing import TYPE_CHECKING

import numpy as np

from fanin.dtypes import resolve
from fanin.engines.geometry import upright
from fanin.errors import OutputError
from fanin.layouts import Coordinates

if TYPE_CHECKING:
    from types import EllipsisType

    import torch

__all__ = ["DeviceArray", "array_over", "carrier", "carrier_and_coordinates", "dtype_of", "mark_written"]

_CARRIERS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}  # torch has all operations for signed ones only


def dtype_of(view: "np.ndarray | torch.Tensor") -> np.dtype:
    """The NumPy dtype of what an array or a tensor holds.

    Raises:
        DTypeError: fanin writes no such dtype.
    """
    return view.dtype if isinstance(view, np.ndarray) else resolve(view.dtype)


def carrier(tensor: "torch.Tensor") -> "torch.Tensor":
    """The same memory as signed integers, outside any graph."""
    import torch

    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().view(integers[tensor.element_size()])


def carrier_and_coordinates(
    view: "np.ndarray | torch.Tensor", coordinates: Coordinates
) -> "tuple[torch.Tensor, Coordinates]":
    """The memory of an array or a tensor as a carrier tensor, without a copy, and the map of its elements.

    torch knows no negative strides, so such axes are turned round, and their coordinates with them.
    """
    import torch

    if not isinstance(view, np.ndarray):
        return carrier(view), coordinates
    view, coordinates = upright(view.view(_CARRIERS[view.dtype.itemsize]), coordinates)
    return torch.from_numpy(view), coordinates


def array_over(tensor: "torch.Tensor") -> "np.ndarray | DeviceArray":
    """An array over the memory of a tensor: NumPy's where the host can reach it.

    Raises:
        OutputError: the tensor has no memory.
        DTypeError: fanin writes no such dtype.
    """
    if tensor.is_meta:
        raise OutputError("a tensor on the meta device has no memory to write to; allocate it first.")
    if is_on_host(tensor):
        return carrier(tensor).numpy().view(dtype_of(tensor))
    return DeviceArray(tensor)


def is_on_host(tensor: "torch.Tensor") -> bool:
    """Whether NumPy can see the tensor's memory."""
    return tensor.device.type == "cpu"


def mark_written(tensor: "torch.Tensor") -> None:
    """Tell autograd, as an in-place operation does, so that a backward pass that saved old values fails."""
    if not tensor.is_inference():  # these have no version
        carrier(tensor).unsqueeze(0)[:0].zero_()  # touches no element, and counts as a write of the tensor


class DeviceArray:
    """A tensor whose memory the host cannot reach, with as much of an array's interface as fills need.

    Attributes:
        tensor: the tensor.
        dtype: the NumPy dtype of its elements.
        shape: as an array has it.
        ndim: see `shape`.
        size: see `shape`.
    """

    def __init__(self, tensor: "torch.Tensor") -> None:
        self.tensor = tensor
        self.dtype = dtype_of(tensor)
        self.shape = tuple(tensor.shape)
        self.ndim = tensor.ndim
        self.size = tensor.numel()

    def __getitem__(self, box: tuple[slice, ...]) -> "DeviceArray":
        """A part of it, in the same memory."""
        return DeviceArray(self.tensor[box])

    def __setitem__(self, at: "EllipsisType | np.ndarray", value: np.ndarray) -> None:
        """Copy an array of the same dtype, or write one value everywhere or where a mask is true."""
        import torch

        memory = carrier(self.tensor)
        bits = value.view(_CARRIERS[value.dtype.itemsize])
        if isinstance(at, np.ndarray):
            memory.masked_fill_(torch.from_numpy(at).to(memory.device), int(bits))
        elif value.ndim == 0 and self.ndim:
            memory.fill_(int(bits))
        else:
            memory.copy_(torch.from_numpy(np.require(bits, requirements=["C", "W"])))
