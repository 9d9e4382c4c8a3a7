"""Extreme words, counters and values, straight into each step of the engines that compute on whole arrays."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import triton_kernels
from harness import DISTRIBUTIONS, assert_same_bits
from test_dtypes import extreme_float32

from fanin.engines import numpy as numpy_engine
from fanin.engines import torch as torch_engine
from fanin.engines.rounding import narrowing
from fanin.recipe import Distribution, Normal, Stream, UniformInterval
from fanin.spec import FORMATS, from_bits, round_bits, words
from fanin.spec.variates import value


def extreme_words() -> np.ndarray:
    """Both ends of both halves, powers of two and ties of the float32 of a tail, each with its neighbours; and some."""
    edges = {0, 2**31 - 1, 2**31, 2**32 - 1}
    for power in range(32):
        edges |= {2**power, 2**32 - 2**power, 2**31 - 2**power, 2**31 + 2**power}
        for odd in (2**24 + 1, 2**24 + 3, 2**25 - 1):  # halfway between two float32, once doubled and shifted
            edges |= {(odd << power) % 2**32, ~(odd << power) % 2**32}
    near = {(edge + step) % 2**32 for edge in edges for step in (-2, -1, 0, 1, 2)}
    some = np.random.default_rng(1).integers(0, 2**32, 2000)
    return np.concatenate([np.array(sorted(near)), some]).astype(np.uint32)


def on_torch(drawn: np.ndarray, distribution: Normal | UniformInterval) -> np.ndarray:
    grid = distribution.grid()
    assert grid is not None
    return torch_engine.values(torch.from_numpy(drawn.astype(np.int64)), grid).numpy()


def on_numpy(drawn: np.ndarray, distribution: Normal | UniformInterval) -> np.ndarray:
    grid = distribution.grid()
    assert grid is not None
    result = np.empty(len(drawn), np.float32)
    numpy_engine._transform(drawn, result, grid, numpy_engine._Buffers(len(drawn)))
    return result


VALUES = {"numpy": on_numpy, "torch": on_torch, "triton": triton_kernels.values}


@pytest.mark.parametrize("engine", VALUES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_extreme_words_become_the_values_of_spec(engine: str, distribution: Distribution) -> None:
    assert isinstance(distribution, Normal | UniformInterval)
    drawn, grid = extreme_words(), distribution.grid()
    assert grid is not None
    assert len(drawn) > 2500
    expected = np.array([value(int(word), grid) for word in drawn], np.float32)
    assert_same_bits(VALUES[engine](drawn, distribution), expected)


def bits_on_torch(single: np.ndarray, name: str) -> np.ndarray:
    rounded = torch_engine.round_values(torch.from_numpy(single), name)
    width = FORMATS[name].bits
    return rounded.to(getattr(torch, f"int{width}")).numpy().view(f"u{width // 8}")


ROUNDINGS: dict[str, Callable[[np.ndarray, str], np.ndarray]] = {
    "torch": bits_on_torch,
    "triton": triton_kernels.round_values,
}


@pytest.mark.parametrize("engine", ROUNDINGS)
@pytest.mark.parametrize("name", FORMATS)
def test_values_at_every_edge_are_rounded_like_spec(engine: str, name: str) -> None:
    single = extreme_float32()
    assert len(single) > 3000
    if FORMATS[name].bits >= 32:  # float32 subnormals never arise, and a device may flush them
        single = single[(single == 0) | (np.abs(single) >= 2.0**-126)]
    found = ROUNDINGS[engine](single, name)
    assert_same_bits(found, np.array([round_bits(float(x), name) for x in single], found.dtype))


def test_a_truncating_rounding_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_engine, "_narrowed", lambda magnitude, form: (magnitude - form.rebias) >> form.drop)
    with pytest.raises(AssertionError, match="elements differ"):
        test_values_at_every_edge_are_rounded_like_spec("torch", "bfloat16")


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.bits <= 16])
def test_the_last_float32_that_does_not_overflow(name: str) -> None:
    form = FORMATS[name]
    last = narrowing(name).last
    assert round_bits(from_bits(last, "float32"), name) == round_bits(form.greatest, name)
    assert round_bits(from_bits(last + 1, "float32"), name) == form.overflow


EDGES = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 0x243F6A88, 0x85A308D3, 0xD2511F53]


@pytest.mark.parametrize("key", [(0, 0), (2**32 - 1, 2**32 - 1), (0xA4093822, 0x299F31D0), (2**31, 1)])
def test_extreme_counters_become_the_words_of_spec(key: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    upper = [(0, 0), (2**32 - 1, 2**32 - 1), (0x13198A2E, 0x03707344), (2**31, 2**31 - 1)]
    compared = 0
    for n2, n3 in upper:
        monkeypatch.setattr(Stream, "words", lambda stream, fixed=(n2, n3): (key, fixed))
        edges = torch.tensor(EDGES, dtype=torch.int64)
        expected = np.array([[words(key, (c0, c1, n2, n3)) for c0 in EDGES] for c1 in EDGES], np.uint32)
        found = torch_engine._words(Stream("", 0), edges, edges).numpy()
        assert_same_bits(found.astype(np.uint32), expected.reshape(found.shape))
        assert found.min() >= 0  # the upper halves of int64 are empty
        counters = np.array([(c0, c1, n2, n3) for c1 in EDGES for c0 in EDGES], np.uint32)
        assert_same_bits(triton_kernels.philox(counters, key), expected.reshape(-1, 4))
        compared += expected.size
    assert compared == 4 * 4 * 64
