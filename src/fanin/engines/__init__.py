"""Who writes the numbers. Every engine writes the same bits for the same request.

An engine is a module with one function, ``fill(draw, window, view, threads)``. `NAMES` lists them;
each is imported on first use. Without a choice, small draws use NumPy and large ones Numba, once
the time that it saves outweighs that of loading it; memory that the host cannot reach is written by
Triton on CUDA, and by torch on any other device.
"""

import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.engines.diagonals import place
from fanin.engines.rounding import round_array, round_constant
from fanin.engines.tensors import DeviceArray, array_over, dtype_of, mark_written
from fanin.errors import EngineError
from fanin.recipe import ConstantValue, Diagonal, Draw, Recipe, Window

if TYPE_CHECKING:
    import torch

__all__ = ["NAMES", "available", "current", "fill", "use"]

NAMES = ("reference", "numpy", "numba", "torch", "triton", "jax")

_PACKAGES = {
    "numba": ("numba",),
    "torch": ("torch",),
    "triton": ("torch", "triton"),
    "jax": ("jax",),
}  # what an engine needs
_ON_DEVICES = ("torch", "triton")  # engines that write memory that the host cannot reach

Fill = Callable[[Draw, Window, Any, int], None]  # the view: an array, and for those two also a tensor

LOAD_FROM = 2**20  # elements, a call counting as CALL, after which Numba is loaded
CALL = 2**12


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
    missing = [package for package in _PACKAGES.get(engine, ()) if not _is_installed(package)]
    if missing:
        raise EngineError(f"{source}={engine!r} is not installed; run: pip install {' '.join(missing)}")
    if engine == "triton" and not _can_run_triton():
        raise EngineError(
            f"{source}='triton' needs a CUDA device, and finds none; choose 'torch', or 'auto'. To run its kernels on "
            f"the host, slowly, set TRITON_INTERPRET=1 in the environment before Triton is imported."
        )
    return engine


def _check_threads(threads: object, source: str) -> int:
    try:
        count = int(threads) if isinstance(threads, int | str) and not isinstance(threads, bool) else 0
    except ValueError:
        count = 0
    if count < 1:
        raise EngineError(f"{source}={threads!r}: the number of threads is an integer from 1.")
    return count


def available() -> tuple[str, ...]:
    """The engines that can run here."""
    return tuple(
        name
        for name in NAMES
        if all(map(_is_installed, _PACKAGES.get(name, ()))) and (name != "triton" or _can_run_triton())
    )


@functools.cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _can_run_triton() -> bool:
    """Whether there is a CUDA device, or Triton interprets; torch is not loaded in order to ask it."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return True
    torch = sys.modules.get("torch")
    if torch is not None:
        return bool(torch.cuda.is_available())
    return any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))  # Linux, WSL; ROCm


def current(elements: int) -> tuple[str, int]:
    """The engine and the number of threads for a draw of that many elements."""
    settings = _current_settings()
    return settings.engine or _automatic(elements), settings.threads or _cores()


def _automatic(elements: int) -> str:
    global _drawn
    if "fanin.engines.numba" in sys.modules:
        return "numba"
    _drawn += elements + CALL
    return "numba" if _drawn >= LOAD_FROM and _is_installed("numba") else "numpy"


@functools.cache
def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _engine(name: str) -> Fill:
    function: Fill = importlib.import_module(f"fanin.engines.{name}").fill
    return function


def fill(recipe: Recipe, window: Window, view: "np.ndarray | torch.Tensor") -> None:
    """Write a window of a recipe into an array or a tensor.

    Args:
        recipe: what to write.
        window: which part of it.
        view: a writable array of the window's shape, of any strides, in the target dtype; or such a
            tensor of torch, on any device. A tensor in host memory is written in place by the same
            engines as an array.

    Raises:
        DTypeError: the dtype cannot hold the values.
        OutputError: a tensor is on the meta device, which has no memory.
    """
    recipe.check_dtype(dtype_of(view))
    if isinstance(view, np.ndarray):
        _write(recipe, window, view)
    else:
        _write(recipe, window, array_over(view))
        mark_written(view)


def _write(recipe: Recipe, window: Window, view: np.ndarray | DeviceArray) -> None:
    if not view.size:
        return
    if not isinstance(recipe, Draw):
        view[...] = round_array(recipe.values(window), view.dtype)
        return
    distribution = recipe.distribution
    if isinstance(distribution, ConstantValue):
        view[...] = round_constant(distribution.value, view.dtype)
    elif isinstance(distribution, Diagonal):
        view[...] = round_constant(0, view.dtype)
        place(recipe.coordinates(window), round_constant(distribution.value, view.dtype), view)
    elif distribution.grid() is None:
        view[...] = round_constant(distribution.bounds()[0], view.dtype)
    elif isinstance(view, np.ndarray):
        name, threads = current(view.size)
        _engine(name)(recipe, window, view, threads)
    else:
        _draw_on_device(recipe, window, view)


def _draw_on_device(draw: Draw, window: Window, view: DeviceArray) -> None:
    """Draw where the memory is; by an engine of the host, where one was chosen, there and then copied."""
    chosen = _current_settings().engine
    if chosen is None:
        chosen = "triton" if view.tensor.is_cuda and "triton" in available() else "torch"
    threads = _current_settings().threads or _cores()
    if chosen in _ON_DEVICES:
        _engine(chosen)(draw, window, view.tensor, threads)
        return
    drawn = np.empty(view.shape, view.dtype)
    _engine(chosen)(draw, window, drawn, threads)
    view[...] = drawn
