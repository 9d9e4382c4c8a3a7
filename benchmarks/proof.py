"""Looking at a checkpoint of GPT-2: verifying beside writing it, fingerprints beside reading and beside SHA-256."""

import hashlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.timing import Row, best
from fanin import Plan, checkpoint, fingerprint, verify

PLAN = Path(__file__).resolve().parent.parent / "examples" / "gpt2.toml"
THREADS = 2


def proof(rounds: int) -> Iterator[Row]:
    """Verification and fingerprints, of a file that is in the system's cache."""
    plan = Plan.from_file(PLAN)
    entries = plan.resolve()
    elements = sum(int(np.prod(entry.shape)) for entry in entries)
    with tempfile.TemporaryDirectory(prefix="fanin-") as directory:
        output = Path(directory) / "gpt2.safetensors"
        checkpoint.write(output, entries)

        def written() -> None:
            output.unlink()
            checkpoint.write(output, entries)

        times = best(
            {
                "writing it": written,
                "verify": lambda: verify(output, plan).check(),
                "fingerprint": lambda: fingerprint(output),
                "reading it": lambda: read(np.memmap(output, np.uint64, "r", 8)),
                "SHA-256": lambda: hashlib.sha256(np.memmap(output, np.uint8, "r").data).digest(),
            },
            max(3, rounds // 2),
        )
    yield Row("verify of gpt2.safetensors", times["verify"], {"writing it": times["writing it"]}, elements)
    peers = {name: times[name] for name in ("reading it", "SHA-256")}
    yield Row("fingerprint of gpt2.safetensors", times["fingerprint"], peers, elements)


def read(words: np.ndarray) -> None:
    """Touch every word, on as many threads."""
    parts = np.array_split(words, THREADS)
    workers = [threading.Thread(target=np.bitwise_or.reduce, args=(part,)) for part in parts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
