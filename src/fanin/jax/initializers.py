"""The initializers of jax.nn.initializers under their own names, arguments and protocol, as frozen records.

What they share is said at `Initializer`. This file is long because it is one list.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, SupportsIndex

import jax
import numpy as np
from jax import lax

from fanin import initializers
from fanin.dtypes import resolve
from fanin.errors import ArgumentError, DTypeError, LayoutError, ShapeError
from fanin.initializers.base import real, scalar
from fanin.initializers.custom import check_name
from fanin.initializers.distributions import normal as normal_distribution
from fanin.initializers.distributions import uniform as uniform_distribution
from fanin.initializers.orthonormal import orthogonal_recipe, part_name
from fanin.initializers.scaling import count, of_variance
from fanin.jax.arrays import Request, broadcast, make
from fanin.jax.keys import words_of
from fanin.layouts import ARRAY_ORDER, Layout, Shape, as_layout, check_shape
from fanin.recipe import ConstantValue, Stream, Whole

__all__ = [
    "Initializer", "constant", "delta_orthogonal", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform",
    "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform", "normal", "ones", "orthogonal",
    "truncated_normal", "uniform", "variance_scaling", "xavier_normal", "xavier_uniform", "zeros",
]  # fmt: skip

Axes = int | Sequence[int]


@dataclass(frozen=True)
class Initializer:
    """Base class of all initializers of this module: a frozen, hashable, printable record that is called.

    Calls, for every initializer::

        init(key, shape, dtype=None, out_sharding=None, *, name=None, layout=None)

    Args of a call:
        key: a key of JAX of any implementation, typed or raw, traced or not; or a seed, an integer from 0 to
            2**64 - 1. The seed 7 is ``jax.random.key(7)``. Zeros, ones and constants ignore it.
        shape: of the array.
        dtype: of the result; None is the initializer's own, and without one JAX's default float.
        out_sharding: a sharding, or a PartitionSpec of the mesh in context. Each device's shard is
            made from its part alone.
        name: the logical name of the tensor. Keys that were split need none.
        layout: which axis is which, such as ``"i o"``; it then decides the fans, and axes are not to be
            given. None is array order, and fans by the axes, as JAX has them.

    Returns (from a call): a `jax.Array`. Inside a trace its values are computed by the program, and only
        there; outside of one, for a CPU, by the engines of the host, without a copy.

        Of a complex dtype, where JAX's initializer has one, the parts are independent tensors, called
        ``<name>.real`` and ``<name>.imag``, each of half the variance: JAX cuts the modulus, this
        each part. `orthogonal` is unitary then.

    Raises:
        SeedError: the key is none; where its type is wrong, a `TypeError` as well.
        ShapeError, DTypeError, LayoutError, LogicalNameError, ArgumentError: the call cannot be met.

    Exactness: stream fanin-1: the bits of `fanin.initializers` for the same seed, name and layout,
        whether traced, mapped, scanned or sharded, and with x64 on or off.
    """

    def __call__(
        self,
        key: Any,
        shape: Sequence[int],
        dtype: Any = None,
        out_sharding: Any = None,
        *,
        name: str | None = None,
        layout: Layout | str | None = None,
    ) -> jax.Array:
        """Return the initial values."""
        checked = check_shape(shape)
        chosen = ARRAY_ORDER if layout is None else as_layout(layout)
        words = words_of(key) if self._draws else (0, 0)
        called = "" if name is None else check_name(name)
        wanted = self._dtype(dtype)
        if wanted.kind == "c":
            half = np.dtype(f"f{wanted.itemsize // 2}")
            halves = [
                make(part._request(checked, chosen), words, own, checked, chosen, half, out_sharding)
                for part, own in zip(self._parts(), self._part_names(called), strict=True)
            ]
            return lax.complex(*halves)
        return make(self._request(checked, chosen), words, called, checked, chosen, wanted, out_sharding)

    _draws = True

    def _dtype(self, dtype: Any) -> np.dtype:
        """The dtype that JAX would take for this one: without x64, float32 for float64."""
        dtype = getattr(self, "dtype", None) if dtype is None else dtype
        wanted = np.dtype(float) if dtype is None else _resolve(dtype)
        return np.dtype(jax.dtypes.canonicalize_dtype(wanted))

    def _parts(self) -> "tuple[Initializer, Initializer]":
        """The initializers of the real and of the imaginary part."""
        raise DTypeError(f"{type(self).__name__} has no complex values, as in JAX; give a floating-point dtype.")

    def _part_names(self, name: str) -> tuple[str, str]:
        return part_name(name, "real"), part_name(name, "imag")

    def _request(self, shape: Shape, layout: Layout) -> Request:
        raise NotImplementedError

    def _set(self, **values: Any) -> None:
        """Replace arguments by what they mean, while the record is made."""
        for field, value in values.items():
            object.__setattr__(self, field, value)
        dtype = getattr(self, "dtype", None)
        object.__setattr__(self, "dtype", None if dtype is None else _resolve(dtype))


def _resolve(dtype: Any) -> np.dtype:
    """A dtype of fanin's, or a complex one."""
    try:
        read = np.dtype(dtype)
    except TypeError:
        return resolve(dtype)
    return read if read in (np.complex64, np.complex128) else resolve(dtype)


