"""``fanin explain``: what a plan does, before it does it."""

from pathlib import Path

from fanin.cli import options
from fanin.cli.group import main
from fanin.cli.plans import Source, entries_of, planned
from fanin.cli.showing import show

__all__ = ["explain"]


@main.command()
@planned
@options.like
@options.model
@options.seed("0")
@options.dtype
@options.only
@options.as_json
@options.quiet
def explain(
    source: Source,
    like: Path | None,
    model: str | None,
    seed: int,
    dtype: str | None,
    only: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Say what a plan does.

    Of every tensor the rule and its line, the layout, the fans, the distribution, the mean and the standard
    deviation to expect after truncation and rounding, the bounds; and what is to be doubted.
    """
    from fanin import proof

    entries = entries_of(source, like, seed, dtype, model=model)
    show(proof.explain(entries, only=list(only) or None), as_json, quiet)
