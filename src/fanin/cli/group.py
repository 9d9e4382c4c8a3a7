"""The command ``fanin`` itself, with one place where errors and signals become messages and exit codes."""

import contextlib
import signal
from typing import Any

import click

from fanin import __version__
from fanin.cli.codes import EPILOG, exit_code
from fanin.cli.signals import Signal, Signals
from fanin.errors import FaninError

__all__ = ["main"]


class _Commands(click.Group):
    """The commands, with one place where errors and signals become messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with Signals() as ctx.obj:
                return super().invoke(ctx)
        except FaninError as error:
            click.echo(f"fanin: error: {' '.join([str(error), *_notes(error)])}", err=True)
            ctx.exit(exit_code(error))
        except (Signal, KeyboardInterrupt) as stop:  # the second where a model's code has a handler of its own
            number = stop.number if isinstance(stop, Signal) else signal.SIGINT
            name = signal.Signals(number).name
            with contextlib.suppress(OSError):  # a terminal that hung up
                click.echo(
                    " ".join([f"fanin: ended by {name}; no half-written file is left.", *_notes(stop)]), err=True
                )
            ctx.exit(128 + number)


def _notes(error: BaseException) -> list[str]:
    """What was added to an error on its way."""
    return getattr(error, "__notes__", [])


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fanin", message="%(prog)s %(version)s")
def main() -> None:
    """One seed, the same weights: on every framework, device and sharding."""
