"""Checkpoints: the file that the safetensors library would write of the same arrays, on any engine and threads."""

import dataclasses
import errno
import itertools
import json
import math
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from commands import device
from harness import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import fanin
from fanin import Parameter, Plan, Rule, backend, checkpoint
from fanin.checkpoint import filling
from fanin.checkpoint.contents import stored
from fanin.checkpoint.cuts import LANES, chunks, most_bytes, windows
from fanin.checkpoint.header import header
from fanin.dtypes import FLOATS
from fanin.errors import ArgumentError, CheckpointError, DTypeError, FaninError
from fanin.initializers import (
    Constant,
    GlorotNormal,
    HeNormal,
    Identity,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    Zeros,
)
from fanin.initializers.custom import drawing
from fanin.plan import Entry, Resolved

SEED = 7
TINY = 2000

# How the documents of the format call a dtype: https://huggingface.co/docs/safetensors/index#format
DTYPES = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "U16": np.uint16, "I16": np.int16, "U32": np.uint32,
    "I32": np.int32, "U64": np.uint64, "I64": np.int64, "F16": np.float16, "F32": np.float32, "F64": np.float64,
    "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
}  # fmt: skip
INTEGERS = [np.dtype(dtype).name for code, dtype in DTYPES.items() if code[0] in "UI"]
F8 = {"float8_e4m3fn", "float8_e5m2"}


