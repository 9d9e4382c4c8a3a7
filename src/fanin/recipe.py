"""Recipes, the narrow waist: everything that decides the numbers of a tensor, as plain frozen data.

A recipe is validated while it is made; engines below trust it. A `Draw` is elementwise and obeys
every law; a `Whole` needs the whole tensor at once, is computed on the host and then cut.
"""

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fanin.dtypes import FLOATS
from fanin.errors import ArgumentError, DTypeError, SeedError, WindowError
from fanin.layouts import ARRAY_ORDER, Coordinates, Layout, Shape, check_shape
from fanin.spec import FORMATS, identity
from fanin.spec.grids import (
    GREATEST_BOUND,
    GREATEST_NORMAL,
    LEAST_SCALE,
    LEAST_SPAN,
    Affine,
    Scaled,
    Uniform,
    affine_grid,
    scaled_grid,
    uniform_grid,
)

__all__ = [
    "ConstantValue",
    "Diagonal",
    "Distribution",
    "Draw",
    "Normal",
    "Piece",
    "Recipe",
    "Stream",
    "UniformInterval",
    "Whole",
    "Window",
    "check_seed",
    "check_shape",
]

Grid = Uniform | Scaled | Affine

_FLOAT32_MAX = FORMATS["float32"].greatest


def check_seed(seed: object) -> int:
    """Turn a seed into an int from 0 to 2**64 - 1.

    Raises:
        SeedError: it is a bool, a float, negative or too large.
    """
    try:
        number = operator.index(seed)  # type: ignore[arg-type]  # refusing what has no __index__ is the point
    except (TypeError, AttributeError):  # of which TensorFlow's floats raise the second
        number = -1
    if isinstance(seed, bool | np.bool_) or not 0 <= number < 2**64:
        raise SeedError(f"seed must be an integer from 0 to 2**64 - 1, or None for fresh values, not {seed!r}.")
    return number


def _parameter(name: str, value: float, *, least_scale: bool = False) -> float:
    """Round a parameter to float32, refusing what is then not finite or too small."""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value))
    if not math.isfinite(rounded):
        raise ArgumentError(f"{name} must be a finite float32, not {value!r}.")
    if least_scale and value != 0 and abs(rounded) < LEAST_SCALE:
        raise ArgumentError(
            f"{name} is {value!r}, below 2**-90 (about 8e-28), where float32 products leave the normal range; "
            f"use a larger value or 0."
        )
    return rounded


@dataclass(frozen=True, slots=True)
class ConstantValue:
    """One value everywhere; it is rounded once from float64 to the target dtype."""

    value: float | int | bool

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return float(self.value), float(self.value)

    def grid(self) -> None:
        """A constant needs no grid."""


@dataclass(frozen=True, slots=True)
class Diagonal:
    """A value where the logical row equals the logical column, zero elsewhere."""

    value: float

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return min(0.0, self.value), max(0.0, self.value)

    def grid(self) -> None:
        """A placed constant needs no grid."""


