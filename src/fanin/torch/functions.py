"""The functions of torch.nn.init under their own names and arguments, with ``seed=``, ``name=`` and ``layout=``.

What they share is said at `fanin.torch.init_`. A generator is refused, and none is read or advanced.
"""

import math
from typing import TypedDict, Unpack

import torch

from fanin import initializers
from fanin.errors import ArgumentError, LayoutError
from fanin.initializers import Initializer
from fanin.initializers.base import Seed, real
from fanin.layouts import Layout
from fanin.models.torch import Declared, whole_shape
from fanin.torch.compilation import compilable
from fanin.torch.filling import check_tensor, init_, refuse_generator
from fanin.torch.recipes import Dirac, Sparse, truncated

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

Generator = torch.Generator | None


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the gain by which torch compensates a nonlinearity.

    1 for linear, (transposed) convolutions and sigmoid, 5/3 for tanh, sqrt(2) for relu,
    sqrt(2 / (1 + param**2)) for leaky_relu (param 0.01 by default), 3/4 for selu.

    Args:
        nonlinearity: one of these names.
        param: the slope of leaky_relu.

    Raises:
        ArgumentError: torch knows no gain for it.
    """
    return math.sqrt(_gain_squared(nonlinearity, param))


_ONES = ["linear", "sigmoid", *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3))]
_GAINS_SQUARED = dict.fromkeys(_ONES, 1.0) | {"tanh": 25 / 9, "relu": 2.0, "selu": 9 / 16}


def _gain_squared(nonlinearity: str, param: float | None = None) -> float:
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float) or not math.isfinite(slope):
            raise ArgumentError(f"the slope of leaky_relu must be a finite number, not {param!r}.")
        return 2.0 / (1.0 + slope * slope)
    if not isinstance(nonlinearity, str) or nonlinearity not in _GAINS_SQUARED:
        raise ArgumentError(
            f"torch defines no gain for {nonlinearity!r}; there are {', '.join(_GAINS_SQUARED)} and leaky_relu. For "
            f"others choose the scale yourself: init_(tensor, 'variance_scaling(2, distribution=...)')."
        )
    return _GAINS_SQUARED[nonlinearity]


class Call(TypedDict, total=False):
    """What every function takes beside torch's own arguments; see `init_`."""

    seed: Seed
    name: str | None
    layout: Layout | str | None
    shard: Declared | None


def _fill(tensor: torch.Tensor, initializer: Initializer, call: Call) -> torch.Tensor:
    unknown = call.keys() - Call.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"unexpected argument {min(unknown)!r}; beside torch's own there are {', '.join(Call.__annotations__)}"
        )
    return init_(tensor, initializer, **call)


def _needs_fans(tensor: torch.Tensor, call: Call) -> None:
    check_tensor(tensor)
    if call.get("layout") is None and tensor.dim() < 2 and len(whole_shape(tensor)) < 2:
        raise LayoutError(
            f"fans of a tensor of shape {whole_shape(tensor)!r} are not known, as torch has it: it has fewer than two "
            f"axes. Give layout='i' or 'o' for a vector with a fan of its own."
        )


