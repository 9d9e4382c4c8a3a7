"""Recipes in which every element is a function of that element of another recipe."""

from collections.abc import Callable

import numpy as np

from fanin import engines
from fanin.recipe import ConstantValue, Diagonal, Recipe, Whole, Window

__all__ = ["each", "mapped", "values"]

BLOCK = 2**15  # elements whose float64 intermediate results stay in a cache


def mapped(recipe: Recipe, change: Callable[[np.ndarray, Window], np.ndarray]) -> Whole:
    """Return the recipe of a tensor of which any window is a function of that window of another.

    Args:
        recipe: of the other tensor.
        change: returns a new array for an array and the window that it is.
    """
    if recipe.windowable:
        return Whole.by_windows(lambda window: change(values(recipe, window), window), recipe.shape)
    whole = Window.whole(recipe.shape)
    return Whole(lambda: change(values(recipe, whole), whole), recipe.shape)


def values(recipe: Recipe, window: Window) -> np.ndarray:
    """Return a window before the rounding to the target dtype: float32, or what constants are in float64."""
    if isinstance(recipe, Whole):
        return recipe.values(window)
    exact = isinstance(recipe.distribution, ConstantValue | Diagonal)
    view = np.empty(window.shape, np.float64 if exact else np.float32)
    engines.fill(recipe, window, view)
    return view


def each(function: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> np.ndarray:
    """Apply a function of float64 arrays, element by element, and round once to float32."""
    flat = array.reshape(-1)
    result = np.empty(flat.shape, np.float32)
    for start in range(0, flat.size, BLOCK):
        result[start : start + BLOCK] = function(flat[start : start + BLOCK].astype(np.float64))
    return result.reshape(array.shape)
