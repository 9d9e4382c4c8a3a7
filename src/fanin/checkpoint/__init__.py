"""Checkpoints in safetensors format: reading shapes and weights, and writing weights as they are drawn.

None needs a framework, and none holds more than a few chunks of the weights in memory.
"""

from fanin.checkpoint.reading import shapes
from fanin.checkpoint.stored import Stored, opened
from fanin.checkpoint.writing import write

__all__ = ["Stored", "opened", "shapes", "write"]
