"""Models: which tensors a model of one kind has, what is known of each, and how they are written.

A model is listed as `Array`s, its own, and each array as the `Parameter`s that it holds: logical
tensors, by name. Most arrays hold one; a packed one holds several, named as separate ones would be.
One folder per kind of model, each with ``arrays``, ``check`` and ``write``.
"""

import importlib
import sys
from typing import Any

from fanin.errors import PlanError
from fanin.models.arrays import Array, Part
from fanin.models.parameters import Parameter

__all__ = ["Array", "Parameter", "Part", "kind_of"]


def kind_of(model: object) -> Any:
    """The folder of this room that knows a model: the module `fanin.models.torch` for a `torch.nn.Module`.

    Raises:
        PlanError: no folder does.
    """
    torch = sys.modules.get("torch")  # what a user has is of a framework that is loaded
    if torch is not None and isinstance(model, torch.nn.Module):
        return importlib.import_module("fanin.models.torch")
    raise PlanError(f"a plan applies to a torch.nn.Module, not to a {type(model).__name__}.")
