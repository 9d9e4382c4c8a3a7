"""Checkpoints in safetensors format: reading shapes, and writing weights as they are drawn.

Neither needs a framework, and neither holds more than a few chunks of the weights in memory.
"""

from fanin.checkpoint.reading import shapes
from fanin.checkpoint.writing import write

__all__ = ["shapes", "write"]
