"""Comparison: what two models, checkpoints or plans do not have in common, and what chance explains."""

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stored import written

import fanin
from fanin import Parameter, Plan, Rule, checkpoint, engines
from fanin.dtypes import FLOATS
from fanin.errors import PlanError
from fanin.proof import Comparison
from fanin.proof.moments import moments
from fanin.proof.statistics import GREATEST, Statistics, departures, spread
from fanin.recipe import Draw, Normal, Stream, UniformInterval, Window


def told(found: Comparison) -> dict[str, tuple[str, str]]:
    """Status and text by name, of what is neither the same nor as in the plan."""
    assert bool(found) == (not found.differing)
    return {each.name: (each.status, each.text) for each in found.differing}


def model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 48),
        torch.nn.Conv2d(8, 16, 3),
        torch.nn.LSTM(16, 16),
        torch.nn.Embedding(40, 32, padding_idx=2),
    )


def normals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# Two of one kind --------------------------------------------------------------------------------------------


def test_a_copy_is_the_same() -> None:
    one = model()
    found = fanin.diff(one, copy.deepcopy(one))
    assert found.same
    assert str(found) == "Sequential and Sequential: 9 tensors: 9 same"


def test_how_two_files_differ_is_told(tmp_path: Path) -> None:
    first = {
        name: normals(30, 20, seed=i) for i, name in enumerate(["a", "b", "c", "d", "e", "f", "g", "moved", "old"])
    }
    first["square"] = normals(20, 20)
    second = {name: array.copy() for name, array in first.items()}
    second["a"][3, 4] += 0.5
    second["b"] *= np.float32(0.37)
    second["c"] = -second["c"]
    second["d"][:] = 0
    second["e"] = second["e"].T.copy()
    second["f"] = normals(30, 20, seed=99) * 5
    second["g"] = second["g"].astype(FLOATS["bfloat16"])
    second["square"] = second["square"].T.copy()
    second["elsewhere"] = second.pop("moved")
    second["new"] = second.pop("old") + 1
    found = fanin.diff(written(tmp_path / "1.safetensors", first), written(tmp_path / "2.safetensors", second))
    texts = told(found)
    assert texts["a"] == ("differs", "1 of 600 differ, by up to 0.5; " + texts["a"][1].partition("; ")[2])
    assert texts["b"][1].endswith("the second is 0.37 times the first, everywhere")
    assert texts["c"][1].endswith("the sign is the other one, everywhere")
    assert texts["d"][1].endswith("all are 0 in the second")
    assert texts["e"] == ("other shape", "transposed: the same values")
    assert re.search(r"differ, by up to 1[0-9.]+; std (0\.9|1\.0)\d+ and (4\.9|5\.0)\d+, mean", texts["f"][1])
    assert texts["g"] == ("other dtype", "the values of one, rounded to the other's dtype")
    assert texts["square"][1].endswith("transposed: the same values")
    assert texts["moved"] == ("other name", "the values of 'elsewhere' in the second")
    assert (texts["old"][0], texts["new"][0]) == ("only in the first", "only in the second")
    assert len(texts) == 11


def test_one_bit_and_a_nan_are_told(tmp_path: Path) -> None:
    first = {"a": normals(50, 7), "zero": np.zeros(4, np.float32)}
    second = {name: array.copy() for name, array in first.items()}
    second["a"].view(np.uint32)[49, 6] ^= 1
    second["zero"][1] = -0.0
    found = fanin.diff(written(tmp_path / "1", first), written(tmp_path / "2", second))
    assert {each.name: each.differing for each in found.differing} == {"a": 1, "zero": 1}
    second["a"][0, 0] = math.nan
    text = told(fanin.diff(tmp_path / "1", written(tmp_path / "2", second)))["a"][1]
    assert "0 and 1 NaN" in text


def test_a_model_and_its_file_are_compared(tmp_path: Path) -> None:
    one = model()
    path = written(tmp_path / "a", {name: tensor.numpy() for name, tensor in one.state_dict().items()})
    assert fanin.diff(one, path).same
    assert fanin.diff(one, path, only="0.*").same
    with torch.no_grad():
        one[1].weight[15, 7, 2, 2] += 1
    assert told(fanin.diff(path, one)).keys() == {"1.weight"}
    assert fanin.diff(path, one, only="0.*").same


