"""Fingerprints: docs/proof.md, on any engine, in any order, dtype, layout and sharding."""

import hashlib
import itertools
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import FORMS
from hypothesis import given
from hypothesis import strategies as st
from stored import written
from test_torch_sharded import launch

import fanin
import fanin.torch
from fanin import Parameter, Plan, Rule
from fanin.dtypes import FLOATS, resolve
from fanin.errors import ArgumentError, OutputError, PlanError
from fanin.layouts import Coordinates, as_layout
from fanin.proof import Fingerprint, TensorFingerprint
from fanin.proof.mixing import element, mix, second
from fanin.proof.sums import added, sums
from fanin.recipe import Window

INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
ENGINES = [{"engine": "numpy"}, {"engine": "numba", "threads": 1}, {"engine": "numba", "threads": 3}]
M = 2**64
PAGE = (Path(__file__).resolve().parent.parent / "docs" / "proof.md").read_text("utf-8")

# Recorded when the page was written, by `by_the_page`: row, column, value, lanes.
KNOWN = [
    (0, 0, 0.0, 0xA9D784005D961C7C, 0x4430CF33BEE78D69),
    (0, 0, -0.0, 0x75295F562C7B2D13, 0x685C256C2957C96A),
    (0, 0, 1.0, 0xD0B0FE62A9882CE3, 0x21FBC4A1FC027CE3),
    (1, 0, 1.0, 0x2587BA4F771CE581, 0xD9969D98E3D9AB16),
    (0, 1, 1.0, 0xE02146B7358DB058, 0x004D75454A174876),
    (2**32 - 1, 2**34 - 1, math.nan, 0x1C6BBF5BB6EDD21E, 0x0AA7E5C5209CFB3C),
    (5, 7, -math.inf, 0xA87D6C3FF0157B5E, 0xED11DD420E22BA31),
    (3, 2, 2**53 + 1, 0xFD5A99628B1D1B41, 0x1E9EC21EFBCD63D1),
]


def by_the_page(row: int, column: int, value: float | int) -> tuple[int, int]:
    """An element by docs/proof.md alone."""

    def f(x: int) -> int:
        x ^= x >> 30
        x = x * 13787848793156543929 % M
        x ^= x >> 27
        x = x * 10723151780598845931 % M
        return x ^ x >> 31

    if isinstance(value, int) and abs(value) > 2**53 and int(float(value)) != value:
        word = value % M
    elif value != value:
        word = 0x7FF8 << 48
    else:
        word = struct.unpack("<Q", struct.pack("<d", value))[0]
    key = (f((row + 11400714819323198485) % M) + f((column + 15111065706836454659) % M)) % M
    first = f(word ^ key)
    y = (first ^ first >> 29) * 15485907386658061715 % M
    return first, y ^ y >> 32


def slowly(values: np.ndarray, coordinates: Coordinates) -> tuple[int, int]:
    """The lanes of an array, element by element."""
    lanes = (0, 0)
    for index in np.ndindex(values.shape):
        row = coordinates.row_start + sum(map(int.__mul__, coordinates.row_steps, index))
        column = coordinates.column_start + sum(map(int.__mul__, coordinates.column_steps, index))
        item = values[index]
        lanes = added(lanes, element(row, column, int(item) if values.dtype.kind in "biu" else float(item)))
    return lanes


def noise(shape: tuple[int, ...], dtype: str, seed: int = 1) -> np.ndarray:
    """Any bits: NaN of every kind, infinities, subnormals, great integers."""
    held = resolve(dtype)
    raw = np.random.default_rng(seed).integers(0, 256, math.prod(shape) * held.itemsize, np.uint8)
    return (raw & 1 if dtype == "bool" else raw).view(held).reshape(shape)


# The definition --------------------------------------------------------------------------------------


def test_an_element_enters_as_the_page_says() -> None:
    values = [0.0, -0.0, 1.0, -1.5, 5e-324, math.inf, math.nan, 7, -3, 2**53 + 1, -(2**63), 2**64 - 1, True]
    places = [(0, 0), (1, 0), (0, 1), (2**32 - 1, 2**34 - 1), (12345, 678)]
    for (row, column), value in itertools.product(places, values):
        assert element(row, column, value) == by_the_page(row, column, value)


