"""Tensors of Keras' backend as NumPy arrays of their own dtype, without a conversion of any value."""

from typing import Any

import keras
import ml_dtypes
import numpy as np


def array(tensor: Any) -> np.ndarray:
    """A copy of it; torch's floats are read as integers of their size, since NumPy has not all of them."""
    if keras.backend.backend() != "torch":
        return np.array(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
    import torch

    dtype = keras.backend.standardize_dtype(tensor.dtype)
    read = tensor.detach().view(getattr(torch, f"int{8 * tensor.element_size()}")).numpy()
    return read.view(getattr(ml_dtypes, dtype, dtype)).copy()