def custom(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
    """An initializer of one's own, which draws twice."""
    return backend.random_uniform(shape, dtype=dtype) - 2 * backend.random_normal(shape, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a file; `make` makes its initializer of a seed."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    make: Callable[[int | None], Any]
    layout: str | None = None

    def values(self) -> np.ndarray:
        """What the initializer itself gives, called by hand."""
        if self.make(None) is custom:
            with drawing(self.name, SEED):
                return custom(self.shape, "float32")
        return self.make(SEED)(self.shape, self.dtype, name=self.name, layout=self.layout)


def tensors() -> list[Tensor]:
    return [
        *(Tensor(f"normal.{d}", (37, 53), d, lambda seed: HeNormal(seed), "o i") for d in FLOATS),
        *(Tensor(f"uniform.{d}", (129,), d, lambda seed: RandomUniform(seed=seed)) for d in FLOATS),
        *(Tensor(f"truncated.{d}", (3, 3, 5, 7), d, lambda seed: GlorotNormal(seed), "*k i o") for d in FLOATS),
        *(Tensor(f"orthogonal.{d}", (40, 30), d, lambda seed: Orthogonal(seed=seed), "i o") for d in FLOATS),
        *(Tensor(f"steps.{d}", (2, 3), d, lambda seed: Constant(3)) for d in INTEGERS),
        Tensor("flags", (5,), "bool", lambda seed: Ones()),
        Tensor("scalar", (), "float32", lambda seed: RandomNormal(seed=seed)),
        Tensor("scalar.steps", (), "int64", lambda seed: Constant(-12)),
        Tensor("empty", (0,), "float32", lambda seed: RandomNormal(seed=seed)),
        Tensor("empty.middle", (3, 0, 5), "bfloat16", lambda seed: RandomNormal(seed=seed)),
        Tensor("empty.orthogonal", (0, 5), "float32", lambda seed: Orthogonal(seed=seed), "i o"),
        Tensor("identity", (9, 11), "float16", lambda seed: Identity(gain=0.5)),
        Tensor("array", (3, 4), "float64", lambda seed: Constant(np.arange(12.0).reshape(3, 4))),
        Tensor("custom", (6, 7), "float32", lambda seed: custom),
        Tensor('caf\u00e9 \U0001f600 "\\/\n\t\x01\x7f\u2028', (3,), "float32", lambda seed: RandomNormal(seed=seed)),
        Tensor("large", (2311, 4099), "float32", lambda seed: RandomNormal(0.5, 0.1, seed), "o i"),
        Tensor("wide", (3, 2**18 + 5), "bfloat16", lambda seed: RandomNormal(seed=seed)),
        Tensor("long", (2**20 + 1,), "float8_e5m2", lambda seed: RandomUniform(seed=seed)),
        *(Tensor(f"tiny.{n}", (n % 5, 3), "float32", lambda seed: RandomNormal(seed=seed)) for n in range(TINY)),
    ]


TENSORS = tensors()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def resolved(asked: Iterable[Tensor], seed: int = SEED) -> tuple[Entry, ...]:
    asked = list(asked)
    tiny = [Rule("tiny.*", RandomNormal())] if any(tensor.name.startswith("tiny.") for tensor in asked) else []
    others = [tensor for tensor in asked if not (tiny and tensor.name.startswith("tiny."))]
    rules = [Rule(tensor.name, tensor.make(None), layout=tensor.layout) for tensor in others]
    return Plan(rules + tiny).resolve([Parameter(t.name, t.shape, t.dtype) for t in asked], seed=seed)


def parsed(path: Path) -> tuple[dict[str, str] | None, dict[str, np.ndarray]]:
    """Read a file by the documents of the format alone."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    fields = json.loads(data[8:start])
    metadata = fields.pop("__metadata__", None)
    arrays = {}
    for name, field in fields.items():
        low, high = field["data_offsets"]
        array = np.frombuffer(data[start + low : start + high], DTYPES[field["dtype"]])
        arrays[name] = array.reshape(field["shape"])
    assert sum(array.nbytes for array in arrays.values()) == len(data) - start
    return metadata, arrays


def check_values(path: Path, expected: dict[str, np.ndarray]) -> None:
    """Compare a file with arrays, by bits."""
    found = parsed(path)[1]
    assert found.keys() == expected.keys()
    for name, array in found.items():
        try:
            assert_same_bits(array, expected[name])
        except AssertionError as error:
            raise AssertionError(f"{name!r}: {error}") from None


@pytest.fixture(scope="module")
def entries() -> tuple[Entry, ...]:
    return resolved(TENSORS)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """What the initializers give, by name."""
    return {tensor.name: tensor.values() for tensor in TENSORS}


@pytest.fixture(scope="module")
def written(entries: tuple[Entry, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "model.safetensors"
    assert checkpoint.write(path, entries) == path.stat().st_size
    return path


def few(*names: str) -> tuple[Entry, ...]:
    """Some of the small tensors."""
    return resolved([t for t in TENSORS if t.name in (names or ("normal.float32", "flags", "scalar"))])


def told(action: Callable[[], object], number: int | None, *fragments: str) -> CheckpointError:
    """Check that an action raises a `CheckpointError` with that `errno`, whose message has all fragments."""
    with pytest.raises(CheckpointError) as caught:
        action()
    assert caught.value.errno == number
    for fragment in fragments:
        assert fragment in str(caught.value), f"{fragment!r} is not in {str(caught.value)!r}"
    assert isinstance(caught.value, OSError)
    return caught.value


# What is in the file -------------------------------------------------------------------------------


def test_every_tensor_is_what_its_initializer_gives(written: Path, arrays: dict[str, np.ndarray]) -> None:
    check_values(written, arrays)
    assert {array.dtype for array in arrays.values()} == {np.dtype(dtype) for dtype in DTYPES.values()}
    assert len(arrays) == 45 + TINY
    assert min(np.unique(arrays[f"normal.{d}"]).size for d in FLOATS) > 50  # a file of one number proves little


def test_the_file_is_the_one_that_safetensors_writes(
    written: Path, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    safetensors.numpy.save_file(arrays, tmp_path / "theirs")
    assert written.read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {'caf\u00e9 "\\\n\x01': "\U0001f600"}, {"": ""}])
def test_metadata_is_written_as_safetensors_does(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    """One text only: that library leaves the order of several to chance."""
    entries = few()
    checkpoint.write(tmp_path / "ours", entries, metadata=metadata)
    safetensors.numpy.save_file(parsed(tmp_path / "ours")[1], tmp_path / "theirs", metadata=metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert parsed(tmp_path / "ours")[0] == metadata


def test_metadata_is_sorted_and_read_again(tmp_path: Path) -> None:
    metadata = {key: key.upper() for key in ("b", "a", "c.d", "c")}
    checkpoint.write(tmp_path / "a", few(), metadata=metadata)
    checkpoint.write(tmp_path / "b", few(), metadata=dict(sorted(metadata.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", framework="numpy") as file:
        assert file.metadata() == metadata


def test_torch_loads_every_dtype(written: Path, arrays: dict[str, np.ndarray]) -> None:
    loaded = safetensors.torch.load_file(written)
    assert loaded.keys() == arrays.keys()
    for name, tensor in loaded.items():
        assert str(tensor.dtype) == f"torch.{arrays[name].dtype.name}", name
        assert tuple(tensor.shape) == arrays[name].shape, name
        assert tensor.reshape(-1).view(torch.uint8).numpy().tobytes() == arrays[name].tobytes(), name


def test_numpy_loads_every_dtype_that_its_reader_knows(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    known = [t for t in TENSORS if t.dtype not in F8]
    checkpoint.write(tmp_path / "file", resolved(known))
    loaded = safetensors.numpy.load_file(tmp_path / "file")
    assert {tensor.dtype for tensor in known} == {np.dtype(dtype).name for dtype in DTYPES.values()} - F8
    assert loaded.keys() == {tensor.name for tensor in known}
    for name, array in loaded.items():
        assert_same_bits(array, arrays[name])


def test_neither_engine_nor_threads_change_the_file(written: Path, entries: tuple[Entry, ...], tmp_path: Path) -> None:
    expected = sha256(written.read_bytes()).hexdigest()
    wrote: dict[tuple[str, int], set[str]] = {}
    for engine, threads in itertools.product(["numpy", "numba"], [1, 2, 5]):
        names = wrote.setdefault((engine, threads), set())
        path = tmp_path / f"{engine}-{threads}"
        with fanin.use(engine=engine, threads=threads):
            checkpoint.write(
                path, entries, progress=lambda written, size, add=names.add: add(threading.current_thread().name)
            )
        assert sha256(path.read_bytes()).hexdigest() == expected
        path.unlink()
    assert len(wrote) == 6
    assert all(len(names) == 1 for (_, threads), names in wrote.items() if threads == 1)
    assert all(len(names) > 1 for (_, threads), names in wrote.items() if threads > 1)  # several did take part


def test_the_order_of_the_entries_changes_nothing(written: Path, entries: tuple[Entry, ...], tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "file", (entry for entry in reversed(entries)))
    assert (tmp_path / "file").read_bytes() == written.read_bytes()


def test_a_file_of_no_tensors_is_a_file(tmp_path: Path) -> None:
    size = checkpoint.write(tmp_path / "ours", ())
    safetensors.numpy.save_file({}, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert size == (tmp_path / "ours").stat().st_size
    assert checkpoint.shapes(tmp_path / "ours") == ()


def test_a_file_of_empty_tensors_has_no_data(tmp_path: Path) -> None:
    entries = resolved([t for t in TENSORS if t.name.startswith("empty")])
    head, placed = header(stored(Resolved(entries)), None)
    assert checkpoint.write(tmp_path / "file", entries) == len(head)
    assert (tmp_path / "file").read_bytes() == head
    assert len(placed) == 3


LIES: dict[str, Callable[[list[Any]], list[Any]]] = {
    "drops a chunk": lambda all_: all_[:7] + all_[8:],
    "drops the last": lambda all_: all_[:-1],
    "drops the first tensor of a chunk": lambda all_: [
        dataclasses.replace(chunk, parts=chunk.parts[1:]) if number == 4 else chunk for number, chunk in enumerate(all_)
    ],
    "shifts a chunk": lambda all_: [dataclasses.replace(all_[0], offset=all_[0].offset + 4), *all_[1:]],
    "writes a chunk where another goes": lambda all_: [
        *all_[:7], dataclasses.replace(all_[7], offset=all_[8].offset), *all_[8:]
    ],
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_writer_that_lies_is_caught(
    lie: str,
    entries: tuple[Entry, ...],
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One tensor's chunks are left alone, since a tensor computed whole is cut by itself."""
    honest = filling.chunks
    monkeypatch.setattr(
        filling, "chunks", lambda placed, most: iter(LIES[lie](c) if len(c := list(honest(placed, most))) > 20 else c)
    )
    checkpoint.write(tmp_path / "file", entries)
    with pytest.raises(AssertionError, match="elements differ"):
        check_values(tmp_path / "file", arrays)


def test_a_bit_that_differs_is_caught(written: Path, arrays: dict[str, np.ndarray]) -> None:
    flipped = {**arrays, "steps.int8": arrays["steps.int8"] ^ np.array([[0, 0, 0], [0, 1, 0]], np.int8)}
    with pytest.raises(AssertionError, match=r"'steps\.int8': 1 of 6 elements differ, first at \(1, 1\)"):
        check_values(written, flipped)
    with pytest.raises(AssertionError):
        check_values(written, {name: array for name, array in arrays.items() if name != "flags"})


# Cuts ----------------------------------------------------------------------------------------------

SHAPES = st.lists(st.integers(0, 9), max_size=5).map(tuple)


@given(SHAPES, st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_windows_follow_each_other_and_are_neighbours_in_memory(shape: tuple[int, ...], most: int) -> None:
    everything = np.arange(math.prod(shape)).reshape(shape)
    parts = [everything[window.slices].reshape(-1) for window in windows(shape, most)] if everything.size else []
    assert [*itertools.chain.from_iterable(parts)] == [*range(everything.size)]
    assert all(0 < part.size <= LANES * most for part in parts)


def test_windows_cut_a_matrix_by_whole_blocks() -> None:
    rows = [window.start[0] for window in windows((101, 6), 64)]
    assert rows == [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96]
    assert len(list(windows((2311, 4099), 2**18))) > 30


@given(st.lists(st.tuples(SHAPES, st.sampled_from(sorted(FLOATS))), max_size=6), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_chunks_cover_the_file_without_gap_or_overlap(asked: list[tuple[tuple[int, ...], str]], most: int) -> None:
    made = [Tensor(str(n), shape, dtype, lambda seed: Zeros()) for n, (shape, dtype) in enumerate(asked)]
    head, placed = header(stored(Resolved(resolved(made) if made else ())), None)
    at = len(head)
    for chunk in chunks(placed, most):
        assert chunk.offset == at
        size = sum(math.prod(part.window.shape) * part.stored.dtype.itemsize for part in chunk.parts)
        assert 0 < size <= most_bytes(placed, most)
        at += size
    assert at == (placed[-1].stop if placed else len(head))
    assert len(head) % 8 == 0


def test_small_tensors_share_a_chunk() -> None:
    placed = header(stored(Resolved(resolved(t for t in TENSORS if t.name.startswith("tiny.")))), None)[1]
    sizes = [len(chunk.parts) for chunk in chunks(placed, 600)]
    assert 20 <= len(sizes) <= 21  # of 12000 elements; only whole tensors are gathered
    assert sum(sizes) == 1600  # those that have elements


# Progress ------------------------------------------------------------------------------------------


def test_progress_grows_to_the_size_one_call_at_a_time(entries: tuple[Entry, ...], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    busy = threading.Lock()

    def progress(written: int, size: int) -> None:
        assert busy.acquire(blocking=False)
        seen.append((written, size))
        busy.release()

    with fanin.use(threads=5):
        size = checkpoint.write(tmp_path / "file", entries, progress=progress)
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen) > 30
    assert seen[-1] == (size, size)
    assert {total for _, total in seen} == {size}


# The file and its name -----------------------------------------------------------------------------


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "any").write_bytes(b"")
    checkpoint.write(tmp_path / "file", few())
    (tmp_path / "old").touch(0o600)
    checkpoint.write(tmp_path / "old", few(), overwrite=True)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["file"] == modes["old"] == modes["any"]
    assert sorted(modes) == ["any", "file", "old"]


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    told(lambda: checkpoint.write(path, few()), errno.EEXIST, "file exists, and is left as it is", "overwrite=True")
    assert path.read_bytes() == b"precious"
    checkpoint.write(path, few(), overwrite=True)
    assert parsed(path)[1].keys() == {"normal.float32", "flags", "scalar"}
    assert names(tmp_path) == ["file"]


def test_a_file_that_appears_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def appearing(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        path.write_bytes(b"precious")
        return np.zeros(shape, np.float32)

    entries = resolved([Tensor("a", (3,), "float32", lambda seed: appearing)])
    told(lambda: checkpoint.write(path, entries), errno.EEXIST, "file exists")
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["file"]


def test_a_name_of_any_length_that_a_file_can_have_works(tmp_path: Path) -> None:
    for name in ("f" * 255, "\u4e16" * 85, "-", "a b\n", ".hidden", os.fsdecode(b"\xff")):
        checkpoint.write(tmp_path / name, few())
        checkpoint.write(str(tmp_path / name), few(), overwrite=True)
        assert len(checkpoint.shapes(tmp_path / name)) == 3
    assert len(names(tmp_path)) == 6


def test_a_link_is_replaced_and_what_it_points_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    for name, target in {"link": "target", "dangling": "nothing", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)
        told(lambda name=name: checkpoint.write(tmp_path / name, few()), errno.EEXIST, f"{name} exists")
        checkpoint.write(tmp_path / name, few(), overwrite=True)
        assert not (tmp_path / name).is_symlink()
        assert len(checkpoint.shapes(tmp_path / name)) == 3
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert names(tmp_path) == ["dangling", "link", "loop", "target"]


@pytest.mark.parametrize(
    ("name", "number", "fragments"),
    [
        ("", errno.EISDIR, ["is a directory; give the name of a file in it"]),
        ("folder", errno.EISDIR, ["folder is a directory"]),
        ("fifo", errno.EINVAL, ["fifo is no regular file, and would be replaced by one"]),
        ("no/file", errno.ENOENT, ["no/file cannot be written:", "no is no directory; make it first"]),
        ("file/file", errno.ENOENT, ["file is no directory; make it first"]),
        ("x" * 256, errno.ENAMETOOLONG, ["cannot be written: File name too long."]),
        ("device", errno.EINVAL, ["device is no regular file, and would be replaced by one"]),
        ("/proc/file", errno.ENOENT, ["/proc/file cannot be written: No such file or directory."]),
    ],
)
def test_where_no_file_can_be_is_told(name: str, number: int, fragments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with device() as terminal:
        path = terminal if name == "device" else tmp_path / name
        told(
            lambda: checkpoint.write(path, few(), overwrite=True),
            number,
            *(fragment.replace("device", str(terminal)) for fragment in fragments),
        )
        assert terminal.is_char_device()
    assert names(tmp_path) == ["fifo", "file", "folder"]
    assert not names(tmp_path / "folder")
    assert (tmp_path / "file").read_bytes() == b"precious"


def failing(error: BaseException) -> Callable[..., np.ndarray]:
    def initializer(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        raise error

    return initializer


FAILURES: dict[str, tuple[Callable[..., Any], str, type[BaseException], str]] = {
    "an error of one's own": (failing(KeyError("mine")), "float32", KeyError, "mine"),
    "an interrupt": (failing(KeyboardInterrupt()), "float32", KeyboardInterrupt, ""),
    "no array": (lambda shape, dtype=None: "text", "float32", ArgumentError, "return an array of real numbers"),
    "another shape": (lambda shape, dtype=None: np.zeros(9), "float32", FaninError, "(9,)"),
    "a dtype too small": (lambda shape, dtype=None: np.full(shape, 0.5), "int8", DTypeError, "int8"),
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_in_the_middle_leaves_nothing(failure: str, overwrite: bool, tmp_path: Path) -> None:
    function, dtype, error, fragment = FAILURES[failure]
    path = tmp_path / "file"
    if overwrite:
        path.write_bytes(b"precious")
    first = Tensor("a", (2**21,), "float64", lambda seed: RandomNormal(seed=seed))  # is written before
    seen: list[int] = []
    with pytest.raises(error) as caught:
        checkpoint.write(
            path,
            resolved([first, Tensor("b", (3,), dtype, lambda seed: function)]),
            overwrite=overwrite,
            progress=lambda written, size: seen.append(written),
        )
    assert fragment in str(caught.value)
    assert max(seen) > 2**20
    assert names(tmp_path) == (["file"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"precious"


def test_a_failure_in_another_thread_reaches_the_caller(tmp_path: Path) -> None:
    main = threading.current_thread()

    def progress(written: int, size: int) -> None:
        if threading.current_thread() is not main:
            raise KeyError("in a thread")

    large = [t for t in TENSORS if t.name == "large"]
    before = threading.active_count()
    with fanin.use(threads=5), pytest.raises(KeyError, match="in a thread"):
        checkpoint.write(tmp_path / "file", resolved(large), progress=progress)
    assert threading.active_count() == before
    assert not names(tmp_path)


def test_a_directory_that_goes_away_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def removing(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        shutil.rmtree(folder)
        return np.zeros(shape, np.float32)

    entries = resolved([Tensor("a", (3,), "float32", lambda seed: removing)])
    told(lambda: checkpoint.write(folder / "file", entries), errno.ENOENT, "file cannot be written: No such file")
    assert not names(tmp_path)


def test_what_no_header_can_hold_is_told_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    twice = (*few(), *few("scalar"))
    told(lambda: checkpoint.write(path, twice), None, "tensor 'scalar' comes twice; give every tensor a name")
    kept = resolved([Tensor("__metadata__", (1,), "float32", lambda seed: Zeros())])
    for metadata in ({}, {"a": "b"}, None):
        told(
            lambda metadata=metadata: checkpoint.write(path, kept, metadata=metadata),
            None,
            "tensor '__metadata__' is a name that the format keeps for itself",
        )
    for bad in ({"a": 1}, {1: "a"}, {"a": None}, {"a": b"b"}):
        told(
            lambda bad=bad: checkpoint.write(path, few(), metadata=bad),
            None,
            "the format holds texts only; convert both with str()",
            repr(next(iter(bad.values()))),
        )
    told(lambda: checkpoint.write(path, few(), metadata={"a": "\ud800"}), None, "no text that UTF-8 can hold", "ud800")
    told(
        lambda: checkpoint.write(path, few(), metadata={"a": "b" * 100_000_001}),
        None,
        "3 tensors need a header of 100,000,",
        "Write them to several files.",
    )
    narrow = [dataclasses.replace(few("normal.float32")[0], dtype=np.dtype(np.int8))]
    with pytest.raises(DTypeError, match="int8 cannot hold random values"):
        checkpoint.write(path, narrow)
    assert not names(tmp_path)


def test_what_no_disk_can_hold_is_told_before_anything_is_written(tmp_path: Path) -> None:
    huge = resolved([Tensor("a", (2**30, 2**30), "float64", lambda seed: RandomNormal(seed=seed))])
    told(lambda: checkpoint.write(tmp_path / "file", huge), errno.ENOSPC, "file needs 9,223,372,036,854,775,", "free")
    assert not names(tmp_path)


# Reading shapes ------------------------------------------------------------------------------------


def test_shapes_are_those_that_were_written(written: Path) -> None:
    found = {parameter.name: (parameter.shape, parameter.dtype) for parameter in checkpoint.shapes(str(written))}
    assert found == {tensor.name: (tensor.shape, tensor.dtype) for tensor in TENSORS}


def raw(fields: object, data: bytes = b"") -> bytes:
    """A file with any header."""
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + data


def one(dtype: str = "F32", shape: object = (2,), size: int = 8, name: str = "a") -> bytes:
    return raw({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}, b"\xa5" * size)


def two(first: tuple[int, int] = (0, 1), second: tuple[int, int] = (1, 2), size: int = 2) -> bytes:
    """Two tensors of a byte, at any offsets."""
    fields = {"a": {"dtype": "U8", "shape": [1], "data_offsets": first}}
    fields["b"] = {"dtype": "U8", "shape": [1], "data_offsets": second}
    return raw(fields, bytes(size))


NO_FILE = "not a safetensors file"
BAD_FILES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", [NO_FILE, "header too small", "Give a .safetensors file, whole and unpacked"]),
    "cut in its length": (one()[:5], [NO_FILE, "too small"]),
    "cut in its header": (one()[:30], [NO_FILE, "header"]),
    "cut in its data": (one()[:-1], [NO_FILE, "not fully covered"]),
    "longer than it says": (one() + b"x", [NO_FILE, "not fully covered"]),
    "a header beyond all": ((2**63).to_bytes(8, "little") + b"{}", [NO_FILE, "header too large"]),
    "no JSON": (raw(b"PK\x03\x04"), [NO_FILE, "JSON"]),
    "a pickle": (b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.", [NO_FILE]),
    "a list": (raw([1]), [NO_FILE]),
    "deep": (raw(b"[" * 100_000), [NO_FILE]),
    "a gap": (raw({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"12"), [NO_FILE, "`a`"]),
    "a gap between two": (two((0, 1), (2, 3), 3), [NO_FILE, "`b`"]),
    "two at one place": (two((0, 1), (0, 1), 1), [NO_FILE, "invalid offset for tensor `"]),
    "two that overlap": (
        raw(
            {
                "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
                "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
            },
            bytes(3),
        ),
        [NO_FILE, "`b`"],
    ),
    "beyond its end": (two((0, 1), (1, 2), 1), [NO_FILE, "not fully covered"]),
    "an end before its start": (two((1, 0), (0, 1), 1), [NO_FILE]),
    "offsets below zero": (two((-1, 0), (0, 1), 1), [NO_FILE, "-1"]),
    "offsets that are no integers": (raw({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1.5]}}), [NO_FILE]),
    "a header longer than the file": ((2**20).to_bytes(8, "little") + b"{}", [NO_FILE, "header"]),
    "a name twice": (
        raw(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
            b"12",
        ),
        [NO_FILE],
    ),
    "a negative length": (one(shape=[-2]), [NO_FILE, "-2"]),
    "a shape that is not its size": (one(shape=[3]), [NO_FILE]),
    "a shape beyond 64 bits": (one(shape=[2**40, 2**40], size=0), [NO_FILE, "overflow"]),
    "a dtype that nobody knows": (one("F7"), [NO_FILE, "F7"]),
    "a dtype that fanin lacks": (one("C64", [1]), ["tensor 'a' is of dtype 'C64', which fanin does not write", "BF16"]),
    "half bytes": (one("F4", [16]), ["tensor 'a' is of dtype 'F4', which fanin does not write"]),
    "no name": (one(name=""), ["a parameter's name must be a text"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    data, fragments = BAD_FILES[name]
    path.write_bytes(data)
    told(lambda: checkpoint.shapes(path), None, f"{path}: ", *fragments)


def test_the_good_file_under_the_bad_ones_is_read(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(one())
    assert checkpoint.shapes(tmp_path / "good") == (Parameter("a", (2,), "float32"),)
    (tmp_path / "good").write_bytes(one("F16", [0, 2**40], 0, "\u4e16"))
    assert checkpoint.shapes(tmp_path / "good") == (Parameter("\u4e16", (0, 2**40), "float16"),)


GOOD = raw({"__metadata__": {"a": "b"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, bytes(24))


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_corrupt_header_is_told_or_harmless(tmp_path_factory: pytest.TempPathFactory, changes: Any) -> None:
    data = bytearray(GOOD)
    for at, byte in changes:
        data[at] = byte
    path = tmp_path_factory.getbasetemp() / "corrupt.safetensors"
    path.write_bytes(data)
    try:
        found, message = checkpoint.shapes(path), ""
    except CheckpointError as error:
        found, message = (), str(error)
    assert bool(found) != (str(path) in message)
    assert all(math.prod(parameter.shape) <= 24 for parameter in found)


@pytest.mark.parametrize("end", range(0, len(GOOD), 7))
def test_a_file_that_is_cut_anywhere_is_told(end: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(GOOD[:end])
    told(lambda: checkpoint.shapes(path), None, NO_FILE)


def index(weights: object) -> bytes:
    return json.dumps({"metadata": {"total_size": 8}, "weight_map": weights}).encode()


BESIDE = "does not lie beside the index"
BAD_INDICES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["not JSON", "Give the index as it was published"]),
    "no JSON": (b'{"weight_map": {', ["not JSON", "line 1 column"]),
    "no text": (b'{"\xe9": 1}', ["not JSON", "utf-8"]),
    "deep": (b"[" * 100_000, ["not JSON"]),
    "a number beyond all": (b"1" * 5000, ["not JSON"]),
    "a list": (b"[]", ["no index of a checkpoint: it has no table 'weight_map'"]),
    "no map": (b"{}", ["it has no table 'weight_map'"]),
    "a map that is none": (index(["a.safetensors"]), ["it has no table 'weight_map' of file names"]),
    "a shard that is no text": (index({"a": 1}), ["it has no table 'weight_map' of file names"]),
    "a missing shard": (index({"a": "no.safetensors"}), ["lists a shard", "no.safetensors cannot be read: No such"]),
    "a shard above": (index({"a": "../good.safetensors"}), [f"'../good.safetensors' of 'a' {BESIDE}"]),
    "a shard below": (index({"a": "folder/good.safetensors"}), [BESIDE]),
    "a shard anywhere": (index({"a": "/etc/passwd"}), [f"'/etc/passwd' of 'a' {BESIDE}"]),
    "the directory above": (index({"a": ".."}), [f"'..' of 'a' {BESIDE}"]),
    "the directory": (index({"a": "."}), [f"'.' of 'a' {BESIDE}"]),
    "no shard": (index({"a": ""}), [f"'' of 'a' {BESIDE}"]),
    "a folder": (index({"a": "folder"}), ["lists a shard", "folder is a directory"]),
    "a name that no file has": (index({"a": "a\0b"}), ["lists a shard", "embedded null byte"]),
    "a name that is no text": (index({"a": "\ud800"}), ["lists a shard", "surrogates not allowed"]),
    "a name too long": (index({"a": "x" * 256}), ["lists a shard", "File name too long"]),
    "itself": (index({"a": "bad.safetensors.index.json"}), ["lists a shard", NO_FILE]),
    "a shard that is cut": (index({"a": "cut.safetensors"}), ["lists a shard", "cut.safetensors: not a safetensors"]),
    "a shard above, as Windows writes it": (index({"a": "..\\good.safetensors"}), [f"of 'a' {BESIDE}"]),
    "a shard of another drive": (index({"a": "C:good.safetensors"}), [f"'C:good.safetensors' of 'a' {BESIDE}"]),
    "a tensor that is not listed": (
        index({"a": "two.safetensors"}),
        ["'two.safetensors' holds 'b', and the index does not say so; they do not"],
    ),
    "a tensor that is listed elsewhere": (
        index({"a": "two.safetensors", "b": "other.safetensors"}),
        ["'two.safetensors' holds 'b', and the index"],
    ),
    "a lie": (index({"b": "good.safetensors"}), ["says 'good.safetensors' holds 'b', and it does not"]),
}


@pytest.mark.parametrize("name", BAD_INDICES)
def test_a_bad_index_is_told(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    (folder / "folder").mkdir(parents=True)
    for good in (tmp_path, folder, folder / "folder"):
        (good / "good.safetensors").write_bytes(one())
    (folder / "cut.safetensors").write_bytes(one()[:-3])
    (folder / "two.safetensors").write_bytes(two())
    (folder / "other.safetensors").write_bytes(one(name="b"))
    data, fragments = BAD_INDICES[name]
    path = folder / "bad.safetensors.index.json"
    path.write_bytes(data)
    told(lambda: checkpoint.shapes(path), None, str(path), *fragments)


def test_an_index_gives_its_tensors_in_its_order(tmp_path: Path) -> None:
    for number, dtype in enumerate(("F32", "BF16")):
        names = {"b": 0, "a": 1}
        width = 4 if dtype == "F32" else 2
        fields = {
            f"{name}{number}": {"dtype": dtype, "shape": [1], "data_offsets": [width * at, width * (at + 1)]}
            for name, at in names.items()
        }
        (tmp_path / f"{number}.safetensors").write_bytes(raw(fields, bytes(2 * width)))
    weights = {"b1": "1.safetensors", "b0": "0.safetensors", "a1": "1.safetensors", "a0": "0.safetensors"}
    path = tmp_path / "model.safetensors.index.json"
    for data in (index(weights), b"\xef\xbb\xbf" + index(weights), index(weights).decode().encode("utf-16")):
        path.write_bytes(data)
        found = checkpoint.shapes(path)
        assert [parameter.name for parameter in found] == list(weights)
        assert [parameter.dtype for parameter in found] == ["bfloat16", "float32", "bfloat16", "float32"]


@pytest.mark.parametrize(
    ("path", "fragment"),
    [
        ("no.safetensors", "no.safetensors cannot be read: No such file or directory."),
        ("no.index.json", "no.index.json cannot be read: No such file or directory."),
        ("file/x", "file/x cannot be read: Not a directory."),
        (".", "is a directory without a checkpoint: it holds no model.safetensors, no model.safetensors.index.json"),
        ("x" * 256, "cannot be read: File name too long."),
        ("fifo", "fifo is no regular file, and only such a file can be read in parts."),
        ("/dev/null", "/dev/null is no regular file"),
        ("loop", "loop cannot be read: Too many levels of symbolic links."),
    ],
)
def test_where_no_checkpoint_can_be_is_told(path: str, fragment: str, tmp_path: Path) -> None:
    """Of a pipe nothing is read, which could take for ever."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    told(lambda: checkpoint.shapes(tmp_path / path), None, fragment)


def test_the_helper_can_fail() -> None:
    def action() -> None:
        raise CheckpointError("something")

    with pytest.raises(AssertionError, match="is not in"):
        told(action, None, "something", "else")
    with pytest.raises(AssertionError):
        told(action, errno.ENOSPC, "something")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        told(lambda: None, None)


# Directories ---------------------------------------------------------------------------------------

DIRECTORIES: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "holds no model.safetensors, no model.safetensors.index.json and no other .safetensors file."),
    "something else": (["config.json", "a.safetensors.bak"], "is a directory without a checkpoint"),
    "two files": (["a.safetensors", "b.safetensors"], "several checkpoints: a.safetensors, b.safetensors; give one of"),
    "many files": ([f"{n}.safetensors" for n in range(6)], "2.safetensors, 3.safetensors and others; give one of"),
    "a file and an index": (
        ["model.safetensors", "model.safetensors.index.json"],
        "several checkpoints: model.safetensors.index.json, model.safetensors; give one of these files",
    ),
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_directory_that_is_no_one_checkpoint_is_told(name: str, tmp_path: Path) -> None:
    files, fragment = DIRECTORIES[name]
    for each in files:
        (tmp_path / each).write_bytes(one())
    for read in (checkpoint.shapes, checkpoint.opened):
        told(lambda read=read: read(tmp_path), None, f"{tmp_path} is a directory", fragment)


def test_a_directory_is_read_by_the_checkpoint_in_it(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(one(name="b"))
    for name in ("b", "a", "c"):  # the only file, the usual name beside others, the index beside others
        if name == "a":
            (tmp_path / "model.safetensors").write_bytes(one(name="a"))
        if name == "c":
            (tmp_path / "model.safetensors").unlink()
            (tmp_path / "c.safetensors").write_bytes(one(name="c"))
            (tmp_path / "model.safetensors.index.json").write_bytes(index({"c": "c.safetensors"}))
        assert checkpoint.shapes(tmp_path) == (Parameter(name, (2,), "float32"),)
        assert [array.name for array in checkpoint.opened(str(tmp_path)).arrays] == [name]