def test_recorded_answers() -> None:
    for row, column, value, first, then in KNOWN:
        assert element(row, column, value) == (first, then) == by_the_page(row, column, value)
        assert f"| 0x{first:016x} | 0x{then:016x} |" in PAGE
    assert len(KNOWN) >= 6


@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_engines_sum_what_the_definition_has(engine: dict[str, Any]) -> None:
    checked = 0
    with fanin.use(**engine):
        for dtype in (*FLOATS, *INTEGERS):
            for shape, layout in FORMS:
                values, coordinates = noise(shape, dtype), as_layout(layout).coordinates(shape)
                expected = slowly(values, coordinates)
                turned = np.flip(np.flip(values, 0).copy(), 0) if shape else values
                for view in (values, values.copy(order="F"), turned):
                    assert sums(view, coordinates) == expected, (shape, layout, dtype)
                    checked += 1
                if len(shape) > 1:
                    window = coordinates.window((1,) * len(shape), shape)
                    part = values[(slice(1, None),) * len(shape)]
                    assert sums(part, window) == slowly(part, window)
    assert checked == 3 * len(FORMS) * (len(FLOATS) + len(INTEGERS))


def test_memory_that_is_not_aligned_or_cannot_be_written_is_read_as_well() -> None:
    values = noise((60, 70), "float32")
    coordinates = as_layout("o i").coordinates(values.shape)
    crooked = np.frombuffer(b"x" + values.tobytes(), np.uint8)[1:].view(np.float32).reshape(values.shape)
    assert not crooked.flags.aligned
    assert not crooked.flags.writeable
    with fanin.use(engine="numba"):
        assert sums(crooked, coordinates) == sums(values, coordinates)


def test_every_bit_of_a_word_changes_half_of_the_lanes() -> None:
    """Over 2**14 words a bias of 2.5 % of any output bit would be seen."""
    words = [mix(number) for number in range(2**14)]
    for lane in (mix, lambda word: second(mix(word))):
        before = np.array([lane(word) for word in words], np.uint64)
        for bit in range(0, 64, 7):
            after = np.array([lane(word ^ (1 << bit)) for word in words], np.uint64)
            changed = np.unpackbits((before ^ after).view(np.uint8)).reshape(-1, 64).mean(0)
            assert np.abs(changed - 0.5).max() < 6 * 0.5 / 2**7


def test_small_tensors_of_few_values_do_not_collide() -> None:
    """All 2**16 tensors (4, 4) of zeros and ones: by chance no two agree in 48 bits of the sums."""
    keys = np.array([[element(r, c, v) for v in (0.0, 1.0)] for r in range(4) for c in range(4)], np.uint64)
    choices = np.array(list(itertools.product((0, 1), repeat=16)))
    lanes = keys[np.arange(16), choices].sum(1, dtype=np.uint64)
    mixed = (lanes[:, 0] >> np.uint64(40)) << np.uint64(24) | (lanes[:, 1] & np.uint64(2**24 - 1))
    assert len(np.unique(mixed)) == len(np.unique(lanes[:, 0])) == len(np.unique(lanes[:, 1])) == 2**16


# What it does not depend on, and what it does ---------------------------------------------------------


def stored(path: Path, **arrays: np.ndarray) -> Path:
    return written(path, {name.replace("__", "."): array for name, array in arrays.items()})


def test_an_array_that_is_widened_keeps_its_fingerprint(tmp_path: Path) -> None:
    for narrow in ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float32"):
        values = noise((40, 30), narrow)
        for wide in ("float32", "float64"):
            with np.errstate(invalid="ignore"):
                widened = values.astype(wide)
            found = [sums(each, as_layout(None).coordinates((40, 30))) for each in (values, widened)]
            assert found[0] == found[1], narrow
    model = torch.nn.Linear(8, 4).bfloat16()
    before = fanin.fingerprint(model)
    assert (before["weight"].dtype, before["weight"].shape) == ("bfloat16", (4, 8))
    after = fanin.fingerprint(model.float())
    assert (after, after.digest, after["weight"].dtype) == (before, before.digest, "float32")