@dataclass(frozen=True, slots=True)
class UniformInterval:
    """Uniform on the half-open interval [minval, maxval)."""

    minval: float
    maxval: float

    def __post_init__(self) -> None:
        if math.isnan(self.minval) or math.isnan(self.maxval) or self.minval > self.maxval:
            raise ArgumentError(f"minval must not exceed maxval: got minval={self.minval!r}, maxval={self.maxval!r}.")
        low, high = _parameter("minval", self.minval), _parameter("maxval", self.maxval)
        _parameter("the interval's larger end", max(abs(self.minval), abs(self.maxval)), least_scale=True)
        object.__setattr__(self, "minval", low)
        object.__setattr__(self, "maxval", high)
        self.grid()

    def bounds(self) -> tuple[float, float]:
        """The ends of the interval."""
        return self.minval, self.maxval

    def grid(self) -> Uniform | None:
        """The integer grid; None for an interval of one point, which is a constant."""
        return None if self.minval == self.maxval else uniform_grid(self.minval, self.maxval)


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal with a mean and a standard deviation, cut at bounds in standard deviations from the mean.

    The deviation is that before the cut. Bounds that no variate reaches are dropped.
    """

    mean: float
    stddev: float
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        if not self.stddev >= 0:
            raise ArgumentError(f"stddev must be at least 0, not {self.stddev!r}.")
        if not self.lower < self.upper:
            raise ArgumentError(f"lower must be below upper: got lower={self.lower!r}, upper={self.upper!r}.")
        with np.errstate(over="ignore"):  # a bound that far is as good as none
            low, high = float(np.float32(self.lower)), float(np.float32(self.upper))
        if -low >= GREATEST_NORMAL / 2**27 and high >= GREATEST_NORMAL / 2**27:
            low, high = -math.inf, math.inf
        if low > GREATEST_BOUND or high < -GREATEST_BOUND or high - low < LEAST_SPAN:
            raise ArgumentError(
                f"next to nothing of a normal lies between lower={self.lower!r} and upper={self.upper!r} standard "
                f"deviations; keep one bound within 9 and the two 2**-11 apart."
            )
        low, high = (0.0 if abs(bound) < LEAST_SCALE else bound for bound in (low, high))
        # Beyond 14 nothing is left to cut: 2**-146 of the distribution.
        low = -14.0 if -math.inf < low < -14.0 else low
        high = 14.0 if 14.0 < high < math.inf else high
        for field, value in (
            ("mean", _parameter("mean", self.mean, least_scale=True)),
            ("stddev", _parameter("stddev", self.stddev, least_scale=True)),
            ("lower", low),
            ("upper", high),
        ):
            object.__setattr__(self, field, value)
        self.bounds()

    def bounds(self) -> tuple[float, float]:
        """A closed interval that holds every value."""
        extreme = 14.0 if math.isfinite(self.lower) or math.isfinite(self.upper) else GREATEST_NORMAL / 2**27
        low = self.mean + max(self.lower, -extreme) * self.stddev
        high = self.mean + min(self.upper, extreme) * self.stddev
        if max(abs(low), abs(high)) > _FLOAT32_MAX:
            raise ArgumentError(f"mean={self.mean!r} and stddev={self.stddev!r} give values beyond float32.")
        return low, high

    def grid(self) -> Scaled | Affine | None:
        """The integer grid; None where the deviation is zero, which is a constant."""
        if self.stddev == 0:
            return None
        if self.mean == 0:
            return scaled_grid(self.stddev, self.lower, self.upper)
        return affine_grid(self.mean, self.stddev, self.lower, self.upper)


Distribution = ConstantValue | Diagonal | UniformInterval | Normal


@dataclass(frozen=True, slots=True)
class Stream:
    """The identity of a logical tensor: its name and the seed.

    Attributes:
        name: the logical name.
        seed: 0 to 2**64 - 1.
        more: words 2 and 3 of a JAX key of four, whose words 0 and 1 are the seed (docs/stream.md, section 3).
    """

    name: str
    seed: int
    more: tuple[int, int] = (0, 0)

    def words(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The Philox key, and counter words 2 and 3."""
        key, (n2, n3) = identity(self.name, self.seed)
        return key, (n2 ^ self.more[0], n3 ^ self.more[1])


@dataclass(frozen=True, slots=True)
class Window:
    """A box inside a tensor: one start and one stop per array axis."""

    start: Shape
    stop: Shape

    @classmethod
    def whole(cls, shape: Shape) -> "Window":
        """The window that is the whole tensor."""
        return cls((0,) * len(shape), shape)

    @classmethod
    def of(cls, shape: Shape, slices: object) -> "Window":
        """Read a window from one slice per axis (missing ones are whole; an Ellipsis may stand for them).

        Raises:
            WindowError: a slice has a step, leaves the shape, or there are more slices than axes.
        """
        if slices is None:
            return cls.whole(shape)
        if isinstance(slices, Window):
            slices = tuple(slice(a, b) for a, b in zip(slices.start, slices.stop, strict=True))
        given = tuple(slices) if isinstance(slices, tuple | list) else (slices,)
        if sum(item is Ellipsis for item in given) == 1:
            at = next(i for i, item in enumerate(given) if item is Ellipsis)
            fill = (slice(None),) * (len(shape) - len(given) + 1)
            given = given[:at] + fill + given[at + 1 :]
        if len(given) > len(shape):
            raise WindowError(f"window {slices!r} has {len(given)} slices for the shape {shape!r}.")
        given += (slice(None),) * (len(shape) - len(given))
        starts, stops = [], []
        for axis, (item, length) in enumerate(zip(given, shape, strict=True)):
            try:
                if not isinstance(item, slice) or not (item.step is None or operator.index(item.step) == 1):
                    raise WindowError(
                        f"window {slices!r}: axis {axis} is {item!r}; give a slice(start, stop) without a step."
                    )
                start = 0 if item.start is None else operator.index(item.start)
                stop = length if item.stop is None else operator.index(item.stop)
            except TypeError:
                raise WindowError(
                    f"window {slices!r}: axis {axis} has bounds that are no integers; give a slice(start, stop)."
                ) from None
            if not 0 <= start <= stop <= length:
                raise WindowError(
                    f"window {slices!r}: axis {axis} asks for {start}:{stop} of {length} elements. Windows do not wrap "
                    f"or clip: give 0 <= start <= stop <= {length}."
                )
            starts.append(start)
            stops.append(stop)
        return cls(tuple(starts), tuple(stops))

    @property
    def shape(self) -> Shape:
        """The shape of the window."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """The window as an index into the whole array."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))


