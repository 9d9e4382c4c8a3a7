"""The defaults of frameworks, as plans: one file each in ``fanin/frameworks``."""

from importlib import resources

from fanin.errors import PlanError
from fanin.plan.plans import Plan

__all__ = ["FRAMEWORKS", "defaults"]

FRAMEWORKS = ("torch", "keras", "flax")


def defaults(framework: str) -> Plan:
    """Return the plan of what a framework's layers initialize themselves to.

    It selects by role, so that it fits a model of any framework: ``defaults("keras")`` gives a torch
    model the distributions of Keras. What belongs to no layer that is known, such as a bare parameter,
    is left for rules of your own above these::

        plan = fanin.Plan([fanin.Rule("cls_token", "zeros"), *fanin.defaults("torch").rules])

    Args:
        framework: "torch", "keras" or "flax".

    Raises:
        PlanError: another name.
    """
    if framework not in FRAMEWORKS:
        raise PlanError(f"defaults are known of {', '.join(FRAMEWORKS)}, not of {framework!r}.")
    file = resources.files("fanin").joinpath("frameworks", f"{framework}.toml")
    return Plan.from_text(file.read_text("utf-8"), source=f"fanin.defaults({framework!r})")
