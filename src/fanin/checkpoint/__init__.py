"""Checkpoints in safetensors format: reading shapes and weights, and writing weights as they are drawn.

None needs a framework, and none holds more than a few chunks of the weights in memory.
"""

from fanin.checkpoint.forecast import File, Forecast, forecast
from fanin.checkpoint.reading import shapes
from fanin.checkpoint.sharding import Written, write_sharded
from fanin.checkpoint.shards import bytes_of
from fanin.checkpoint.staging import settle
from fanin.checkpoint.stored import Stored, opened
from fanin.checkpoint.writing import write

__all__ = [
    "File", "Forecast", "Stored", "Written", "bytes_of", "forecast", "opened", "settle", "shapes", "write",
    "write_sharded",
]  # fmt: skip
