"""Filling files while their tensors are drawn, or comparing files with what is drawn.

Some threads share the chunks of the files: each fills one in a buffer of its own and writes it, so that
drawing and the kernel's copying overlap on any number of cores. A thread that fills while another
writes, and filling the mapped file directly, were measured and are slower. Each thread begins a file
of its own, for the kernel takes the writes to one file in turn; when all are begun, it helps with
another's.
"""

import dataclasses
import errno
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Self

import numpy as np

from fanin import engines
from fanin.checkpoint.cuts import Chunk, Part, chunks, most_bytes
from fanin.checkpoint.header import Output, Placed, Source
from fanin.checkpoint.output import told
from fanin.errors import CheckpointError
from fanin.models import arrays
from fanin.progress import Progress
from fanin.recipe import Draw, Recipe, Whole, Window

__all__ = ["Job", "Meter", "fill"]

MOST = 2**19 - 1  # elements per chunk: one thread fills it in every engine
USUAL = 2**20  # bytes per chunk: they fit a second-level cache
WIDEST = 2**21  # bytes that a chunk's elements may have in the widest dtype of its file
LEAST = 2**18  # elements per thread
MOST_FLUSHERS = 2  # files whose bytes are on the way to the disk, while others are written
MOST_THREADS = 8  # each holds a buffer; beyond, they wait for the file


