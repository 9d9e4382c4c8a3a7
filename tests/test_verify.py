"""Verification: one bit of a model or a file that is not the plan's is found, and told where it is."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import held, written

import fanin
import fanin.torch
from fanin import Parameter, Plan, Rule, checkpoint, engines
from fanin.errors import CheckpointError, PlanError, StreamError, VerificationError
from fanin.layouts import as_layout
from fanin.plan import digest
from fanin.proof import Verification
from fanin.recipe import Window
from fanin.spec import STREAM

PARAMETERS = [
    Parameter("embed", (64, 48), layout="i o"),
    Parameter("fc.weight", (96, 48), layout="o i"),
    Parameter("fc.bias", (96,)),
    Parameter("wide", (7, 11, 3), "float64"),
    Parameter("half", (33, 9), "bfloat16", layout="o i"),
    Parameter("tiny", (40, 5), "float8_e4m3fn"),
    Parameter("square", (24, 24), layout="o i"),
    Parameter("steps", (), "int64"),
]
PLAN = Plan(
    [
        Rule(["embed", "wide"], "random_normal(stddev=0.02)"),
        Rule("square", "orthogonal"),
        Rule("fc.bias", "random_uniform(-0.1, 0.1)"),
        Rule("steps", "zeros"),
        Rule("*", "he_normal", layout="o i"),
    ],
    parameters=PARAMETERS,
)
SEED = 5


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint of the plan, as ``fanin init`` writes it."""
    entries = PLAN.resolve(seed=SEED)
    path = tmp_path / "model.safetensors"
    metadata = {"fanin.seed": str(SEED), "fanin.stream": STREAM, "fanin.plan": digest(entries), "format": "pt"}
    checkpoint.write(path, entries, metadata=metadata)
    return path


def changed(file: Path, change: Callable[[dict[str, np.ndarray]], object], **metadata: str) -> Path:
    """A copy of a file with something else in it."""
    arrays, said = held(file)
    change(arrays)
    return written(file.with_name("changed.safetensors"), arrays, {**said, **metadata})


def carrier(array: np.ndarray) -> np.ndarray:
    return array.view(f"u{array.dtype.itemsize}")


def wrong(found: Verification) -> dict[str, str]:
    """Names and what the table says of them."""
    assert not found.ok
    rows = found.table().rows
    assert len(rows) == len(found.wrong)
    return {row[0]: row[-1] for row in rows}


# What is right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [{"engine": "numpy"}, {"engine": "numba", "threads": 3}], ids=str)
def test_what_a_plan_wrote_is_what_it_has(engine: dict[str, Any], file: Path) -> None:
    with fanin.use(**engine):
        found = fanin.verify(file, PLAN)
    assert found.ok
    assert bool(found)
    assert (found.seed, found.digest) == (SEED, digest(PLAN.resolve(seed=SEED)))
    assert [finding.name for finding in found.findings] == [parameter.name for parameter in PARAMETERS]
    assert sum(finding.compared for finding in found.findings) == sum(math.prod(each.shape) for each in PARAMETERS)
    assert not found.notes
    assert str(found).startswith(f"{file}: 8 tensors, ")
    assert "every bit is the plan's; seed 5, plan " in str(found)
    found.check()


def test_a_plan_without_parameters_takes_those_of_the_file(tmp_path: Path) -> None:
    rules = Plan([Rule("*", "random_normal")])
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, rules.resolve([Parameter("a", (9, 4), "float16"), Parameter("b", (5,))], seed=3))
    assert fanin.verify(path, rules, seed=3).ok
    assert not fanin.verify(path, rules).ok  # it does not say its seed, so 0 is meant
    assert fanin.verify(path, rules.resolve(checkpoint.shapes(path), seed=3)).ok


def test_a_sharded_checkpoint_is_verified_as_a_whole(file: Path) -> None:
    arrays, _ = held(file)
    halves = [dict(list(arrays.items())[:4]), dict(list(arrays.items())[4:])]
    for number, half in enumerate(halves):
        written(file.with_name(f"{number}.safetensors"), half, {"fanin.seed": str(SEED)})
    weights = {name: f"{number}.safetensors" for number, half in enumerate(halves) for name in half}
    index = file.with_name("model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": weights}))
    assert fanin.verify(index, PLAN).ok


def test_modules_of_any_kind_are_verified() -> None:
    model = torch.nn.Sequential(
        torch.nn.LSTM(6, 5), torch.nn.MultiheadAttention(8, 2), torch.nn.Embedding(9, 4, padding_idx=3),
        torch.nn.BatchNorm1d(4), torch.nn.Conv2d(4, 6, 3, groups=2),
    )  # fmt: skip
    plan = fanin.defaults("flax")
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        plan.apply(model.to(dtype), seed=2)
        found = fanin.verify(model, plan, seed=2)
        assert found.ok, found
        assert {finding.dtype for finding in found.findings} == {str(dtype).removeprefix("torch."), "int64"}
    with torch.no_grad():
        model[2].weight[3, 1] = 0.5  # of the row for padding
    assert [finding.index for finding in fanin.verify(model, plan, seed=2).wrong] == [(3, 1)]


