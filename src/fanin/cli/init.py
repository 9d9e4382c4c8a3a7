"""``fanin init``: the weights of a model, by a plan, to a file."""

import math
import time
from pathlib import Path

import click

from fanin import __version__, use
from fanin.cli import options, outputs
from fanin.cli.group import main
from fanin.cli.plans import Source, entries_of, planned
from fanin.cli.showing import show
from fanin.cli.signals import Signals
from fanin.spec import STREAM

__all__ = ["init"]


def _output(ctx: click.Context, param: click.Parameter, text: str) -> str:
    if text == "-":
        raise click.BadParameter("the output cannot be a pipe; give the name of a file, or of a directory.")
    return text


@main.command()
@planned
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE|DIR/",
    callback=_output,
    help="The file to write; or a directory, for a checkpoint in shards.",
)
@outputs.max_shard_size
@outputs.resume
@options.seed("0")
@options.dtype
@options.like
@options.model
@click.option("--dummy", is_flag=True, help="Any small values, for load tests. Needs no plan.")
@click.option(
    "--only",
    metavar="PATTERN",
    multiple=True,
    help="With --like: draw these tensors, and copy all others from there. Can be repeated.",
)
@click.option("--member", type=click.IntRange(min=0), help="Member K of an ensemble; 0 is the plan itself.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, how large, and how long it would take.")
@options.threads
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@options.quiet
@click.pass_obj
def init(
    signals: Signals,
    source: Source,
    output: str,
    max_shard_size: int | None,
    resume: bool,
    seed: int,
    dtype: str | None,
    like: Path | None,
    model: str | None,
    dummy: bool,
    only: tuple[str, ...],
    member: int | None,
    dry_run: bool,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Write the weights of a model, by a plan, to a file or a directory.

    PLAN is a TOML file of rules, the output a safetensors file, or a directory of them. No framework is
    needed. One version of fanin, plan, seed, dtype and list of tensors make the same files, anywhere; only
    in tensors that are computed whole (orthogonal, stft) may a few last bits differ.
    """
    from fanin import checkpoint
    from fanin.plan import digest

    started = time.perf_counter()
    if only and (like is None or dtype is not None):
        raise click.UsageError("--only needs the checkpoint whose other tensors stay, by --like, and no --dtype.")
    target = outputs.Target.of(output, max_shard_size, resume)
    if not dry_run:
        target.settle(force)
    entries = entries_of(source, like, seed, dtype, member, model, dummy, only)
    if dry_run:
        with use(threads=threads):
            show(target.forecast(entries, force, base=like if only else None, only=only or None), False, quiet)
        return
    metadata = {
        "format": "pt",  # what transformers asks for
        "fanin.version": __version__,
        "fanin.stream": STREAM,
        "fanin.seed": str(seed),
        "fanin.plan": digest(entries),
    }
    with use(threads=threads), options.reported(signals, target.path.name, quiet) as progress:
        base = None
        if only:  # neither seed nor plan are those of all of it
            base, metadata = like, {"format": "pt", "fanin.version": __version__, "fanin.stream": STREAM}
        size, files = target.write(entries, metadata, force, base=base, only=only or None, progress=progress)
    note = "" if source.content is None else target.keep(source.content, bool(source.quantities))
    if not quiet:
        seconds = time.perf_counter() - started
        held = checkpoint.shapes(target.path)
        numbers = sum(math.prod(each.shape) for each in held)
        if note:
            click.echo(f"note: {note}.", err=True)
        click.echo(
            f"{target.path}: {len(held):,} tensors, {numbers:,} parameters, {size:,} bytes{files} "
            f"in {seconds:.2f} s ({size / seconds / 1e6:,.0f} MB/s); seed {seed}, plan {entries.digest[:16]}"
        )
