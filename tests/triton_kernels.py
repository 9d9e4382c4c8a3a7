"""Kernels that hand single steps of the Triton engine out, for tests: words to values, values to bits."""

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from fanin.engines import triton as engine
from fanin.engines import triton_kernel as kernel
from fanin.recipe import Normal, UniformInterval

DEVICE = "cpu" if engine.INTERPRETED else "cuda"
TILE = 4096


@triton.jit
def _values(
    words, out, count, origin, slope, least, greatest, unit, knots, distance, FORM: tl.constexpr, TILE: tl.constexpr
):
    at = tl.program_id(0) * TILE + tl.arange(0, TILE)
    word = tl.load(words + at, mask=at < count, other=0).to(tl.uint32, bitcast=True)
    width = slope.to(tl.uint32, bitcast=True)
    value = kernel.values(word, origin, width, least, greatest, unit, knots, distance, FORM)
    tl.store(out + at, value, mask=at < count)


@triton.jit
def _round(
    values, out, count, BITS: tl.constexpr, DROP: tl.constexpr, REBIAS: tl.constexpr, SUBNORMALS: tl.constexpr,
    NORMAL: tl.constexpr, MOST: tl.constexpr, LAST: tl.constexpr, OVERFLOW: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * TILE + tl.arange(0, TILE)
    value = tl.load(values + at, mask=at < count, other=0)
    bits = kernel.round_values(value, BITS, DROP, REBIAS, SUBNORMALS, NORMAL, MOST, LAST, OVERFLOW)
    tl.store(out + at, bits.to(out.dtype.element_ty), mask=at < count)


@triton.jit
def _philox(counters, out, k0, k1, TILE: tl.constexpr):
    at = tl.arange(0, TILE)
    c0 = tl.load(counters + 4 * at).to(tl.uint32, bitcast=True)
    c1 = tl.load(counters + 4 * at + 1).to(tl.uint32, bitcast=True)
    c2 = tl.load(counters + 4 * at + 2).to(tl.uint32, bitcast=True)
    c3 = tl.load(counters + 4 * at + 3).to(tl.uint32, bitcast=True)
    key = k0.to(tl.uint32, bitcast=True)
    x0, x1, x2, x3 = kernel.philox(c0, c1, c2, c3, key, k1.to(tl.uint32, bitcast=True))
    tl.store(out + 4 * at, x0.to(tl.int32, bitcast=True))
    tl.store(out + 4 * at + 1, x1.to(tl.int32, bitcast=True))
    tl.store(out + 4 * at + 2, x2.to(tl.int32, bitcast=True))
    tl.store(out + 4 * at + 3, x3.to(tl.int32, bitcast=True))


def values(words: np.ndarray, distribution: Normal | UniformInterval) -> np.ndarray:
    """uint32 words to float32 values."""
    given = torch.from_numpy(words.view(np.int32)).to(DEVICE)
    out = torch.empty(len(words), dtype=torch.float32, device=DEVICE)
    arguments: dict[str, Any] = engine._distribution(distribution, torch.device(DEVICE))
    _values[(triton.cdiv(len(words), TILE),)](given, out, count=len(words), TILE=TILE, **arguments)
    return out.cpu().numpy()


def round_values(single: np.ndarray, name: str) -> np.ndarray:
    """float32 values to the bits of a format."""
    arguments = engine._format(name)
    width = arguments["BITS"]
    out = torch.empty(len(single), dtype=getattr(torch, f"int{width}"), device=DEVICE)
    _round[(triton.cdiv(len(single), TILE),)](
        torch.from_numpy(single).to(DEVICE), out, count=len(single), TILE=TILE, **arguments
    )
    return out.cpu().numpy().view(f"u{width // 8}")


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Blocks of one key; as many as a power of two."""
    out = torch.empty(counters.shape, dtype=torch.int32, device=DEVICE)
    given = torch.from_numpy(counters.view(np.int32)).to(DEVICE)
    _philox[(1,)](given, out, *map(engine._int32, key), TILE=len(counters))
    return out.cpu().numpy().view(np.uint32)
