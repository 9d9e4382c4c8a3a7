"""The hidden directory in which the files of a checkpoint wait until all of them are finished.

It lies in the destination, so on its disk, and is locked by whoever writes there. A file in it is called
`*.partial` until all its bytes are on the disk. When all are, a note of what is to be published is put
beside them, and they are renamed into the destination, the index last; a publication that was cut short
can so be finished by whoever comes next, without the plan.
"""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fanin.checkpoint.lock import Busy, Lock
from fanin.checkpoint.output import UNABLE, failure, publish, told
from fanin.checkpoint.shards import INDEX, SINGLE, is_shard

__all__ = ["STAGING", "Publication", "Staging", "check_destination", "held", "settle"]

STAGING = ".fanin-partial"
_LOCK, _NOTE, _PARTIAL = "lock", "publication.json", ".partial"


@dataclass(frozen=True)
class Publication:
    """What is to happen to a destination.

    Attributes:
        files: that take their names there, in this order.
        before: names that are removed there before.
        after: names that are removed there afterwards.
        overwrite: whether a file there may be replaced.
    """

    files: Sequence[str]
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    overwrite: bool = False


class Staging:
    """The staging directory of a destination, while it is locked.

    Attributes:
        path: of it.
        keeps: whether finished files outlive an error.
        begun: whether what is there is this process' own to remove.
    """

    def __init__(self, directory: Path, keeps: bool) -> None:
        self.directory, self.path, self.keeps = directory, directory / STAGING, keeps
        self.begun = False

    @property
    def finished(self) -> list[str]:
        """The names of finished files."""
        return sorted(name for name in self._names() if name != _NOTE and not name.endswith(_PARTIAL))

    @property
    def published(self) -> bool:
        """Whether a publication has begun."""
        return (self.path / _NOTE).exists()

    @property
    def is_unfinished(self) -> bool:
        """Whether another process left what it had finished."""
        return self.path.is_dir() and (self.published or bool(self.finished))

    def partial(self, name: str) -> Path:
        """Where a file is until it is finished."""
        return self.path / f"{name}{_PARTIAL}"

    def finish(self, name: str) -> None:
        """Flush a file to the disk, and call it finished."""
        partial = self.partial(name)
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(self.path / name)

    def put(self, name: str, data: bytes) -> None:
        """Make a small file, finished."""
        self.partial(name).write_bytes(data)
        self.finish(name)

    def begin(self, kept: Sequence[str] = ()) -> None:
        """Remove what another process left, but for some finished files."""
        self.begun = True
        self._discard(kept)

    def _names(self) -> list[str]:
        """Of all files but the lock."""
        return [
            path.name for path in self.path.iterdir() if path.name != _LOCK and (path.is_symlink() or not path.is_dir())
        ]

    def _discard(self, kept: Sequence[str] = ()) -> None:
        for name in self._names():
            if name not in kept:
                (self.path / name).unlink()

    def publish(self, publication: Publication) -> None:
        """Give finished files their names in the destination, all or, unless something is replaced, none.

        Raises:
            CheckpointError: a name is taken, or the system refuses.
        """
        self.put(_NOTE, json.dumps(asdict(publication)).encode())
        try:
            self.forward()
        except OSError:
            raise
        except BaseException:  # an interrupt; the little that is left is done before it ends the process
            if self.published:
                self.forward()
            raise

    def forward(self) -> None:
        """Do what the note says, or what is left of it.

        Raises:
            CheckpointError: see `publish`.
        """
        note = self._note()
        try:
            self._forward(note)
        except OSError:
            if not note.overwrite:
                self._back(note.files)
            raise

    def _forward(self, note: Publication) -> None:
        if not note.files or (self.path / note.files[-1]).exists():
            for name in note.before:
                (self.directory / name).unlink(missing_ok=True)
            for number, name in enumerate(note.files, 1):
                if number == len(note.files):
                    _flush(self.directory)  # the index is never there before its shards
                self._move(name, note.overwrite)
        _flush(self.directory)
        for name in note.after:
            (self.directory / name).unlink(missing_ok=True)
        (self.path / _NOTE).unlink()

    def _note(self) -> Publication:
        path = self.path / _NOTE
        try:
            fields = json.loads(path.read_bytes())
            note = Publication(**fields)
            lists = (note.files, note.before, note.after)
            if all(isinstance(names, list) and all(map(_is_ours, names)) for names in lists):
                return note
        except (ValueError, TypeError, RecursionError):
            pass
        raise failure(f"{path} is no note of fanin's; remove {self.path}, and write again.", errno.EINVAL)

    def _move(self, name: str, overwrite: bool) -> None:
        here, there = self.path / name, self.directory / name
        if not here.exists():
            return
        with told(there, here.stat().st_size):
            if not overwrite and there.exists() and here.samefile(there):
                here.unlink()  # cut short between its two names
                return
            publish(here, there, overwrite)
            here.unlink(missing_ok=True)

    def _back(self, names: Sequence[str]) -> None:
        """Take back what was published before another name was found to be taken."""
        for name in names:
            here, there = self.path / name, self.directory / name
            if not here.exists():
                with contextlib.suppress(FileNotFoundError):  # a user removed it
                    there.replace(here)
            elif there.exists() and here.samefile(there):
                there.unlink()
        (self.path / _NOTE).unlink()

    def remove(self) -> None:
        """Remove the directory, unless another process waits in it."""
        self._discard()
        (self.path / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def tidy(self, error: BaseException) -> None:
        """After an error remove what is not kept, and note what is."""
        if self.begun and not self.published:
            self._discard(self.finished if self.keeps else ())
        if not self._names():
            self.remove()
        elif self.begun:
            count = len(self.finished)
            error.add_note(
                f"{count} finished {'file is' if count == 1 else 'files are'} kept in {self.path}; the same command "
                f"with --resume (resume=True) goes on."
            )


@contextlib.contextmanager
def held(directory: Path, *, keeps: bool) -> Iterator[Staging]:
    """A staging directory, locked during the block, that is gone after it; so is the destination where it was made.

    Args:
        directory: the destination.
        keeps: whether finished files outlive an error.

    Raises:
        CheckpointError: another process writes there, with the `errno` EBUSY; or the system refuses.
    """
    made, lock = _locked(directory)
    staging = Staging(directory, keeps)
    try:
        yield staging
        with told(directory, 0):
            staging.remove()
    except BaseException as error:
        with contextlib.suppress(OSError):  # the directory is gone, say
            staging.tidy(error)
        raise
    finally:
        lock.release()
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                directory.rmdir()


def settle(directory: str | os.PathLike[str]) -> bool:
    """Finish the publication of a checkpoint that was cut short: all its files are complete, and get their names.

    Args:
        directory: of the checkpoint.

    Returns:
        whether there was one.

    Raises:
        CheckpointError: another process writes there, a name is taken, or the system refuses.
    """
    directory = Path(directory)
    with told(directory, 0):
        if not (directory / STAGING / _NOTE).is_file():
            return False
        with held(directory, keeps=True) as staging:
            if staging.published:
                staging.forward()
    return True


def _locked(directory: Path) -> tuple[bool, Lock]:
    """Make the destination and its staging directory, and lock it; say whether the destination was made."""
    place = directory / STAGING
    made = False
    with told(directory, 0):
        while True:
            made |= _made(directory)
            with contextlib.suppress(FileExistsError):
                place.mkdir()
            check_destination(directory)
            try:
                lock = Lock(place / _LOCK)
            except FileNotFoundError:  # another process has just finished, and removed it
                continue
            except Busy:
                raise failure(
                    f"{directory} is being written by another process, and left to it; wait for that, or give another "
                    f"directory.",
                    errno.EBUSY,
                ) from None
            if lock.is_current():
                return made, lock
            lock.release()


def _is_ours(name: str) -> bool:
    """Whether a file of that name is of a checkpoint in shards, which alone a note may speak of."""
    return name in (SINGLE, INDEX) or is_shard(name)


def _made(directory: Path) -> bool:
    check_destination(directory)
    if directory.is_dir():
        return False
    directory.mkdir(exist_ok=True)
    return True


def check_destination(directory: Path) -> None:
    """Refuse what can hold no staging directory.

    Raises:
        CheckpointError: it is no directory, nor can one be made; or what is called so there is none of fanin's.
    """
    place = directory / STAGING
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # once, for it comes and goes
        if not stat.S_ISDIR(place.lstat().st_mode):
            raise failure(f"{place} is no directory of fanin's, and is left as it is; remove it.", errno.EEXIST)
    if directory.is_dir():
        return
    if os.path.lexists(directory):
        raise failure(f"{directory} is no directory; give another name for one of shards.", errno.ENOTDIR)
    if not directory.parent.is_dir():
        raise failure(f"{directory} cannot be made: {directory.parent} is no directory; make it first.", errno.ENOENT)


def _flush(directory: Path) -> None:
    """Have the names in a directory on the disk, where the system can."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
