"""Tensors of torch: written in place by every engine, of every dtype and strides; memory that the host cannot reach.

No device is needed: where a test is about one, a tensor in host memory is declared out of reach.
"""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from harness import CONFIGURATIONS, SLOW, Case, assert_same_bits, covering, filled, use

import fanin
from fanin import engines
from fanin.dtypes import FLOATS
from fanin.engines import tensors
from fanin.engines import torch as torch_engine
from fanin.engines import triton as triton_engine
from fanin.errors import DTypeError, EngineError, OutputError
from fanin.layouts import as_layout
from fanin.recipe import ConstantValue, Diagonal, Distribution, Draw, Normal, Stream, UniformInterval, Whole, Window

MIB = 2**20
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def poisoned(shape: tuple[int, ...], dtype: np.dtype) -> torch.Tensor:
    """A tensor whose bytes are all 0xA5."""
    empty = torch.empty(shape, dtype=getattr(torch, dtype.name))
    empty.untyped_storage().copy_(
        torch.full((empty.numel() * dtype.itemsize,), 0xA5, dtype=torch.uint8).untyped_storage()
    )
    return empty


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """A copy as an array of the same dtype, made without the code under test."""
    plain = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1))
    dtype = FLOATS[str(tensor.dtype).removeprefix("torch.")]
    return plain.view(torch.uint8).numpy().copy().view(dtype).reshape(tuple(tensor.shape))


def transposed(shape: tuple[int, ...], dtype: np.dtype) -> torch.Tensor:
    return poisoned(shape[::-1], dtype).permute(tuple(reversed(range(len(shape)))))


def stepped(shape: tuple[int, ...], dtype: np.dtype) -> torch.Tensor:
    return poisoned(tuple(3 * n for n in shape), dtype)[tuple(slice(1, None, 3) for _ in shape)]


def narrowed(shape: tuple[int, ...], dtype: np.dtype) -> torch.Tensor:
    tensor = poisoned(tuple(n + 3 for n in shape), dtype)
    for axis, length in enumerate(shape):
        tensor = tensor.narrow(axis, 2, length)
    return tensor


STRIDES = {"contiguous": poisoned, "transposed": transposed, "stepped": stepped, "narrowed": narrowed}


def written_outside(tensor: torch.Tensor) -> int:
    """How many bytes of a tensor's storage are not poison although they are not its elements."""
    memory = torch.tensor([], dtype=torch.uint8).set_(tensor.untyped_storage())  # type: ignore[call-overload]
    inside = torch.zeros(len(memory) // tensor.element_size(), dtype=torch.bool)
    inside.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).fill_(True)
    return int((memory.reshape(len(inside), -1)[~inside] != 0xA5).sum())


def compare(case: Case, tensor: torch.Tensor, expected: np.ndarray) -> None:
    pointer = tensor.data_ptr()
    engines.fill(case.draw, case.window, tensor)
    assert tensor.data_ptr() == pointer
    assert_same_bits(array_of(tensor), expected)
    assert written_outside(tensor) == 0


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("configuration", [*CONFIGURATIONS, "auto"])
def test_tensors_hold_the_same_bits_as_arrays(configuration: str, strides: str) -> None:
    some = covering()[: 24 if configuration in SLOW else 120]
    for case in some:
        expected = filled(case, "numpy, 1 thread")
        with fanin.use(engine="auto") if configuration == "auto" else use(configuration):
            compare(case, STRIDES[strides](case.window.shape, case.dtype), expected)
    assert {case.dtype for case in some} == set(FLOATS.values())


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("engine", [torch_engine, triton_engine])
def test_engines_write_tensors_themselves(engine: object, strides: str) -> None:
    """As on a device, where no array lies between."""
    some = covering()[:24]
    for case in some:
        tensor = STRIDES[strides](case.window.shape, case.dtype)
        engine.fill(case.draw, case.window, tensor, 1)  # type: ignore[attr-defined]
        assert_same_bits(array_of(tensor), filled(case, "numpy, 1 thread"))
        assert written_outside(tensor) == 0
    assert {case.dtype for case in some} == set(FLOATS.values())


DRAW = Draw(Normal(0.0, 1.0), (33, 21), as_layout("o i"), Stream("w", 7))
FIXED: list[Distribution] = [ConstantValue(0.1), ConstantValue(-0.0), Diagonal(0.1), UniformInterval(0.5, 0.5)]


