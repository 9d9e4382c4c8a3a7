"""Models: which tensors a model of one kind has, what is known of each, and how they are written.

A model is listed as `Array`s, its own, and each array as the `Parameter`s that it holds: logical
tensors, by name. Most arrays hold one; a packed one holds several, named as separate ones would be.
One folder per kind of model, each with a function ``opened`` that gives a `Model`.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fanin.errors import PlanError
from fanin.models import trees
from fanin.models.arrays import Array, Copied, Model, Part, Readable
from fanin.models.naming import Names, Naming, paired, renamed
from fanin.models.parameter import Parameter

__all__ = [
    "Array", "Copied", "Model", "Names", "Naming", "Parameter", "Part", "Readable", "names_like", "opened",
    "parameters", "renamed",
]  # fmt: skip


def opened(model: object, shards: Mapping[str, Any] | None = None) -> Model:
    """List a model, by the folder of this room that knows it.

    Args:
        model: of any kind; see `fanin.Plan.apply`.
        shards: of plain tensors that are parts of larger ones, which modules of torch have.

    Raises:
        PlanError: no folder does, or it is told of shards where it knows them itself.
    """
    keras, torch = map(sys.modules.get, ("keras", "torch"))  # what a user has is of a framework that is loaded
    if keras is not None and isinstance(model, getattr(keras, "Layer", ())):  # which may be a module of torch as well
        if shards is not None:
            raise PlanError(f"shards= is for modules of torch; the variables of a {type(model).__name__} tell theirs.")
        return importlib.import_module("fanin.models.keras").opened(model)  # type: ignore[no-any-return]
    if torch is not None and isinstance(model, torch.nn.Module):
        return importlib.import_module("fanin.models.torch").opened(model, shards)  # type: ignore[no-any-return]
    if shards:
        raise PlanError(
            f"shards= is for the plain tensors of a torch.nn.Module, not for a {type(model).__name__}; arrays of JAX "
            f"tell their shardings themselves."
        )
    tree = trees.opened(model)
    if tree is None:
        raise PlanError(
            f"a plan applies to a torch.nn.Module, a keras.Layer or keras.Model, a flax.nnx.Module, and any tree of "
            f"arrays: variables of linen, an Equinox module, dicts, lists and dataclasses of arrays of NumPy, JAX and "
            f"torch or of jax.ShapeDtypeStruct. There are no arrays in {_shown(model)}."
        )
    return tree


def _shown(model: object) -> str:
    kind = type(model)
    if any(cls.__module__ == "flax.linen.module" for cls in kind.__mro__):
        return (
            f"the linen module {kind.__name__}, which is a description; give what fanin.jax.shapes(module, x) returns"
        )
    return f"this {kind.__name__}"


def parameters(
    model: object, *, names: Naming = None, shards: Mapping[str, Any] | None = None
) -> tuple[Parameter, ...]:
    """List the logical tensors of a model, in its order: what `fanin.Plan.resolve` is asked for.

    Args:
        model: see `fanin.Plan.apply`.
        names: see `fanin.Plan.apply`.
        shards: see `fanin.Plan.apply`.

    Raises:
        PlanError: it is no model, or the names do not fit it.

    >>> import torch, fanin
    >>> for parameter in fanin.parameters(torch.nn.Linear(4, 3)):
    ...     print(parameter)
    weight, shape (3, 4), dense.kernel of Linear
    bias, shape (3,), dense.bias of Linear
    """
    arrays = renamed(opened(model, shards).arrays, names)
    return tuple(parameter for array in arrays for parameter in array.parameters)


def names_like(reference: object, model: object, *, ignore: str | Sequence[str] = ()) -> Names:
    """Derive names for the tensors of a model: those of a reference of the same architecture in another framework.

    Tensors are paired by what they are in their layers, by canonical shape and by order: the first dense
    kernel (512, 256) of the one is the first of the other. So the two have to make their layers in one
    order. Look at what was paired, ``print(names)``, before you rely on it::

        names = fanin.names_like(torch_model, keras_model)
        print(names)
        plan.apply(torch_model, seed=42)
        plan.apply(keras_model, seed=42, names=names)

    Args:
        reference: whose names are taken, those of its logical tensors: of the gates of a packed weight, say.
        model: which gets them.
        ignore: a pattern, or several, for tensors of either model that have no counterpart, such as the
            second bias of torch's LSTM. They keep their names. Counters of normalizations never have one.

    Returns:
        a mapping for ``names=``, whose text is a table.

    Raises:
        PlanError: the models do not have the same tensors; the message names those that differ.

    >>> import torch, fanin
    >>> reference = torch.nn.Sequential(torch.nn.Linear(4, 3))
    >>> print(fanin.names_like(reference, torch.nn.Linear(4, 3)))
    name    shape  layout  gets the name  shape  layout
    weight  (3 4)  o i     0.weight       (3 4)  o i
    bias    (3)            0.bias         (3)
    """
    patterns = [ignore] if isinstance(ignore, str) else list(ignore)
    return paired(parameters(model), parameters(reference), patterns)
