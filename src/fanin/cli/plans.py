"""A plan of the command line, resolved for its own parameters or for those of a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fanin.plan import Resolved

__all__ = ["entries_of"]


def entries_of(plan: Path, like: Path | None, seed: int, dtype: str | None, member: int | None = None) -> "Resolved":
    """What a plan resolves to.

    Args:
        plan: a TOML file.
        like: a checkpoint, for a plan that lists no parameters.
        seed: of the plan.
        dtype: in place of every floating-point one.
        member: of an ensemble.

    Raises:
        UsageError: there are no parameters, or two lists of them.
    """
    from fanin import checkpoint
    from fanin.plan import Plan

    rules = Plan.from_file(plan)
    if like is None and not rules.parameters:
        raise click.UsageError(f"{plan} lists no parameters; list them there, or take those of a checkpoint by --like.")
    if like is not None and rules.parameters:
        raise click.UsageError(f"{plan} lists its own parameters, so there is no use for --like; drop one of the two.")
    parameters = None if like is None else checkpoint.shapes(like)
    if parameters == ():
        raise click.UsageError(f"{like} holds no tensors, so there is nothing to write; give another checkpoint.")
    return rules.resolve(parameters, seed=seed, dtype=dtype, member=member)
