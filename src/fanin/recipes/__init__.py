"""Recipes: plans of real architectures, as their authors' code initializes them. One TOML file each in this folder.

Each is a function of its name, ``recipes.gpt2(n_layer=24)`` or ``recipes.llama(config)``, that returns a `Plan`.
"""

import functools
from collections.abc import Callable
from importlib import resources
from typing import Any

from fanin.errors import PlanError
from fanin.expressions import Number
from fanin.plan import Plan
from fanin.plan.problems import nearest
from fanin.recipes.listing import Listed, Listing

__all__ = ["NAMES", "Listed", "Listing", "listing", "load", "text"]


def _names() -> tuple[str, ...]:
    files = resources.files("fanin.recipes").iterdir()
    return tuple(sorted(file.name[:-5] for file in files if file.name.endswith(".toml")))


NAMES = _names()


def load(name: str, config: Any = None, /, **quantities: Number | str) -> Plan:
    """Return a recipe.

    Args:
        name: one of `NAMES`.
        config: of a model, from which the recipe's quantities are taken: a mapping, an object with `to_dict`
            such as a configuration of transformers, or the path of a ``config.json``. None is the recipe's own.
        quantities: numbers or expressions in place of those, by the names that ``plan.quantities`` has.

    Returns:
        the plan. It lists the tensors of a model of that size where ``plan.parameters`` has any, under the
        names that ``plan.about.names`` tells.

    Raises:
        PlanError: there is no such recipe or quantity, or the configuration is of another architecture.

    >>> from fanin import recipes
    >>> plan = recipes.gpt2(n_layer=24, n_embd=1024)
    >>> plan.about.names, len(plan.parameters)
    ('transformers.GPT2LMHeadModel', 292)
    """
    return Plan.from_text(text(name), source=f"the recipe {name}", config=config, quantities=quantities)


def listing(*names: str) -> Listing:
    """What recipes say of themselves; of all of them without names.

    Raises:
        PlanError: there is no such recipe.
    """
    return Listing(tuple(Listed.of(name, load(name)) for name in names or NAMES))


def text(name: str) -> str:
    """The text of a recipe's file, to be read or changed.

    Raises:
        PlanError: there is no such recipe.
    """
    if name not in NAMES:
        raise PlanError(f"there is no recipe {name!r}; {nearest(name, NAMES)}")
    return resources.files("fanin.recipes").joinpath(f"{name}.toml").read_text("utf-8")


def __getattr__(name: str) -> Callable[..., Plan]:
    if name not in NAMES:
        raise AttributeError(f"module 'fanin.recipes' has no recipe {name!r}; {nearest(name, NAMES)}")
    return functools.partial(load, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *NAMES})
