"""Where the elements of a window are along one canonical axis of the whole tensor."""

import numpy as np

from fanin.layouts import Layout, Shape
from fanin.recipe import Window

__all__ = ["index"]


def index(layout: Layout, shape: Shape, axis: int, window: Window) -> np.ndarray:
    """Return the index along a canonical axis, as integers that broadcast to the shape of a window.

    Args:
        layout: of the array; several of its axes may merge into one, and a window axis run backwards.
        shape: of the whole array.
        axis: which of ``(*batch, *window, in, out)``, or of the array's own axes without a layout.
        window: of the array.
    """
    axes = layout.axes(shape)
    total = np.zeros((1,) * len(shape), np.int64)
    step = 1
    for a in reversed(layout.canonical_axes(shape)[axis]):
        own = np.arange(window.start[a], window.stop[a], dtype=np.int64)
        own = shape[a] - 1 - own if axes[a].flip else own
        total = total + step * own.reshape([-1 if b == a else 1 for b in range(len(shape))])
        step *= shape[a]
    return total