def test_the_sign_of_zero_counts_and_the_kind_of_nan_does_not() -> None:
    coordinates = as_layout(None).coordinates((1,))
    lanes = {value: sums(np.array([value], np.float32), coordinates) for value in (0.0, 1.0)}
    assert len({*lanes.values(), sums(np.array([-0.0], np.float32), coordinates)}) == 3
    kinds = np.array([0x7FC00000, 0xFFC00000, 0x7F800001], np.uint32).view(np.float32)
    assert len({sums(kinds[i : i + 1], coordinates) for i in range(3)}) == 1
    assert sums(np.array([1], np.int64), coordinates) == sums(np.array([True]), coordinates) == lanes[1.0]


def test_another_place_is_another_fingerprint() -> None:
    values = np.random.default_rng(0).standard_normal((6, 6))
    coordinates = as_layout(None).coordinates((6, 6))
    variants = [values, values.T, values[::-1], values[:, ::-1], np.roll(values, 1), -values, values * 2]
    swapped = values.copy()
    swapped[[0, 1], [2, 3]] = swapped[[1, 0], [3, 2]]
    assert len({sums(each, coordinates) for each in (*variants, swapped)}) == len(variants) + 1


def test_one_model_has_one_fingerprint_however_its_weights_are_stored(tmp_path: Path) -> None:
    """What Keras and Flax would store, by hand, read by a plan with their layouts."""
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 4),
        torch.nn.Conv2d(4, 6, 3, groups=2),
        torch.nn.Conv1d(4, 8, 3, groups=4),
        torch.nn.LayerNorm(7),
    )
    depthwise = model[2].weight.detach().numpy()  # (channels * multiplier, 1, k)
    path = stored(
        tmp_path / "keras.safetensors",
        dense__kernel=model[0].weight.detach().numpy().T,
        dense__bias=model[0].bias.detach().numpy(),
        conv__kernel=model[1].weight.detach().numpy().transpose(2, 3, 1, 0),
        conv__bias=model[1].bias.detach().numpy(),
        depthwise__kernel=depthwise.transpose(2, 1, 0).reshape(3, 4, 2),
        depthwise__bias=model[2].bias.detach().numpy(),
        norm__gamma=model[3].weight.detach().numpy(),
        norm__beta=model[3].bias.detach().numpy(),
    )
    names = {
        "dense.kernel": "0.weight", "dense.bias": "0.bias", "conv.kernel": "1.weight", "conv.bias": "1.bias",
        "depthwise.kernel": "2.weight", "depthwise.bias": "2.bias", "norm.gamma": "3.weight", "norm.beta": "3.bias",
    }  # fmt: skip
    plan = Plan(
        [
            Rule("0.weight", "zeros", layout="i o"),
            Rule("1.weight", "zeros", layout="*k i o/2"),
            Rule("2.weight", "zeros", layout="k o1 o2"),
            Rule("*", "zeros"),
        ]
    )
    found, expected = fanin.fingerprint(path, plan, names=names), fanin.fingerprint(model)
    assert found == expected
    assert (found.digest, found["2.weight"].shape) == (expected.digest, (3, 4, 2))
    assert str(found) == f"logical {expected.digest[:32]}"
    assert fanin.fingerprint(path).digest != expected.digest


def test_a_bare_file_is_never_equal_to_logical_coordinates(tmp_path: Path) -> None:
    values = noise((4, 5), "float32")
    path = stored(tmp_path / "a.safetensors", w=values)
    bare, planned = fanin.fingerprint(path), fanin.fingerprint(path, Plan([Rule("*", "zeros")]))
    assert bare["w"] == planned["w"]
    assert (bare.coordinates, planned.coordinates) == ("array", "logical")
    assert bare != planned
    assert bare.digest != planned.digest
    with pytest.raises(ArgumentError, match="over array coordinates and one over logical coordinates"):
        bare + planned


def test_what_is_computed_whole_is_marked_and_left_out() -> None:
    model = torch.nn.Linear(6, 6)
    plan = Plan([Rule("weight", "orthogonal"), Rule("bias", "zeros")])
    plan.apply(model, seed=1)
    before = fanin.fingerprint(model, plan)
    with torch.no_grad():
        model.weight.view(torch.int32)[0, 0] += 1
    after = fanin.fingerprint(model, plan)
    assert before["weight"].whole
    assert not before["bias"].whole
    assert before["weight"] != after["weight"]
    assert before.digest == after.digest != fanin.fingerprint(model).digest
    assert before.to_dict()["whole"] == ["weight"]


