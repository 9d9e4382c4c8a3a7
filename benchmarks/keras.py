"""Initializers of Keras on each of its backends, which are fixed when Keras is imported: a process for each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.timing import Row, best

BACKENDS = ("torch", "jax", "tensorflow")
SHAPE = (2**12, 2**12)


def initializers(rounds: int) -> Iterator[Row]:
    """`GlorotNormal` of fanin.keras and of Keras: a new tensor of the backend for each call."""
    for backend in BACKENDS:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.keras", str(rounds)],
            env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        times = json.loads(done.stdout.splitlines()[-1])
        elements = SHAPE[0] * SHAPE[1]
        yield Row(f"GlorotNormal, Keras on {backend}", times.pop("fanin"), times, elements)


def main() -> None:
    """Print the seconds of each contender as JSON; run by `initializers`."""
    import keras

    import fanin.keras

    def made(initializer: keras.initializers.Initializer) -> object:
        tensor = initializer(SHAPE)
        return tensor.block_until_ready() if hasattr(tensor, "block_until_ready") else tensor  # JAX does not wait

    ours, theirs = fanin.keras.GlorotNormal(seed=7), keras.initializers.GlorotNormal(seed=7)
    contenders = {"fanin": lambda: made(ours), "Keras' own": lambda: made(theirs)}
    print(json.dumps(best(contenders, int(sys.argv[1]))))


if __name__ == "__main__":
    main()
