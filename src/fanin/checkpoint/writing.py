"""Writing a checkpoint of one file while it is drawn."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fanin.checkpoint.contents import stored
from fanin.checkpoint.filling import Job, Meter, fill
from fanin.checkpoint.header import header
from fanin.checkpoint.output import new_file
from fanin.checkpoint.stored import opened
from fanin.plan import Entry, Resolved
from fanin.plan.application import Only
from fanin.progress import Progress

__all__ = ["checked", "write"]


def write(
    path: str | os.PathLike[str],
    entries: Iterable[Entry],
    *,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    base: str | os.PathLike[str] | None = None,
    only: Only = None,
    progress: Progress | None = None,
) -> int:
    """Write the tensors of a resolved plan to a safetensors file, while they are drawn.

    The file appears under its name when it is complete; whatever happens before, nothing is left
    behind. The same entries and metadata make the same bytes, on any engine and any number of threads.

    Args:
        path: of the file.
        entries: what `Plan.resolve` returned.
        metadata: texts to store in the file's header, each under a name.
        overwrite: whether a file of that name is replaced; it may be the base.
        base: a checkpoint, of which everything is copied that `only` does not mean, byte for byte.
        only: which arrays are drawn: a pattern, a list of them, or a function of name and array; None is all.
        progress: called with the bytes written so far and in all; on any thread, one call at a time.

    Returns:
        the size of the file in bytes.

    Memory: buffers of 1 to 8 MiB for each of at most eight threads, whatever the size of the file. A
    tensor that can only be computed whole needs room for itself, one at a time.

    Raises:
        CheckpointError: the file exists, has no room, or cannot be written, or there is no memory for a
            tensor that is computed whole. `errno` is EEXIST, ENOSPC, ENOMEM or the system's.
        DTypeError: an entry's dtype cannot hold its values.
        PlanError: a pattern of `only` means nothing.
    """
    path, resolved = Path(path), checked(entries)
    outputs = stored(resolved, None if base is None else opened(base), only)
    head, placed = header(outputs, metadata)
    size = placed[-1].stop if placed else len(head)
    with new_file(path, size, overwrite=overwrite) as temporary:
        fill([Job(path, temporary, head, placed)], Meter(progress, size))
    return size


def checked(entries: Iterable[Entry]) -> Resolved:
    """What is to be written, whose dtypes can hold its values.

    Raises:
        DTypeError: one cannot.
    """
    resolved = entries if isinstance(entries, Resolved) else Resolved(entries)
    for entry in resolved:
        entry.recipe.check_dtype(entry.dtype)
    return resolved
