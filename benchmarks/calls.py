"""Small and special calls: what a model of many small tensors, a shard or an orthogonal matrix costs."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import keras
import torch

import fanin
from benchmarks.timing import Row, best, repeated
from fanin import initializers

CALLS = 200


def small(rounds: int) -> Iterator[Row]:
    """A (64, 64) tensor, seconds per call."""
    weight = torch.ones(64, 64)
    he, theirs = initializers.HeNormal(seed=7), keras.initializers.HeNormal(seed=7)
    contenders = {
        "fanin": lambda: he((64, 64)),
        "torch kaiming_normal_": lambda: torch.nn.init.kaiming_normal_(weight),
        "torch trunc_normal_": lambda: torch.nn.init.trunc_normal_(weight),
    }
    with fanin.use(engine="numpy"):
        he((64, 64))
        numpy = best({"numpy": repeated(lambda: he((64, 64)), CALLS)}, rounds)["numpy"] / CALLS
    with fanin.use(engine="numba"):
        times = best({name: repeated(call, CALLS) for name, call in contenders.items()}, rounds)
        times |= best({"keras HeNormal": repeated(lambda: theirs((64, 64)), CALLS // 10)}, rounds)
    times["keras HeNormal"] *= 10
    times = {name: seconds / CALLS for name, seconds in times.items()}
    note = f"before Numba is loaded {numpy * 1e6:.0f} us"
    yield Row("HeNormal (64, 64), one call", times.pop("fanin"), times, note=note)


def window(rounds: int) -> Iterator[Row]:
    """Three rows out of 256 GiB."""
    ours, shape = initializers.RandomNormal(seed=7), (2**20, 2**16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = best({"fanin": lambda: ours.window(shape, slice(500_000, 500_003))}, rounds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    yield Row("3 rows of (2**20, 2**16)", times["fanin"], elements=3 * 2**16, note=f"peak memory +{grown:.0f} MiB")


def orthogonal(rounds: int) -> Iterator[Row]:
    """QR in float64 beside torch's in float32."""
    ours = initializers.Orthogonal(seed=7)
    for n in (512, 2048, 4096):
        matrix = torch.ones(n, n)
        contenders = {
            "fanin": lambda n=n: ours((n, n)),
            "torch orthogonal_": lambda matrix=matrix: torch.nn.init.orthogonal_(matrix),
        }
        times = best(contenders, rounds if n < 2000 else 2)
        yield Row(f"Orthogonal ({n}, {n})", times.pop("fanin"), times)


def imports(rounds: int) -> Iterator[Row]:
    """A Python process that imports, less one that imports NumPy."""
    codes = {"fanin": "import fanin", "numpy": "import numpy", "torch": "import torch", "jax": "import jax"}
    times = best({name: lambda code=code: subprocess.run([sys.executable, "-c", code], check=True)
                  for name, code in codes.items()}, rounds)  # fmt: skip
    numpy = times.pop("numpy")
    beyond = {name: max(seconds - numpy, 1e-3) for name, seconds in times.items()}
    yield Row("import fanin, beyond NumPy's own", beyond.pop("fanin"), beyond, note=f"NumPy's own {numpy:.3f} s")