def test_names_of_another_model_verify_this_one() -> None:
    plan = Plan([Rule("encoder.*", "he_normal", layout="o i")])
    model = torch.nn.Linear(5, 4, bias=False)
    names = {"weight": "encoder.weight"}
    plan.apply(model, seed=1, names=names)
    assert fanin.verify(model, plan, seed=1, names=names).ok
    with pytest.raises(PlanError):
        fanin.verify(model, plan, seed=1)


def test_nothing_is_changed_by_looking(file: Path) -> None:
    before = file.read_bytes()
    model = torch.nn.Linear(4, 3)
    version, values = model.weight._version, model.weight.detach().clone()
    fanin.verify(file, PLAN)
    fanin.verify(model, fanin.defaults("torch"))
    fanin.fingerprint(model)
    assert file.read_bytes() == before
    assert (model.weight._version, torch.equal(model.weight, values)) == (version, True)


# One bit ------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_any_flipped_bit_is_found_where_it_is(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    arrays = drawn()
    name = data.draw(st.sampled_from([each for each in arrays if each != "square"]))
    array = arrays[name]
    index = tuple(data.draw(st.integers(0, length - 1)) for length in array.shape)
    bit = data.draw(st.integers(0, 8 * array.dtype.itemsize - 1))
    expected = float(array[index])
    bits = carrier(array.reshape(-1))
    bits[np.ravel_multi_index(index, array.shape) if index else 0] ^= np.asarray(1 << bit, bits.dtype)
    path = written(tmp_path_factory.mktemp("flipped") / "a.safetensors", arrays)
    (finding,) = fanin.verify(path, PLAN, seed=SEED).wrong
    assert (finding.name, finding.status, finding.index, finding.differing) == (name, "differs", index, 1)
    layout = as_layout({"fc.weight": "o i", "half": "o i", "tiny": "o i"}.get(name))
    coordinates = layout.coordinates(array.shape)
    assert finding.row == coordinates.row_start + sum(map(int.__mul__, coordinates.row_steps, index))
    assert finding.column == coordinates.column_start + sum(map(int.__mul__, coordinates.column_steps, index))
    assert finding.expected == expected
    assert int(finding.found_bits, 16) ^ int(finding.expected_bits, 16) == 1 << bit


def drawn() -> dict[str, np.ndarray]:
    """What the plan has, by the engines alone."""
    arrays = {}
    for entry in PLAN.resolve(seed=SEED):
        arrays[entry.name] = np.empty(entry.shape, entry.dtype)
        engines.fill(entry.recipe, Window.whole(entry.shape), arrays[entry.name])
    return arrays


def test_a_scalar_that_differs_is_told(file: Path) -> None:
    (finding,) = fanin.verify(changed(file, assign("steps", 3)), PLAN).wrong
    assert (finding.name, finding.index, finding.found, finding.expected, finding.differing) == ("steps", (), 3, 0, 1)
    text = wrong(fanin.verify(changed(file, assign("steps", 3)), PLAN))["steps"]
    assert text == "1 of 1 differ, first: 3 (0x0000000000000003), plan 0 (0x0000000000000000)"


def test_the_first_of_many_is_told(file: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        carrier(arrays["fc.weight"])[[70, 20, 20], [3, 47, 9]] ^= 2

    (finding,) = fanin.verify(changed(file, change), PLAN).wrong
    assert (finding.index, finding.row, finding.column, finding.differing) == ((20, 9), 9, 20, 3)
    text = wrong(fanin.verify(changed(file, change), PLAN))["fc.weight"]
    assert text.startswith("3 of 4,608 differ, first at [20, 9] (row 9, column 20): ")
    assert f"({finding.found_bits}), plan {finding.expected:.9g} ({finding.expected_bits})" in text


def test_a_large_tensor_is_compared_in_every_block(tmp_path: Path) -> None:
    """Of several blocks, drawn by several threads: the last element of the last."""
    plan = Plan([Rule("*", "random_normal", layout="o i")], parameters=[Parameter("w", (1100, 1031))])
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, plan.resolve())
    assert fanin.verify(path, plan).ok
    with path.open("r+b") as stream:
        stream.seek(-4, 2)
        last = stream.read(1)
        stream.seek(-4, 2)
        stream.write(bytes([last[0] ^ 1]))
    for options in ({"engine": "numba", "threads": 4}, {"engine": "numpy", "threads": 1}):
        with fanin.use(**options):
            (finding,) = fanin.verify(path, plan).wrong
        assert (finding.index, finding.row, finding.column) == ((1099, 1030), 1030, 1099)