def test_a_lying_engine_is_caught_through_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = torch_engine.round_values

    def one_ulp(single: torch.Tensor, name: str) -> torch.Tensor:
        drawn = honest(single, name).clone()
        drawn[-1, -1] += 1
        return drawn

    case = Case(DRAW, Window.whole(DRAW.shape), np.dtype(np.float32))
    expected = filled(case, "reference")
    with use("torch"):
        compare(case, poisoned(DRAW.shape, case.dtype), expected)
        monkeypatch.setattr(torch_engine, "round_values", one_ulp)
        with pytest.raises(AssertionError, match="1 of 693 elements differ"):
            compare(case, poisoned(DRAW.shape, case.dtype), expected)


def test_a_write_outside_would_be_told() -> None:
    tensor = narrowed((3, 4), np.dtype(np.float32))
    assert written_outside(tensor) == 0
    tensor.as_strided((1,), (1,), 0).fill_(1.0)
    assert written_outside(tensor) > 0


@pytest.mark.parametrize("engine", ["auto", "numba"])
def test_a_tensor_in_host_memory_is_written_without_a_copy(engine: str) -> None:
    draw = Draw(Normal(0.0, 1.0), (4096, 4096), stream=Stream("w", 7))
    for tensor in (torch.ones(4096, 4096), torch.ones(4096, 4096).t()):
        tracemalloc.start()
        try:
            with fanin.use(engine=engine, threads=2):
                engines.fill(draw, Window.whole(draw.shape), tensor)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 64 * MIB
        assert not bool((tensor == 1).any())
    array = tensors.array_over(tensor)
    assert isinstance(array, np.ndarray)
    assert array.ctypes.data == tensor.data_ptr()


# Memory that the host cannot reach -------------------------------------------------------------


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare host memory out of reach."""
    monkeypatch.setattr(tensors, "is_on_host", lambda tensor: False)
    assert isinstance(tensors.array_over(torch.ones(2)), tensors.DeviceArray)


def engines_used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which engines are asked for, from now on."""
    used: list[str] = []
    honest = engines._engine

    def asked(name: str) -> engines.Fill:
        used.append(name)
        return honest(name)

    monkeypatch.setattr(engines, "_engine", asked)
    return used


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("engine", ["auto", "torch", "triton", "numpy", "numba", "reference"])
def test_device_memory_holds_the_same_bits(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice torch writes what is not CUDA's; engines of the host draw there, and the bits are copied."""
    for (strides, make), dtype in itertools.product(STRIDES.items(), FLOATS.values()):
        used = engines_used(monkeypatch)
        case = Case(DRAW, Window((3, 2), (30, 20)), dtype)
        expected = filled(case, "numpy, 1 thread")
        used.clear()
        with fanin.use(engine=engine):
            compare(case, make(case.window.shape, dtype), expected)
        assert used == ["torch" if engine == "auto" else engine], strides
        monkeypatch.undo()
        monkeypatch.setattr(tensors, "is_on_host", lambda tensor: False)


@pytest.mark.usefixtures("device")
def test_cuda_is_written_by_triton_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cuda(torch.Tensor):
        is_cuda = True

    tensor = torch.empty(33, 21).as_subclass(Cuda)
    for able in (True, False):
        used = engines_used(monkeypatch)
        monkeypatch.setattr(engines, "_can_run_triton", lambda able=able: able)
        with fanin.use(engine="auto"):
            engines.fill(DRAW, Window.whole(DRAW.shape), tensor)
        assert used[-1] == ("triton" if able else "torch")


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("dtype", FLOATS.values(), ids=str)
def test_constants_diagonals_and_whole_recipes_reach_a_device(dtype: np.dtype) -> None:
    shape, window = (33, 21), Window((3, 2), (30, 20))
    recipes = [Draw(distribution, shape, as_layout("o i")) for distribution in FIXED]
    whole = Whole(lambda: np.linspace(-1.0, 1.0, 33 * 21, dtype=np.float32).reshape(shape), shape)
    for recipe, make in itertools.product([*recipes, whole], STRIDES.values()):
        expected = np.empty(window.shape, dtype)
        engines.fill(recipe, window, expected)
        tensor = make(window.shape, dtype)
        engines.fill(recipe, window, tensor)
        assert_same_bits(array_of(tensor), expected)
        assert written_outside(tensor) == 0
    scalar = poisoned((), dtype)
    engines.fill(Draw(ConstantValue(0.1), ()), Window((), ()), scalar)
    assert_same_bits(array_of(scalar), np.array(0.1, dtype))


@pytest.mark.parametrize("layout", [None, "o i"])
@pytest.mark.parametrize("flip", [False, True])
def test_a_diagonal_in_many_parts_is_where_row_equals_column(layout: str | None, flip: bool) -> None:
    """Parts that the diagonal misses are skipped, none that it meets."""
    shape, window = (700, 1100), Window((100, 50), (650, 1090))
    view = np.full(window.shape, np.nan, np.float32)
    engines.fill(Draw(Diagonal(2.0), shape, as_layout(layout)), window, view[::-1] if flip else view)
    expected = (2.0 * np.eye(*shape, dtype=np.float32))[window.slices]
    assert_same_bits(view[::-1] if flip else view, expected)


# What tensors are refused, and what autograd sees ------------------------------------------------


def test_a_meta_tensor_has_nothing_to_write_to() -> None:
    with pytest.raises(OutputError, match="meta device has no memory"):
        engines.fill(DRAW, Window.whole(DRAW.shape), torch.empty(DRAW.shape, device="meta"))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.bool])
