"""Models of torch: modules of any kind, on any device, sharded or not."""

from fanin.models.torch.listing import Place, arrays, memory, places
from fanin.models.torch.modules import Module, opened
from fanin.models.torch.reading import read
from fanin.models.torch.shards import Declared, Shard, extent, misplaced, parts, whole_shape
from fanin.models.torch.writing import can_write, check, write

__all__ = [
    "Declared", "Module", "Place", "Shard", "arrays", "can_write", "check", "extent", "memory", "misplaced", "opened",
    "parts", "places", "read", "whole_shape", "write",
]  # fmt: skip
