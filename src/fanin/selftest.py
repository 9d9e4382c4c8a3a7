"""Does this machine write the stream? Every recorded vector, on every engine that is installed.

Run as ``python -m fanin.selftest`` or ``fanin selftest``.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Any

import numpy as np

from fanin import engines
from fanin.dtypes import resolve
from fanin.engines.rounding import round_constant
from fanin.engines.tables import table
from fanin.errors import FaninError, SelftestError
from fanin.layouts import as_layout
from fanin.recipe import ConstantValue, Diagonal, Distribution, Draw, Normal, Stream, UniformInterval, Window
from fanin.spec import from_bits, identity, join_name, normal, words
from fanin.spec import tables as spec_tables
from fanin.spec.variates import value

__all__ = ["Result", "main", "run"]


@dataclass(frozen=True, slots=True)
class Result:
    """How many vectors of one file agreed, on one engine."""

    file: str
    engine: str
    vectors: int


def lines(file: str) -> Iterator[str]:
    """The vectors of a recorded file, without its header and empty lines."""
    for line in resources.files("fanin").joinpath("vectors", file).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def run() -> list[Result]:
    """Check every vector.

    Returns:
        one `Result` per file and engine.

    Raises:
        SelftestError: a vector disagrees, or a file holds none.
    """
    results = []
    for file, check in _CHECKS.items():
        results.append(Result(file, "spec", _count(file, check)))
    for engine in engines.available():
        with engines.use(engine=engine):
            results.append(Result("tensors.txt", engine, _count("tensors.txt", check_tensor)))
    empty = [result.file for result in results if not result.vectors]
    if empty:
        raise SelftestError(f"{', '.join(empty)}: no vectors found; the installation is incomplete.")
    return results


def _count(file: str, check: Callable[[str], None]) -> int:
    count = 0
    for line in lines(file):
        check(line)
        count += 1
    return count


def distribution_of(vector: dict[str, Any]) -> Distribution:
    """The distribution that a recorded line names."""
    match vector:
        case {"uniform": [minval, maxval]}:
            return UniformInterval(minval, maxval)
        case {"normal": [mean, stddev, *bounds]}:
            lower, upper = bounds or (None, None)
            return Normal(mean, stddev, -math.inf if lower is None else lower, math.inf if upper is None else upper)
        case {"diagonal": float() | int() as number}:
            return Diagonal(float(number))
        case {"constant": float() | int() as number}:
            return ConstantValue(float(number))
    raise SelftestError(f"vector {vector!r} names no distribution.")


def check_words(line: str) -> None:
    """One block of Philox."""
    numbers = [int(field, 16) for field in line.split()]
    c0, c1, c2, c3, k0, k1 = numbers[:6]
    _agree(line, words((k0, k1), (c0, c1, c2, c3)), tuple(numbers[6:]))


def check_identity(line: str) -> None:
    """The key of a name and a seed, or the name of a path."""
    vector = json.loads(line)
    if "path" in vector:
        _agree(line, join_name(vector["path"]), vector["name"])
        return
    key, upper = identity(vector["name"], vector["seed"])
    _agree(line, [f"{word:08x}" for word in key + upper], vector["key"] + vector["upper"])


def check_table(line: str) -> None:
    """A table, as its hash."""
    vector = json.loads(line)
    lower, upper = _bounds(vector)
    knots, distance = table(lower, upper)
    low = knots[: spec_tables.KNOTS]
    high = knots[distance : distance + spec_tables.KNOTS]
    _agree(line, sha256(low.astype("<i4").tobytes() + high.astype("<i4").tobytes()).hexdigest(), vector["sha256"])


def check_variate(line: str) -> None:
    """One word's variate and value."""
    vector = json.loads(line)
    word = int(vector["word"], 16)
    distribution = distribution_of(vector)
    grid = distribution.grid()
    if grid is None:
        raise SelftestError(f"vector {vector!r} is a constant, which draws no word.")
    if isinstance(distribution, Normal):
        halves = spec_tables.table(distribution.lower, distribution.upper)
        _agree(line, normal(word, halves), vector["variate"])
    _agree(line, f"{int(np.float32(value(word, grid)).view(np.uint32)):08x}", vector["value"])


def check_rounding(line: str) -> None:
    """One float32 in every dtype."""
    fields = line.split()
    number = from_bits(int(fields[0], 16), "float32")
    names = ("float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
    for name, expected in zip(names, fields[1:], strict=True):
        rounded = round_constant(number, resolve(name))
        _agree(f"{line} ({name})", rounded.tobytes()[::-1].hex(), expected)


def check_tensor(line: str) -> None:
    """A finished tensor, or a window of one, on the current engine."""
    vector = json.loads(line)
    shape, start, stop = (tuple(vector[field]) for field in ("shape", "start", "stop"))
    draw = Draw(distribution_of(vector), shape, as_layout(vector["layout"]), Stream(vector["name"], vector["seed"]))
    dtype = resolve(vector["dtype"])
    window = Window.of(shape, tuple(slice(a, b) for a, b in zip(start, stop, strict=True)))
    poison = np.full(math.prod(window.shape) * dtype.itemsize, 0xA5, np.uint8)
    view = poison.view(dtype).reshape(window.shape)
    engines.fill(draw, window, view)
    name, threads = engines.current(view.size)
    _agree(line, view.tobytes().hex(), vector["hex"], f"engine {name}, {threads} threads")


def _bounds(vector: dict[str, float | None]) -> tuple[float, float]:
    lower, upper = vector["lower"], vector["upper"]
    tidy = Normal(0.0, 1.0, -math.inf if lower is None else lower, math.inf if upper is None else upper)
    return tidy.lower, tidy.upper


def _agree(line: str, found: object, recorded: object, by: str = "spec") -> None:
    if found != recorded:
        raise SelftestError(
            f"this machine does not write the stream: found {found!r}, recorded {recorded!r} ({by}). The vector: {line}"
        )


_CHECKS: dict[str, Callable[[str], None]] = {
    "words.txt": check_words,
    "identities.txt": check_identity,
    "tables.txt": check_table,
    "variates.txt": check_variate,
    "rounding.txt": check_rounding,
}


def main() -> int:
    """Run the self-test and print what agreed; returns an exit code.

    Raises:
        EngineError: the environment asks for an engine or a number of threads that there is not.
    """
    started = time.perf_counter()
    try:
        results = run()
    except SelftestError as error:
        print(f"fanin selftest: FAILED. {error}")
        return 1
    for result in results:
        print(f"{result.file:16} {result.engine:10} {result.vectors:5} vectors agree")
    print(f"fanin selftest: all agree, in {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except FaninError as error:  # of the environment; the command line has exit codes for these
        raise SystemExit(f"fanin selftest: {error}") from None