@dataclass(frozen=True, eq=False)
class constant(Initializer):  # noqa: N801 - reads as the function that JAX has
    """One value everywhere, or an array broadcast to the shape; see `Initializer` for the call.

    Args:
        value: a number, or an array of them.
        dtype: of the results, unless a call says otherwise.
    """

    value: Any
    dtype: Any = None

    _draws = False

    def __post_init__(self) -> None:
        if not np.iscomplexobj(self.value):
            self._set(value=initializers.Constant(self.value).value)
        else:
            self._set(value=complex(self.value) if np.ndim(self.value) == 0 else np.asarray(self.value))
        if isinstance(self.value, np.ndarray):
            self._set(value=self.value.copy())
            self.value.flags.writeable = False

    def _identity(self) -> tuple[Any, ...]:
        # By text and bytes, because 0.0 == -0.0 == False while the arrays that they fill differ.
        value = self.value
        text = (value.tobytes(), value.dtype.str, value.shape) if isinstance(value, np.ndarray) else repr(value)
        return text, self.dtype

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, constant) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __call__(
        self,
        key: Any,
        shape: Sequence[int],
        dtype: Any = None,
        out_sharding: Any = None,
        *,
        name: str | None = None,
        layout: Layout | str | None = None,
    ) -> jax.Array:
        """Return the initial values; the key is ignored."""
        wanted = self._dtype(dtype)
        if np.iscomplexobj(self.value) and wanted.kind != "c":
            raise DTypeError(f"{self!r} is complex, which {wanted.name} cannot hold; give complex64.")
        if isinstance(self.value, np.ndarray) and wanted.kind == "c":
            halves = [part(key, shape, f"f{wanted.itemsize // 2}", out_sharding) for part in self._parts()]
            return lax.complex(*halves)
        if isinstance(self.value, np.ndarray):
            return broadcast(self.value, check_shape(shape), wanted, out_sharding)
        return super().__call__(key, shape, dtype, out_sharding, name=name, layout=layout)

    def _request(self, shape: Shape, layout: Layout) -> Request:
        return ConstantValue(self.value)

    def _parts(self) -> tuple[Initializer, Initializer]:
        return constant(np.real(self.value)), constant(np.imag(self.value))


zeros = constant(0)
ones = constant(1)


