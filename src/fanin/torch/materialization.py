"""From the meta device: every tensor of a module allocated and filled once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError, OutputError
from fanin.models import Array, Naming, renamed
from fanin.models.torch import Declared, Module, arrays, check, misplaced, places
from fanin.plan import Plan
from fanin.plan.application import apply
from fanin.progress import Progress

__all__ = ["materialize"]


def materialize(
    module: nn.Module,
    plan: Plan,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
    names: Naming = None,
    shards: Mapping[str, Declared] | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """Give a module on the meta device its memory and its values, each tensor once.

    What is on the meta device is allocated on the given one and filled by the plan; what has memory
    already is filled where it is. No ``reset_parameters`` is called or needed. Tied weights stay tied,
    hooks and attributes of parameters stay, and so does what `fully_shard` and tensor parallelism made
    of them: each process allocates and fills its own shard only, without communication.

    Args:
        module: built under ``torch.device("meta")``, sharded since or not.
        plan: for its parameters, its persistent buffers, and any other buffer on the meta device.
        seed: 0 to 2**64 - 1.
        device: to allocate on; None is torch's default device, or of a DTensor that of its mesh.
        names: see `fanin.Plan.apply`.
        shards: see `fanin.Plan.apply`.
        progress: see `fanin.Plan.apply`.

    Returns:
        the module.

    Raises:
        PlanError: the plan does not fit.
        OutputError: a tensor cannot be written, or a DTensor is not to lie on its mesh's device.
        ArgumentError: the device is meta. Nothing has been allocated where anything of this is raised.

    >>> import torch, fanin, fanin.torch
    >>> with torch.device("meta"):
    ...     model = torch.nn.Linear(4, 3)
    >>> plan = fanin.Plan([fanin.Rule("weight", "he_normal"), fanin.Rule("bias", "zeros")])
    >>> fanin.torch.materialize(model, plan, seed=7).bias.tolist()
    [0.0, 0.0, 0.0]
    """
    if device is not None and torch.device(device).type == "meta":
        raise ArgumentError("materialize: device='meta' has no memory; give the device to allocate on, such as 'cpu'.")
    listed = renamed(arrays(module, shards), names)
    resolved = plan.of_arrays(listed, seed=seed)
    for array in listed:
        if array.handle.is_meta:
            _check_allocatable(array, device)
        else:
            check(array.handle, array.name)
    made = _allocate(module, device)
    filled = [replace(array, handle=made.get(id(array.handle), array.handle)) for array in resolved.arrays]
    apply(resolved, Module(module, filled), filled, None, progress, type(module).__name__)
    return module


def _check_allocatable(array: Array, device: torch.device | str | None) -> None:
    """Refuse a tensor that would not be where its mesh is, or whose part here cannot be told."""
    tensor: Any = array.handle
    if problem := misplaced(tensor):
        raise OutputError(f"{array.name!r} {problem}")
    if device is not None and hasattr(tensor, "placements"):
        mesh = tensor.device_mesh.device_type
        if torch.device(device).type != mesh:
            raise OutputError(
                f"{array.name!r} is a DTensor of a mesh on {mesh!r}, not on {str(device)!r}; leave device= away. Where "
                f"fully_shard offloads, call module.to_empty(device={str(device)!r}) and then plan.apply(module)."
            )


def _allocate(module: nn.Module, device: torch.device | str | None) -> dict[int, torch.Tensor]:
    """Replace what is on the meta device by uninitialized memory, tied tensors by one and the same."""
    found = [place for place in places(module) if place.tensor.is_meta]
    made: dict[int, torch.Tensor] = {}
    for place in found:
        if id(place.tensor) not in made:
            made[id(place.tensor)] = _allocated(place.tensor, device)
        kept = place.layer._parameters if place.key in place.layer._parameters else place.layer._buffers
        kept[place.key] = made[id(place.tensor)]  # type: ignore[assignment]  # a Parameter where it was one
    return made


def _allocated(tensor: Any, device: torch.device | str | None) -> torch.Tensor:
    """Memory for a tensor, with its attributes."""
    if hasattr(tensor, "placements"):
        with torch.no_grad():
            new = torch.empty_like(tensor, device=tensor.device_mesh.device_type)
    else:
        new = torch.empty_like(tensor, device=device or torch.get_default_device(), requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, requires_grad=tensor.requires_grad)
    new.__dict__.update(tensor.__dict__)
    for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
        if getattr(tensor, hooks):
            setattr(new, hooks, getattr(tensor, hooks))
    return new
