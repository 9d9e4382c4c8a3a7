"""Signals that end a command, as exceptions, so that everything is tidied up."""

import signal
from types import FrameType
from typing import Any, Self

__all__ = ["Signal", "Signals"]


class Signal(BaseException):
    """A signal that ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """In a block, SIGINT, SIGTERM and SIGHUP raise where they would just end the process: the first of them, once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup ignores SIGHUP
                self.before[number] = signal.signal(number, self.stop)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            # After one, the process is about to end, and no other may change its exit code.
            signal.signal(number, handler if self.number is None else signal.SIG_IGN)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Raise, unless what was raised before is on its way: a second would disturb the tidying up."""
        if self.number is None:
            self.number = number
            raise Signal(number)

    def check(self) -> None:
        """Raise once more what was lost: nothing that a signal raises leaves a callback of LLVM's or a finalizer."""
        if self.number is not None:
            raise Signal(self.number)