@dataclass(frozen=True)
class uniform(Initializer):  # noqa: N801
    """Uniform on [0, scale); see `Initializer` for the call.

    Args:
        scale: the upper end, never drawn in float32; where it is negative, the lower end.
        dtype: of the results, unless a call says otherwise.
    """

    scale: Any = 1e-2
    dtype: Any = None

    def __post_init__(self) -> None:
        self._set(scale=real(self, "scale", self.scale))
        self._request((), ARRAY_ORDER)

    def _request(self, shape: Shape, layout: Layout) -> Request:
        return uniform_distribution(min(0.0, self.scale), max(0.0, self.scale))


@dataclass(frozen=True)
class normal(Initializer):  # noqa: N801
    """Normal with mean 0; see `Initializer` for the call.

    Args:
        stddev: the standard deviation.
        dtype: of the results, unless a call says otherwise.
    """

    stddev: Any = 1e-2
    dtype: Any = None

    def __post_init__(self) -> None:
        self._set(stddev=real(self, "stddev", self.stddev))
        self._request((), ARRAY_ORDER)

    def _request(self, shape: Shape, layout: Layout) -> Request:
        return normal_distribution(0.0, self.stddev)

    def _parts(self) -> tuple[Initializer, Initializer]:
        half = replace(self, stddev=self.stddev / math.sqrt(2))
        return half, half


@dataclass(frozen=True)
class truncated_normal(Initializer):  # noqa: N801
    """Normal with mean 0, cut at bounds in standard deviations; see `Initializer` for the call.

    Args:
        stddev: the standard deviation before the cut.
        dtype: of the results, unless a call says otherwise.
        lower: lower bound, in standard deviations.
        upper: upper bound, in standard deviations.
    """

    stddev: Any = 1e-2
    dtype: Any = None
    lower: Any = -2.0
    upper: Any = 2.0

    def __post_init__(self) -> None:
        bounds = {bound: float(scalar(self, bound, getattr(self, bound))) for bound in ("lower", "upper")}
        self._set(stddev=real(self, "stddev", self.stddev), **bounds)
        self._request((), ARRAY_ORDER)

    def _request(self, shape: Shape, layout: Layout) -> Request:
        return normal_distribution(0.0, self.stddev, self.lower, self.upper)


MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
# In JAX's words, and in those of `fanin.initializers.VarianceScaling`, whose "normal" is truncated.
DISTRIBUTIONS = {"truncated_normal": "truncated_normal", "normal": "untruncated_normal", "uniform": "uniform"}


