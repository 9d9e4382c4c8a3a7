"""fanin: one seed, the same weights, on every framework, device and sharding.

`fanin.initializers` has the initializers, `Plan`, `Rule` and `Parameter` whole models, `parameters` and
`names_like` say what a model has, `explain`, `verify`, `fingerprint` and `diff` what a plan does and whether it
did, `fanin.recipes` has plans of real architectures, `fanin.backend` the functions for custom initializers,
`fanin.layouts.fans` the fans, `fanin.use` the choice of engine and threads.
"""

import importlib
from typing import TYPE_CHECKING

from fanin import errors as errors
from fanin.engines import use as use

if TYPE_CHECKING:
    from fanin import recipes as recipes
    from fanin.models import names_like as names_like
    from fanin.models import parameters as parameters
    from fanin.plan import Fused as Fused
    from fanin.plan import Parameter as Parameter
    from fanin.plan import Plan as Plan
    from fanin.plan import Resolved as Resolved
    from fanin.plan import Rule as Rule
    from fanin.plan import defaults as defaults
    from fanin.proof import diff as diff
    from fanin.proof import explain as explain
    from fanin.proof import fingerprint as fingerprint
    from fanin.proof import verify as verify

__version__ = "0.1.0.dev0"

__all__ = [
    "Fused", "Parameter", "Plan", "Resolved", "Rule", "defaults", "diff", "errors", "explain", "fingerprint",
    "names_like", "parameters", "recipes", "use", "verify",
]  # fmt: skip

_LATER = {  # from rooms that are read when needed
    **dict.fromkeys(["Fused", "Parameter", "Plan", "Resolved", "Rule", "defaults"], "fanin.plan"),
    **dict.fromkeys(["names_like", "parameters"], "fanin.models"),
    **dict.fromkeys(["diff", "explain", "fingerprint", "verify"], "fanin.proof"),
}


def __getattr__(name: str) -> object:
    if name == "recipes":
        return importlib.import_module("fanin.recipes")
    if name not in _LATER:
        raise AttributeError(f"module 'fanin' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