@dataclass(frozen=True, slots=True)
class Draw:
    """A tensor whose every element depends on its own coordinates only.

    Attributes:
        distribution: what is drawn.
        shape: of the whole array.
        layout: how the array's axes map to logical coordinates.
        stream: identity; None for distributions that draw nothing.
    """

    distribution: Distribution
    shape: Shape
    layout: Layout = ARRAY_ORDER
    stream: Stream | None = None

    windowable = True

    def coordinates(self, window: Window) -> Coordinates:
        """The logical rows and columns of a window."""
        return self.layout.coordinates(self.shape).window(window.start, window.stop)

    def check_dtype(self, dtype: np.dtype) -> None:
        """Refuse a dtype that cannot hold the values.

        Raises:
            DTypeError: integers for a random draw, a constant that is no such integer, or a range beyond
            the dtype's greatest value.
        """
        check_range(self.distribution, dtype)


@functools.lru_cache(maxsize=1024)
def check_range(distribution: Distribution, dtype: np.dtype) -> None:
    """Refuse a dtype that cannot hold a distribution's values."""
    if dtype.name not in FORMATS:
        if isinstance(distribution, UniformInterval | Normal):
            raise DTypeError(f"{dtype.name} cannot hold random values; use one of {', '.join(FLOATS)}.")
        if not _is_integer(distribution.value, dtype):
            raise DTypeError(
                f"{dtype.name} cannot hold {distribution.value!r}; use a floating-point dtype or an integer in range."
            )
        return
    low, high = distribution.bounds()
    greatest = FORMATS[dtype.name].greatest
    if max(abs(low), abs(high)) > greatest:
        raise DTypeError(
            f"{distribution!r} reaches {max(abs(low), abs(high))!r}, beyond {greatest!r}, the greatest {dtype.name}; "
            f"use a wider dtype or a smaller scale."
        )


def _is_integer(value: float | int | bool, dtype: np.dtype) -> bool:
    if value != int(value):
        return False
    if dtype.kind == "b":
        return value in (0, 1)
    info = np.iinfo(dtype)
    return bool(info.min <= value <= info.max)


@dataclass(frozen=True, slots=True)
class Whole:
    """A tensor that is computed at once, on the host, or a window at a time.

    Attributes:
        compute: returns the whole array in its array order, before the rounding to the target dtype. What
            is computed has been rounded to float32, or is of integers; constants are known in float64.
        shape: of the whole array.
        windowable: whether a window costs only the window.
        part: returns a window of that array, where the whole is not needed for it.
    """

    compute: Callable[[], np.ndarray]
    shape: Shape
    windowable: bool = False
    part: Callable[[Window], np.ndarray] | None = None

    @classmethod
    def by_windows(cls, part: Callable[[Window], np.ndarray], shape: Shape) -> "Whole":
        """A tensor of which any window can be computed alone."""
        return cls(lambda: part(Window.whole(shape)), shape, windowable=True, part=part)

    def values(self, window: Window) -> np.ndarray:
        """Compute a window."""
        return self.compute()[window.slices] if self.part is None else self.part(window)

    def check_dtype(self, dtype: np.dtype) -> None:
        """Every dtype takes what is computed, rounded once."""


Recipe = Draw | Whole


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an array: a window of a recipe, to be written to that index of the array."""

    recipe: Recipe
    window: Window
    at: tuple[slice, ...]