@compilable
def uniform_(
    tensor: torch.Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill uniformly from [a, b); see `init_` for the rest.

    Args:
        tensor: to fill.
        a: the lower end of the interval.
        b: the upper end, never drawn in float32.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.
    """
    refuse_generator(generator)
    return _fill(tensor, initializers.RandomUniform(a, b), call)


@compilable
def normal_(
    tensor: torch.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill from the normal distribution; see `init_` for the rest.

    Args:
        tensor: to fill.
        mean: of the distribution.
        std: its standard deviation.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.
    """
    refuse_generator(generator)
    return _fill(tensor, initializers.RandomNormal(mean, std), call)


@compilable
def trunc_normal_(
    tensor: torch.Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill from a normal distribution cut at absolute bounds, whatever these are; see `init_` for the rest.

    Bounds are absolute, as torch has them: with std=0.02, the defaults are at 100 standard deviations
    and cut nothing. `fanin.initializers.TruncatedNormal` has bounds in standard deviations.

    Differs from torch: no value is drawn again, so that the time is that of a normal; bounds far out
    in a tail are exact; std=0 is the constant mean.

    Args:
        tensor: to fill.
        mean: of the distribution before the cut.
        std: its standard deviation before the cut.
        a: the least value.
        b: the greatest value; values lie in [a, b] as float32.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.
    """
    refuse_generator(generator)
    return _fill(tensor, truncated(mean, std, a, b), call)


@compilable
def constant_(
    tensor: torch.Tensor,
    val: float,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill with a value, rounded once from float64.

    Args:
        tensor: to fill; integers and booleans take integers.
        val: the value.
        call: ``shard``, see `init_`.
    """
    return _fill(tensor, initializers.Constant(val), call)


@compilable
def ones_(
    tensor: torch.Tensor,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill with ones; see `constant_`."""
    return _fill(tensor, initializers.Ones(), call)


@compilable
def zeros_(
    tensor: torch.Tensor,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill with zeros; see `constant_`."""
    return _fill(tensor, initializers.Zeros(), call)


@compilable
def eye_(
    tensor: torch.Tensor,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill a matrix with the identity, zeros where it is not square.

    Args:
        tensor: of rank 2.
        call: ``shard``, see `init_`.

    Raises:
        ShapeError: the tensor has another rank.
    """
    return _fill(tensor, initializers.Identity(), call)


@compilable
def dirac_(
    tensor: torch.Tensor,
    groups: int = 1,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill a convolution's weight so that it hands its inputs through.

    In each group, output j takes input j at the window's centre k // 2, as many as there are of both.

    Args:
        tensor: (out, in / groups, *k) of rank 3 to 5.
        groups: of the convolution, which divide the outputs.
        call: ``shard``, see `init_`.

    Raises:
        ShapeError: another rank, or groups that do not divide the outputs.
    """
    return _fill(tensor, Dirac(groups), call)


def _xavier(gain: float, distribution: str) -> Initializer:
    value = real(initializers.VarianceScaling(), "gain", gain)
    if value < 0:
        raise ArgumentError(f"gain must be at least 0, not {gain!r}.")
    return _scaled(value * value, "fan_avg", distribution)


def _scaled(scale: float, mode: str, distribution: str) -> Initializer:
    return initializers.VarianceScaling(scale, mode, distribution) if scale else initializers.Zeros()


@compilable
def xavier_uniform_(
    tensor: torch.Tensor,
    gain: float = 1.0,
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill uniformly within +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    Args:
        tensor: of rank 2 or more, or with a layout.
        gain: see `calculate_gain`.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.

    Raises:
        LayoutError: the fans are not known.
    """
    refuse_generator(generator)
    _needs_fans(tensor, call)
    return _fill(tensor, _xavier(gain, "uniform"), call)


@compilable
def xavier_normal_(
    tensor: torch.Tensor,
    gain: float = 1.0,
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill from a normal of deviation gain sqrt(2 / (fan_in + fan_out)), not truncated.

    Args:
        tensor: of rank 2 or more, or with a layout.
        gain: see `calculate_gain`.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.

    Raises:
        LayoutError: the fans are not known.
    """
    refuse_generator(generator)
    _needs_fans(tensor, call)
    return _fill(tensor, _xavier(gain, "untruncated_normal"), call)


@compilable
def kaiming_uniform_(
    tensor: torch.Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill uniformly within +-gain sqrt(3 / fan) (He et al. 2015).

    Args:
        tensor: of rank 2 or more, or with a layout.
        a: the slope of leaky_relu, for its gain.
        mode: "fan_in" or "fan_out".
        nonlinearity: see `calculate_gain`.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.

    Raises:
        LayoutError: the fans are not known.
        ArgumentError: another mode or nonlinearity.
    """
    refuse_generator(generator)
    _needs_fans(tensor, call)
    return _fill(tensor, _kaiming(a, mode, nonlinearity, "uniform"), call)


@compilable
def kaiming_normal_(
    tensor: torch.Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill from a normal of deviation gain / sqrt(fan), not truncated (He et al. 2015).

    Args:
        tensor: of rank 2 or more, or with a layout.
        a: the slope of leaky_relu, for its gain.
        mode: "fan_in" or "fan_out".
        nonlinearity: see `calculate_gain`.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.

    Raises:
        LayoutError: the fans are not known.
        ArgumentError: another mode or nonlinearity.
    """
    refuse_generator(generator)
    _needs_fans(tensor, call)
    return _fill(tensor, _kaiming(a, mode, nonlinearity, "untruncated_normal"), call)


def _kaiming(a: float, mode: str, nonlinearity: str, distribution: str) -> Initializer:
    mode = mode.lower() if isinstance(mode, str) else mode
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode must be 'fan_in' or 'fan_out', as torch has it, not {mode!r}.")
    return _scaled(_gain_squared(nonlinearity, a), mode, distribution)


@compilable
def orthogonal_(
    tensor: torch.Tensor,
    gain: float = 1,
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill with a matrix of orthonormal rows or columns, whichever are fewer, times a gain.

    Axes behind the first count as columns. Computed whole, in float64, on the host; any dtype.

    Args:
        tensor: of rank 2 or more.
        gain: see `calculate_gain`.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.

    Raises:
        ShapeError: fewer than two axes.
    """
    refuse_generator(generator)
    return _fill(tensor, initializers.Orthogonal(gain), call)


@compilable
def sparse_(
    tensor: torch.Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: Generator = None,
    **call: Unpack[Call],
) -> torch.Tensor:
    """Fill a matrix from a normal, and set a fraction of every column to zero (Martens 2010).

    In each column ceil(sparsity * rows) elements are zero, as in torch, where rows are the first axis.

    Args:
        tensor: of rank 2.
        sparsity: the fraction that is zero, from 0 to 1.
        std: the deviation of the others.
        generator: refused.
        call: ``seed``, ``name``, ``layout`` and ``shard``, see `init_`.

    Raises:
        ShapeError: another rank.
        ArgumentError: the sparsity is no such fraction.
    """
    refuse_generator(generator)
    return _fill(tensor, Sparse(sparsity, std), call)
