"""``fanin list``: the recipes there are, and what one of them says of itself."""

import click

from fanin.cli import options
from fanin.cli.group import main
from fanin.cli.showing import show

__all__ = ["list_"]


@main.command("list")
@click.argument("recipe", required=False)
@click.option("--toml", is_flag=True, help="Print the plan itself, to be read or changed.")
@options.as_json
def list_(recipe: str | None, toml: bool, as_json: bool) -> None:
    """Say which recipes there are, or what RECIPE is.

    Of one recipe: where its rules come from, whose names of tensors it has, which models its configurations are of, and
    its quantities, which --config and --set change.
    """
    from fanin import recipes

    if toml:
        if recipe is None:
            raise click.UsageError("--toml prints one plan; name the recipe.")
        click.echo(recipes.text(recipe), nl=False)
        return
    show(recipes.listing(*([] if recipe is None else [recipe])), as_json, quiet=False)
