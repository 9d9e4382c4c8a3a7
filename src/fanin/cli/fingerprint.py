"""``fanin fingerprint``: a hash of a checkpoint's tensors, and of all of them."""

from pathlib import Path

import click

from fanin import use
from fanin.cli import options
from fanin.cli.codes import ExitCode
from fanin.cli.group import main
from fanin.cli.plans import Source, chosen
from fanin.cli.showing import show
from fanin.cli.signals import Signals

__all__ = ["fingerprint"]


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plan", type=click.Path(path_type=Path), help="Whose layouts count, as they do in every framework.")
@click.option("--expect", metavar="HEX", help="Exit with another code unless the hash begins so.")
@chosen
@options.only
@options.threads
@options.as_json
@options.quiet
@click.pass_obj
def fingerprint(
    signals: Signals,
    file: Path,
    source: Source,
    expect: str | None,
    only: tuple[str, ...],
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Hash the tensors of a checkpoint.

    FILE is a .safetensors file, or a .safetensors.index.json. Without a plan the hash is over the order of its
    arrays; by a plan it is over logical coordinates, and the same for the weights in any framework. The line for
    the whole tells which.
    """
    from fanin import proof

    if not source:
        source.unused()
    rules = source.plan() if source else None
    if expect is not None and (len(expect) < 8 or set(expect.lower()) - set("0123456789abcdef")):
        raise click.BadParameter(f"{expect!r} is no hash; give 8 or more of its hexadecimal digits.")
    with use(threads=threads), options.reported(signals, file.name, quiet) as progress:
        found = proof.fingerprint(file, rules, only=list(only) or None, progress=progress)
    show(found, as_json, quiet)
    if expect is not None and not found.digest.startswith(expect.lower()):
        click.echo(f"fanin: the hash of {file} begins with {found.digest[: len(expect)]}, not {expect}.", err=True)
        click.get_current_context().exit(ExitCode.DIFFERS)
