"""``fanin init`` of a Llama in shards beside plain writes of as many bytes to as many files, all of them flushed."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.timing import Row
from fanin import recipes

PIECE = 2**20  # bytes that a plain write hands over at a time
MEMORY = """
import re, sys
from pathlib import Path
from fanin.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    Path(sys.argv[-1]).with_name("peak").write_text(re.search(r"VmHWM:\\s*(\\d+)", status)[1])
"""


def small(rounds: int) -> Iterator[Row]:
    """Of four layers: 2.1 GB."""
    return _shards(4, "500MB", max(1, rounds // 4))


def whole(rounds: int) -> Iterator[Row]:
    """Of a Llama of 7 B parameters: 13.5 GB."""
    return _shards(32, "2GB", max(1, rounds // 4))


def _shards(layers: int, most: str, rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="fanin-", dir=os.environ.get("FANIN_BENCHMARK_DIRECTORY")) as folder:
        elements = sum(math.prod(each.shape) for each in recipes.llama(num_hidden_layers=layers).parameters)
        output, peak = Path(folder) / "out", Path(folder) / "peak"
        sizes: list[int] = []

        def command() -> None:
            size = ["--recipe", "llama", "--set", f"num_hidden_layers={layers}", "--dtype", "bfloat16"]
            line = ["init", *size, "--max-shard-size", most, "--quiet", "-o", output]
            subprocess.run([sys.executable, "-c", MEMORY, *line], check=True)
            sizes[:] = [path.stat().st_size for path in sorted(output.glob("*.safetensors"))]

        contenders: dict[str, Callable[[], object]] = {
            "fanin": command,
            "plain writes": lambda: _plain(output, sizes, 1),
            "plain writes, two at once": lambda: _plain(output, sizes, 2),
        }
        command()  # compiles, loads, and tells the sizes
        times = dict.fromkeys(contenders, float("inf"))
        for _ in range(rounds):
            for name, contender in contenders.items():
                shutil.rmtree(output)
                _plain(output, sizes, 1)  # each finds the memory of the cache as it was left by the same writes
                shutil.rmtree(output)
                os.sync()
                started = time.perf_counter()
                contender()
                times[name] = min(times[name], time.perf_counter() - started)
        seconds = times.pop("fanin")
        rate, memory = sum(sizes) / seconds / 1e6, int(peak.read_text()) / 1024
        note = f"{rate:.0f} MB/s to {len(sizes)} files, at most {memory:.0f} MiB"
        yield Row(f"fanin init of {elements / 1e9:.1f} B in bfloat16, whole process", seconds, times, elements, note)


def _plain(output: Path, sizes: Sequence[int], threads: int) -> None:
    """Write files of those sizes, each flushed to the disk."""
    piece = np.ones(PIECE, np.uint8)
    output.mkdir()

    def write(number: int) -> None:
        size = sizes[number]
        with (output / str(number)).open("wb", buffering=0) as file:
            for start in range(0, size, PIECE):
                file.write(piece[: size - start].data)
            os.fsync(file.fileno())

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(len(sizes))))
