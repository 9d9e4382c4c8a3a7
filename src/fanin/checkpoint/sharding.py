"""Writing a checkpoint of several files while it is drawn, and going on with one that was cut short."""

import errno
import functools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex

from fanin.checkpoint.contents import stored
from fanin.checkpoint.filling import Job, Meter, fill
from fanin.checkpoint.output import check_room, exists, failure, reserve, told
from fanin.checkpoint.shards import INDEX, SINGLE, Shard, arranged, bytes_of, index_of, is_shard
from fanin.checkpoint.staging import Publication, Staging, held, settle
from fanin.checkpoint.stored import opened
from fanin.checkpoint.writing import checked
from fanin.errors import CheckpointError
from fanin.plan import Entry
from fanin.plan.application import Only
from fanin.progress import Progress

__all__ = ["Written", "refuse", "refuse_unfinished", "write_sharded"]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        files: of tensors, in the order of their names.
        kept: those of them that were there, found to be right, and left.
        index: the file that says which tensor is where; None where there is one file of tensors.
        size: of the files of tensors, in bytes.
    """

    files: tuple[Path, ...]
    kept: tuple[Path, ...]
    index: Path | None
    size: int


def write_sharded(
    directory: str | os.PathLike[str],
    entries: Iterable[Entry],
    *,
    max_shard_size: SupportsIndex | str = "5GB",
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    base: str | os.PathLike[str] | None = None,
    only: Only = None,
    progress: Progress | None = None,
) -> Written:
    """Write the tensors of a resolved plan to a directory of safetensors files, while they are drawn.

    The files are those that transformers reads: ``model-00001-of-00003.safetensors`` and so on with
    ``model.safetensors.index.json``, or ``model.safetensors`` alone where everything fits one. They
    appear in the directory when all are complete and on the disk, the index last; until then they are in
    a hidden directory there. The same entries, sizes and metadata make the same bytes, on any engine and
    any number of threads.

    Args:
        directory: for the files; it is made where it is missing, in a directory that is there.
        entries: what `Plan.resolve` returned. Tensors go to files in its order.
        max_shard_size: of the tensors in a file, in bytes or as a text such as "5GB" or "2GiB". A larger tensor has
            a file of its own.
        metadata: texts to store in each file's header, each under a name.
        overwrite: whether a checkpoint in the directory is replaced; it stays whole until the new one is complete,
            and may be the base. Other files stay.
        resume: whether to go on with what an interrupted call left: finished files whose every bit is what the plan
            draws are kept, and everything else is written again. Finished files then also outlive an error.
        base: a checkpoint, of which everything is copied that `only` does not mean, byte for byte.
        only: which arrays are drawn: a pattern, a list of them, or a function of name and array; None is all.
        progress: called with the bytes written or compared so far and in all; on any thread, one call at a time.

    Returns:
        what was written.

    Memory: as of `write`, whatever the sizes; twice that where files are compared.

    Raises:
        CheckpointError: there is a checkpoint, there is no room, another process writes there, or a file cannot be
            written, or there is no memory for a tensor that is computed whole. `errno` is EEXIST, ENOSPC, EBUSY,
            ENOMEM or the system's.
        ArgumentError: the size is none.
        DTypeError: an entry's dtype cannot hold its values.
        PlanError: a pattern of `only` means nothing.
    """
    directory, most, resolved = Path(directory), bytes_of(max_shard_size), checked(entries)
    if overwrite or resume:
        settle(directory)  # what it leaves may be the base
    else:
        refuse(directory)
    shards = arranged(stored(resolved, None if base is None else opened(base), only), most, metadata)
    with held(directory, keeps=resume) as staging:
        return _Writing(directory, staging, shards, overwrite, resume, progress).run()


class _Writing:
    """One call of `write_sharded`, in its directory."""

    def __init__(
        self,
        directory: Path,
        staging: Staging,
        shards: Sequence[Shard],
        overwrite: bool,
        resume: bool,
        progress: Progress | None,
    ) -> None:
        self.directory, self.staging, self.shards = directory, staging, shards
        self.overwrite, self.resume = overwrite, resume
        self.index = index_of(shards) if len(shards) > 1 else None
        self.meter = Meter(progress, sum(shard.size for shard in shards))

    def run(self) -> Written:
        """Keep what can be kept, write the rest, and publish all."""
        with told(self.directory, 0):
            present = _present(self.directory)
            self.check(present)
        kept = self.kept() if self.resume else {}
        with told(self.directory, 0):
            for name in [] if self.overwrite else present:
                if name not in kept and not self.is_index(name):
                    raise _differs(self.directory / name)
            self.staging.begin([name for name, place in kept.items() if place.parent == self.staging.path])
        self.write([shard for shard in self.shards if shard.name not in kept])
        with told(self.directory, 0):
            self.publish(present, [shard.name for shard in self.shards if kept.get(shard.name) != self.there(shard)])
        return Written(
            tuple(map(self.there, self.shards)),
            tuple(self.there(shard) for shard in self.shards if shard.name in kept),
            None if self.index is None else self.directory / INDEX,
            sum(shard.size for shard in self.shards),
        )

    def there(self, shard: Shard) -> Path:
        """Where a shard is to be."""
        return self.directory / shard.name

    def check(self, present: Sequence[str]) -> None:
        """Refuse what is known to fail, or to harm, before anything is written."""
        for name in present:
            if (self.directory / name).is_dir():
                raise failure(f"{self.directory / name} is a directory, and in the way; move it.", errno.EISDIR)
        if self.overwrite or self.resume:
            return
        refuse(self.directory)
        refuse_unfinished(self.directory)

    def is_index(self, name: str) -> bool:
        """Whether a file in the directory is the index of these shards."""
        return name == INDEX and (self.directory / name).read_bytes() == self.index

    def kept(self) -> dict[str, Path]:
        """The finished shards that are what they should be, to the last bit, and where they are."""
        jobs: dict[str, Job] = {}
        with told(self.directory, 0):
            for shard in self.shards:
                places = (self.staging.path / shard.name, self.there(shard))
                place = next((place for place in places if _may_be(place, shard)), None)
                if place is not None:
                    jobs[shard.name] = Job(self.there(shard), place, shard.head, shard.placed, compares=True)
        fill(list(jobs.values()), self.meter)
        self.meter.size += sum(job.size for job in jobs.values() if not job.same)
        return {name: job.place for name, job in jobs.items() if job.same}

    def write(self, shards: Sequence[Shard]) -> None:
        """Write shards, each of which is finished when its last byte is on the disk."""
        with told(self.directory, 0):
            check_room(self.directory, self.directory, sum(shard.size for shard in shards))
        jobs = []
        for shard in shards:
            partial = self.staging.partial(shard.name)
            with told(self.there(shard), shard.size):
                reserve(partial, shard.size)
            finish = functools.partial(self.staging.finish, shard.name)
            jobs.append(Job(self.there(shard), partial, shard.head, shard.placed, finish))
        fill(jobs, self.meter)

    def publish(self, present: Sequence[str], files: list[str]) -> None:
        """Give the shards their names, and the index last; what they replace goes before or after."""
        names = {shard.name for shard in self.shards} | ({INDEX} if self.index is not None else set())
        before = [name for name in (INDEX, SINGLE) if name in present and not (name == SINGLE and name in names)]
        stale = [name for name in before if name not in names]
        if not files and not stale and (self.index is None or (INDEX in present and self.is_index(INDEX))):
            return
        if self.index is not None and (self.overwrite or INDEX not in present):
            self.staging.put(INDEX, self.index)
            files = [*files, INDEX]
        after = [name for name in _listed(self.directory / INDEX) if name not in names] if self.overwrite else []
        self.staging.publish(Publication(files, before if self.overwrite else (), after, self.overwrite))


def _present(directory: Path) -> list[str]:
    """What of a checkpoint is in a directory."""
    names = (path.name for path in directory.iterdir()) if directory.is_dir() else ()
    return sorted(name for name in names if name in (INDEX, SINGLE) or is_shard(name))


def refuse(directory: Path) -> None:
    """Refuse a directory that has a checkpoint.

    Raises:
        CheckpointError: it has.
    """
    with told(directory, 0):
        present = _present(directory)
    if present:
        raise exists(directory / present[0])


def refuse_unfinished(directory: Path) -> None:
    """Refuse a directory where another process left a checkpoint that it had not finished.

    Raises:
        CheckpointError: there is one.
    """
    with told(directory, 0):
        unfinished = Staging(directory, keeps=True).is_unfinished
    if unfinished:
        raise failure(
            f"{directory} holds a checkpoint that was not finished, and is left as it is; go on with it by --resume "
            f"(resume=True), or start anew by --force (overwrite=True).",
            errno.EEXIST,
        )


def _differs(path: Path) -> CheckpointError:
    return failure(
        f"{path} is there, is not what the plan makes, and is left as it is; give another directory, or replace it by "
        f"--force (overwrite=True).",
        errno.EEXIST,
    )


def _may_be(place: Path, shard: Shard) -> bool:
    """Whether a file is as large as a shard, and begins with its header."""
    if not place.is_file() or place.stat().st_size != shard.size:
        return False
    with place.open("rb") as file:
        return file.read(len(shard.head)) == shard.head


def _listed(index: Path) -> list[str]:
    """The files beside an index of an old checkpoint that it lists, as far as it can be read."""
    try:
        weights = json.loads(index.read_bytes())["weight_map"]
        names = {name for name in weights.values() if isinstance(name, str)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    return sorted(name for name in names if is_shard(name) and (index.parent / name).is_file())
