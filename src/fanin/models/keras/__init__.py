"""Models of Keras 3: layers and models of any kind, on any backend, distributed or not."""

from fanin.models.keras.layers import describe
from fanin.models.keras.listing import arrays
from fanin.models.keras.models import Layer, opened
from fanin.models.keras.tensors import of_tensorflow
from fanin.models.keras.writing import check, write

__all__ = ["Layer", "arrays", "check", "describe", "of_tensorflow", "opened", "write"]
