"""Options that several commands have, and what reads their texts."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fanin.cli.signals import Signals
from fanin.dtypes import FLOATS
from fanin.recipe import check_seed

__all__ = ["as_json", "dtype", "like", "model", "only", "quiet", "reported", "seed", "threads"]

F = TypeVar("F", bound=Callable[..., Any])


def _seed_of(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return check_seed(int(text, 16 if text[:2].lower() == "0x" else 10))
    except ValueError:  # SeedError among them
        raise click.BadParameter(
            f"{text!r} is no integer from 0 to 2**64 - 1; write it in decimal digits, or in hexadecimal after 0x."
        ) from None


def seed(default: str | None) -> Callable[[F], F]:
    """The seed; without a default the command decides."""
    told = "Up to 2^64 - 1, or 0x..." + ("" if default else " Otherwise the one that the file records, otherwise 0.")
    return click.option(
        "--seed", metavar="INTEGER", callback=_seed_of, default=default, show_default=bool(default), help=told
    )


dtype = click.option(
    "--dtype", type=click.Choice(list(FLOATS)), help="Of all floating-point tensors, whatever the plan says."
)
like = click.option(
    "--like",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take names, shapes and dtypes from a .safetensors file, a .safetensors.index.json, or a directory.",
)
model = click.option(
    "--model",
    metavar="MODULE:FACTORY",
    help="Take names, shapes, dtypes and layouts from a model that this function of yours makes. Imports the module.",
)
threads = click.option(
    "--threads", type=click.IntRange(min=1), help="Otherwise FANIN_NUM_THREADS, otherwise all cores."
)
quiet = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
only = click.option(
    "--only", metavar="PATTERN", multiple=True, help="Look at these tensors, such as 'h.*.weight'. Can be repeated."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextlib.contextmanager
def reported(signals: Signals, name: str, silent: bool) -> Any:
    """A function to report progress to: it ends what a signal is to end, and draws a bar where someone looks.

    Args:
        signals: of the command.
        name: beside the bar.
        silent: whether there is none.
    """
    with _bar(name, silent) as shown:

        def progress(done: int, size: int) -> None:
            signals.check()
            if shown is not None:
                shown(done, size)

        yield progress


def _bar(name: str, silent: bool) -> contextlib.AbstractContextManager[Callable[[int, int], None] | None]:
    if silent or sys.stderr is None or not sys.stderr.isatty():  # None where it was closed
        return contextlib.nullcontext()
    from fanin.progress import bar

    return bar(name)
