"""A file that appears under its name when it is complete, or not at all."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from fanin.errors import CheckpointError

__all__ = ["UNABLE", "check_new", "check_room", "exists", "failure", "new_file", "publish", "reserve", "told"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the disk, a quota, the process' limit on a file's size
UNABLE = {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


@contextlib.contextmanager
def new_file(path: Path, size: int, *, overwrite: bool) -> Iterator[Path]:
    """A temporary file of a size, beside the path, that takes its name when the block ends well.

    Its permissions are those of any new file. Nothing is flushed to the disk: that may cost more than
    all the rest, and what a power failure in the seconds after destroys, the same command makes again.

    Raises:
        CheckpointError: it cannot be made, or take its name. `errno` is EEXIST where there is such a
            file, ENOSPC where there is no room, else the system's.
    """
    check_new(path, size, overwrite=overwrite)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.partial")
    try:
        with told(path, size):
            reserve(temporary, size)
        yield temporary
        with told(path, size):
            publish(temporary, path, overwrite)
    finally:
        with contextlib.suppress(OSError):  # it never was, has become the output, or its directory is gone
            temporary.unlink()


@contextlib.contextmanager
def told(path: Path, size: int, written: int = 0) -> Iterator[None]:
    """Turn the system's errors in the block into ours."""
    try:
        yield
    except CheckpointError:
        raise
    except FileExistsError:
        raise exists(path) from None
    except OSError as error:
        if error.errno in _FULL:
            raise _no_room(path, size, f"{error.strerror}, after {written:,} bytes") from error
        raise failure(f"{path} cannot be written: {error.strerror or error}.", error.errno or errno.EIO) from error


def check_new(path: Path, size: int, *, overwrite: bool) -> None:
    """Refuse what is known to fail, or to harm, before anything is made."""
    with told(path, size):
        if path.is_dir():
            raise failure(f"{path} is a directory; give the name of a file in it.", errno.EISDIR)
        if not overwrite and os.path.lexists(path):
            raise exists(path)
        if path.exists() and not path.is_file():
            raise failure(f"{path} is no regular file, and would be replaced by one.", errno.EINVAL)
        if not path.parent.is_dir():
            raise failure(f"{path} cannot be written: {path.parent} is no directory; make it first.", errno.ENOENT)
        check_room(path, path.parent, size)


def check_room(path: Path, directory: Path, size: int) -> None:
    """Refuse what does not fit the file system of a directory."""
    usage = shutil.disk_usage(directory)
    if usage.total and size > usage.free:  # a file system that says nothing says zero
        raise _no_room(path, size, f"{usage.free:,} are free")


def reserve(temporary: Path, size: int) -> None:
    """Make a file and take its room on the disk, where the file system can."""
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    finally:
        os.close(descriptor)


def publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give the file its name, in one step that never replaces another unless it may."""
    if overwrite:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in UNABLE:
            raise
        if os.path.lexists(path):  # no hard links here: look, then rename
            raise FileExistsError from None
        temporary.rename(path)


def exists(path: Path) -> CheckpointError:
    """The error of a name that is taken."""
    return failure(
        f"{path} exists, and is left as it is; give another name, or replace it by --force (overwrite=True).",
        errno.EEXIST,
    )


def _no_room(path: Path, size: int, found: str) -> CheckpointError:
    return failure(f"{path} needs {size:,} bytes: {found}. Make room, or write to another file system.", errno.ENOSPC)


def failure(message: str, number: int) -> CheckpointError:
    """An error with its number."""
    error = CheckpointError(message)
    error.errno = number
    return error
