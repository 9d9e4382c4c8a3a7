"""``fanin init`` of GPT-2 beside a plain write of as many bytes, each to a new file on the same disk."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.timing import Row, best
from fanin import Plan, checkpoint

PLAN = Path(__file__).resolve().parent.parent / "examples" / "gpt2.toml"
PIECE = 2**20  # bytes that a plain write hands over at a time


def checkpoints(rounds: int) -> Iterator[Row]:
    """The whole command, with Python's start, and the writing alone."""
    entries = Plan.from_file(PLAN).resolve()
    elements = sum(int(np.prod(entry.shape)) for entry in entries)
    piece = np.ones(PIECE, np.uint8)
    with tempfile.TemporaryDirectory(prefix="fanin-") as directory:
        output = Path(directory) / "gpt2.safetensors"
        size = checkpoint.write(output, entries)

        def command() -> None:
            output.unlink()
            subprocess.run([sys.executable, "-m", "fanin", "init", PLAN, "-o", output, "--quiet"], check=True)

        def library() -> None:
            output.unlink()
            checkpoint.write(output, entries)

        def plain() -> None:
            output.unlink()
            with output.open("wb", buffering=0) as file:
                for start in range(0, size, PIECE):
                    file.write(piece[: size - start].data)

        times = best({"command": command, "library": library, "plain write": plain}, max(3, rounds // 2))
    for name in ("command", "library"):
        what = "fanin init gpt2.toml, whole process" if name == "command" else "checkpoint.write of the same"
        note = f"{size / times[name] / 1e6:.0f} MB/s"
        yield Row(what, times[name], {"plain write": times["plain write"]}, elements, note)
