"""Plans: rules over parameter names, from which every tensor of a model gets its recipe."""

from fanin.plan.entries import Entry, digest
from fanin.plan.parameters import Parameter
from fanin.plan.plans import Plan
from fanin.plan.rules import Rule

__all__ = ["Entry", "Parameter", "Plan", "Rule", "digest"]
