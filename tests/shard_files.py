"""What the tests of shards share: a plan of some of them, and what is in a directory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import held

from fanin import Parameter, Plan, Rule, checkpoint
from fanin.checkpoint import Written
from fanin.errors import CheckpointError
from fanin.plan import Resolved

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
MOST = 300_000  # bytes per shard
COUNT = 8
FILES = [f"model-{number:05d}-of-{COUNT:05d}.safetensors" for number in range(1, COUNT + 1)]
COMPLETE = [*FILES, INDEX]


def resolved(seed: int = 7, *, more: Sequence[tuple[str, Any]] = ()) -> Resolved:
    """A dozen tensors of 1.2 MB, which make eight shards."""
    parameters = [Parameter(f"h.{i}.weight", (200, 250 + i), ["float32", "bfloat16"][i % 2]) for i in range(8)]
    parameters += [Parameter("h.bias", (5,)), Parameter("steps", (), "int64"), Parameter("whole.weight", (30, 20))]
    parameters += [Parameter(name, (3,)) for name, _ in more]
    rules = [Rule("*.weight", "random_normal"), Rule(["*.bias", "steps"], "zeros"), *(Rule(*each) for each in more)]
    return Plan([*rules, Rule("whole.weight", "orthogonal", layout="o i")]).resolve(parameters, seed=seed)


def write(folder: Path, plan: Resolved | None = None, **options: Any) -> Written:
    options = {"max_shard_size": MOST, "metadata": {"format": "pt", "seed": "7"}, **options}
    return checkpoint.write_sharded(folder, resolved() if plan is None else plan, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def arrays(folder: Path) -> dict[str, np.ndarray]:
    """Copies of all tensors of a directory."""
    return {name: array for path in folder.glob("*.safetensors") for name, array in held(path)[0].items()}


def told(action: Callable[[], object], number: int | None, *fragments: str) -> CheckpointError:
    """Check that an action raises a `CheckpointError` with that `errno`, whose message and notes have all fragments."""
    with pytest.raises(CheckpointError) as caught:
        action()
    said = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert caught.value.errno == number, said
    for fragment in fragments:
        assert fragment in said, f"{fragment!r} is not in {said!r}"
    return caught.value


def failing(error: BaseException) -> Callable[..., np.ndarray]:
    def initializer(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        raise error

    return initializer


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed call writes."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    write(folder)
    assert names(folder) == COMPLETE
    return folder
