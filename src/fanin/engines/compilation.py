"""How kernels are compiled: without the GIL, without aliases, kept on disk."""

import contextlib

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.compiler import CompilerBase, DefaultPassBuilder

__all__ = ["compiled", "inlined"]


class NoAlias(CompilerBase):  # type: ignore[misc]  # numba has no types
    """The default pipeline, told that array arguments never overlap."""

    def define_pipelines(self) -> list:  # type: ignore[type-arg]
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


class Cache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """Compiled kernels on disk. A full disk or a broken file costs a compilation, never a fill."""

    def _guard_against_spurious_io_errors(self):  # type: ignore[no-untyped-def]  # numba's
        return contextlib.suppress(Exception)


def compiled(function):  # type: ignore[no-untyped-def]  # a decorator over untyped kernels
    """Make a kernel of a function: it runs beside Python, and calls nothing that holds a global state."""
    dispatcher = njit(nogil=True, pipeline_class=NoAlias, boundscheck=False)(function)
    with contextlib.suppress(RuntimeError):  # no directory can hold the cache
        dispatcher._cache = Cache(function)
    return dispatcher


inlined = njit(inline="always")  # a function that kernels are made of
