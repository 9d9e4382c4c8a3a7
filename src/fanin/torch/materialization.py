"""From the meta device: every tensor of a module allocated and filled once."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError, OutputError
from fanin.layouts import Shape
from fanin.models.torch import arrays, places
from fanin.plan import Plan
from fanin.plan.application import apply

__all__ = ["materialize"]


def materialize(
    module: nn.Module,
    plan: Plan,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
    shards: Mapping[str, tuple[Shape, Shape]] | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        shards: see `fanin.Plan.apply`.
        progress: see `fanin.Plan.apply`.

    Returns:
        the module.

    Raises:
        PlanError: the plan does not fit. Nothing has been allocated then, nor written.
        ArgumentError: the device is meta.

    >>> import torch, fanin, fanin.torch
    >>> with torch.device("meta"):
    ...     model = torch.nn.Linear(4, 3)
    >>> plan = fanin.Plan([fanin.Rule("weight", "he_normal"), fanin.Rule("bias", "zeros")])
    >>> fanin.torch.materialize(model, plan, seed=7).bias.tolist()
    [0.0, 0.0, 0.0]
    """
    if device is not None and torch.device(device).type == "meta":
        raise ArgumentError("materialize: device='meta' has no memory; give the device to allocate on, such as 'cpu'.")
    listed = arrays(module, shards)
    entries = plan.resolve([parameter for array in listed for parameter in array.parameters], seed=seed)
    _allocate(module, device)
    apply(lambda parameters: entries, module, arrays(module, shards), None, progress)
    return module


def _allocate(module: nn.Module, device: torch.device | str | None) -> None:
    """Replace what is on the meta device by uninitialized memory, tied tensors by one and the same."""
    made: dict[int, torch.Tensor] = {}
    for place in list(places(module)):
        tensor = place.tensor
        if not tensor.is_meta:
            continue
        if id(tensor) not in made:
            made[id(tensor)] = _allocated(tensor, device)
        kept = place.layer._parameters if place.key in place.layer._parameters else place.layer._buffers
        kept[place.key] = made[id(tensor)]  # type: ignore[assignment]  # a Parameter where it was one


def _allocated(tensor: Any, device: torch.device | str | None) -> torch.Tensor:
    """Memory for a tensor, with its attributes."""
    if hasattr(tensor, "placements"):
        mesh = tensor.device_mesh.device_type
        if device is not None and torch.device(device).type != mesh:
            raise OutputError(f"a DTensor lives on its mesh, of {mesh}; it cannot be allocated on {device}.")
        with torch.no_grad():
            new = torch.empty_like(tensor, device=mesh)
    else:
        new = torch.empty_like(tensor, device=device or torch.get_default_device(), requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, requires_grad=tensor.requires_grad)
    new.__dict__.update(tensor.__dict__)
    return new
