"""What would be written, where, and how long it would take: a small part is written, timed and removed."""

import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from fanin.checkpoint.contents import stored
from fanin.checkpoint.filling import Job, Meter, fill
from fanin.checkpoint.header import Output, header
from fanin.checkpoint.output import check_new, check_room, told
from fanin.checkpoint.sharding import refuse, refuse_unfinished
from fanin.checkpoint.shards import Shard, arranged, bytes_of
from fanin.checkpoint.staging import check_destination
from fanin.checkpoint.stored import opened
from fanin.checkpoint.writing import checked
from fanin.plan import Entry
from fanin.plan.application import Only
from fanin.tables import Table

__all__ = ["File", "Forecast", "forecast"]

TRIED = 2**28  # bytes that are written to time them, at most
LEAST = 2**23  # and at least
LONGEST = 1.0  # seconds, until what was written is flushed to the disk


@dataclass(frozen=True)
class File:
    """A file that would be written.

    Attributes:
        name: of the file.
        tensors: how many it would hold.
        size: in bytes.
    """

    name: str
    tensors: int
    size: int


@dataclass(frozen=True)
class Forecast:
    """What would be written. `str` is a table, `to_dict` is for JSON.

    Attributes:
        path: of the file or the directory.
        files: of tensors.
        tensors: in all of them.
        parameters: how many numbers these have.
        size: of all files, in bytes.
        free: bytes that are free on that disk.
        rate: bytes in a second, with flushing them to the disk; None where there is too little to tell.
        whole: tensors that have to be computed whole, and are not in the rate.
    """

    path: str
    files: tuple[File, ...]
    tensors: int
    parameters: int
    size: int
    free: int
    rate: float | None
    whole: int

    @property
    def seconds(self) -> float | None:
        """How long writing would take, about."""
        return None if self.rate is None else self.size / self.rate

    def to_dict(self) -> dict[str, Any]:
        """It as plain data."""
        return {**asdict(self), "seconds": self.seconds}

    def table(self) -> Table:
        """It as a table of the files."""
        rows = [(each.name, f"{each.tensors:,}", f"{each.size:,}") for each in self.files]
        told = "under a second"
        if self.seconds is not None and self.rate is not None and self.seconds > 1:
            told = f"about {self.seconds:,.0f} s at {self.rate / 1e6:,.0f} MB/s, measured there"
        below = [
            f"{self.path}: {self.tensors:,} tensors, {self.parameters:,} parameters, {self.size:,} bytes in "
            f"{len(self.files):,} {'file' if len(self.files) == 1 else 'files'}; {told}",
            f"{self.free:,} bytes are free there; nothing was written",
        ]
        if self.whole:
            below.append(f"note: {self.whole:,} tensors have to be computed whole, which is not in that time")
        return Table.of(("file", "tensors", "bytes"), rows, below)

    def __str__(self) -> str:
        return str(self.table())


def forecast(
    path: str | os.PathLike[str],
    entries: Iterable[Entry],
    *,
    max_shard_size: SupportsIndex | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    base: str | os.PathLike[str] | None = None,
    only: Only = None,
) -> Forecast:
    """Say what `fanin.checkpoint.write` or `write_sharded` would do, and how long it would take.

    Args:
        path: of a file; of a directory where there is a size of shards.
        entries: see `write`.
        max_shard_size: see `write_sharded`.
        overwrite: see `write_sharded`.
        resume: see `write_sharded`; what would be kept is counted as well.
        base: see `write_sharded`.
        only: see `write_sharded`.

    Raises:
        CheckpointError: what those would raise before they write anything.
    """
    path = Path(path)
    outputs = stored(checked(entries), None if base is None else opened(base), only)
    most = None if max_shard_size is None else bytes_of(max_shard_size)
    shards = arranged(outputs, most, None) if most is not None else (_single(path, outputs),)
    size = sum(shard.size for shard in shards)
    if most is None:
        check_new(path, size, overwrite=overwrite)
        directory = path.parent
    else:
        with told(path, size):
            check_destination(path)
        if not (overwrite or resume):
            refuse(path)
            refuse_unfinished(path)
        directory = path if path.is_dir() else path.parent
        with told(path, size):
            check_room(path, directory, size)
    drawn = [output for output in outputs if output.windowable]
    with told(path, size):
        free = shutil.disk_usage(directory).free
        rate = _rate(directory, drawn)
    return Forecast(
        str(path),
        tuple(File(shard.name, len(shard.placed), shard.size) for shard in shards),
        len(outputs),
        sum(math.prod(output.shape) for output in outputs),
        size,
        free,
        rate,
        len(outputs) - len(drawn),
    )


class _Enough(Exception):  # noqa: N818 - never leaves this file
    """As much was written as it takes to know how fast."""


def _single(path: Path, outputs: Sequence[Output]) -> Shard:
    head, placed = header(outputs, None)
    return Shard(path.name, head, tuple(placed))


def _rate(directory: Path, outputs: Sequence[Output]) -> float | None:
    """Bytes in a second, of the first that are written to a file in the directory and flushed to the disk."""
    marks: list[tuple[float, int]] = []

    def progress(done: int, size: int) -> None:
        marks.append((time.perf_counter(), done))
        (start, first), (now, _) = marks[:2][-1], marks[-1]
        if done - first > TRIED or now - start > LONGEST:
            raise _Enough

    head, placed = header(outputs, None)
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".fanin-", suffix=".partial") as file:
        place = Path(file.name)
        try:
            fill([Job(place, place, head, placed)], Meter(progress, 0))
        except _Enough:
            os.fsync(file.fileno())
    # The first mark is that of the header, the second that of the first chunk, with which an engine is loaded.
    start, first = marks[:2][-1]
    done = marks[-1][1] - first
    return done / (time.perf_counter() - start) if done > LEAST else None
