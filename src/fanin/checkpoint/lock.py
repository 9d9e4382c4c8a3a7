"""A lock on a file, held by one process, which the system takes away when that process ends, however it does."""

import os
import sys
from pathlib import Path
from typing import Self

from fanin.checkpoint.output import UNABLE

__all__ = ["Busy", "Lock"]


class Busy(Exception):  # noqa: N818 - a state, told by whoever meets it
    """Another process, or another part of this one, holds the lock."""


class Lock:
    """A lock that is held from its making to `release`.

    A file system without locks, as some of clusters are, gives it to everyone.

    Args:
        path: of a file, which is made where it is missing.

    Raises:
        Busy: another holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            _take(self.descriptor)
        except BaseException:
            self.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def is_current(self) -> bool:
        """Whether the file is still there; whoever held it before may have removed it, and another made a new one."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let another have it."""
        os.close(self.descriptor)


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            raise Busy from None

else:
    import fcntl

    def _take(descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        except OSError as error:
            if error.errno not in UNABLE:
                raise
