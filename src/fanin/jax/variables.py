"""The variables of a linen module, without values, and with what is known of them."""

import importlib
from typing import Any

import jax

from fanin.models.jax import ArgumentTypeError
from fanin.models.jax.nodes import loaded

__all__ = ["shapes"]


def shapes(module: Any, *args: Any, rngs: Any = None, **kwargs: Any) -> Any:
    """Trace a linen module's variables: their shapes and dtypes, each with its layer, in order of creation.

    A plan applied to them knows the role, the layout and the fans of each, which the variables that linen makes
    do not tell, and gives arrays in their place. None of the module's own initializers runs::

        variables = plan.apply(fanin.jax.shapes(model, x), seed=42)
        model.apply(variables, x)

    Modules of nnx and Equinox tell of their layers themselves: give a plan ``flax.nnx.eval_shape(make)`` or
    ``equinox.filter_eval_shape(make)``.

    Args:
        module: a `flax.linen.Module`, unbound.
        args: what it is called with. Arrays and `jax.ShapeDtypeStruct` give their shapes only; anything else is
            passed as it is.
        rngs: keys by name, as `flax.linen.Module.init` takes them; None will do where no names are asked for.
        kwargs: further arguments of the call, and of `flax.linen.Module.init`, such as ``method``.

    Returns:
        what `flax.linen.Module.init` returns, with `jax.ShapeDtypeStruct` in place of arrays.

    Raises:
        ArgumentError: it is no module of linen; also a `TypeError`.

    >>> import fanin, fanin.jax, jax
    >>> from flax import linen
    >>> model = linen.Dense(4)
    >>> for parameter in fanin.parameters(fanin.jax.shapes(model, jax.ShapeDtypeStruct((1, 3), "float32"))):
    ...     print(parameter)
    params.kernel, shape (3, 4), dense.kernel of Dense
    params.bias, shape (4,), dense.bias of Dense
    """
    linen = loaded("flax.linen")
    if linen is None or not isinstance(module, linen.Module):
        raise ArgumentTypeError(
            f"shapes takes a flax.linen.Module, not {module!r}. A module of nnx or Equinox knows its layers itself: "
            f"apply the plan to it, or to what flax.nnx.eval_shape or equinox.filter_eval_shape makes."
        )
    keys = jax.eval_shape(lambda: jax.random.key(0)) if rngs is None else rngs
    return importlib.import_module("fanin.models.jax.linen_layers").shapes(module, (keys, *args), kwargs)
