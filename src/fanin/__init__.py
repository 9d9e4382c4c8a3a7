"""fanin: one seed, the same weights, on every framework, device and sharding.

`fanin.initializers` has the initializers, `fanin.backend` the functions for custom ones,
`fanin.layouts.fans` the fans, `fanin.use` the choice of engine and threads.
"""

from fanin import errors as errors
from fanin.engines import use as use

__version__ = "0.1.0.dev0"

__all__ = ["errors", "use"]