def test_what_is_computed_whole_may_differ_in_the_last_place(file: Path) -> None:
    def near(arrays: dict[str, np.ndarray]) -> None:
        carrier(arrays["square"])[[1, 5], [2, 3]] += np.uint32(1)

    def far(arrays: dict[str, np.ndarray]) -> None:
        carrier(arrays["square"])[1, 2] += np.uint32(2)

    found = fanin.verify(changed(file, near), PLAN)
    assert found.ok
    assert next(each for each in found.findings if each.name == "square").rounded == 2
    assert "but for 2 that are computed whole and differ in the last place" in found.summary
    (finding,) = fanin.verify(changed(file, far), PLAN).wrong
    assert (finding.name, finding.index) == ("square", (1, 2))


# What it looks like -----------------------------------------------------------------------------------------


def assign(name: str, value: Any, at: Any = ...) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][at] = value

    return change


@pytest.mark.parametrize(
    ("change", "name", "fragment"),
    [
        (assign("embed", math.nan, (slice(2), slice(3))), "embed", "6 are NaN"),
        (assign("embed", math.inf, (5, 5)), "embed", "1 are infinite"),
        (assign("embed", 0), "embed", "all are 0.0, where the plan draws"),
        (assign("half", 1.5), "half", "all are 1.5, where the plan draws"),
        (assign("embed", 0, slice(10, 20)), "embed", "those that differ are all 0.0, a block in [10:20, 0:48]"),
        (assign("fc.bias", 0.25, (slice(3),)), "fc.bias", "3 lie outside of [-0.1, 0.1]"),
    ],
)
def test_wrong_values_are_told_by_what_they_look_like(change: Any, name: str, fragment: str, file: Path) -> None:
    text = wrong(fanin.verify(changed(file, change), PLAN))
    assert text.keys() == {name}
    assert fragment in text[name]


def test_another_seed_name_or_layout_is_recognized(tmp_path: Path) -> None:
    parameters = [Parameter("a", (30, 40)), Parameter("b", (30, 40)), Parameter("c", (30, 40))]
    plan = Plan([Rule("*", "random_normal", layout="o i")], parameters=parameters)
    other = Plan([Rule("*", "random_normal", layout="i o")], parameters=parameters)
    path = tmp_path / "a.safetensors"

    def told(*entries: Any) -> dict[str, str]:
        checkpoint.write(path, entries, overwrite=True)
        return wrong(fanin.verify(path, plan, seed=0))

    a, b, c = plan.resolve(seed=0)
    assert "the values that seed 7 gives" in told(plan.resolve(seed=7)[0], b, c)["a"]
    assert "the values of the layout 'i o" in told(other.resolve(seed=0)[0], b, c)["a"]
    checkpoint.write(path, [a, b, c], overwrite=True)
    arrays, _ = held(path)
    written(path, {**arrays, "a": arrays["b"]})
    assert "the very values of 'b'" in wrong(fanin.verify(path, plan, seed=0))["a"]
    written(path, {**arrays, "a": arrays["b"], "b": arrays["a"]})
    texts = wrong(fanin.verify(path, plan, seed=0))
    assert "the values of the name 'b'" in texts["a"]
    assert "the values of the name 'a'" in texts["b"]


def test_what_was_never_initialized_is_told() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 3, device="meta"))
    fanin.defaults("torch").apply(model[0], seed=1)
    plan = Plan([Rule(f"0.{each}", "zeros") for each in ("weight", "bias")] + [Rule("1.*", "ones")])
    texts = wrong(fanin.verify(model, plan, only="1.*"))
    assert texts.keys() == {"1.weight", "1.bias"}
    assert "is on the meta device: it was never initialized" in texts["1.bias"]


