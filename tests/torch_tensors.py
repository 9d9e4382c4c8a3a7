"""What the tests of torch share: tensors as arrays of bits, poisoned tensors, bytes that must not change."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from harness import assert_same_bits
from torch import nn

from fanin.errors import FaninError

DTYPES: dict[torch.dtype, np.dtype] = {
    torch.float64: np.dtype(np.float64),
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(ml_dtypes.bfloat16),
    torch.float8_e4m3fn: np.dtype(ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: np.dtype(ml_dtypes.float8_e5m2),
}
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def poisoned(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor whose bytes are all 0xA5, so that what was never written shows."""
    size = torch.empty(0, dtype=dtype).element_size()
    count = torch.Size(shape).numel() * size
    return torch.full((count,), 0xA5, dtype=torch.uint8).view(dtype).view(shape)


def array(tensor: torch.Tensor) -> np.ndarray:
    """A copy of a tensor's bits as an array, by nothing of fanin's."""
    plain = tensor.detach().clone(memory_format=torch.contiguous_format)
    if plain.dtype not in DTYPES:
        return plain.numpy()
    return plain.view(_INTEGERS[plain.element_size()]).numpy().view(DTYPES[plain.dtype])


def assert_same_tensors(found: torch.Tensor, expected: torch.Tensor | np.ndarray) -> None:
    """Compare dtype, shape and bit patterns of tensors, whatever their strides."""
    other = expected if isinstance(expected, np.ndarray) else array(expected)
    assert_same_bits(array(found), other)


def memory(tensor: torch.Tensor) -> bytes:
    """All bytes of the storage that a tensor is in."""
    return bytes(tensor.detach().untyped_storage().tolist())


def contents(module: torch.nn.Module) -> dict[str, bytes]:
    """The bytes of everything that a module holds."""
    held = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: array(tensor).tobytes() for name, tensor in held}


def poison(module: nn.Module) -> Any:
    """Fill everything that a module holds with 0xA5 bytes."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = poisoned(*tensor.shape, dtype=tensor.dtype)
    return module


def refused(action: Callable[[], object], error: type[FaninError], builtin: type[Exception], *fragments: str) -> None:
    """Check that an action raises an error that is of fanin and of the built-in, with fragments in its message."""
    with pytest.raises(error) as caught:
        action()
    assert isinstance(caught.value, builtin), type(caught.value).__mro__
    for fragment in fragments:
        assert fragment in str(caught.value), f"{fragment!r} is not in {str(caught.value)!r}"


@contextlib.contextmanager
def no_generator_advanced() -> Iterator[None]:
    """Check that the global generators of torch, NumPy and Python are after the block as they were before."""

    def states() -> tuple[object, ...]:
        kind, keys, *rest = np.random.get_state()
        return torch.random.get_rng_state().tolist(), kind, keys.tolist(), rest, random.getstate()  # type: ignore[attr-defined]

    before = states()
    yield
    assert states() == before, "a global generator was advanced"


def std_error(values: torch.Tensor) -> float:
    """What six standard errors of the standard deviation are, as a fraction, for any kurtosis up to a normal's."""
    return 6 / float(np.sqrt(2 * values.numel()))