def test_the_digest_is_that_of_the_page() -> None:
    model = torch.nn.Linear(2, 1)
    found = fanin.fingerprint(model)
    weight = (0, 0)
    for column, value in enumerate(model.weight.detach().numpy()[0].tolist()):
        weight = added(weight, by_the_page(column, 0, value))
    bias = by_the_page(0, 0, model.bias.item())
    text = (
        '{"coordinates":"logical","tensors":{'
        f'"bias":[1,1,"{bias[0]:016x}{bias[1]:016x}"],"weight":[2,1,"{weight[0]:016x}{weight[1]:016x}"]'
        '},"version":"fanin-fingerprint-1"}'
    )
    assert found.digest == hashlib.sha256(text.encode()).hexdigest()


# Shards ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_shards_add_up(number: int, axis: int) -> None:
    whole = torch.nn.Linear(10, 12)
    expected = fanin.fingerprint(whole)
    found: list[Fingerprint] = []
    for index, part in enumerate(whole.weight.detach().chunk(number, axis)):
        layer = torch.nn.Linear(10, 12)
        layer.weight = torch.nn.Parameter(part)
        layer.bias = torch.nn.Parameter(whole.bias.detach())
        offset = [0, 0]
        offset[axis] = index * -(-(12, 10)[axis] // number)
        found.append(fanin.fingerprint(layer, shards={"weight": ((12, 10), tuple(offset))}))
    assert all(each.complete == (number == 1) for each in found)
    assert sum(found) == expected
    assert sum(found[::-1]).digest == expected.digest
    if number > 1:
        assert str(found[0]) == "logical, a part: 1 of 2 tensors are complete"
        with pytest.raises(ArgumentError, match=r"'weight'.* has been counted in part; add the fingerprints"):
            print(sum(found[1:]).digest)


@given(st.sampled_from([(7,), (6, 5), (4, 3, 5)]), st.sampled_from([None, "stated"]), st.data())
def test_any_boxes_add_up(shape: tuple[int, ...], stated: str | None, data: st.DataObject) -> None:
    layout = as_layout(None if stated is None else {1: "i", 2: "o i", 3: "b o i"}[len(shape)])
    values, coordinates = noise(shape, "float32"), layout.coordinates(shape)
    cuts = [sorted({0, length, *data.draw(st.lists(st.integers(0, length), max_size=2))}) for length in shape]
    windows = []
    for box in itertools.product(*(list(itertools.pairwise(cut)) for cut in cuts)):
        window = Window(tuple(a for a, _ in box), tuple(b for _, b in box))
        windows.append((window, sums(values[window.slices], coordinates.window(window.start, window.stop))))
    found = TensorFingerprint.of("w", shape, layout, "float32", windows, False)
    assert found.complete
    assert found.lanes == sums(values, coordinates)


def part_of(windows: list[tuple[tuple[int, int], tuple[int, int]]], values: np.ndarray) -> Fingerprint:
    """What a process would have that has some rows and columns of a matrix."""
    coordinates = as_layout("o i").coordinates(values.shape)
    counted = []
    for start, stop in windows:
        window = Window(start, stop)
        counted.append((window, sums(values[window.slices], coordinates.window(start, stop))))
    tensor = TensorFingerprint.of("w", values.shape, as_layout("o i"), "float32", counted, False)
    return Fingerprint.of("logical", [tensor])


def test_replicas_count_once_and_are_told_where_they_differ() -> None:
    values = noise((4, 6), "float32")
    top, bottom = part_of([((0, 0), (2, 6))], values), part_of([((2, 0), (4, 6))], values)
    whole = part_of([((0, 0), (4, 6))], values)
    assert top + bottom == bottom + top == top + top + bottom + bottom == whole
    assert top + whole == whole + whole == whole
    other = values.copy()
    other.view(np.uint32)[1, 1] ^= 1
    with pytest.raises(
        ArgumentError, match=r"'w': two replicas of the window from \(0, 0\) to \(2, 6\) hold different"
    ):
        top + part_of([((0, 0), (2, 6))], other)
    with pytest.raises(ArgumentError, match="'w': two replicas hold different values"):
        whole + part_of([((0, 0), (4, 6))], other)


def test_windows_that_overlap_are_told() -> None:
    values = noise((4, 6), "float32")
    with pytest.raises(ArgumentError, match="overlap, so that elements would be counted twice"):
        part_of([((0, 0), (3, 6))], values) + part_of([((2, 0), (4, 6))], values)
    with pytest.raises(ArgumentError, match="are of different tensors"):
        part_of([((0, 0), (3, 6))], values)["w"] + part_of([((0, 0), (3, 3))], values[:, :3])["w"]


@pytest.mark.parametrize("world", [2, 4])
def test_processes_prove_what_they_have(world: int, tmp_path: Path) -> None:
    reports, _ = launch(world, tmp_path, "proof")
    assert [report["cases"] for report in reports] == [["proof"]] * world
    assert min(report["tensors"] for report in reports) >= 200


def test_a_part_of_a_tensor_can_be_sent_as_json() -> None:
    values = noise((4, 6), "float32")
    parts = [part_of([((0, 0), (2, 6))], values), part_of([((2, 0), (4, 6))], values)]
    sent = [Fingerprint.from_dict(json.loads(json.dumps(part.to_dict()))) for part in parts]
    assert sent == parts
    assert sum(sent) == part_of([((0, 0), (4, 6))], values)
    assert Fingerprint.from_dict(json.loads(json.dumps(sum(parts).to_dict()))) == sum(parts)
    for wrong in (
        {},
        {"version": "fanin-fingerprint-0", "tensors": {}},
        [],
        {**parts[0].to_dict(), "tensors": {"w": {}}},
    ):
        with pytest.raises(ArgumentError, match="no fingerprint"):
            Fingerprint.from_dict(wrong)


# What is read ----------------------------------------------------------------------------------------


def test_packed_weights_are_the_tensors_that_they_hold() -> None:
    """Attention's three matrices in one array have the fingerprints of three layers."""
    attention = torch.nn.MultiheadAttention(8, 2)
    found = fanin.fingerprint(attention)
    for name, part in zip("qkv", attention.in_proj_weight.detach().chunk(3), strict=True):
        layer = torch.nn.Linear(8, 8, bias=False)
        layer.weight = torch.nn.Parameter(part.clone())
        assert found[f"{name}_proj_weight"].lanes == fanin.fingerprint(layer)["weight"].lanes


def test_tensors_of_any_strides_and_kinds_are_read() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3), torch.nn.BatchNorm2d(6), torch.nn.Embedding(5, 4))
    expected = fanin.fingerprint(model)
    assert fanin.fingerprint(model.to(memory_format=torch.channels_last)) == expected
    model[2].weight = torch.nn.Parameter(model[2].weight.detach().T.contiguous().T)
    assert not model[2].weight.is_contiguous()
    assert fanin.fingerprint(model) == expected
    with torch.inference_mode():
        assert fanin.fingerprint(model) == expected
    assert expected["1.num_batches_tracked"].dtype == "int64"