class Job:
    """A file that is to be filled, or one that is there and is compared with what it should be.

    Args:
        path: that messages call it by.
        place: where it is, of its full size.
        head: what it begins with.
        placed: its tensors.
        finish: called when all of it is written, by the thread that wrote the last of it.
        compares: whether it is there, and not written.
    """

    def __init__(
        self,
        path: Path,
        place: Path,
        head: bytes,
        placed: Sequence[Placed],
        finish: Callable[[], None] | None = None,
        *,
        compares: bool = False,
    ) -> None:
        self.path, self.place, self.head, self.finish, self.compares = path, place, head, finish, compares
        self.streamed = [tensor for tensor in placed if tensor.stored.windowable]
        self.computed = [tensor for tensor in placed if not tensor.stored.windowable]
        self.most = _most(placed)
        self.room = most_bytes(placed, self.most)
        self.size = placed[-1].stop if placed else len(head)
        self.chunks = itertools.chain([Chunk(0, ())], chunks(self.streamed, self.most))  # of no parts: the head
        self.done = 0
        self.same = True

    @property
    def elements(self) -> int:
        """How many can be filled by any thread."""
        return sum((tensor.stop - tensor.start) // tensor.stored.dtype.itemsize for tensor in self.streamed)


def _most(placed: Sequence[Placed]) -> int:
    """How many elements a chunk of a file has, about."""
    size = sum(tensor.stop - tensor.start for tensor in placed)
    elements = sum((tensor.stop - tensor.start) // tensor.stored.dtype.itemsize for tensor in placed)
    widest = max((tensor.stored.dtype.itemsize for tensor in placed), default=1)
    return min(MOST, WIDEST // widest, USUAL * elements // max(1, size) or MOST)


class Meter:
    """How many bytes are done, of how many."""

    def __init__(self, progress: Progress | None, size: int) -> None:
        self.progress, self.size, self.done = progress, size, 0
        self.lock = threading.Lock()

    def add(self, size: int) -> None:
        """Say that more are done; one call at a time."""
        with self.lock:
            self.done += size
            if self.progress is not None:
                self.progress(self.done, self.size)


def fill(jobs: Sequence[Job], meter: Meter) -> None:
    """Do jobs on some threads. The same bytes come from any number of them.

    Raises:
        CheckpointError: a file cannot be written or read, or there is no memory for a tensor that is computed whole.
    """
    _Filling(jobs, meter).run()


class _Filling:
    """The threads that share the jobs."""

    def __init__(self, jobs: Sequence[Job], meter: Meter) -> None:
        self.jobs, self.meter = jobs, meter
        self.waiting, self.begun = list(reversed(jobs)), list[Job]()
        self.room = max((job.room for job in jobs), default=0)
        self.lock = threading.Lock()
        self.stopped = False
        self.failures: list[BaseException] = []
        self.flushers = ThreadPoolExecutor(MOST_FLUSHERS, "fanin-flush")
        self.flushing: list[Future[None]] = []

    def run(self) -> None:
        """Do everything."""
        elements = sum(job.elements for job in self.jobs)
        _, threads = engines.current(elements if elements >= engines.LOAD_FROM else 0)
        workers = [
            threading.Thread(target=self.work, name=f"fanin-write-{number}")
            for number in range(1, min(threads, MOST_THREADS, elements // LEAST))
        ]
        try:
            with _Hand(self.room) as hand:
                for job, chunk in self.shared():
                    self.do(hand, job, chunk)
                    if any(map(_draws, chunk.parts)):
                        break  # the engine is loaded, perhaps compiled: by one thread, that an interrupt stops
                for worker in workers:
                    worker.start()
                for job, tensor in [(each, tensor) for each in self.jobs for tensor in each.computed]:
                    for chunk in () if self.stopped else chunks([_computed(tensor)], job.most):
                        self.do(hand, job, chunk)
                for job, chunk in self.shared():
                    self.do(hand, job, chunk)
        except BaseException:
            self.stopped = True
            raise
        finally:
            for worker in workers:
                if worker.ident is not None:  # it was started
                    worker.join()
            self.flushers.shutdown(cancel_futures=self.stopped)
        for failure in self.failures:
            raise failure
        for flushed in self.flushing:
            flushed.result()

    def work(self) -> None:
        """Do chunks until there are no more, on a thread of its own."""
        try:
            with _Hand(self.room) as hand:
                for job, chunk in self.shared():
                    self.do(hand, job, chunk)
        except BaseException as error:  # raised again in the caller's thread
            self.failures.append(error)
            self.stopped = True

    def shared(self) -> Iterator[tuple[Job, Chunk]]:
        """The chunks that no other thread has taken."""
        own: Job | None = None
        while not self.stopped:
            with self.lock:
                if own not in self.begun:
                    if self.waiting:
                        self.begun.append(self.waiting.pop())
                    if not self.begun:
                        return
                    own = self.begun[-1]
                chunk = next(own.chunks, None)
                if chunk is None:
                    self.begun.remove(own)
                    continue
            yield own, chunk

    def do(self, hand: "_Hand", job: Job, chunk: Chunk) -> None:
        """Fill a chunk and write it, or compare it."""
        data = hand.filled(chunk) if chunk.parts else memoryview(job.head)
        with told(job.path, job.size, self.meter.done):
            if job.compares:
                job.same &= hand.holds(job.place, chunk.offset, data)
            else:
                hand.put(job.place, chunk.offset, data)
            with self.lock:
                job.done += len(data)
                complete = job.done == job.size
        if complete and job.finish is not None:
            self.flushing.append(self.flushers.submit(self.finish, job))
        self.meter.add(len(data))

    def finish(self, job: Job) -> None:
        """What follows the last byte: it waits for the disk, while others draw."""
        assert job.finish is not None
        try:
            with told(job.path, job.size, self.meter.done):
                job.finish()
        except BaseException:
            self.stopped = True
            raise


class _Hand:
    """What a thread works with: buffers, the file that it writes or compares, and one that it copies from."""

    def __init__(self, room: int) -> None:
        self.buffer = np.empty(room, np.uint8)
        self.there = np.empty(0, np.uint8)  # what is compared
        self.files: dict[str, tuple[Path, FileIO]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for _, file in self.files.values():
            file.close()

    def open(self, mode: str, path: Path) -> FileIO:
        """A file with a position of its own; it is kept until another is opened that way."""
        kept = self.files.get(mode)
        if kept is None or kept[0] != path:
            if kept is not None:
                kept[1].close()
            self.files[mode] = kept = (path, FileIO(path, mode))
        return kept[1]

    def filled(self, chunk: Chunk) -> memoryview:
        """The bytes of a chunk."""
        end = 0
        for part in chunk.parts:
            dtype, shape = part.stored.dtype, part.window.shape
            start, end = end, end + math.prod(shape) * dtype.itemsize
            if part.stored.source is not None:
                self.copy(part.stored.source, part.window, self.buffer[start:end].data)
            else:
                view = self.buffer[start:end].view(dtype).reshape(shape)
                arrays.write(part.stored.pieces, [arrays.Part(part.window, view)])
        return self.buffer[:end].data

    def copy(self, source: Source, window: Window, data: memoryview) -> None:
        """Read the elements of a window, which are neighbours in the file."""
        first = int(np.ravel_multi_index(window.start, source.shape)) if source.shape else 0
        if not self.read(source.path, source.offset + first * source.dtype.itemsize, data):
            raise CheckpointError(f"{source.path} became shorter while it was read; give a checkpoint at rest.")

    def put(self, path: Path, offset: int, data: memoryview) -> None:
        """Write bytes at an offset, all of them."""
        file = self.open("r+", path)
        file.seek(offset)
        while data:
            data = data[file.write(data) :]

    def holds(self, path: Path, offset: int, data: memoryview) -> bool:
        """Whether a file has these bytes at an offset."""
        if len(self.there) < len(data):
            self.there = np.empty(len(data), np.uint8)
        there = self.there[: len(data)]
        return self.read(path, offset, there.data) and np.array_equal(there, np.frombuffer(data, np.uint8))

    def read(self, path: Path, offset: int, data: memoryview) -> bool:
        """Read bytes at an offset; say whether there were as many."""
        try:
            file = self.open("r", path)
            file.seek(offset)
            while data and (count := file.readinto(data)):
                data = data[count:]
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
        return not data


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
