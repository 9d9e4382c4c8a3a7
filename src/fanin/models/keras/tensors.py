"""Tensors of TensorFlow that are arrays of NumPy, without a copy."""

from typing import Any

import numpy as np

__all__ = ["of_tensorflow"]

_COPIED = {"bool", "float8_e4m3fn", "float8_e5m2"}  # which TensorFlow's bitcast does not take


def of_tensorflow(array: np.ndarray) -> Any:
    """Return a tensor that takes the memory of an array, which is `aligned` and is not written again."""
    import tensorflow as tf

    if array.dtype.name in _COPIED:
        return tf.constant(array)
    # tf.constant copies, and NumPy exports no dtype of ml_dtypes: hand the bits over. An operation puts them where
    # `tf.device` says.
    bits = tf.experimental.dlpack.from_dlpack(array.view(f"u{array.itemsize}").__dlpack__())
    return tf.bitcast(bits, array.dtype.name)
