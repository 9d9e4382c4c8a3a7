"""Reports on the standard output: JSON for machines, a table for people, plain where nobody looks."""

import json
import sys
from typing import Any, Protocol

import click

__all__ = ["Report", "show"]


class Report(Protocol):
    """What `fanin.proof` tells."""

    def to_dict(self) -> dict[str, Any]:
        """It as plain data."""

    def table(self) -> Any:
        """It as a `fanin.tables.Table`."""


def show(report: Report, as_json: bool, quiet: bool) -> None:
    """Print a report.

    Args:
        report: of a command.
        as_json: as JSON.
        quiet: not at all.
    """
    if quiet:
        return
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False))
    elif sys.stdout is not None and sys.stdout.isatty():  # None where it was closed
        _draw(report.table())
    else:
        click.echo(str(report.table()))


def _draw(table: Any) -> None:
    """Draw a table on a terminal, whose width its cells share."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if table.rows:
        drawn = Table(box=None, pad_edge=False, header_style="bold")
        for number, title in enumerate(table.columns):
            drawn.add_column(Text(title), overflow="fold", no_wrap=number == 0)  # names stay whole
        for row in table.rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)
    for line in table.below:
        style = "yellow" if line.startswith(("warning:", "note:")) else ""
        console.print(Text(line, style=style), soft_wrap=True)
