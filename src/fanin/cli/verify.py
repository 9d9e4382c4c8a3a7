"""``fanin verify``: whether a checkpoint is, bit for bit, what a plan makes."""

from pathlib import Path

import click

from fanin import use
from fanin.cli import options
from fanin.cli.codes import ExitCode
from fanin.cli.group import main
from fanin.cli.plans import Source, planned
from fanin.cli.showing import show
from fanin.cli.signals import Signals

__all__ = ["verify"]


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@planned
@options.seed(None)
@options.only
@options.threads
@options.as_json
@options.quiet
@click.pass_obj
def verify(
    signals: Signals,
    file: Path,
    source: Source,
    seed: int | None,
    only: tuple[str, ...],
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw every tensor of a checkpoint again, and compare.

    FILE is a .safetensors file, or a .safetensors.index.json. What differs is told with the first element that does.
    """
    from fanin import proof

    plan = source.plan()
    with use(threads=threads), options.reported(signals, file.name, quiet) as progress:
        found = proof.verify(file, plan, seed=seed, only=list(only) or None, progress=progress)
    show(found, as_json, quiet)
    click.get_current_context().exit(ExitCode.OK if found else ExitCode.DIFFERS)
