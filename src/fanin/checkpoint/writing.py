"""Writing a checkpoint while it is drawn.

Some threads share the chunks of a file: each fills one in a buffer of its own and writes it, so that
drawing and the kernel's copying overlap on any number of cores. A thread that fills while another
writes, and filling the mapped file directly, were measured and are slower.
"""

import dataclasses
import errno
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path

import numpy as np

from fanin import engines
from fanin.checkpoint.cuts import Chunk, Part, chunks, most_bytes
from fanin.checkpoint.header import Output, Placed, header
from fanin.checkpoint.output import new_file, told
from fanin.checkpoint.stored import Stored, opened
from fanin.errors import ArgumentError, CheckpointError
from fanin.models import arrays
from fanin.plan import Entry, Resolved
from fanin.plan.application import Only, chosen
from fanin.recipe import Draw, Recipe, Whole

__all__ = ["Progress", "stored", "write"]

Progress = Callable[[int, int], None]

MOST = 2**18  # elements per chunk: one thread fills it in every engine, and it fits a second-level cache
MOST_THREADS = 8  # each holds a buffer; beyond, they wait for the file


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
    path, resolved = Path(path), entries if isinstance(entries, Resolved) else Resolved(entries)
    for entry in resolved:
        entry.recipe.check_dtype(entry.dtype)
    outputs = stored(resolved, None if base is None else opened(base), only)
    head, placed = header(outputs, metadata)
    size = placed[-1].stop if placed else len(head)
    with new_file(path, size, overwrite=overwrite) as temporary:
        _Writing(path, temporary, size, progress).run(head, placed)
    return size


