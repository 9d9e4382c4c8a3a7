"""``fanin selftest``: the recorded vectors on this machine."""

import click

from fanin.cli.codes import ExitCode
from fanin.cli.group import main

__all__ = ["selftest"]


@main.command()
def selftest() -> None:
    """Check every engine against the recorded vectors."""
    from fanin.selftest import main as run

    click.get_current_context().exit(ExitCode.SELFTEST if run() else ExitCode.OK)
