"""Large fills into warm memory: distributions, layouts, dtypes, engines."""

import functools
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import keras
import numpy as np
import torch

import fanin
from benchmarks.timing import Row, best
from fanin import initializers
from fanin.dtypes import resolve
from fanin.engines import current

ELEMENTS = 2**25


def memory(threads: int) -> Callable[[], object]:
    """A plain fill of as many float32, each thread its part."""
    parts = np.array_split(np.ones(ELEMENTS, np.float32), threads)

    def fill() -> None:
        workers = [threading.Thread(target=part.fill, args=(2.0,)) for part in parts[1:]]
        for worker in workers:
            worker.start()
        parts[0].fill(2.0)
        for worker in workers:
            worker.join()

    return fill


def into(
    initializer: Any, shape: tuple[int, ...], dtype: str = "float32", layout: str | None = None, engine: str = "numba"
) -> Callable[[], object]:
    """A call of an initializer that writes into memory already touched."""
    out = np.ones(shape, resolve(dtype))

    def fill() -> None:
        with fanin.use(engine=engine):
            initializer(shape, layout=layout, out=out)

    return fill


def jitted(draw: Callable[..., jax.Array]) -> Callable[[], object]:
    """A draw of JAX, compiled and waited for."""
    compiled, key = jax.jit(functools.partial(draw, shape=(ELEMENTS,))), jax.random.key(0)
    return lambda: compiled(key).block_until_ready()


def kept(initializer: Any) -> Callable[[], object]:
    """An initializer of Keras, waited for."""
    return lambda: np.asarray(initializer((ELEMENTS,)))


def fills(rounds: int) -> Iterator[Row]:
    """The memory fill first, on one and on all threads, then each distribution beside its peers."""
    _, threads = current(ELEMENTS)
    plain = best({"one": memory(1), "all": memory(threads)}, rounds)
    yield Row("memory fill, 1 thread", plain["one"], elements=ELEMENTS)
    yield Row(f"memory fill, {threads} threads", plain["all"], elements=ELEMENTS)
    tensor, array = torch.ones(ELEMENTS), np.ones(ELEMENTS, np.float32)
    generator = np.random.Generator(np.random.SFC64(0))
    lower, upper = np.float32(-2.0), np.float32(2.0)
    cases: list[tuple[str, Any, dict[str, Callable[[], object]]]] = [
        ("uniform", initializers.RandomUniform(-1.0, 1.0, seed=7), {
            "torch uniform_": lambda: tensor.uniform_(-1.0, 1.0),
            "jax uniform": jitted(functools.partial(jax.random.uniform, minval=-1.0, maxval=1.0)),
            "keras RandomUniform": kept(keras.initializers.RandomUniform(-1.0, 1.0, seed=7)),
            "numpy random": lambda: generator.random(dtype=np.float32, out=array),
        }),
        ("normal", initializers.RandomNormal(0.0, 1.0, seed=7), {
            "torch normal_": lambda: tensor.normal_(0.0, 1.0),
            "jax normal": jitted(jax.random.normal),
            "keras RandomNormal": kept(keras.initializers.RandomNormal(0.0, 1.0, seed=7)),
            "numpy standard_normal": lambda: generator.standard_normal(dtype=np.float32, out=array),
        }),
        ("truncated normal", initializers.TruncatedNormal(0.0, 1.0, seed=7), {
            "torch trunc_normal_": lambda: torch.nn.init.trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0),
            "jax truncated_normal": jitted(lambda key, shape: jax.random.truncated_normal(key, lower, upper, shape)),
            "keras TruncatedNormal": kept(keras.initializers.TruncatedNormal(0.0, 1.0, seed=7)),
        }),
        ("normal with a mean", initializers.RandomNormal(1.0, 0.5, seed=7), {
            "torch normal_": lambda: tensor.normal_(1.0, 0.5),
        }),
    ]  # fmt: skip
    for what, ours, peers in cases:
        contenders = {"fanin": into(ours, (ELEMENTS,)), "memory fill": memory(threads), **peers}
        times = best(contenders, rounds)
        yield Row(what, times.pop("fanin"), times, ELEMENTS)


def layouts(rounds: int) -> Iterator[Row]:
    """The same normal in other shapes and layouts, beside a contiguous fill of as many."""
    normal = initializers.RandomNormal(0.0, 1.0, seed=7)
    for shape, layout in (
        ((8192, 4096), "o i"), ((768, 50257), "o i"), ((50257, 768), "o i"), ((4096, 8192), None),
        ((512, 512, 3, 3), "o i *k"), ((3, 3, 512, 512), "*k i o"),
    ):  # fmt: skip
        size = math.prod(shape)
        times = best({"fanin": into(normal, shape, layout=layout), "contiguous": into(normal, (size,))}, rounds)
        yield Row(f"normal {shape}, layout {layout or 'none'}", times.pop("fanin"), times, size)


def dtypes(rounds: int) -> Iterator[Row]:
    """The same normal in other dtypes, beside float32."""
    normal = initializers.RandomNormal(0.0, 1.0, seed=7)
    for dtype in ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float64"):
        contenders = {"fanin": into(normal, (ELEMENTS,), dtype), "float32": into(normal, (ELEMENTS,))}
        times = best(contenders, rounds)
        yield Row(f"normal, {dtype}", times.pop("fanin"), times, ELEMENTS)


def engines(rounds: int) -> Iterator[Row]:
    """What is left without Numba."""
    for what, ours in (
        ("uniform", initializers.RandomUniform(-1.0, 1.0, seed=7)),
        ("truncated normal", initializers.TruncatedNormal(0.0, 1.0, seed=7)),
    ):
        contenders = {engine: into(ours, (ELEMENTS,), engine=engine) for engine in ("numpy", "numba")}
        times = best(contenders, max(2, rounds // 2))
        yield Row(f"{what}, engine numpy", times.pop("numpy"), times, ELEMENTS)
