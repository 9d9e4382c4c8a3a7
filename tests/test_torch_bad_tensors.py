"""Tensors that fanin.torch cannot fill: a clear error of the right class, and not one byte written."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_tensors import array, memory, poisoned, refused

import fanin.torch
from fanin.errors import (
    ArgumentError,
    DTypeError,
    FaninError,
    LayoutError,
    LogicalNameError,
    OutputError,
    SeedError,
    ShapeError,
    UnknownInitializerError,
)

# Every function, with the arguments that it cannot do without.
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    name: getattr(fanin.torch, name)
    for name in ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
                 "kaiming_normal_", "orthogonal_", "ones_", "zeros_", "eye_")
} | {
    "constant_": lambda t, **call: fanin.torch.constant_(t, 1.0, **call),
    "sparse_": lambda t, **call: fanin.torch.sparse_(t, 0.5, **call),
    "init_": lambda t, **call: fanin.torch.init_(t, "he_normal", **call),
}  # fmt: skip
DRAWING = sorted(set(FUNCTIONS) - {"ones_", "zeros_", "eye_", "constant_"})


def test_the_functions_fill_what_can_be_filled() -> None:
    for name, function in FUNCTIONS.items():
        tensor = poisoned(3, 4)
        before = memory(tensor)
        function(tensor)
        assert memory(tensor) != before, name
    assert len(FUNCTIONS) == 14


def in_a_graph() -> torch.Tensor:
    return nn.Parameter(poisoned(3, 4)) * 1


def view_in_a_graph() -> torch.Tensor:
    return in_a_graph()[1:]


def in_inference_mode() -> torch.Tensor:
    with torch.inference_mode():
        return poisoned(3, 4)


BAD: dict[str, tuple[Callable[[], torch.Tensor], type[FaninError], type[Exception], list[str]]] = {
    "a result in a graph": (in_a_graph, OutputError, ValueError, ["inside a graph", "leaf", "detach"]),
    "a view in a graph": (view_in_a_graph, OutputError, ValueError, ["inside a graph"]),
    "of inference mode": (in_inference_mode, OutputError, ValueError, ["inference mode", "clone"]),
    "expanded": (lambda: poisoned(3, 1).expand(3, 4), OutputError, ValueError, ["expanded", "(1, 0)", "clone"]),
    "overlapping": (lambda: poisoned(9).as_strided((3, 4), (2, 1)), OutputError, ValueError, ["share memory"]),
    "negated": (lambda: poisoned(3, 4)._neg_view(), OutputError, ValueError, ["negates"]),
    "complex": (lambda: poisoned(3, 4, dtype=torch.complex64), DTypeError, TypeError, ["complex64", "float32"]),
    "of another float8": (lambda: poisoned(3, 4, dtype=torch.float8_e4m3fnuz), DTypeError, TypeError, ["e4m3fnuz"]),
    "without elements": (lambda: torch.empty(0, 4), ShapeError, ValueError, ["(0, 4)", "shard=(shape, offset)"]),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_cannot_be_filled_is_refused_untouched(name: str, what: str) -> None:
    make, error, builtin, fragments = BAD[what]
    tensor = make()
    before = memory(tensor)
    refused(lambda: FUNCTIONS[name](tensor), error, builtin, *fragments)
    refused(lambda: FUNCTIONS[name](tensor, seed=3, name="here", layout="o i"), error, builtin, *fragments)
    assert memory(tensor) == before


def quietly(make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Make a tensor of a kind that torch warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sparse_quantized_and_nested_tensors_are_refused_untouched(name: str) -> None:
    for layout in (torch.sparse_coo, torch.sparse_csr):
        sparse = quietly(lambda layout=layout: torch.eye(3).to_sparse(layout=layout))  # type: ignore[misc]
        refused(lambda sparse=sparse: FUNCTIONS[name](sparse), OutputError, ValueError, str(layout), "dense")  # type: ignore[misc]
        assert torch.equal(sparse.to_dense(), torch.eye(3))
    quantized = quietly(lambda: torch.quantize_per_tensor(torch.eye(3), 0.5, 0, torch.qint8))
    refused(lambda: FUNCTIONS[name](quantized), OutputError, ValueError, "quantized")
    assert torch.equal(quantized.dequantize(), torch.eye(3))
    for layout in (torch.strided, torch.jagged):
        parts = [torch.ones(3), torch.ones(4)]
        nested = quietly(lambda layout=layout, parts=parts: torch.nested.nested_tensor(parts, layout=layout))  # type: ignore[misc]
        refused(lambda nested=nested: FUNCTIONS[name](nested), OutputError, ValueError, "nested", "unbind")  # type: ignore[misc]
        assert all(bool((part == 1).all()) for part in nested.unbind())


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool], ids=str)
@pytest.mark.parametrize("name", DRAWING)
def test_integers_hold_no_random_values(name: str, dtype: torch.dtype) -> None:
    tensor = poisoned(3, 4, dtype=dtype)
    before = memory(tensor)
    refused(lambda: FUNCTIONS[name](tensor), DTypeError, TypeError, str(dtype).removeprefix("torch."))
    assert memory(tensor) == before


def test_integers_take_integers_only() -> None:
    tensor = poisoned(3, 4, dtype=torch.int8)
    for value in (0.5, 300):
        refused(lambda value=value: fanin.torch.constant_(tensor, value), DTypeError, TypeError, "int8", repr(value))  # type: ignore[misc]
    assert memory(tensor) == b"\xa5" * 12


@pytest.mark.parametrize("tensor", [None, 3, [1.0, 2.0], np.zeros((3, 4)), nn.Linear(3, 4), "weight"], ids=repr)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_tensor_is_refused(name: str, tensor: Any) -> None:
    refused(lambda: FUNCTIONS[name](tensor), OutputError, ValueError, "torch.Tensor", type(tensor).__name__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unknown_argument_is_told(name: str) -> None:
    tensor = poisoned(3, 4)
    with pytest.raises(TypeError, match="'sed'"):
        FUNCTIONS[name](tensor, sed=3)
    assert memory(tensor) == memory(poisoned(3, 4))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_happens_on_the_meta_device(name: str) -> None:
    tensor = torch.empty(3, 4, device="meta", requires_grad=True)
    assert FUNCTIONS[name](tensor, seed=3) is tensor
    assert tensor.is_meta
    assert tensor._version == 0


def test_what_is_wrong_is_told_on_the_meta_device_as_well() -> None:
    refused(lambda: fanin.torch.normal_(torch.empty(3, device="meta"), std=-1.0), ArgumentError, ValueError, "-1.0")
    refused(lambda: fanin.torch.kaiming_normal_(torch.empty(3, device="meta")), LayoutError, ValueError, "(3,)")
    refused(
        lambda: fanin.torch.normal_(torch.empty(3, device="meta", dtype=torch.int32)), DTypeError, TypeError, "int32"
    )


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        ({"seed": -1}, SeedError, ["-1", "2**64 - 1"]),
        ({"seed": True}, SeedError, ["True"]),
        ({"seed": 2**64}, SeedError, [str(2**64)]),
        ({"seed": 0.5}, SeedError, ["0.5"]),
        ({"name": 3}, LogicalNameError, ["3"]),
        ({"layout": "z"}, LayoutError, ["'z'"]),
        ({"layout": "o i k"}, LayoutError, ["rank 3", "(3, 4)"]),
        ({"layout": ""}, LayoutError, ["''"]),
        ({"shard": ((3, 4), (1, 0))}, ShapeError, ["(3, 4)", "(1, 0)", "does not lie in"]),
        ({"shard": ((9, 9), (7, 0))}, ShapeError, ["does not lie in"]),
        ({"shard": ((9, 9, 9), (0, 0, 0))}, ShapeError, ["does not lie in"]),
        ({"shard": ((9, 9), (0,))}, ShapeError, ["does not lie in"]),
        ({"shard": ((9, 9), (-1, 0))}, ShapeError, ["shard="]),
        ({"shard": ((9.5, 9), (0, 0))}, ShapeError, ["shard="]),
        ({"shard": 5}, ShapeError, ["shard=5", "shape of the whole"]),
        ({"shard": ((9, 9),)}, ShapeError, ["shard=", "shape of the whole"]),
        ({"shard": "ab"}, ShapeError, ["shard='ab'"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["normal_", "kaiming_normal_", "init_"])
def test_a_call_that_cannot_be_is_refused(
    name: str, call: dict[str, Any], error: type[FaninError], fragments: list[str]
) -> None:
    tensor = poisoned(3, 4)
    refused(lambda: FUNCTIONS[name](tensor, **call), error, ValueError, *fragments)
    assert memory(tensor) == memory(poisoned(3, 4))


@pytest.mark.parametrize(
    ("initializer", "error", "fragment"),
    [
        (None, ArgumentError, "initializer is None"),
        ("he_normale", UnknownInitializerError, "he_normal"),
        ("kaiming_normal_", UnknownInitializerError, "fanin.torch.kaiming_normal_"),
        (3j, FaninError, "3j"),
        (lambda shape, dtype=None: np.zeros((1, 1)), ShapeError, "(1, 1)"),
        (lambda shape, dtype=None: np.full(shape, np.nan), ArgumentError, "NaN"),
        (lambda shape, dtype=None: "no array", ArgumentError, "str"),
        (np.zeros((2, 2)), ShapeError, "(2, 2)"),
    ],
)
def test_an_initializer_that_cannot_be_is_refused(initializer: Any, error: type[FaninError], fragment: str) -> None:
    tensor = poisoned(3, 4)
    refused(lambda: fanin.torch.init_(tensor, initializer, name="here"), error, ValueError, fragment)
    assert memory(tensor) == memory(poisoned(3, 4))


def test_values_beyond_a_dtype_are_refused() -> None:
    for dtype, std in [(torch.float16, 2e4), (torch.float8_e4m3fn, 100.0)]:
        tensor = poisoned(3, 4, dtype=dtype)
        before = memory(tensor)
        refused(lambda t=tensor, s=std: fanin.torch.normal_(t, std=s), DTypeError, TypeError, "beyond")  # type: ignore[misc]
        assert memory(tensor) == before


def test_the_name_is_in_the_message() -> None:
    tensor = poisoned(3, 1).expand(3, 4)
    refused(lambda: fanin.torch.normal_(tensor, name="head.weight"), OutputError, ValueError, "'head.weight'")
    refused(lambda: fanin.torch.normal_(tensor), OutputError, ValueError, "'the tensor'")


def test_what_can_be_filled_after_all_is_filled() -> None:
    expected = array(fanin.torch.normal_(poisoned(3, 4), seed=1))
    with torch.inference_mode():
        assert array(fanin.torch.normal_(poisoned(3, 4), seed=1)).tobytes() == expected.tobytes()
        inside = in_inference_mode()
        assert array(fanin.torch.normal_(inside, seed=1)).tobytes() == expected.tobytes()
    one_row = poisoned(1, 4).expand(1, 4)  # an axis of one element overlaps nothing
    fanin.torch.normal_(one_row, seed=1)
    view = nn.Parameter(poisoned(5, 4))[1:4]  # of a leaf, as torch.nn.init takes it: lstm.bias_ih_l0[64:128]
    assert view.grad_fn is not None
    assert array(fanin.torch.normal_(view, seed=1)).tobytes() == expected.tobytes()
