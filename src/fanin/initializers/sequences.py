"""Initializers that count: a ramp along one axis, and sinusoids of positions."""

import math
import operator
from typing import Any, SupportsIndex

import numpy as np

from fanin.engines.rounding import round_array
from fanin.errors import ArgumentError, DTypeError, ShapeError
from fanin.initializers.base import Initializer, real, scalar
from fanin.initializers.elementary import MOST_QUARTERS, cos, exp, log, sin
from fanin.initializers.elementwise import each
from fanin.initializers.indices import index
from fanin.layouts import ARRAY_ORDER, Layout, Shape
from fanin.recipe import Recipe, Whole, Window

__all__ = ["Arange", "Sinusoids"]


class Arange(Initializer):
    """Numbers that step along one axis, the same at every place of the others.

    ``w[..., n, ...] = start + step n``, n the index along the axis.

    Args:
        start: the first number.
        step: from one to the next.
        axis: which axis of the array as it is stored, whatever the layout; the last one by default.

    Raises:
        ArgumentError: an argument is no finite number, or the last number is beyond float64 or 2**62 (at the call).
        ShapeError: the shape has no such axis (at the call).
        DTypeError: an integer dtype does not hold every number exactly (at the call).

    Exactness: integers stay integers; else ``step n``, rounded to float64, is added to the start in float64, which
        is rounded once to the dtype. The same bits on every machine; a window costs only the window.

    >>> from fanin import initializers
    >>> initializers.Arange(1)((2, 4))
    array([[1., 2., 3., 4.],
           [1., 2., 3., 4.]], dtype=float32)
    """

    def __init__(self, start: float = 0, step: float = 1, axis: SupportsIndex = -1) -> None:
        self.start, self.step = _number(self, "start", start), _number(self, "step", step)
        try:
            if isinstance(axis, bool):
                raise TypeError
            self.axis = operator.index(axis)
        except TypeError:
            raise ArgumentError(f"Arange: axis must be an integer, not {axis!r}.") from None

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        if layout.stated:
            layout.axes(shape)
        if not -len(shape) <= self.axis < len(shape):
            raise ShapeError(f"Arange: axis={self.axis} is no axis of the shape {shape!r}, which has {len(shape)}.")
        last = self.start + self.step * max(0, shape[self.axis] - 1)
        greatest = max(abs(self.start), abs(last))
        if not greatest < (2**62 if isinstance(last, int) else np.inf):
            raise ArgumentError(f"{self!r} reaches {greatest!r} in the shape {shape!r}, more than 64 bits hold.")

        def part(window: Window) -> np.ndarray:
            steps = index(ARRAY_ORDER, shape, self.axis, window)
            return np.broadcast_to(self.start + self.step * steps, window.shape)

        return Whole.by_windows(part, shape)

    def _check_computed(self, recipe: Whole, layout: Layout, dtype: np.dtype) -> None:
        if math.prod(recipe.shape):
            for corner in (0, -1):
                start = tuple(range(length)[corner] for length in recipe.shape)
                round_array(recipe.values(Window(start, tuple(at + 1 for at in start))), dtype)
            if dtype.kind in "biu" and not isinstance(self.start + self.step, int):
                raise DTypeError(f"{dtype.name} cannot hold the values of {self!r}; give integers.")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {"start": self.start, "step": self.step, "axis": self.axis}


