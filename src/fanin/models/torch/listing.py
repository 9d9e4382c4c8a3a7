"""The arrays of a torch module, under names that wrappers do not change."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from fanin.dtypes import resolve
from fanin.errors import DTypeError, OutputError, PlanError, ShapeError
from fanin.layouts import as_layout
from fanin.models.arrays import Array
from fanin.models.held import Held
from fanin.models.torch.layers import class_name, describe
from fanin.models.torch.shards import Declared, extent, misplaced, reshard
from fanin.spec import join_name

__all__ = ["Place", "arrays", "memory", "places"]

# What wrappers call the module inside; `module` is dropped below these classes only, since models use that name.
_INSIDE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_WRAPPERS = {"DistributedDataParallel", "DataParallel", "AveragedModel", "DeepSpeedEngine", "PipelineEngine", "DDP"}


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


def arrays(module: nn.Module, shards: Mapping[str, Declared] | None = None) -> tuple[Array, ...]:
    """List the parameters of a module, its persistent buffers, and what else is on the meta device.

    A tensor that has several places (tied weights) is listed once, under the first; so is memory that
    several tensors are. Rows that one of its places has for padding are zero. Parameters that
    `fully_shard` has gathered for a forward pass are its shards again.

    Args:
        module: whatever wraps it.
        shards: of local tensors that are parts of larger ones, by name.

    Raises:
        PlanError: two tensors have one name, or a shard's name is none of them.
        OutputError, DTypeError, ShapeError: a tensor that no values can be drawn for.
    """
    shards = dict(shards or {})
    unused = set(shards)
    found: dict[object, Array] = {}
    names = set()
    reshard(module)
    for place in places(module):
        if not (place.persistent or place.tensor.is_meta):
            continue
        own = memory(place.tensor)
        if own in found:
            rows = {*found[own].zero_rows, *describe(place.layer, place.key).zero_rows}
            persistent = place.persistent or found[own].persistent
            found[own] = replace(found[own], zero_rows=tuple(sorted(rows)), persistent=persistent)
        elif place.name in names:
            raise PlanError(
                f"two tensors are called {place.name!r} once the names of wrappers are left out; rename one of them."
            )
        else:
            names.add(place.name)
            unused.discard(place.name)
            found[own] = _array(place, shards)
    if unused:
        raise PlanError(f"shards= names {', '.join(map(repr, sorted(unused)))}, which the module does not have.")
    return tuple(found.values())


def memory(tensor: torch.Tensor) -> object:
    """What two tensors of the same memory have in common; of any but plain ones that is the object."""
    plain = type(tensor) in (torch.Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_meta
    if not plain or tensor.numel() == 0:
        return id(tensor)
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _array(place: Place, shards: Mapping[str, Declared]) -> Array:
    name, tensor = place.name, place.tensor
    if isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
        raise OutputError(f"{name!r} of a lazy {class_name(place.layer)} has no shape yet; call the module once.")
    if getattr(tensor, "_fsdp_flattened", False):  # its shape means nothing
        raise OutputError(f"{name!r} {misplaced(tensor)}")
    local = tuple(tensor.shape)
    shape, offset = extent(tensor, name, shards.get(name))
    held = describe(place.layer, place.key)
    if offset is None and tensor.numel() == 0 and local == shape != held.shape:
        raise ShapeError(
            f"{name!r} has no elements, as a parameter has whose values are elsewhere. Where it is a shard of a whole, "
            f"say so by shards=; where it was partitioned, gather it first."
        )
    try:
        dtype = resolve(tensor.dtype).name
    except DTypeError as error:
        raise DTypeError(f"{name!r}: {error}") from None
    if held.shape not in (None, shape) and (offset is None or held.shape != local):
        raise ShapeError(
            f"{name!r} has shape {shape!r}, but its {class_name(place.layer)} has arguments for {held.shape!r}. Where "
            f"it is a shard of the whole, say so by shards= (fanin.torch), else fans and coordinates would be wrong."
        )
    rows = held.zero_rows
    if offset is not None and held.shape == local:  # the layer counts its rows in the shard
        rows = tuple(row + offset[0] for row in rows)
    held = _of_whole(place, held, shards)
    prefix, module = name.removesuffix(place.key), class_name(place.layer)
    parameters = tuple(held.parameters(prefix, place.key, shape, dtype, module))
    return Array(name, tensor, shape, parameters, rows, offset, place.persistent)


def _of_whole(place: Place, held: Held, shards: Mapping[str, Declared]) -> Held:
    """What a layer holds, with the fans of its whole kernel where one is declared: its arguments may be the shard's."""
    kernel, shard = describe(place.layer, "weight"), shards.get(place.name.removesuffix(place.key) + "weight")
    if shard is None or "fan_in" not in kernel.facts:
        return held
    fans = as_layout(kernel.layout or "i o").fans(tuple(shard[0]))
    return replace(held, facts={**held.facts, "fan_in": fans.fan_in, "fan_out": fans.fan_out})


def _name(module: nn.Module, qualified: str, key: str) -> str:
    """A qualified name without what wrappers put into it."""
    kept, owner = [], module
    for component in qualified.split(".") if qualified else ():
        dropped = component in _INSIDE or (component == "module" and type(owner).__name__ in _WRAPPERS)
        if not dropped:
            kept.append(component)
        owner = getattr(owner, component)
    return join_name([*kept, key])
