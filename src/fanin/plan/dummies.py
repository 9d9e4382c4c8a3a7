"""Values for load tests: any that do no harm, for tensors of which nothing is known but names, shapes and dtypes."""

from collections.abc import Sequence

from fanin import dtypes
from fanin.models import Array
from fanin.plan.claims import Claim
from fanin.plan.resolution import Settings, resolved
from fanin.plan.resolved import Resolved
from fanin.plan.rules import Rule

__all__ = ["dummies"]

BOUND = 0.001  # so small that nothing overflows in however deep a model


def dummies(arrays: Sequence[Array], *, seed: int = 0, dtype: object = None) -> Resolved:
    """Resolve arrays without a plan: every floating-point tensor is uniform in [-0.001, 0.001), every other one zero.

    Args:
        arrays: as a `fanin.models.Model` lists them, or of a plan.
        seed: see `fanin.Plan.resolve`.
        dtype: see `fanin.Plan.resolve`.

    Raises:
        SeedError, DTypeError: see `fanin.Plan.resolve`.
    """
    rules = (Rule("*", f"random_uniform(-{BOUND}, {BOUND})"), Rule("*", "zeros"))
    held = {parameter.name: parameter for array in arrays for parameter in array.parameters}
    claims = [Claim(each, dtypes.resolve(each.dtype).name not in dtypes.FLOATS, {}) for each in held.values()]
    settings = Settings.of({}, None, dtypes.resolve(None), seed, dtype, None)
    return Resolved(resolved(rules, claims, settings), arrays)