def test_integers_hold_no_random_values(dtype: torch.dtype) -> None:
    tensor = torch.ones(DRAW.shape, dtype=dtype)
    with pytest.raises(DTypeError, match="cannot hold random values"):
        engines.fill(DRAW, Window.whole(DRAW.shape), tensor)
    assert bool((tensor == 1).all())
    engines.fill(Draw(ConstantValue(0), DRAW.shape), Window.whole(DRAW.shape), tensor)
    assert not bool(tensor.any())


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e5m2fnuz])
def test_dtypes_that_fanin_does_not_write_are_named(dtype: torch.dtype) -> None:
    with pytest.raises(DTypeError, match=f"unknown dtype {dtype}"):
        engines.fill(DRAW, Window.whole(DRAW.shape), torch.zeros(DRAW.shape, dtype=dtype))


@pytest.mark.parametrize("engine", ["numpy", "torch", "triton"])
def test_a_write_is_one_for_autograd(engine: str) -> None:
    """Parameters are written outside any graph; a backward pass that saved old values fails."""
    parameter = torch.nn.Parameter(torch.ones(DRAW.shape))
    with fanin.use(engine=engine):
        engines.fill(DRAW, Window.whole(DRAW.shape), parameter)
    assert parameter.requires_grad
    assert parameter.grad_fn is None
    result = (parameter * parameter).sum()
    with fanin.use(engine=engine):
        engines.fill(DRAW, Window.whole(DRAW.shape), parameter)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


def test_an_inference_tensor_is_written() -> None:
    with torch.inference_mode():
        tensor = torch.ones(DRAW.shape)
        engines.fill(DRAW, Window.whole(DRAW.shape), tensor)
    assert not bool((tensor == 1).any())


def test_settings_of_torch_change_nothing() -> None:
    case = Case(DRAW, Window.whole(DRAW.shape), FLOATS["bfloat16"])
    expected = filled(case, "reference")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert_same_bits(filled(case, "torch"), expected)
            assert_same_bits(filled(case, "triton, interpreted"), expected)
    finally:
        torch.set_default_dtype(torch.float32)


# Triton's shapes of programs ----------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 8, 64])
@pytest.mark.parametrize("dense", [1, 8])
def test_tiles_of_any_size_write_the_same_bits(groups: int, dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled, programs are small and many; interpreted, they are large: both are tried."""
    monkeypatch.setattr(triton_engine, "GROUPS", groups)
    monkeypatch.setattr(triton_engine, "DENSE", min(dense, groups))
    compare_forms()


def test_wide_offsets_and_small_launches_write_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with more than 2**31 elements, and more than 2**27 rows or columns."""
    monkeypatch.setattr(triton_engine, "NARROW", 1)
    compare_forms()
    monkeypatch.setattr(triton_engine, "MOST", 4)
    compare_forms()


def compare_forms() -> None:
    for shape, layout in [((5, 9), None), ((9, 7), "o i"), ((4, 2, 3), "o2 i o1"), ((3, 4, 2, 3), "o1 i o3 o2")]:
        draw = Draw(UniformInterval(0.0, 1.0), shape, as_layout(layout), Stream("w", 1))
        case = Case(draw, Window.whole(shape), np.dtype(np.float32))
        for order in ("C", "strided"):
            assert_same_bits(filled(case, SLOW[0], order=order), filled(case, "reference"))


def test_a_device_that_triton_does_not_write_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        return  # the host's memory is then drawn there
    monkeypatch.setattr(triton_engine, "INTERPRETED", False)
    with pytest.raises(EngineError, match="writes CUDA devices, and was asked for 'cpu'; choose engine='torch'"):
        triton_engine.fill(DRAW, Window.whole(DRAW.shape), torch.empty(DRAW.shape), 1)