def test_missing_and_unexpected_tensors_are_told(file: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        del arrays["embed"]
        arrays["extra"] = np.zeros(3, np.float32)
        arrays["wide"] = arrays["wide"][:, :10].copy()
        arrays["fc.bias"] = np.zeros(96, np.int8)

    found = fanin.verify(changed(file, change), PLAN)
    assert {finding.name: finding.status for finding in found.wrong} == {
        "embed": "missing", "extra": "unexpected", "wide": "other shape", "fc.bias": "other dtype",
    }  # fmt: skip
    texts = wrong(found)
    assert texts["wide"] == "the plan has (7, 11, 3)"
    assert "int8 cannot hold random values" in texts["fc.bias"]
    assert "4 of 9 are not ok" in found.summary
    with pytest.raises(VerificationError, match=r"(?s)embed.*missing.*4 of 9 are not ok"):
        found.check()


def test_only_some_are_looked_at(file: Path) -> None:
    path = changed(file, assign("embed", 0))
    assert fanin.verify(path, PLAN, only=["fc.*", "wide"]).ok
    assert len(fanin.verify(path, PLAN, only="fc.*").findings) == 2
    assert not fanin.verify(path, PLAN, only="embed").ok
    with pytest.raises(PlanError, match=r"only='fd\.\*' means no array; the nearest names are fc"):
        fanin.verify(path, PLAN, only="fd.*")


def test_a_wider_or_narrower_file_is_compared_in_its_own_dtype(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    entries = PLAN.resolve(seed=SEED, dtype="bfloat16")
    checkpoint.write(path, entries, metadata={"fanin.seed": str(SEED), "fanin.plan": digest(entries)})
    found = fanin.verify(path, PLAN)
    assert found.ok
    assert not found.notes
    assert found.digest == digest(entries)
    assert {finding.dtype for finding in found.findings} == {"bfloat16", "int64"}


# What a file says of itself ----------------------------------------------------------------------------------


def test_a_file_of_another_stream_is_refused(file: Path) -> None:
    path = changed(file, lambda arrays: None, **{"fanin.stream": "fanin-2", "fanin.version": "9.1"})
    for look in (
        lambda: fanin.verify(path, PLAN),
        lambda: fanin.fingerprint(path),
        lambda: fanin.diff(path, PLAN),
    ):
        with pytest.raises(StreamError, match=r"written by the stream 'fanin-2', and this version .* wrote it, 9\.1"):
            look()


def test_another_seed_or_plan_than_the_file_says_is_noted(file: Path) -> None:
    found = fanin.verify(file, PLAN, seed=1)
    assert found.notes == ("the file says that it was made with seed 5",)
    assert "note: the file says that it was made with seed 5" in str(found)
    assert "the values that seed 5 gives" in wrong(found)["embed"]
    rules = [*PLAN.rules]
    rules[2] = Rule("fc.bias", "zeros")
    other = Plan(rules, parameters=PARAMETERS)
    found = fanin.verify(file, other)
    assert [finding.name for finding in found.wrong] == ["fc.bias"]
    assert found.notes == (f"the file says that it was made by the plan {digest(PLAN.resolve(seed=SEED))[:16]}",)


@pytest.mark.parametrize("text", ["-1", "x", "1.5", str(2**64), ""])
def test_a_file_that_says_no_seed_is_told(text: str, file: Path) -> None:
    path = changed(file, lambda arrays: None, **{"fanin.seed": text})
    with pytest.raises(CheckpointError, match="which is none; give one"):
        fanin.verify(path, PLAN)


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -200])
def test_a_truncated_file_is_told(keep: int, file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:keep])
    for look in (lambda: fanin.verify(file, PLAN), lambda: fanin.fingerprint(file), lambda: fanin.diff(file, file)):
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            look()
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        fanin.verify(file.with_name("nothing.safetensors"), PLAN)


def test_tensors_that_are_not_aligned_are_read(file: Path) -> None:
    """As other programs write them: the header's length is odd, so no tensor begins at a multiple of its size."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    odd = file.with_name("odd.safetensors")
    odd.write_bytes((length + 1).to_bytes(8, "little") + data[8 : 8 + length] + b" " + data[8 + length :])
    for engine in ("numpy", "numba"):
        with fanin.use(engine=engine):
            assert fanin.verify(odd, PLAN).ok
            assert fanin.fingerprint(odd) == fanin.fingerprint(file)


# Reports --------------------------------------------------------------------------------------------------------


def test_a_report_is_plain_data(file: Path) -> None:
    found = fanin.verify(changed(file, assign("embed", math.nan, (0, 0))), PLAN)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (data["ok"], data["seed"], data["plan"], len(data["tensors"])) == (False, SEED, found.digest, 8)
    (told,) = [each for each in data["tensors"] if each["status"] != "ok"]
    assert (told["name"], told["found"], told["index"], told["causes"]) == ("embed", "nan", [0, 0], ["1 are NaN"])
    assert all(each["status"] == "ok" for each in data["tensors"] if each is not told)


def test_progress_is_reported_and_ends_what_it_stops(file: Path) -> None:
    calls: list[tuple[int, int]] = []
    fanin.verify(file, PLAN, progress=lambda done, total: calls.append((done, total)))
    total = sum(array.nbytes for array in drawn().values())
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fanin.verify(file, PLAN, progress=stop)


def test_a_file_that_was_moved_is_the_same_file(file: Path) -> None:
    copy = file.with_name("copy with spaces.safetensors")
    shutil.copy(file, copy)
    assert fanin.verify(str(copy), PLAN).ok
    assert fanin.diff(file, copy).same
