"""Filling one tensor, in place: what all functions of this front door end in."""

from typing import Any

import torch

from fanin.dtypes import resolve
from fanin.errors import ArgumentError, OutputError, ShapeError
from fanin.initializers import Initializer, get
from fanin.initializers.base import Seed
from fanin.initializers.custom import custom_recipe
from fanin.layouts import ARRAY_ORDER, Layout, Shape, as_layout
from fanin.models import Array
from fanin.models.torch import Declared, check, extent, write
from fanin.recipe import Piece, Recipe, Window, check_seed
from fanin.torch.compilation import compilable

__all__ = ["check_tensor", "init_", "refuse_generator"]

TORCH_LAYOUT = as_layout("o i *k")


@compilable
def init_(
    tensor: torch.Tensor,
    initializer: Any,
    *,
    seed: Seed = None,
    name: str | None = None,
    layout: Layout | str | None = None,
    shard: Declared | None = None,
) -> torch.Tensor:
    """Fill a tensor in place with what any initializer of fanin's gives.

    Every function of this module takes the arguments after the initializer, and returns the tensor.

    Args:
        tensor: of any floating-point dtype, strides and device; on the meta device nothing happens. A
            DTensor's shard and a partition of ZeRO-3 are filled as the parts that they are of the whole.
        initializer: what `fanin.initializers.get` takes: ``"he_normal"``, an instance, a function.
        seed: 0 to 2**64 - 1; None draws fresh values, of no generator of torch's. It stands in where
            the initializer has no seed of its own.
        name: the logical name of the tensor; without one it is the unnamed stream, the same for all.
        layout: which axis is which, such as ``"i/4 o *k"``; None is torch's own ``"o i *k"`` for
            tensors of rank 2 and more. It decides the fans and the numbers.
        shard: of a plain tensor that is part of a larger one: the shape of the whole, and the index of
            the first element in it. Then all else is said of the whole.

    Returns:
        the tensor.

    Raises:
        OutputError: the tensor cannot be written in place: sparse, quantized, expanded, made inside a
            graph or in inference mode, or a DTensor with Partial.
        ShapeError: it has no elements, or the shard does not fit.
        ArgumentError, SeedError, LayoutError, DTypeError: see `fanin.initializers.Initializer`.

    Exactness: the bits of `fanin.initializers` for the same seed, name and layout.

    >>> import torch, fanin.torch
    >>> weight = torch.empty(3, 4)
    >>> w = fanin.torch.init_(weight, "he_normal", seed=7, name="fc.weight")
    >>> from fanin.initializers import HeNormal
    >>> bool((weight.T.numpy() == HeNormal(seed=7)((4, 3), name="fc.weight")).all())
    True
    """
    check_tensor(tensor)
    found = get(initializer)
    if found is None:
        raise ArgumentError("initializer is None; give a name such as 'he_normal', an instance or a function.")
    called = "the tensor" if name is None else name
    if not tensor.is_meta:
        check(tensor, called)
    shape, offset = _extent(tensor, called, shard)
    recipe: Recipe
    if isinstance(found, Initializer):
        recipe = found.recipe(shape, name=name, layout=_axes(shape, layout), seed=seed)
    else:
        recipe = custom_recipe(found, shape, name or "", None if seed is None else check_seed(seed))
    recipe.check_dtype(resolve(tensor.dtype))
    if tensor.is_meta:
        return tensor
    whole = Window.whole(shape)
    write(Array(called, tensor, shape, (), offset=offset), [Piece(recipe, whole, whole.slices)])
    return tensor


def _axes(shape: Shape, layout: Layout | str | None) -> Layout:
    """The layout that is meant: torch's own where none is said."""
    if layout is not None:
        return as_layout(layout)
    return TORCH_LAYOUT if len(shape) >= 2 else ARRAY_ORDER


def _extent(tensor: torch.Tensor, name: str, shard: Declared | None) -> tuple[Shape, Shape | None]:
    """The shape of the whole, and where in it a plain shard begins."""
    shape, offset = extent(tensor, name, shard)
    if shard is None and tensor.numel() == 0 and tensor.shape == shape and not hasattr(tensor, "placements"):
        raise ShapeError(
            f"{name!r} has shape {shape!r} and so no elements, as a parameter has whose values are elsewhere. "
            f"Where it is part of a whole, say of which by shard=(shape, offset)."
        )
    return shape, offset


def check_tensor(tensor: object) -> None:
    """Refuse what is no tensor."""
    if not isinstance(tensor, torch.Tensor):
        raise OutputError(f"fanin.torch fills a torch.Tensor, not a {type(tensor).__name__}.")


def refuse_generator(generator: object) -> None:
    """Say what takes the place of a generator."""
    if generator is not None:
        raise ArgumentError(
            f"generator={generator!r}: fanin's values depend on no generator and advance none. Pass seed= (an integer, "
            f"such as generator.initial_seed()) and, for tensors that are to differ, name=."
        )