class Sinusoids(Initializer):
    """Sines and cosines of positions, at frequencies that fall geometrically: fixed position embeddings.

    For the last two axes of the array as it is stored, T positions and C channels, with ``n = C / 2`` frequencies ::

        f[j] = max_timescale ** (-j / n), j = 0 ... n - 1           (or j / (n - 1) with endpoint=True)
        w[t, j] = sin(t f[j]),  w[t, n + j] = cos(t f[j])           (or w[t, 2 j] and w[t, 2 j + 1], interleaved)

    the same on every further axis, whatever the layout. With ``grid=[rows, columns]`` position t stands for the place
    ``(t // columns, t % columns)``: the first half of the channels are these sinusoids of the column, the
    second half those of the row.

    Args:
        max_timescale: the longest period over 2 pi, above 1.
        endpoint: whether the last frequency is 1 / max_timescale itself.
        interleaved: whether sines and cosines take turns.
        grid: rows and columns of positions in two dimensions; None for one.

    Raises:
        ArgumentError: an argument is none of these.
        ShapeError: there are no two axes, too few channels, or not as many positions as the grid has (at the call).

    Returns (from a call): values in the closed interval [-1, 1].

    Exactness: computed in float64 from ``+ - * /`` alone and rounded once to float32, which is the value:
        the same bits on every machine; a window costs only the window. More accurate than the float32 angles
        of PyTorch code, which for position 1500 are off by up to 1e-4.

    References: Vaswani et al. 2017, arXiv:1706.03762, section 3.5 (interleaved); tensor2tensor's
    `get_timing_signal_1d` and Whisper's `sinusoids` (endpoint); `get_2d_sincos_pos_embed` of MAE and DiT (grid).

    >>> from fanin import initializers
    >>> initializers.Sinusoids(interleaved=True)((3, 4)).round(2)
    array([[ 0.  ,  1.  ,  0.  ,  1.  ],
           [ 0.84,  0.54,  0.01,  1.  ],
           [ 0.91, -0.42,  0.02,  1.  ]], dtype=float32)
    """

    def __init__(
        self,
        max_timescale: float = 10000.0,
        endpoint: bool = False,
        interleaved: bool = False,
        grid: Any = None,
    ) -> None:
        self.max_timescale = real(self, "max_timescale", max_timescale)
        if not self.max_timescale > 1:
            raise ArgumentError(f"Sinusoids: max_timescale must be above 1, not {max_timescale!r}.")
        self.endpoint, self.interleaved = _truth("endpoint", endpoint), _truth("interleaved", interleaved)
        self.grid = None if grid is None else _grid(grid)

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        if layout.stated:
            layout.axes(shape)
        if len(shape) < 2:
            raise ShapeError(f"Sinusoids: the shape {shape!r} has no two axes, for positions and channels.")
        positions, channels = shape[-2:]
        if positions > MOST_QUARTERS:
            raise ShapeError(f"Sinusoids: {positions} positions are more than {MOST_QUARTERS}.")
        if self.grid is not None and math.prod(self.grid) != positions:
            raise ShapeError(f"Sinusoids: grid={self.grid!r} has {math.prod(self.grid)} positions, not {positions}.")
        block = channels if self.grid is None else channels // 2
        each_of = 2 if self.grid is None else 4
        if channels % each_of or (self.endpoint and block == 2):
            least = f", at least {2 * each_of}," if self.endpoint else ""
            raise ShapeError(
                f"Sinusoids: {self!r} splits channels into {each_of} equal parts{least} and cannot split the "
                f"{channels} of the shape {shape!r}."
            )

        def part(window: Window) -> np.ndarray:
            position, channel = (index(ARRAY_ORDER, shape, axis, window) for axis in (-2, -1))
            if self.grid is not None:
                row, column = np.divmod(position, self.grid[1])
                position, channel = np.where(channel < block, column, row), channel % block
            return np.broadcast_to(self._waves(position, channel, block // 2), window.shape)

        return Whole.by_windows(part, shape)

    def _waves(self, position: np.ndarray, channel: np.ndarray, frequencies: int) -> np.ndarray:
        number = channel // 2 if self.interleaved else channel % frequencies
        even = channel % 2 == 0 if self.interleaved else channel < frequencies
        falls = log(np.array(self.max_timescale)) / max(1, frequencies - self.endpoint)
        angles = position * exp(-falls * number)
        result: np.ndarray = np.where(even, each(sin, angles), each(cos, angles))
        return result

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer."""
        return {
            "max_timescale": self.max_timescale,
            "endpoint": self.endpoint,
            "interleaved": self.interleaved,
            "grid": None if self.grid is None else list(self.grid),
        }


def _number(owner: object, argument: str, value: object) -> float | int:
    number = scalar(owner, argument, value)
    return number if isinstance(number, int) else real(owner, argument, number)


def _truth(argument: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ArgumentError(f"Sinusoids: {argument} must be True or False, not {value!r}.")


def _grid(value: Any) -> tuple[int, int]:
    try:
        rows, columns = (operator.index(length) for length in value)
        if isinstance(value, str) or min(rows, columns) < 1:
            raise TypeError
    except (TypeError, ValueError):
        raise ArgumentError(f"Sinusoids: grid must be two counts, rows and columns, not {value!r}.") from None
    return rows, columns
