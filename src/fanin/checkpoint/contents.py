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
    sources = {} if base is None else dict(base.sources)
    outputs = []
    for array in resolved.arrays:
        source = sources.pop(array.name, None)
        if array.name in means:
            dtype = resolved.held(array)[0][1].dtype
            pieces = (*resolved.pieces(array), *zeros_of(array))
            outputs.append(Output(array.name, array.shape, dtype, pieces))
            continue
        if source is None or source.shape != array.shape:
            assert base is not None
            found = "is not there" if source is None else f"has the shape {source.shape!r}"
            raise CheckpointError(
                f"{array.name!r}, shape {array.shape!r}, is to be copied from {base.path}, where it {found}; draw it, "
                f"too, or give the plan the parameters of that checkpoint."
            )
        outputs.append(Output(array.name, array.shape, source.dtype, source=source))
    others = [Output(name, source.shape, source.dtype, source=source) for name, source in sources.items()]
    return [*outputs, *others]
