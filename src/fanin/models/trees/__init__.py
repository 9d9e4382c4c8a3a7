"""Trees of arrays: dicts, lists, tuples and dataclasses, and, where JAX is loaded, all that it knows as a pytree."""

from fanin.models.trees.listing import Found, Tree, listed, opened
from fanin.models.trees.walking import Node, Step, Trail, name_of, node_of, traverse

__all__ = ["Found", "Node", "Step", "Trail", "Tree", "listed", "name_of", "node_of", "opened", "traverse"]
