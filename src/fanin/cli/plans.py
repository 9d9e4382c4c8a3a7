"""The plan of a command: a file or a recipe, with quantities of its own or of a configuration, and its tensors."""

import contextlib
import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fanin.models import Array
    from fanin.plan import Plan, Resolved

__all__ = ["Source", "chosen", "entries_of", "planned"]


@dataclass(frozen=True)
class Source:
    """What the arguments say of a plan.

    Attributes:
        path: of a TOML file.
        recipe: a name, in place of a file.
        config: the path of a configuration.
        quantities: texts by name.
    """

    path: Path | None
    recipe: str | None
    config: Path | None
    quantities: dict[str, str]

    def __bool__(self) -> bool:
        return self.path is not None or self.recipe is not None

    @property
    def is_recipe(self) -> bool:
        """Whether a recipe was named."""
        return self.recipe is not None

    @functools.cached_property
    def content(self) -> bytes | None:
        """What is in the configuration's file, read once, for it may be a pipe; None where there is no such file.

        Raises:
            PlanError: it cannot be read.
        """
        from fanin.plan import configs

        return None if self.config is None else configs.content(self.config)

    def unused(self) -> None:
        """Refuse quantities where there is no plan that they could be of."""
        if self.config is not None or self.quantities:
            raise click.UsageError("--config and --set are for a plan or a recipe, and there is none.")

    def plan(self) -> "Plan":
        """Read it.

        Raises:
            UsageError: there is none, or two.
            PlanError: it cannot be read.
        """
        from fanin import recipes
        from fanin.plan import Plan

        if self.path is not None and self.recipe is not None:
            raise click.UsageError(f"give a plan, {self.path}, or a recipe, {self.recipe!r}, not both.")
        if self.recipe is not None:
            return recipes.load(self.recipe, self._entries(), **self.quantities)
        if self.path is None:
            raise click.UsageError("there is no plan; give the name of a TOML file, or of a recipe by --recipe.")
        return Plan.from_file(self.path, config=self._entries(), quantities=self.quantities)

    def _entries(self) -> Mapping[str, Any] | None:
        from fanin.plan import configs

        return None if self.config is None or self.content is None else configs.parsed(self.content, self.config)


def _pairs(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise click.BadParameter(f"{text!r} sets nothing; write NAME=NUMBER, such as n_layer=24.")
        pairs[name.strip()] = {"true": "1", "false": "0"}.get(value.strip().lower(), value.strip())
    return pairs


_OPTIONS = (
    click.option("--recipe", metavar="NAME", help="A recipe in place of a plan; see fanin list."),
    click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="A config.json, whose numbers take the place of the plan's quantities.",
    ),
    click.option(
        "--set",
        "quantities",
        metavar="NAME=NUMBER",
        multiple=True,
        callback=_pairs,
        help="A quantity in place of the plan's or the configuration's. Can be repeated.",
    ),
)


def chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options for a recipe, a configuration and quantities, which the command gets as ``source``."""

    @functools.wraps(command)
    def with_source(
        recipe: str | None, config: Path | None, quantities: dict[str, str], plan: Path | None = None, **others: Any
    ) -> Any:
        return command(source=Source(plan, recipe, config, quantities), **others)

    for option in reversed(_OPTIONS):
        with_source = option(with_source)
    return with_source


def planned(command: Callable[..., Any]) -> Callable[..., Any]:
    """An argument for a plan before the options of `chosen`."""
    return click.argument("plan", type=click.Path(path_type=Path), required=False)(chosen(command))


def entries_of(
    source: Source,
    like: Path | None,
    seed: int,
    dtype: str | None,
    member: int | None = None,
    model: str | None = None,
    dummy: bool = False,
    only: tuple[str, ...] = (),
) -> "Resolved":
    """What a plan resolves to.

    Args:
        source: of the plan.
        like: a checkpoint, whose tensors count.
        seed: of the plan.
        dtype: in place of every floating-point one.
        member: of an ensemble.
        model: ``"package.module:factory"``, whose tensors count.
        dummy: whether the tensors get values for load tests, whatever the plan says of them.
        only: patterns of the tensors that need rules; all do without any.

    Raises:
        UsageError: there are no parameters, or two lists of them.
    """
    from fanin.plan.dummies import dummies

    if like is not None and model is not None:
        raise click.UsageError("--like and --model both say which tensors there are; drop one of them.")
    if dummy and not source:
        source.unused()
    plan = None if dummy and not source else source.plan()
    arrays = _arrays(source, plan, like, model)
    if plan is None or dummy:
        return dummies(arrays, seed=seed, dtype=dtype)
    return plan.of_arrays(arrays, seed=seed, dtype=dtype, member=member, only=list(only) or None)


def _arrays(source: Source, plan: "Plan | None", like: Path | None, model: str | None) -> "list[Array]":
    """The arrays that are asked for."""
    from fanin import checkpoint, models
    from fanin.models.factories import built
    from fanin.plan.arrangement import unpacked

    if model is not None:
        with contextlib.redirect_stdout(sys.stderr):  # what a factory prints is no part of a report
            made = built(model)
        arrays = [array for array in models.opened(made).arrays if array.persistent]
        if not arrays:
            raise click.UsageError(f"{model} has no tensors, so there is nothing to write; give another model.")
        return arrays
    listed = () if plan is None else plan.parameters
    if like is None:
        if not listed:
            told = "there is no plan that lists" if plan is None else f"{source.path or source.recipe} lists no"
            raise click.UsageError(
                f"{told} parameters; list them in the plan, or take those of a checkpoint by --like, of a model by "
                f"--model."
            )
        return list(unpacked(listed))
    if listed and source.recipe is None:
        raise click.UsageError(
            f"{source.path} lists its own parameters, so there is no use for --like; drop one of the two."
        )
    parameters = checkpoint.shapes(like)
    if not parameters:
        raise click.UsageError(f"{like} holds no tensors, so there is nothing to write; give another checkpoint.")
    return list(unpacked(parameters))
