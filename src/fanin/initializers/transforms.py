"""Functions of what another initializer makes, such as the logarithms that state-space models keep."""

import difflib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import real
from fanin.initializers.elementary import exp, expm1, log, log1p
from fanin.initializers.elementwise import each, mapped
from fanin.initializers.registry import named
from fanin.initializers.wrappers import Wrapper
from fanin.layouts import Layout, Shape
from fanin.recipe import Draw, Recipe, Window

__all__ = ["Transformed"]

_MOST = float.fromhex("0x1.fffffep+127")  # the greatest float32
_LEAST = float.fromhex("0x1p-149")  # and the least


class _Transform(NamedTuple):
    """A function of float64 arrays.

    Attributes:
        function: to apply.
        least: the least number of which it is a finite float32.
        most: the greatest.
    """

    function: Callable[[np.ndarray], np.ndarray]
    least: float = -_MOST
    most: float = _MOST


def _softplus(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.maximum(x, 0.0) + log1p(exp(-np.abs(x)))
    return result


def _inverse_softplus(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = x + log(-expm1(-x))
    return result


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1.0 + small)


def _tanh(x: np.ndarray) -> np.ndarray:
    less = expm1(-2.0 * np.abs(x))
    result: np.ndarray = np.copysign(less / (2.0 + less), x)
    return result


_TRANSFORMS = {
    "abs": _Transform(np.abs),
    "exp": _Transform(exp, most=88.7228390520683),  # log of the greatest float32, rounded down
    "inverse_softplus": _Transform(_inverse_softplus, least=_LEAST),
    "log": _Transform(log, least=_LEAST),
    "logit": _Transform(lambda x: log(x / (1.0 - x)), least=_LEAST, most=1.0 - 2.0**-53),
    "sigmoid": _Transform(_sigmoid),
    "softplus": _Transform(_softplus),
    "sqrt": _Transform(np.sqrt, least=0.0),
    "square": _Transform(np.square, least=-(2.0**63), most=2.0**63),
    "tanh": _Transform(_tanh),
}


@named("transformed")
class Transformed(Wrapper):
    """A function of what another initializer makes, element by element.

    | transform | w of a value x | for x |
    |---|---|---|
    | ``"log"`` | log(x) | x > 0 |
    | ``"exp"`` | e^x | x < 88.72 |
    | ``"softplus"`` | log(1 + e^x) | |
    | ``"inverse_softplus"`` | x + log(1 - e^-x), of which x is the softplus | x > 0 |
    | ``"sigmoid"`` | 1 / (1 + e^-x) | |
    | ``"logit"`` | log(x / (1 - x)), of which x is the sigmoid | 0 < x < 1 |
    | ``"tanh"`` | tanh(x) | |
    | ``"square"``, ``"sqrt"``, ``"abs"`` | x^2, the root of x >= 0, the magnitude | |

    Args:
        initializer: whatever `get` takes.
        transform: one of these names.
        minimum: values below are first made this; None for none.
        maximum: values above are first made this; None for none.

    Raises:
        ArgumentError: an argument is none of these, or values may lie where the function is not finite: of what
            is drawn this is told by its interval, as for ``log`` of a uniform from 0; else at the call.

    Exactness: computed in float64 from ``+ - * /`` and square roots alone, of the value inside, which is a
        float32, and rounded once to float32, which is the value: the same bits on every machine where those inside
        are. One value in some 2**24 is not the float32 nearest to the function. A window costs only the window
        where it does inside.

    References: Gu and Dao 2023, arXiv:2312.00752, section 3.6 and `mamba_simple.py` of their code, for the
    inverse softplus of steps and the logarithms of 1, 2, ...

    >>> from fanin import initializers
    >>> initializers.get("transformed(arange(1), 'log')")((2, 4)).round(3)  # Mamba's A_log
    array([[0.   , 0.693, 1.099, 1.386],
           [0.   , 0.693, 1.099, 1.386]], dtype=float32)
    >>> steps = "transformed(log_uniform(0.001, 0.1, seed=7), 'inverse_softplus', minimum=1e-4)"  # and its dt_bias
    >>> bias = initializers.get(steps)((1536,))
    >>> print(f"{bias.min():.2f} {bias.max():.2f}")
    -6.91 -2.25
    """

    def __init__(
        self, initializer: Any, transform: str, minimum: float | None = None, maximum: float | None = None
    ) -> None:
        super().__init__(initializer)
        if not isinstance(transform, str) or transform not in _TRANSFORMS:
            near = difflib.get_close_matches(str(transform), _TRANSFORMS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; use one of {', '.join(_TRANSFORMS)}."
            raise ArgumentError(f"Transformed: there is no transform {transform!r}{hint}")
        self.transform = transform
        self.minimum = None if minimum is None else real(self, "minimum", minimum)
        self.maximum = None if maximum is None else real(self, "maximum", maximum)
        self._ends = (
            -math.inf if self.minimum is None else self.minimum,
            math.inf if self.maximum is None else self.maximum,
        )
        if self._ends[0] > self._ends[1]:
            raise ArgumentError(f"Transformed: minimum={minimum!r} is above maximum={maximum!r}.")
        self._check_arguments()

    def _recipe(self, shape: Shape, layout: Layout, name: str, seed: int | None) -> Recipe:
        recipe = self._inner(shape, layout, name, seed)
        if isinstance(recipe, Draw):
            self._check(*recipe.distribution.bounds())
        return mapped(recipe, self._values)

    def _values(self, values: np.ndarray, window: Window) -> np.ndarray:
        if values.size:
            self._check(float(values.min()), float(values.max()))
        function, ends = _TRANSFORMS[self.transform].function, self._ends
        return each(lambda x: function(np.clip(x, *ends)), values)

    def _check(self, low: float, high: float) -> None:
        """Refuse an interval in which the function is not finite."""
        least, most = _TRANSFORMS[self.transform].least, _TRANSFORMS[self.transform].most
        low, high = (min(max(end, self._ends[0]), self._ends[1]) for end in (low, high))
        if low < least or high > most:
            problem, key = (low, "minimum") if low < least else (high, "maximum")
            raise ArgumentError(
                f"Transformed: {self.initializer!r} has values down to {low!r} and up to {high!r}, and "
                f"{self.transform} of {problem!r} is no finite float32; give other ends, or {key}=."
            )

    def _arguments(self) -> dict[str, Any]:
        return {"transform": self.transform, "minimum": self.minimum, "maximum": self.maximum}