def test_only_some_are_counted() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 3))
    found = fanin.fingerprint(model, only="0.*")
    assert [tensor.name for tensor in found.tensors] == ["0.bias", "0.weight"]
    with pytest.raises(PlanError, match=r"only='2\.\*' means no array"):
        fanin.fingerprint(model, only="2.*")


def test_what_has_no_values_is_told() -> None:
    with torch.device("meta"):
        model = torch.nn.Linear(3, 4)
    with pytest.raises(OutputError, match=r"'weight' is on the meta device: it was never initialized"):
        fanin.fingerprint(model)
    with pytest.raises(PlanError, match=r"not to a dict|applies to"):
        fanin.fingerprint(object())


def test_a_plan_of_other_tensors_is_told(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.safetensors", w=noise((4, 5), "float32"))
    plan = Plan([Rule("*", "zeros")], parameters=[Parameter("w", (4, 5)), Parameter("b", (5,))])
    with pytest.raises(PlanError, match="has no b; a fingerprint by a plan is of just the tensors of the plan"):
        fanin.fingerprint(path, plan)


def test_empty_tensors_and_scalars_have_fingerprints(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.safetensors", none=np.zeros((0, 4), np.float32), one=np.float32(2).reshape(()))
    found = fanin.fingerprint(path)
    assert (found["none"].lanes, found["none"].complete) == ((0, 0), True)
    assert found["one"].lanes == by_the_page(0, 0, 2.0)
