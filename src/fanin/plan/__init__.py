"""Plans: rules over parameter names, from which every tensor of a model gets its recipe."""

from fanin.models import Parameter
from fanin.plan.about import About
from fanin.plan.arrangement import Fused
from fanin.plan.entries import Entry, digest
from fanin.plan.frameworks import defaults
from fanin.plan.plans import Plan
from fanin.plan.resolved import Resolved
from fanin.plan.rules import Rule

__all__ = ["About", "Entry", "Fused", "Parameter", "Plan", "Resolved", "Rule", "defaults", "digest"]
