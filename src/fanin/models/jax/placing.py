"""Where arrays of JAX are to be: shardings that are given, that arrays have, and that models note down."""

import importlib
from typing import Any

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from fanin.errors import ArgumentError, ShapeError
from fanin.layouts import Shape
from fanin.models.jax.nodes import loaded
from fanin.models.trees.walking import Trail

__all__ = ["ArgumentTypeError", "own_sharding", "read"]


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument is of a type that cannot be used, also in the sense of JAX."""


def read(given: Any, shape: Shape, called: str, *, traced: bool = False) -> Sharding:
    """Read a sharding, or a partition of the mesh in context, and see that it fits.

    Args:
        given: by a user.
        shape: of the array.
        called: what messages call it.
        traced: whether a program is being recorded, which has meshes without devices.

    Raises:
        ArgumentError: there is no mesh.
        ArgumentTypeError: it is no sharding.
        ShapeError: it does not fit the shape.
    """
    if isinstance(given, PartitionSpec):
        mesh: Any = jax.sharding.get_abstract_mesh() if traced else jax.sharding.get_mesh()
        if mesh.empty:
            raise ArgumentError(
                f"{called}={given!r} needs a mesh: give jax.sharding.NamedSharding(mesh, {given!r}), or enter one by "
                f"jax.set_mesh(mesh)."
            )
        given = _named(mesh, given, called)
    sharding = given if traced else _concrete(given, called)
    if not isinstance(sharding, Sharding):
        raise ArgumentTypeError(f"{called} must be a jax.sharding.Sharding, a PartitionSpec or None, not {given!r}.")
    try:
        sharding.shard_shape(shape)
    except (ValueError, IndexError) as error:
        problem = "it is of more axes." if isinstance(error, IndexError) else str(error)
        raise ShapeError(f"{called} {given!r} does not fit the shape {shape!r}: {problem}") from None
    return sharding


def _named(mesh: Any, spec: PartitionSpec, called: str) -> NamedSharding:
    try:
        return NamedSharding(mesh, spec)
    except ValueError as error:  # an axis that the mesh does not have
        raise ArgumentError(f"{called}={spec!r} does not fit the mesh in context: {error}") from None


def own_sharding(leaf: Any, name: str, shape: Shape, trail: Trail) -> Sharding | None:
    """The sharding of an array as it is, or is meant to be; None where JAX's default device is.

    An array on one device to which it is not committed has none. What a variable of nnx or a box of
    linen notes down counts where a mesh is in context and the array is not split already.

    Raises:
        ArgumentError: there is no mesh.
        ShapeError: it does not fit the shape.
    """
    sharding: Sharding | None = getattr(leaf, "sharding", None)
    if isinstance(leaf, jax.Array) and not leaf.committed and isinstance(sharding, SingleDeviceSharding):
        sharding = None
    if getattr(getattr(sharding, "mesh", None), "empty", False):
        sharding = None
    if sharding is None or sharding.is_fully_replicated:
        noted = (_noted(step.owner) for step in reversed(trail))
        sharding = next((each for each in noted if each is not None), sharding)
    return None if sharding is None else read(sharding, shape, f"{name!r}: the sharding")


def _concrete(sharding: Any, called: str) -> Any:
    """A sharding on the mesh in context, where it is of a mesh without devices, as that of a traced shape is."""
    mesh = getattr(sharding, "mesh", None)
    if not isinstance(mesh, AbstractMesh):
        return sharding
    present: Any = jax.sharding.get_mesh()
    if present.empty or present.shape_tuple != mesh.shape_tuple:
        raise ArgumentError(
            f"{called} {sharding!r} is of a mesh without devices; enter that mesh by jax.set_mesh(mesh), or give "
            f"jax.sharding.NamedSharding(mesh, {sharding.spec!r})."
        )
    return NamedSharding(present, sharding.spec)


def _noted(owner: Any) -> Any:
    """The sharding or the partition that a variable or a box notes down."""
    if (module := loaded("flax.nnx")) is not None and isinstance(owner, module.Variable):
        return _of_variable(owner)
    if (meta := loaded("flax.core.meta")) is not None and isinstance(owner, meta.Partitioned):
        return _of_box(owner)
    return None


def _of_variable(variable: Any) -> Any:
    """As nnx itself does it: it wants a mesh, unless it was told to shard later."""
    metadata = variable.get_metadata()
    noted, mesh = metadata.get("out_sharding"), metadata.get("mesh")
    if not noted or not (metadata.get("eager_sharding") or mesh is not None or _has_mesh()):
        return None
    noted = importlib.import_module("flax.core.spmd").apply_rules(noted, metadata.get("sharding_rules"))
    return NamedSharding(mesh, noted) if mesh is not None and isinstance(noted, PartitionSpec) else noted


def _of_box(box: Any) -> Any:
    if box.mesh is None and not _has_mesh():
        return None
    linen = importlib.import_module("flax.linen")
    if isinstance(box, linen.LogicallyPartitioned):
        spec = linen.logical_to_mesh_axes(box.names, box.rules)
    else:
        spec = box.get_partition_spec()
    return spec if box.mesh is None else NamedSharding(box.mesh, spec)


def _has_mesh() -> bool:
    mesh: Any = jax.sharding.get_mesh()
    return not mesh.empty