@dataclass(frozen=True)
class variance_scaling(Initializer):  # noqa: N801
    """Values of mean zero and variance ``scale / n``, n counted off the shape; see `Initializer` for the call.

    n is ``fan_in``, ``fan_out`` or a mean of the two, where ``fan_in = inputs * window``, ``fan_out =
    outputs * window``, and the window is what is on neither the input, the output nor the batch axes.

    Args:
        scale: at least 0.
        mode: ``"fan_in"``, ``"fan_out"``, ``"fan_avg"`` or ``"fan_geo_avg"``.
        distribution: ``"truncated_normal"``, cut at 2 of its deviations and widened for it; ``"normal"``, not
            cut; or ``"uniform"``.
        in_axis: axis or axes of the inputs.
        out_axis: axis or axes of the outputs.
        batch_axis: axis or axes that count for neither.
        dtype: of the results, unless a call says otherwise.

    Differs from JAX: a negative scale is an error, not NaN; the deviation is computed in float64.
    """

    scale: Any
    mode: str
    distribution: str
    in_axis: Axes = -2
    out_axis: Axes = -1
    batch_axis: Axes = ()
    dtype: Any = None

    def __post_init__(self) -> None:
        axes = {field: _axes(field, getattr(self, field)) for field in ("in_axis", "out_axis", "batch_axis")}
        self._set(scale=real(self, "scale", self.scale), **axes)
        if self.scale < 0:
            raise ArgumentError(f"variance_scaling: scale must be at least 0, not {self.scale!r}.")
        for field, choices in (("mode", MODES), ("distribution", tuple(DISTRIBUTIONS))):
            if getattr(self, field) not in choices:
                raise ArgumentError(
                    f"variance_scaling: {field} must be one of {', '.join(choices)}, not {getattr(self, field)!r}."
                )

    def _request(self, shape: Shape, layout: Layout) -> Request:
        fan_in, fan_out = self._fans(shape, layout)
        n = count(self.mode, fan_in, fan_out) or 1.0  # 0 only where there is nothing to draw
        return of_variance(self.scale / n, DISTRIBUTIONS[self.distribution])

    def _parts(self) -> tuple[Initializer, Initializer]:
        half = replace(self, scale=self.scale / 2)
        return half, half

    def _fans(self, shape: Shape, layout: Layout) -> tuple[float, float]:
        if layout.stated:
            if (self.in_axis, self.out_axis, self.batch_axis) != (-2, -1, ()):
                raise LayoutError(f"{self!r} has axes of its own; give either these or layout={layout.text!r}.")
            return layout.fans(shape)
        if self.in_axis == -2 and len(shape) < 2:
            raise LayoutError(
                f"fans of the shape {shape!r} are not known, as JAX has it: it has fewer than two axes. Give in_axis "
                f"and out_axis, or layout='i' or 'o' for a vector with a fan of its own."
            )
        inputs, outputs, batch = (_size(shape, axes) for axes in (self.in_axis, self.out_axis, self.batch_axis))
        if not math.prod(shape):
            return 0.0, 0.0
        # An axis that is input and output at once divides twice, as in JAX; Flax's Embed relies on it.
        window = Fraction(math.prod(shape), inputs * outputs * batch)
        return float(inputs * window), float(outputs * window)


def _axes(field: str, axes: Any) -> int | tuple[int, ...]:
    try:
        if isinstance(axes, bool | str | bytes):
            raise TypeError
        return axes.__index__() if isinstance(axes, SupportsIndex) else tuple(axis.__index__() for axis in axes)
    except (TypeError, AttributeError):
        raise ArgumentError(f"variance_scaling: {field} must be an axis or a list of them, not {axes!r}.") from None


def _size(shape: Shape, axes: Axes) -> int:
    try:
        return math.prod(shape[axis] for axis in ((axes,) if isinstance(axes, int) else axes))
    except IndexError:
        raise ShapeError(f"axes {axes!r} are not all axes of the shape {shape!r}.") from None


def glorot_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> variance_scaling:
    """Uniform with variance 2 / (fan_in + fan_out); the arguments are those of `variance_scaling`."""
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> variance_scaling:
    """Truncated normal with variance 2 / (fan_in + fan_out); the arguments are those of `variance_scaling`."""
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def lecun_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> variance_scaling:
    """Uniform with variance 1 / fan_in; the arguments are those of `variance_scaling`."""
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> variance_scaling:
    """Truncated normal with variance 1 / fan_in; the arguments are those of `variance_scaling`."""
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> variance_scaling:
    """Uniform with variance 2 / fan_in; the arguments are those of `variance_scaling`."""
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> variance_scaling:
    """Truncated normal with variance 2 / fan_in; the arguments are those of `variance_scaling`.

    >>> import fanin.jax
    >>> from fanin import initializers
    >>> w = fanin.jax.he_normal()(7, (64, 32), name="fc.kernel")
    >>> bool((w == initializers.HeNormal(seed=7)((64, 32), name="fc.kernel")).all())
    True
    """
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal


@dataclass(frozen=True)
class _Matrix(Initializer):
    """What is computed whole: an orthogonal matrix, whose parts are those of a unitary one where they are complex."""

    def _request(self, shape: Shape, layout: Layout) -> Request:
        return self._whole(shape, layout)

    def _parts(self) -> tuple[Initializer, Initializer]:
        return _Unitary(self, "real"), _Unitary(self, "imag")

    def _part_names(self, name: str) -> tuple[str, str]:
        return name, name

    def _whole(self, shape: Shape, layout: Layout, part: str = "") -> Request:
        raise NotImplementedError


