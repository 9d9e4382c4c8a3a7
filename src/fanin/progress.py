"""A bar on the standard error: bytes written, rate, remaining time.

What draws it is imported only where it is shown.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["Progress", "bar", "shown"]

Progress = Callable[[int, int], None]  # called with the bytes written so far, and in all

LONG = 2**29  # bytes from which writing takes long enough to be watched
PATIENCE = 1.0  # seconds
FEW = 2**24  # bytes: what comes before the first kernel is needed, constants say, is less than that


@contextlib.contextmanager
def shown(progress: Progress | None, name: str, size: int) -> Iterator[Progress]:
    """What to report to: a function of the user's, else a bar where the work is long and someone looks."""
    if progress is not None:
        yield progress
    elif size >= LONG and sys.stderr is not None and sys.stderr.isatty():  # None where it was closed
        with bar(name) as update:
            yield update
    else:
        yield lambda written, size: None


@contextlib.contextmanager
def bar(name: str) -> Iterator[Progress]:
    """Show a bar during the block; what it yields takes the bytes written so far, and in all."""
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Reason(progress.ProgressColumn):
        """Why nothing happens at first: an engine's first run on a machine compiles its kernels."""

        def render(self, task: progress.Task) -> Text:
            """The reason, if one is due."""
            waiting = time.monotonic() - task.fields["since"] > PATIENCE and task.completed < FEW
            return Text("compiling, once per installation" if waiting else "")

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        Reason(),
    )
    drawn = progress.Progress(*columns, console=Console(stderr=True), transient=True)
    task = drawn.add_task(name, total=None, since=time.monotonic())

    def update(written: int, size: int) -> None:
        drawn.update(task, completed=written, total=size, since=time.monotonic())

    drawn.start()
    try:
        yield update
    finally:
        with contextlib.suppress(OSError):  # a terminal that hung up
            drawn.stop()
