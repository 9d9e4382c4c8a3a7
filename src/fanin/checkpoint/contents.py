"""What a checkpoint is to hold: arrays that are drawn, and arrays that are copied from another one."""

from fanin.checkpoint.header import Output
from fanin.checkpoint.stored import Stored
from fanin.errors import ArgumentError, CheckpointError
from fanin.models.arrays import zeros_of
from fanin.plan import Resolved
from fanin.plan.application import Only, chosen

__all__ = ["stored"]


def stored(resolved: Resolved, base: Stored | None = None, only: Only = None) -> list[Output]:
    """The arrays of a resolved plan as a file is to have them: drawn, or copied where `only` does not mean them.

    Raises:
        PlanError: a pattern of `only` means none.
        CheckpointError: what is to be copied is not in the base, or has another shape there.
    """
    if base is None and only is not None:
        raise ArgumentError("only= leaves tensors as they are in base=, a checkpoint; give one.")
    means = {array.name for array in chosen(resolved.arrays, only)}
    arrays = {array.name: array for array in resolved.arrays}
    sources = {} if base is None else base.sources
    outputs = []
    for name in dict.fromkeys([*sources, *arrays]):
        array, source = arrays.get(name), sources.get(name)
        if array is not None and name in means:
            dtype = resolved.held(array)[0][1].dtype
            outputs.append(Output(name, array.shape, dtype, (*resolved.pieces(array), *zeros_of(array))))
            continue
        if source is None or (array is not None and source.shape != array.shape):
            assert base is not None
            assert array is not None
            found = "is not there" if source is None else f"has the shape {source.shape!r}"
            raise CheckpointError(
                f"{name!r}, shape {array.shape!r}, is to be copied from {base.path}, where it {found}; draw it, too, "
                f"or give the plan the parameters of that checkpoint."
            )
        outputs.append(Output(name, source.shape, source.dtype, source=source))
    return outputs