def test_a_meta_tensor_cannot_be_compared() -> None:
    with torch.device("meta"):
        empty = torch.nn.Linear(6, 8)
    assert {status for status, _ in told(fanin.diff(torch.nn.Linear(6, 8), empty)).values()} == {"not initialized"}


def test_two_plans_are_the_same_if_they_draw_the_same(tmp_path: Path) -> None:
    parameters = [Parameter("a", (20, 10), layout="o i"), Parameter("b", (10,)), Parameter("c", (10,))]
    one = Plan([Rule("a", "he_normal"), Rule("b", "zeros"), Rule("c", "ones")], parameters=parameters)
    spelled = Plan([Rule("a", "variance_scaling(2)"), Rule("b", "constant(0)"), Rule("*", "ones")])
    assert fanin.diff(one, spelled).same
    assert fanin.diff(spelled, one).same
    other = Plan(
        [Rule("a", "random_normal(stddev=0.5)"), Rule("b", "zeros"), Rule("d", "ones")],
        parameters=[parameters[0], Parameter("b", (11,), "float16"), Parameter("d", (3,))],
    )
    texts = told(fanin.diff(one, other))
    assert texts["a"][1] == "N(0, 0.5084^2) in [-2, 2] sd, std 0.4472 and N(0, 0.5^2), std 0.5"
    assert texts["b"][1] == "shape (10,) and (11,); float32 and float16"
    assert (texts["c"][0], texts["d"][0]) == ("only in the first", "only in the second")
    seeds = told(fanin.diff(one.resolve(seed=1), one.resolve(seed=2)))
    assert seeds == {"a": ("differs", "seed 1 and 2")}
    turned = Plan(
        [Rule("a", "he_normal(input_axes=[1], output_axes=[0])", layout="i o"), Rule("*", "zeros", optional=True)]
    )
    assert "layout 'o i' and 'i o'" in told(fanin.diff(one, turned))["a"][1]


# With a plan -------------------------------------------------------------------------------------------------


def test_what_other_code_initialized_is_as_in_the_plan() -> None:
    """Torch's own generators, by torch's own rules; the plan draws other numbers of the same distributions."""
    for seed in range(5):
        found = fanin.diff(model(seed), fanin.defaults("torch"))
        assert not told(found), str(found)
        assert not found.same
        assert {each.status for each in found.tensors} <= {"as in the plan", "same"}
        assert fanin.diff(fanin.defaults("torch"), model(seed), seed=3)


def test_where_a_model_departs_from_a_plan_is_told() -> None:
    """The live case of Mamba: std 0.100 where the reference has 0.0208."""
    layer = torch.nn.Linear(768, 1536, bias=False)
    torch.nn.init.normal_(layer.weight, std=0.1)
    plan = Plan([Rule("*", "random_uniform(-1 / sqrt(fan_in), 1 / sqrt(fan_in))")])
    text = told(fanin.diff(layer, plan))["weight"][1]
    assert re.match(r"std 0\.(1|100|0999)\d?, plan 0\.02083 \(4\.8 times\)", text)
    assert "plan [-0.03608, 0.03608]" in text


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda w: w.normal_(std=0.02), ["as in the plan"]),
        (lambda w: w.normal_(std=0.0205), ["std 0.0205", ", plan 0.02 (1.03 times)"]),
        (lambda w: w.normal_(mean=0.001, std=0.02), ["mean 0.00", "plan 0"]),
        (
            lambda w: torch.nn.init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04),
            ["std 0.0176", "no value beyond [-0.04, 0.04]"],
        ),
        (lambda w: w.uniform_(-0.02 * math.sqrt(3), 0.02 * math.sqrt(3)), ["no value beyond [-0.034"]),
        (lambda w: w.zero_(), ["all are 0, plan std 0.02"]),
        (lambda w: w.normal_(std=0.02).view(-1)[7].fill_(3.0), ["values in [-0.", "3], plan"]),
        (lambda w: w.normal_(std=0.02).view(-1)[7].fill_(math.nan), ["1 NaN and 0 infinite"]),
    ],
)
def test_each_kind_of_departure_is_told(change: Any, fragments: list[str]) -> None:
    """256 K elements: a deviation is known to 0.83 %, 6 standard errors."""
    torch.manual_seed(1)
    layer = torch.nn.Linear(512, 512, bias=False)
    with torch.no_grad():
        change(layer.weight)
    found = fanin.diff(layer, Plan([Rule("*", "random_normal(stddev=0.02)")]))
    if fragments == ["as in the plan"]:
        assert found, str(found)
        return
    text = told(found)["weight"][1]
    for fragment in fragments:
        assert fragment in text, text


