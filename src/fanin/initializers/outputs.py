"""The array that a call writes into: a new one, or that of the caller."""

import math

import numpy as np

from fanin import dtypes
from fanin.errors import OutputError, ShapeError
from fanin.layouts import Shape

__all__ = ["aligned", "allocated", "checked"]

ALIGNMENT = 64  # bytes; the least that jaxlib and TensorFlow take of memory that they do not own


def allocated(shape: Shape, dtype: object) -> np.ndarray:
    """Return a new array, of any content.

    Raises:
        DTypeError: fanin writes no such dtype.
        ShapeError: NumPy makes no array of so many axes or bytes.
    """
    resolved = dtypes.resolve(dtype)
    try:
        return np.empty(shape, resolved)
    except ValueError as error:
        raise ShapeError(f"NumPy makes no {resolved.name} array of shape {shape!r}: {error}.") from None


def aligned(shape: Shape, dtype: object) -> np.ndarray:
    """Return a new array, of any content, that JAX and TensorFlow can use as it is.

    Raises:
        DTypeError: fanin writes no such dtype.
        ShapeError: NumPy makes no array of so many axes or bytes.
    """
    resolved = dtypes.resolve(dtype)
    try:
        memory = allocated((math.prod(shape) * resolved.itemsize + ALIGNMENT,), "uint8")
    except ShapeError:
        raise ShapeError(f"NumPy makes no {resolved.name} array of shape {shape!r}: it has too many bytes.") from None
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + memory.size - ALIGNMENT].view(resolved).reshape(shape)


def checked(out: object, dtype: object, shape: Shape) -> np.ndarray:
    """Return what the caller gave to write into, as a plain array: subclasses may index in ways of their own.

    Raises:
        OutputError: it cannot take an array of that shape and dtype.
        DTypeError: fanin writes no such dtype.
    """
    if not isinstance(out, np.ndarray):
        raise OutputError(f"out must be a NumPy array to write into, not a {type(out).__name__}.")
    if out.shape != shape:
        raise OutputError(f"out has shape {out.shape!r}, but the result has shape {shape!r}.")
    if not out.dtype.isnative:
        raise OutputError(f"out has dtype {out.dtype!r}; give an array of this machine's byte order.")
    if dtypes.resolve(out.dtype if dtype is None else dtype) != out.dtype:
        raise OutputError(f"out has dtype {out.dtype.name}, but dtype={dtype!r} was asked for; leave one of them out.")
    if not out.flags.writeable:
        raise OutputError("out is read-only; give a writable array.")
    if out.size and _overlaps(out):
        raise OutputError(
            f"out has strides {out.strides!r} with shape {shape!r}, so that some of its elements are the same memory; "
            f"give an array in which each has its own."
        )
    return out.view(np.ndarray)


def _overlaps(array: np.ndarray) -> bool:
    """Whether some axis steps into what the axes of smaller steps reach; no slice or transpose does."""
    reach = array.itemsize
    for step, length in sorted((abs(step), n) for step, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if step < reach:
            return True
        reach += step * (length - 1)
    return False
