"""Models of torch: modules of any kind, on any device, sharded or not."""

from fanin.models.torch.listing import Place, Shard, arrays, handles, places
from fanin.models.torch.shards import parts, whole_shape
from fanin.models.torch.writing import check, write

__all__ = ["Place", "Shard", "arrays", "check", "handles", "parts", "places", "whole_shape", "write"]