def test_dtypes_with_few_values_are_judged_by_their_own_expectation() -> None:
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float16):
        layer = torch.nn.Linear(512, 512, bias=False)
        layer.weight = torch.nn.Parameter(torch.randn(512, 512).mul(0.02).to(dtype), requires_grad=False)
        assert fanin.diff(layer, Plan([Rule("*", "random_normal(stddev=0.02)")])), dtype
        uniform = torch.rand(512, 512).mul(0.1).sub(0.05).to(dtype)
        layer.weight = torch.nn.Parameter(uniform, requires_grad=False)
        found = fanin.diff(layer, Plan([Rule("*", "random_uniform(-0.05, 0.05)")]))
        assert found, str(found)


def test_a_plan_that_is_the_same_is_the_same() -> None:
    one, plan = model(), fanin.defaults("torch")
    plan.apply(one, seed=4)
    assert fanin.diff(one, plan, seed=4).same
    found = fanin.diff(one, plan, seed=5)
    assert found
    assert not found.same
    assert next(each.text for each in found.tensors if each.name == "0.weight") == "the values that seed 4 gives"
    with torch.no_grad():
        one[0].weight[0, :3] = one[0].weight[1, :3].clone()
    assert told(fanin.diff(one, plan, seed=4))["0.weight"][1] == (
        "3 of 3,072 elements differ, the others are the plan's"
    )


def test_constants_are_told(tmp_path: Path) -> None:
    plan = Plan([Rule("*", "ones")], parameters=[Parameter("a", (5,)), Parameter("b", (5,)), Parameter("c", (5,))])
    path = written(
        tmp_path / "a", {"a": np.ones(5, np.float32), "b": np.zeros(5, np.float32), "d": np.arange(5, dtype=np.float32)}
    )
    texts = told(fanin.diff(path, plan))
    assert texts == {
        "b": ("differs", "all are 0, plan 1"),
        "c": ("only in the second", ""),
        "d": ("only in the first", ""),
    }


def test_orthogonal_matrices_of_others_are_as_in_the_plan() -> None:
    layer = torch.nn.Linear(48, 48, bias=False)
    torch.nn.init.orthogonal_(layer.weight)
    plan = Plan([Rule("*", "orthogonal")])
    assert fanin.diff(layer, plan)
    with torch.no_grad():
        layer.weight *= 1.5
    assert "std 0.21" in told(fanin.diff(layer, plan))["weight"][1]


def test_what_is_computed_without_chance_has_to_be_the_same() -> None:
    """The sinusoids of another formula have the same mean and deviation, and are others."""
    plan = Plan([Rule("w", "sinusoids")], parameters=[Parameter("w", (200, 64))])
    (entry,) = plan.resolve()
    values = np.empty((200, 64), np.float32)
    engines.fill(entry.recipe, Window.whole((200, 64)), values)
    assert fanin.diff({"w": values}, plan).same
    turned = np.ascontiguousarray(values[:, ::-1])
    status, text = told(fanin.diff({"w": turned}, plan))["w"]
    assert status == "differs"
    assert re.fullmatch(r"1\d,\d+ of 12,800 elements differ, by 2 at most", text)
    assert fanin.diff({"w": values + np.float32(1e-4)}, plan)  # as single precision has it
    assert not fanin.diff({"w": values + np.float32(2e-3)}, plan)
    scaled = Plan([Rule("w", "scaled(sinusoids(), 2)")], parameters=plan.parameters)
    assert "elements differ, by 4 at most" in told(fanin.diff({"w": 2 * turned}, scaled))["w"][1]
    drawn = Plan([Rule("w", "transformed(log_uniform(1, 2), 'log')")], parameters=plan.parameters)
    filled = drawn.apply({"w": np.empty((200, 64), np.float32)}, seed=1)
    assert fanin.diff(filled, drawn, seed=2)  # as chance has it


