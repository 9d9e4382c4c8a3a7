"""A bar on the standard error: bytes written, rate, remaining time. Imported only where it is shown."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

__all__ = ["bar"]

PATIENCE = 1.0  # seconds
FEW = 2**24  # bytes: what comes before the first kernel is needed, constants say, is less than that


class Reason(ProgressColumn):
    """Why nothing happens at first: an engine's first run on a machine compiles its kernels."""

    def render(self, task: Task) -> Text:
        """The reason, if one is due."""
        waiting = time.monotonic() - task.fields["since"] > PATIENCE and task.completed < FEW
        return Text("compiling, once per installation" if waiting else "")


@contextlib.contextmanager
def bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar during the block; what it yields takes the bytes written so far, and in all."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        Reason(),
    )
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    task = shown.add_task(name, total=None, since=time.monotonic())

    def update(written: int, size: int) -> None:
        shown.update(task, completed=written, total=size, since=time.monotonic())

    shown.start()
    try:
        yield update
    finally:
        with contextlib.suppress(OSError):  # a terminal that hung up
            shown.stop()
