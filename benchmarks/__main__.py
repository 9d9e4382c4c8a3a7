"""One table of ratios: ``python -m benchmarks``, or ``python -m benchmarks fills dtypes`` for some of it."""

import argparse
import os
import platform
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from benchmarks import calls, checkpoints, fills, jax, keras, models, proof, shards
from benchmarks.timing import Row

SECTIONS: dict[str, Callable[[int], Iterator[Row]]] = {
    "fills": fills.fills,
    "layouts": fills.layouts,
    "dtypes": fills.dtypes,
    "engines": fills.engines,
    "small": calls.small,
    "window": calls.window,
    "orthogonal": calls.orthogonal,
    "imports": calls.imports,
    "jax": jax.jax,
    "checkpoints": checkpoints.checkpoints,
    "shards": shards.small,
    "shards-7b": shards.whole,
    "proof": proof.proof,
    "building": models.building,
    "materializing": models.materializing,
    "keras": keras.initializers,
}
LONG = {"shards-7b"}  # for minutes, and only where asked for


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help=f"any of {', '.join(SECTIONS)}; default: all but {', '.join(LONG)}",
    )
    parser.add_argument("--rounds", type=int, default=12, help="how often each contender runs; its best counts")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - SECTIONS.keys()
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    console = Console(width=None if os.isatty(1) else 150)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", style="dim")
    table = Table("what", "fanin", "G/s", "how many times faster than", "", box=None, pad_edge=False)
    with console.status("") as status:
        for name in arguments.sections or [name for name in SECTIONS if name not in LONG]:
            status.update(name)
            for row in SECTIONS[name](arguments.rounds):
                table.add_row(*cells(row))
    console.print(table)


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """A row as texts; below one, a peer is faster."""
    seconds = f"{row.seconds * 1e6:.0f} us" if row.seconds < 1e-3 else f"{row.seconds * 1e3:.1f} ms"
    rate = f"{row.elements / row.seconds / 1e9:.2f}" if row.elements else ""
    ratios = ", ".join(
        f"{name} {time / row.seconds:.{1 if time > 9 * row.seconds else 2}f}" for name, time in row.peers.items()
    )
    return row.what, seconds, rate, ratios, row.note


if __name__ == "__main__":
    main()