@dataclass(frozen=True)
class orthogonal(_Matrix):  # noqa: N801
    """A random matrix of orthonormal rows or columns, whichever are fewer; see `Initializer` for the call.

    Computed whole, in float64 on the host, also inside a trace, where the program calls back.

    Args:
        scale: the gain.
        column_axis: of the columns; all other axes together are the rows.
        dtype: of the results, unless a call says otherwise.
    """

    scale: Any = 1.0
    column_axis: int = -1
    dtype: Any = None

    def __post_init__(self) -> None:
        self._set(scale=initializers.Orthogonal(self.scale).gain, column_axis=_axis(self, self.column_axis))

    def _whole(self, shape: Shape, layout: Layout, part: str = "") -> Request:
        if len(shape) < 2:
            raise ShapeError(f"orthogonal needs two axes or more, for rows and columns; the shape is {shape!r}.")
        chosen = layout if layout.stated else _columns(shape, self.column_axis)
        gain = self.scale
        orthogonal_recipe(gain, shape, chosen, Stream("", 0))
        return lambda stream: orthogonal_recipe(gain, shape, chosen, stream, part)


@dataclass(frozen=True)
class _Unitary(Initializer):
    """One part of a unitary matrix."""

    of: _Matrix
    part: str

    def _request(self, shape: Shape, layout: Layout) -> Request:
        return self.of._whole(shape, layout, self.part)


@dataclass(frozen=True)
class delta_orthogonal(_Matrix):  # noqa: N801
    """An orthogonal matrix at the centre ``(k - 1) // 2`` of a convolution's window; see `Initializer` for the call.

    Args:
        scale: the gain.
        column_axis: of the columns of the matrix (in, out).
        dtype: of the results, unless a call says otherwise.

    References: Xiao et al. 2018, arXiv:1806.05393.
    """

    scale: Any = 1.0
    column_axis: int = -1
    dtype: Any = None

    def __post_init__(self) -> None:
        self._set(scale=initializers.Orthogonal(self.scale).gain, column_axis=_axis(self, self.column_axis))

    def _whole(self, shape: Shape, layout: Layout, part: str = "") -> Request:
        if layout.stated:
            raise LayoutError(f"delta_orthogonal takes kernels (*window, in, out), and no layout {layout.text!r}.")
        if len(shape) not in (3, 4, 5) or shape[-1] < shape[-2]:
            raise ShapeError(
                f"delta_orthogonal takes a kernel (*window, in, out) of rank 3 to 5 with no more inputs than outputs, "
                f"not the shape {shape!r}."
            )
        gain, square = self.scale, shape[-2:]
        columns = _columns(square, self.column_axis)
        centre = tuple((length - 1) // 2 for length in shape[:-2])

        def of(stream: Stream) -> Whole:
            matrix = orthogonal_recipe(gain, square, columns, stream, part)

            def compute() -> np.ndarray:
                array = np.zeros(shape, np.float32)
                if array.size:
                    array[centre] = matrix.compute()
                return array

            return Whole(compute, shape)

        return of


def _axis(owner: Initializer, axis: Any) -> int:
    if isinstance(axis, bool) or not isinstance(axis, SupportsIndex):
        raise ArgumentError(f"{type(owner).__name__}: column_axis must be the number of an axis, not {axis!r}.")
    return axis.__index__()


def _columns(shape: Shape, column_axis: int) -> Layout:
    """The layout whose columns lie along one axis."""
    try:
        column = range(len(shape))[column_axis]
    except IndexError:
        raise ShapeError(f"column_axis {column_axis!r} is no axis of the shape {shape!r}.") from None
    if column == len(shape) - 1:
        return ARRAY_ORDER
    return as_layout(" ".join("o" if axis == column else "k" for axis in range(len(shape))))
