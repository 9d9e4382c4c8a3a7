"""The arrays of a torch module, under names that wrappers do not change."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import nn

from fanin.dtypes import resolve
from fanin.errors import DTypeError, OutputError, PlanError, ShapeError
from fanin.layouts import Shape
from fanin.models.arrays import Array
from fanin.models.parameters import Parameter
from fanin.models.torch.layers import Held, describe
from fanin.models.torch.shards import whole_shape
from fanin.recipe import Window
from fanin.spec import join_name

__all__ = ["Place", "Shard", "arrays", "handles", "places"]

# What wrappers call the module inside; `module` is dropped below these classes only, since models use that name.
_INSIDE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_WRAPPERS = {"DistributedDataParallel", "DataParallel", "AveragedModel", "DeepSpeedEngine", "PipelineEngine", "DDP"}


class Shard(NamedTuple):
    """Where a plain local tensor lies in the whole: the whole's shape, and the index of the first element."""

    shape: Shape
    offset: Shape


class Place(NamedTuple):
    """Where a module keeps a tensor."""

    name: str  # as plans have it
    layer: nn.Module
    key: str  # of the tensor in the layer
    tensor: torch.Tensor
    persistent: bool  # whether it is a parameter or a buffer that checkpoints hold


def places(module: nn.Module) -> Iterator[Place]:
    """Every place of every parameter and buffer, those of tied ones as well."""
    for qualified, layer in module.named_modules(remove_duplicate=False):
        for key, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is not None:
                persistent = key in layer._parameters or key not in layer._non_persistent_buffers_set
                yield Place(_name(module, qualified, key), layer, key, tensor, persistent)


def arrays(module: nn.Module, shards: Mapping[str, tuple[Shape, Shape]] | None = None) -> tuple[Array, ...]:
    """List the parameters of a module, its persistent buffers, and what else is on the meta device.

    A tensor that has several places (tied weights) is listed once, under the first.

    Args:
        module: whatever wraps it.
        shards: of local tensors that are parts of larger ones, by name.

    Raises:
        PlanError: two tensors have one name, or a shard's name is none of them.
        OutputError, DTypeError, ShapeError: a tensor that no values can be drawn for.
    """
    shards = dict(shards or {})
    found: dict[str, Array] = {}
    seen: set[int] = set()
    for place in places(module):
        if id(place.tensor) in seen or not (place.persistent or place.tensor.is_meta):
            continue
        seen.add(id(place.tensor))
        if place.name in found:
            raise PlanError(
                f"two tensors are called {place.name!r} once the names of wrappers are left out; rename one of them."
            )
        found[place.name] = _array(place, shards.pop(place.name, None))
    if shards:
        raise PlanError(f"shards= names {', '.join(map(repr, shards))}, which the module does not have.")
    return tuple(found.values())


def handles(module: nn.Module) -> list[torch.Tensor]:
    """The tensors of `arrays`, in its order."""
    kept = (place.tensor for place in places(module) if place.persistent or place.tensor.is_meta)
    return list({id(tensor): tensor for tensor in kept}.values())


def _array(place: Place, shard: tuple[Shape, Shape] | None) -> Array:
    name, tensor = place.name, place.tensor
    if isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
        raise OutputError(f"{name!r} of a lazy {type(place.layer).__name__} has no shape yet; call the module once.")
    shape = whole_shape(tensor)
    if shard is not None:
        shape = _declared(name, shape, shard)
    elif tensor.numel() == 0 and tensor.shape == shape and _expects_elements(place):
        raise ShapeError(
            f"{name!r} has no elements, as a parameter has whose values are elsewhere. Where it is a shard of a whole, "
            f"say so by shards=; where it was partitioned, gather it first."
        )
    try:
        dtype = resolve(tensor.dtype).name
    except DTypeError as error:
        raise DTypeError(f"{name!r}: {error}") from None
    held = describe(place.layer, place.key, shape)
    offset = None if shard is None else tuple(shard[1])
    return Array(name, tensor, shape, tuple(_parameters(name, shape, dtype, held, place)), held.zero_rows, offset)


def _expects_elements(place: Place) -> bool:
    """Whether the layer's arguments say that there are elements: a Linear(0, 5) has none, and is right."""
    try:
        describe(place.layer, place.key, tuple(place.tensor.shape))
    except ShapeError:
        return True
    return not hasattr(place.layer, "in_features") and not hasattr(place.layer, "num_embeddings")


def _declared(name: str, local: Shape, shard: tuple[Shape, Shape]) -> Shape:
    whole, offset = tuple(shard[0]), tuple(shard[1])
    fits = len(whole) == len(offset) == len(local)
    if not fits or any(a < 0 or a + n > m for a, n, m in zip(offset, local, whole, strict=True)):
        raise ShapeError(f"{name!r} has shape {local!r}, which does not lie in {whole!r} at {offset!r}.")
    return whole


def _parameters(name: str, shape: Shape, dtype: str, held: Held, place: Place) -> Iterator[Parameter]:
    kind = {"module": type(place.layer).__name__, "role": held.role, "facts": held.facts}
    if not held.names:
        yield Parameter(name, shape, dtype, held.layout, **kind)  # type: ignore[arg-type]  # mypy joins their types
        return
    length = shape[0] // len(held.names)
    prefix = name.removesuffix(place.key)
    for number, part in enumerate(held.names):
        own = (length, *shape[1:])
        start = (number * length, *(0 for _ in shape[1:]))
        window = Window(start, tuple(a + n for a, n in zip(start, own, strict=True)))
        facts = {**kind, "array": name, "at": window}
        yield Parameter(prefix + part, own, dtype, held.layout, **facts)  # type: ignore[arg-type]


def _name(module: nn.Module, qualified: str, key: str) -> str:
    """A qualified name without what wrappers put into it."""
    kept, owner = [], module
    for component in qualified.split(".") if qualified else ():
        dropped = component in _INSIDE or (component == "module" and type(owner).__name__ in _WRAPPERS)
        if not dropped:
            kept.append(component)
        owner = getattr(owner, component)
    return join_name([*kept, key])
