"""``fanin diff``: what two checkpoints, two plans, or one of each do not have in common."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fanin import use
from fanin.cli import options
from fanin.cli.codes import ExitCode
from fanin.cli.group import main
from fanin.cli.plans import Source, chosen
from fanin.cli.showing import show
from fanin.cli.signals import Signals

__all__ = ["diff"]


@main.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path), required=False)
@chosen
@options.seed(None)
@options.only
@options.threads
@options.as_json
@options.quiet
@click.pass_obj
def diff(
    signals: Signals,
    first: Path,
    second: Path | None,
    source: Source,
    seed: int | None,
    only: tuple[str, ...],
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare two checkpoints, two plans, or a checkpoint with a plan.

    A plan is a file that ends in .toml; anything else is a checkpoint. A checkpoint that has other values than a
    plan, but such as the plan's distributions give, is as the plan has it.
    """
    from fanin import proof

    if second is None and not source.is_recipe:
        raise click.UsageError("give what to compare with: a second checkpoint or plan, or a recipe by --recipe.")
    if second is not None and source.is_recipe:
        raise click.UsageError(f"there are three sides, {first}, {second} and --recipe {source.recipe}; drop one.")

    def side(path: Path) -> Any:
        return replace(source, path=path, recipe=None).plan() if path.suffix == ".toml" else path

    if second is not None and ".toml" not in (first.suffix, second.suffix):
        source.unused()
    one, two = side(first), source.plan() if second is None else side(second)
    with use(threads=threads), options.reported(signals, first.name, quiet) as progress:
        found = proof.diff(one, two, seed=seed, only=list(only) or None, progress=progress)
    show(found, as_json, quiet)
    click.get_current_context().exit(ExitCode.OK if found else ExitCode.DIFFERS)