def test_what_differs_in_the_last_place_is_as_in_the_plan_only_where_it_is_computed_whole() -> None:
    plan = Plan([Rule("whole", "transformed(arange(1), 'log')"), Rule("drawn", "random_normal")])
    parameters = [Parameter("whole", (128, 16)), Parameter("drawn", (128, 16))]
    arrays = {each.name: np.empty(each.shape, np.float32) for each in parameters}
    plan.apply(arrays, seed=0)
    for array in arrays.values():
        array[:, 3] = np.nextafter(array[:, 3], np.float32(9))
    assert [(each.name, each.status, each.text) for each in fanin.diff(arrays, plan).tensors] == [
        ("whole", "as in the plan", "128 of 2,048 differ in the last place"),
        ("drawn", "differs", "128 of 2,048 elements differ, the others are the plan's"),
    ]
    arrays["whole"][5, 3] += np.float32(0.01)
    assert told(fanin.diff(arrays, plan))["whole"][0] == "differs"


# How sure it is -----------------------------------------------------------------------------------------------


LAWS = [Normal(0.0, 1.0), UniformInterval(0.0, 1.0), Normal(0.0, 1.0, -2.0, 2.0), Normal(0.0, 1.0, 3.0, 5.0)]


@pytest.mark.parametrize("dtype", ["float32", "float8_e4m3fn"])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 100, 5000])
def test_chance_alone_is_not_told(count: int, dtype: str) -> None:
    """Many tensors of each size and law: none departs, and errors of the deviation are as large as they should be."""
    number = 4000 if count <= 100 else 200
    for distribution in LAWS:
        values = np.empty((number, count), FLOATS[dtype])
        engines.fill(Draw(distribution, values.shape, stream=Stream("chance", 1)), Window.whole(values.shape), values)
        known = moments(distribution, FLOATS[dtype])
        found = [Statistics.of(row) for row in values]
        assert not [text for each in found for text in departures(each, known, distribution, FLOATS[dtype])]
        if count >= 100 and dtype == "float32":
            errors = np.array([spread(each, known) for each in found])
            assert 0.8 < errors.std() < 1.2
            assert abs(errors.mean()) < 0.3
    assert GREATEST == 6.0


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    values = normals(1000) * 3 + 100
    values[17], values[400], values[401] = math.nan, math.inf, -math.inf
    expected = Statistics.of(values)
    for cuts in ([500], [1, 2, 999], [17, 18, 400, 402]):
        found = sum((Statistics.of(part) for part in np.split(values, cuts)), Statistics())
        assert (found.count, found.nans, found.infinite, found.low, found.high) == (
            997, 1, 2, expected.low, expected.high,
        )  # fmt: skip
        assert (found.mean, found.std) == pytest.approx((expected.mean, expected.std), rel=1e-12)
    finite = values[np.isfinite(values)].astype(np.float64)
    assert (expected.mean, expected.std) == pytest.approx((finite.mean(), finite.std()), rel=1e-12)
    assert Statistics.of(np.zeros(0)).std == 0.0


def test_a_report_is_plain_data(tmp_path: Path) -> None:
    one = model()
    two = copy.deepcopy(one)
    with torch.no_grad():
        two[0].bias[0] = math.inf
    data = json.loads(json.dumps(fanin.diff(one, two).to_dict(), allow_nan=False))
    assert (data["ok"], data["same"], data["first"], len(data["tensors"])) == (False, False, "Sequential", 9)
    (bias,) = [each for each in data["tensors"] if each["status"] == "differs"]
    assert (bias["name"], bias["differing"], bias["greatest"]) == ("0.bias", 1, "inf")
    checkpoint.write(tmp_path / "a", Plan([Rule("*", "zeros")]).resolve([Parameter("a", (3,))]))
    with pytest.raises(PlanError, match="applies to"):
        fanin.diff(3, tmp_path / "a")
