"""`fanin.jax` against `jax.nn.initializers`: called as it is, and inside a program."""

import math
from collections.abc import Iterator

from benchmarks.timing import Row, best

SHAPES = [(2**24,), (4096, 4096), (64, 512, 512), (4095, 4097)]


def jax(rounds: int) -> Iterator[Row]:
    """Normal, truncated normal and uniform, outside of `jit` and under it, without and with odd lengths."""
    import jax
    from jax.nn import initializers as theirs

    import fanin.jax as ours

    key = jax.random.key(7)
    pairs = {
        "normal": (ours.normal(), theirs.normal()),
        "truncated normal": (ours.truncated_normal(), theirs.truncated_normal()),
        "uniform": (ours.uniform(), theirs.uniform()),
    }
    for title, (own, other) in pairs.items():
        for shape in SHAPES:
            contenders = {
                name: lambda init=init, shape=shape: init(key, shape).block_until_ready()
                for name, init in (("fanin", own), ("JAX", other))
            }
            for name, init in (("fanin, jit", own), ("JAX, jit", other)):
                program = jax.jit(lambda key, init=init, shape=shape: init(key, shape))
                contenders[name] = lambda program=program: program(key).block_until_ready()
            times = best(contenders, rounds)
            for jit in ("", ", jit"):
                yield Row(
                    f"jax, {title}, {shape}{jit}", times[f"fanin{jit}"], {f"JAX{jit}": times[f"JAX{jit}"]},
                    math.prod(shape),
                )  # fmt: skip
