"""fanin: one seed, the same weights, on every framework, device and sharding.

`fanin.initializers` has the initializers, `Plan`, `Rule` and `Parameter` whole models, `fanin.backend`
the functions for custom initializers, `fanin.layouts.fans` the fans, `fanin.use` the choice of engine
and threads.
"""

from fanin import errors as errors
from fanin.engines import use as use
from fanin.plan import Parameter as Parameter
from fanin.plan import Plan as Plan
from fanin.plan import Rule as Rule

__version__ = "0.1.0.dev0"

__all__ = ["Parameter", "Plan", "Rule", "errors", "use"]