class _Writing:
    """The threads that write one file, and how far they are."""

    def __init__(self, path: Path, temporary: Path, size: int, progress: Progress | None) -> None:
        self.path, self.temporary, self.size, self.progress = path, temporary, size, progress
        self.written = 0
        self.lock = threading.Lock()
        self.stopped = False
        self.failures: list[BaseException] = []

    def run(self, head: bytes, placed: Sequence[Placed]) -> None:
        """Write everything."""
        streamed = [tensor for tensor in placed if tensor.stored.windowable]
        elements = sum((tensor.stop - tensor.start) // tensor.stored.dtype.itemsize for tensor in streamed)
        _, threads = engines.current(elements if elements >= engines.LOAD_FROM else 0)
        self.chunks = chunks(streamed, MOST)
        self.room = most_bytes(placed, MOST)
        workers = [
            threading.Thread(target=self.work, name=f"fanin-write-{number}")
            for number in range(1, min(threads, MOST_THREADS, elements // MOST))
        ]
        try:
            with self.open() as file:
                buffer = np.empty(self.room, np.uint8)
                self.put(file, 0, memoryview(head))
                for chunk in self.shared():
                    self.write(file, buffer, chunk)
                    if any(map(_draws, chunk.parts)):
                        break  # the engine is loaded, perhaps compiled: by one thread, that an interrupt stops
                for worker in workers:
                    worker.start()
                for tensor in placed:
                    if not (tensor.stored.windowable or self.stopped):
                        for chunk in chunks([_computed(tensor)], MOST):
                            self.write(file, buffer, chunk)
                for chunk in self.shared():
                    self.write(file, buffer, chunk)
        except BaseException:
            self.stopped = True
            raise
        finally:
            for worker in workers:
                if worker.ident is not None:  # it was started
                    worker.join()
        if self.failures:
            raise self.failures[0]

    def work(self) -> None:
        """Write chunks until there are no more, on a thread of its own."""
        try:
            with self.open() as file:
                buffer = np.empty(self.room, np.uint8)
                for chunk in self.shared():
                    self.write(file, buffer, chunk)
        except BaseException as error:  # raised again in the caller's thread
            self.failures.append(error)
            self.stopped = True

    def shared(self) -> Iterator[Chunk]:
        """The chunks that no other thread has taken."""
        while not self.stopped:
            with self.lock:
                chunk = next(self.chunks, None)
            if chunk is None:
                return
            yield chunk

    def open(self) -> FileIO:
        """The file, with a position of its own."""
        with told(self.path, self.size):
            return FileIO(self.temporary, "r+")

    def write(self, file: FileIO, buffer: np.ndarray, chunk: Chunk) -> None:
        """Fill a chunk and write it."""
        end = 0
        for part in chunk.parts:
            dtype, shape = part.stored.dtype, part.window.shape
            start, end = end, end + math.prod(shape) * dtype.itemsize
            view = buffer[start:end].view(dtype).reshape(shape)
            if part.stored.source is not None:
                view[...] = part.stored.source[part.window.slices]
            else:
                arrays.write(part.stored.pieces, [arrays.Part(part.window, view)])
        self.put(file, chunk.offset, buffer[:end].data)

    def put(self, file: FileIO, offset: int, data: memoryview) -> None:
        """Write bytes at an offset, all of them, and say so."""
        with told(self.path, self.size, self.written):
            file.seek(offset)
            while data:
                data = data[file.write(data) :]
        with self.lock:
            self.written += file.tell() - offset
            if self.progress is not None:
                self.progress(self.written, self.size)


def stored(resolved: Resolved, base: Stored | None = None, only: Only = None) -> list[Output]:
    """The arrays of a resolved plan as a file is to have them: drawn, or copied where `only` does not mean them.

    Raises:
        PlanError: a pattern of `only` means none.
        CheckpointError: what is to be copied is not in the base, or has another shape there.
    """
    if base is None and only is not None:
        raise ArgumentError("only= leaves tensors as they are in base=, a checkpoint; give one.")
    means = {array.name for array in chosen(resolved.arrays, only)}
    there = {} if base is None else {array.name: array.handle for array in base.arrays}
    outputs = []
    for array in resolved.arrays:
        if array.name in means:
            dtype = resolved.held(array)[0][1].dtype
            pieces = (*resolved.pieces(array), *arrays.zeros_of(array))
            outputs.append(Output(array.name, array.shape, dtype, pieces))
            continue
        source = there.get(array.name)
        if source is None or source.shape != array.shape:
            assert base is not None
            found = "is not there" if source is None else f"has the shape {source.shape!r}"
            raise CheckpointError(
                f"{array.name!r}, shape {array.shape!r}, is to be copied from {base.path}, where it {found}; draw it, "
                f"too, or give the plan the parameters of that checkpoint."
            )
        outputs.append(Output(array.name, array.shape, source.dtype, source=source))
    return outputs


def _draws(part: Part) -> bool:
    """Whether something in a part comes from a stream."""
    recipes = [piece.recipe for piece in part.stored.pieces]
    return any(isinstance(recipe, Draw) and recipe.stream is not None for recipe in recipes)


def _computed(tensor: Placed) -> Placed:
    """An array of which something can only be computed whole, computed: its windows are then parts of what there is."""
    stored = tensor.stored
    done: dict[int, Recipe] = {}
    for piece in stored.pieces:
        if isinstance(piece.recipe, Whole) and id(piece.recipe) not in done:
            done[id(piece.recipe)] = _known(piece.recipe, stored)
    pieces = tuple(dataclasses.replace(each, recipe=done.get(id(each.recipe), each.recipe)) for each in stored.pieces)
    return dataclasses.replace(tensor, stored=dataclasses.replace(stored, pieces=pieces))


def _known(recipe: Whole, stored: Output) -> Whole:
    try:
        values = recipe.compute()
    except MemoryError:
        error = CheckpointError(
            f"there is no memory for {stored.name!r}, shape {recipe.shape!r}, which has to be computed whole, in "
            f"float64. Use an initializer that draws elementwise, or a machine with more."
        )
        error.errno = errno.ENOMEM
        raise error from None
    return dataclasses.replace(recipe, compute=lambda: values)
