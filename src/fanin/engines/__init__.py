"""Who writes the numbers. Every engine writes the same bits for the same request.

An engine is a module with one function, ``fill(draw, window, view, threads)``. `NAMES` lists them;
each is imported on first use. Without a choice, small draws use NumPy and large ones Numba, once
the time that it saves outweighs that of loading it.
"""

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np

from fanin.engines.rounding import round_array, round_constant
from fanin.errors import EngineError
from fanin.layouts import Coordinates
from fanin.recipe import ConstantValue, Diagonal, Draw, Recipe, Window

__all__ = ["NAMES", "available", "current", "fill", "use"]

NAMES = ("reference", "numpy", "numba")

Fill = Callable[[Draw, Window, np.ndarray, int], None]

LOAD_FROM = 2**20  # elements, a call counting as CALL, after which Numba is loaded
CALL = 2**12
PLACED = 2**16  # elements placed at a time


@dataclass(frozen=True, slots=True)
class _Settings:
    engine: str | None
    threads: int | None


class use:  # noqa: N801 - reads as a function: fanin.use(threads=1)
    """Choose the engine and the number of threads, for the whole process.

    As a call it holds until the next one; as a context manager until the end of the block::

        fanin.use(threads=8)
        with fanin.use(engine="numpy"):
            ...

    The result never depends on it. The environment's FANIN_ENGINE and FANIN_NUM_THREADS are the
    defaults.

    Args:
        engine: one of `NAMES`, ``"auto"`` to choose by size, None to leave it as it is.
        threads: at least 1; None to leave it as it is.

    Raises:
        EngineError: no such engine, an engine that is not installed, or no such number of threads.
    """

    def __init__(self, *, engine: str | None = None, threads: int | None = None) -> None:
        global _settings
        self._before = _current_settings()
        after = self._before
        if engine is not None:
            after = replace(after, engine=_check_engine(engine, "engine"))
        if threads is not None:
            after = replace(after, threads=_check_threads(threads, "threads"))
        _settings = after

    def __enter__(self) -> None:
        """The choice already holds."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Return to the choice before."""
        global _settings
        _settings = self._before


_settings: _Settings | None = None
_drawn = 0  # elements drawn by the automatic choice so far


def _current_settings() -> _Settings:
    global _settings
    if _settings is None:
        engine = os.environ.get("FANIN_ENGINE") or "auto"
        threads = os.environ.get("FANIN_NUM_THREADS")
        _settings = _Settings(
            _check_engine(engine, "FANIN_ENGINE"),
            _check_threads(threads, "FANIN_NUM_THREADS") if threads else None,
        )
    return _settings


def _check_engine(engine: str, source: str) -> str | None:
    if engine == "auto":
        return None
    if engine not in NAMES:
        raise EngineError(f"{source}={engine!r} is no engine; choose one of {', '.join(NAMES)}, or 'auto'.")
    if engine not in available():
        raise EngineError(f"{source}={engine!r} is not installed; run: pip install {engine}")
    return engine


def _check_threads(threads: object, source: str) -> int:
    try:
        count = int(threads) if isinstance(threads, int | str) and not isinstance(threads, bool) else 0
    except ValueError:
        count = 0
    if count < 1:
        raise EngineError(f"{source}={threads!r}: the number of threads is an integer from 1.")
    return count


@functools.cache
def available() -> tuple[str, ...]:
    """The engines that can run here."""
    return tuple(name for name in NAMES if name != "numba" or importlib.util.find_spec("numba") is not None)


def current(elements: int) -> tuple[str, int]:
    """The engine and the number of threads for a draw of that many elements."""
    settings = _current_settings()
    return settings.engine or _automatic(elements), settings.threads or _cores()


def _automatic(elements: int) -> str:
    global _drawn
    if "fanin.engines.numba" in sys.modules:
        return "numba"
    _drawn += elements + CALL
    return "numba" if _drawn >= LOAD_FROM and "numba" in available() else "numpy"


@functools.cache
def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _engine(name: str) -> Fill:
    function: Fill = importlib.import_module(f"fanin.engines.{name}").fill
    return function


def fill(recipe: Recipe, window: Window, view: np.ndarray) -> None:
    """Write a window of a recipe into an array.

    Args:
        recipe: what to write.
        window: which part of it.
        view: a writable array of the window's shape, of any strides, in the target dtype.

    Raises:
        DTypeError: the dtype cannot hold the values.
    """
    recipe.check_dtype(view.dtype)
    if not view.size:
        return
    if not isinstance(recipe, Draw):
        view[...] = round_array(recipe.compute()[window.slices], view.dtype)
        return
    distribution = recipe.distribution
    if isinstance(distribution, ConstantValue):
        view[...] = round_constant(distribution.value, view.dtype)
    elif isinstance(distribution, Diagonal):
        view[...] = round_constant(0, view.dtype)
        _place(recipe.coordinates(window), round_constant(distribution.value, view.dtype), view)
    elif distribution.grid() is None:
        view[...] = round_constant(distribution.bounds()[0], view.dtype)
    else:
        name, threads = current(view.size)
        _engine(name)(recipe, window, view, threads)


def _place(coordinates: Coordinates, value: np.ndarray, view: np.ndarray) -> None:
    """Write a value where row equals column; halved until the differences of a part stay in a cache."""
    if view.size > PLACED:
        axis = max(range(view.ndim), key=view.shape.__getitem__)
        middle = view.shape[axis] // 2
        for part in (slice(0, middle), slice(middle, view.shape[axis])):
            box = Window.of(view.shape, (*(slice(None),) * axis, part))
            _place(coordinates.window(box.start, box.stop), value, view[box.slices])
        return
    difference = np.array(coordinates.row_start - coordinates.column_start, np.int64)
    for axis, length in enumerate(view.shape):
        step = coordinates.row_steps[axis] - coordinates.column_steps[axis]
        steps = np.arange(length, dtype=np.int64) * step
        difference = difference + steps.reshape((-1,) + (1,) * (view.ndim - axis - 1))
    view[difference == 0] = value
