"""What recipes say of themselves, as records, a table and plain data."""

import math
import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from fanin.expressions import Number
from fanin.plan import Plan
from fanin.tables import Table

__all__ = ["Listed", "Listing"]

WIDTH = 110  # of notes and sources below a table


@dataclass(frozen=True)
class Listed:
    """A recipe.

    Attributes:
        name: of the recipe.
        title: what it is, in a line.
        sources: where its rules were read.
        names: whose names of tensors it has.
        model_type, architectures: of the configurations that it takes.
        notes: what one should know before using it.
        quantities: what it has without a configuration.
        parameters: how many numbers the tensors that it lists have then; 0 where it lists none.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    names: str
    model_type: tuple[str, ...]
    architectures: tuple[str, ...]
    notes: tuple[str, ...]
    quantities: dict[str, Number]
    parameters: int

    @classmethod
    def of(cls, name: str, plan: Plan) -> "Listed":
        """What a plan says."""
        return cls(name=name, quantities=plan.quantities, parameters=_size(plan), **asdict(plan.about))


@dataclass(frozen=True)
class Listing:
    """Recipes: `str` is a table, `to_dict` is for JSON."""

    recipes: tuple[Listed, ...]

    def to_dict(self) -> dict[str, Any]:
        """It as plain data."""
        return {"recipes": [asdict(each) for each in self.recipes]}

    def table(self) -> Table:
        """It as a table of all, or as all that is said of one."""
        if len(self.recipes) == 1:
            return _whole(self.recipes[0])
        rows = [(each.name, each.title, each.names, _told(each.parameters)) for each in self.recipes]
        below = ["fanin list NAME says where the rules of one come from, and which quantities it has."]
        return Table.of(("recipe", "what", "names of", "parameters"), rows, below)

    def __str__(self) -> str:
        return str(self.table())


def _whole(recipe: Listed) -> Table:
    known = recipe.quantities.items()
    rows = [(name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in known]
    kinds = [*recipe.architectures, *recipe.model_type]
    lines = [
        ("", [recipe.title + "."]),
        ("names of: ", [recipe.names] if recipe.names else []),
        ("configurations of: ", [", ".join(kinds)] if kinds else []),
        ("parameters: ", [_told(recipe.parameters) or "it lists none; take them of a model or a checkpoint."]),
        ("source: ", recipe.sources),
        ("note: ", recipe.notes),
    ]
    below = [line for title, texts in lines for each in texts for line in textwrap.wrap(title + each, WIDTH)]
    return Table.of(("quantity", "without a configuration"), rows, below)


def _told(parameters: int) -> str:
    return f"{parameters:,}" if parameters else ""


def _size(plan: Plan) -> int:
    return sum(math.prod(each.shape) for each in plan.parameters)
