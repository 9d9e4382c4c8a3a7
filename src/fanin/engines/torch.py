"""The engine in torch's own operations, for tensors on any device: integers in int64 that carry 32-bit words.

Eager, so that no compiler rearranges anything: each operation below rounds as it is written. A tile
at a time, so that a fill needs little memory beyond its output.
"""

import functools

import numpy as np
import torch

from fanin.engines.geometry import is_regular
from fanin.engines.rounding import Narrowing, narrowing
from fanin.engines.tables import table
from fanin.engines.tensors import carrier_and_coordinates, dtype_of
from fanin.engines.tiles import LANES, Matrix, matrix, tile_shape, tiles
from fanin.recipe import Draw, Stream, Window
from fanin.spec.grids import Affine, Scaled, Uniform
from fanin.spec.philox import INCREMENTS, MASK, MULTIPLIERS, ROUNDS

# Blocks per tile. On a processor the tile's words are to stay near a cache; on an accelerator an
# operation is to be long beside the time of launching it. 2**18 blocks need some 100 MiB.
BLOCKS_ON_HOST, BLOCKS_ON_DEVICE = 2**16, 2**18

Grid = Uniform | Scaled | Affine


def fill(draw: Draw, window: Window, view: np.ndarray | torch.Tensor, threads: int) -> None:
    """Write a window of a draw into an array or a tensor of its shape; `threads` is torch's own affair."""
    if isinstance(view, np.ndarray) and not is_regular(view):
        whole = np.empty(view.shape, view.dtype)
        fill(draw, window, whole, threads)
        view[...] = whole
        return
    memory, coordinates = carrier_and_coordinates(view, draw.coordinates(window))
    name = dtype_of(view).name
    shape = tile_shape(coordinates, BLOCKS_ON_HOST if memory.device.type == "cpu" else BLOCKS_ON_DEVICE)
    with torch.no_grad():
        for tile in tiles(coordinates, shape):
            part = matrix(coordinates.window(tile.start, tile.stop))
            _fill_tile(draw, part, memory[tile.slices], name)


def _fill_tile(draw: Draw, part: Matrix, memory: torch.Tensor, name: str) -> None:
    """Write one tile: draw a matrix of rows and columns, then give it the tile's axes."""
    assert draw.stream is not None
    grid = draw.distribution.grid()
    assert grid is not None
    words = _words(draw.stream, _integers(part.rows, memory.device), _integers(part.blocks, memory.device))
    lanes = part.lanes if isinstance(part.lanes, slice) else _integers(part.lanes, memory.device)
    drawn = round_values(values(words[:, lanes], grid), name)
    memory.permute(part.order).copy_(drawn.reshape(part.shape))


def _integers(numbers: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(numbers.astype(np.int64, copy=False)).to(device)


def _words(stream: Stream, rows: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """The words of every row and block: a matrix of rows and columns, four columns to a block.

    A product of two words wraps around in int64; its halves are right once they are masked.
    """
    (k0, k1), (n2, n3) = stream.words()
    c0, c1 = blocks[None, :], rows[:, None]
    c2, c3 = torch.full_like(c0, n2), torch.full_like(c1, n3)
    for number in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = (p1 >> 32 & MASK) ^ c1 ^ (k0 + number * INCREMENTS[0] & MASK)
        c2 = (p0 >> 32 & MASK) ^ c3 ^ (k1 + number * INCREMENTS[1] & MASK)
        c1, c3 = p1 & MASK, p0 & MASK
    return torch.stack((c0, c1, c2, c3), dim=-1).reshape(len(rows), len(blocks) * LANES)


def values(words: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Words to float32 values: `fanin.spec.variates`."""
    if isinstance(grid, Uniform):
        v, unit = grid.origin + _mulhi(words, grid.width), grid.unit
    elif isinstance(grid, Scaled):
        v, unit = variates(words, grid.lower, grid.upper), grid.scale
    else:
        z = variates(words, grid.lower, grid.upper)
        offset = _mulhi(z.abs() << 1, grid.slope)
        v, unit = (grid.origin + torch.where(z < 0, -offset, offset)).clamp_(grid.least, grid.greatest), grid.unit
    return v.to(torch.int32).to(torch.float32).mul_(unit)


def variates(words: torch.Tensor, lower: float, upper: float) -> torch.Tensor:
    """Words to variates in units of 2**-27."""
    knots, distance = _knots(lower, upper, words.device)
    negative = words > 0x7FFFFFFF
    tail = torch.where(negative, words ^ MASK, words).mul_(-2).add_(MASK)
    bits = tail.to(torch.float32).view(torch.int32)
    index = (bits >> 14).to(torch.int64).sub_(65024)
    if distance:
        index += torch.where(negative, 0, distance)
    z = knots[index]
    rise = knots[index.add_(1)].sub_(z)
    z += rise.mul_(bits & 16383) >> 14
    return torch.where(negative, z, -z)


@functools.lru_cache(maxsize=32)
def _knots(lower: float, upper: float, device: torch.device) -> tuple[torch.Tensor, int]:
    """A table on a device."""
    knots, distance = table(lower, upper)
    return _integers(knots, device), distance


def _mulhi(words: torch.Tensor, factor: int) -> torch.Tensor:
    return (words * factor >> 32).bitwise_and_(MASK)


def round_values(single: torch.Tensor, name: str) -> torch.Tensor:
    """float32 values to the bits of a format, as integers that the carrier of the format holds after wrapping.

    In integers, since torch's own casts saturate where float8_e4m3fn overflows.
    """
    if name == "float64":
        return single.to(torch.float64).view(torch.int64)
    bits = single.view(torch.int32)
    if name == "float32":
        return bits
    form = narrowing(name)
    magnitude = bits & 0x7FFFFFFF
    rounded = _narrowed(magnitude, form).masked_fill_(magnitude > form.last, form.overflow)
    return rounded | (bits < 0).to(torch.int32) << (form.bits - 1)


def _narrowed(magnitude: torch.Tensor, form: Narrowing) -> torch.Tensor:
    """Bits of magnitudes, rounded; where the result is subnormal, more of them, the leading one made explicit."""
    if form.subnormals:
        base = magnitude - form.rebias
        drop = (form.normal - (magnitude >> 23)).clamp_(0, form.most).add_(form.drop)
        base = torch.where(drop > form.drop, magnitude & 0x7FFFFF | 0x800000, base)
        half = torch.ones_like(drop) << (drop - 1)
        return (base + (half - 1) + (base >> drop & 1)) >> drop
    return (magnitude + ((1 << (form.drop - 1)) - 1) + (magnitude >> form.drop & 1)) >> form.drop
