"""Explanations: what is expected of each tensor is what drawing it gives, and what is to be doubted is told."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import EXAMPLES
from harness import DISTRIBUTIONS

import fanin
from fanin import Parameter, Plan, Rule, checkpoint, engines
from fanin.dtypes import FLOATS
from fanin.errors import DTypeError, PlanError
from fanin.proof.moments import inside, moments
from fanin.recipe import ConstantValue, Diagonal, Distribution, Draw, Normal, Stream, UniformInterval, Window
from fanin.spec import FORMATS

MORE: list[Distribution] = [Normal(0.0, 1.0, 1.0, 1.01), Normal(0.0, 1.0, 8.5, 9.0), Normal(0.0, 1e-3)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS + MORE, ids=str)
def test_what_is_expected_is_what_is_drawn(distribution: Distribution, dtype: str) -> None:
    """2**20 draws: a mean is known to 0.6 % of the deviation, a deviation to 0.4 %, 6 standard errors.

    Where a dtype has two values for all of a distribution, it is the float32 before that decides between them.
    """
    draw = Draw(distribution, (1024, 1024), stream=Stream("moments", 7))
    coarse = FLOATS[dtype].itemsize == 1 and abs(distribution.bounds()[0] / distribution.bounds()[1] - 1) < 0.1
    if max(map(abs, distribution.bounds())) > FORMATS[dtype].greatest:
        with pytest.raises(DTypeError):
            draw.check_dtype(FLOATS[dtype])
        return
    values = np.empty(draw.shape, FLOATS[dtype])
    engines.fill(draw, Window.whole(draw.shape), values)
    doubles, known = values.astype(np.float64), moments(distribution, FLOATS[dtype])
    if coarse:
        assert len(np.unique(doubles)) <= 2
        return
    count = doubles.size
    assert known.low <= doubles.min()
    assert doubles.max() <= known.high
    assert abs(doubles.mean() - known.mean) <= 6 * known.std / math.sqrt(count) + 1e-7 * abs(known.mean)
    relative = math.sqrt(max(known.kurtosis - 1, 0) / 4 / count)
    assert abs(doubles.std() - known.std) <= (6 * relative + 1e-6) * known.std + 1e-30
    share = float((doubles == 0.0).mean())
    assert abs(share - known.zeros) <= 6 * math.sqrt(max(known.zeros, 1e-6) / count)
    if known.std and known.kurtosis < 100:
        found = float(((doubles - doubles.mean()) ** 4).mean() / doubles.var() ** 2)
        assert abs(found - known.kurtosis) < 0.05 * known.kurtosis


def test_the_closed_forms_are_those_of_the_books() -> None:
    float32 = FLOATS["float32"]
    assert moments(Normal(0.0, 1.0, -2.0, 2.0), float32).std == pytest.approx(0.87962566103423978, rel=1e-12)
    assert moments(UniformInterval(-3.0, 3.0), float32).std == pytest.approx(math.sqrt(3), rel=1e-12)
    half = moments(Normal(0.0, 1.0, 0.0, math.inf), float32)
    assert (half.mean, half.std) == pytest.approx((math.sqrt(2 / math.pi), math.sqrt(1 - 2 / math.pi)), rel=1e-12)
    constant = moments(ConstantValue(0.1), FLOATS["bfloat16"])
    assert (constant.mean, constant.std, constant.low) == (0.10009765625, 0.0, 0.10009765625)
    diagonal = moments(Diagonal(2.0), float32, (4, 8))
    assert (diagonal.mean, diagonal.std) == pytest.approx((2 * 4 / 32, 2 * math.sqrt(1 / 8 * 7 / 8)))
    assert inside(Normal(0.0, 2.0), -2.0, 2.0) == pytest.approx(0.6826894921370859, rel=1e-12)
    assert inside(UniformInterval(0.0, 4.0), 1.0, 9.0) == pytest.approx(0.75)


def test_a_row_has_what_decides_a_tensor() -> None:
    explanation = fanin.explain(Plan.from_file(EXAMPLES / "gpt2.toml"))
    assert len(explanation.tensors) == 148
    row = next(each for each in explanation.tensors if each.name == "transformer.h.11.mlp.c_proj.weight")
    assert (row.shape, row.layout, row.dtype, row.fan_in, row.fan_out, row.seed) == (
        (3072, 768), "i o", "float32", 3072, 768, 0,
    )  # fmt: skip
    assert row.where == f"{EXAMPLES / 'gpt2.toml'}, line 73"
    assert row.rule.startswith("match ")
    assert (row.mean, row.std) == (0.0, pytest.approx(0.02 / math.sqrt(24)))
    assert row.initializer == "RandomNormal(stddev=0.004082482904638631)"
    assert row.distribution == "N(0, 0.004082^2)"
    assert not explanation.warnings


def test_tensors_that_differ_in_numbers_share_a_row_of_the_table() -> None:
    text = str(fanin.explain(Plan.from_file(EXAMPLES / "gpt2.toml")))
    assert "transformer.h.0.attn.c_attn.weight (and 11 alike)  (768 2304)" in text
    assert len(text.splitlines()) == 16
    assert text.splitlines()[-1] == "148 tensors, 124,439,808 parameters"


def test_a_model_without_a_plan_tells_its_layouts_and_fans() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(8, 16, 3, groups=2), torch.nn.Linear(4, 3))
    model.bare = torch.nn.Parameter(torch.empty(3, 4))
    rows = {each.name: each for each in fanin.explain(model).tensors}
    assert (rows["0.weight"].fan_in, rows["0.weight"].fan_out, rows["0.weight"].layout) == (36, 72, "o/2 i *k")
    assert (rows["1.weight"].fan_in, rows["1.bias"].fan_in, rows["1.bias"].warnings) == (4, None, ())
    assert rows["bare"].warnings == (
        "which axis is which is not known: an initializer that counts fans needs a layout from its rule",
    )
    with torch.device("meta"):
        assert fanin.explain(torch.nn.Linear(4, 3)).tensors[0].fan_out == 3


def test_a_model_a_checkpoint_and_entries_are_explained_by_a_plan(tmp_path: Path) -> None:
    model, plan = torch.nn.Linear(50, 20), Plan([Rule("weight", "he_normal", layout="o i"), Rule("bias", "ones")])
    expected = fanin.explain(model, plan, seed=3)
    assert [row.std for row in expected.tensors] == [pytest.approx(math.sqrt(2 / 50)), 0.0]
    assert [row.seed for row in expected.tensors] == [3, None]
    entries = plan.resolve(fanin.parameters(model), seed=3)
    assert fanin.explain(entries) == expected
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, entries)
    assert [row.std for row in fanin.explain(path, plan).tensors] == [0.0, pytest.approx(math.sqrt(2 / 50))]
    assert len(fanin.explain(entries, only="weight").tensors) == 1
    with pytest.raises(PlanError, match="no parameters"):
        fanin.explain(plan)


def doubted(initializer: str, dtype: str = "float32", shape: tuple[int, ...] = (64, 64)) -> tuple[str, ...]:
    plan = Plan([Rule("*", initializer, layout="o i")], parameters=[Parameter("w", shape, dtype)])
    return fanin.explain(plan).tensors[0].warnings


@pytest.mark.parametrize(
    ("initializer", "dtype", "fragment"),
    [
        ("truncated_normal(stddev=0.02, lower=-100, upper=100)", "float32", "lower=-100 and upper=100 never bites"),
        ("truncated_normal(stddev=0.02, lower=-2, upper=50)", "float32", "upper=50 never bites"),
        ("random_normal(stddev=0.001)", "float8_e4m3fn", "67% of the values are zero in float8_e4m3fn"),
        ("random_normal(stddev=0.02)", "float8_e4m3fn", "4% of the values are zero"),
        ("random_normal(stddev=1e-4)", "float16", "subnormal in float16"),
        ("constant(1e-9)", "float16", "100% of the values are zero"),
        ("random_normal(stddev=1000)", "float16", "values reach 6336, near the greatest float16, 65504"),
    ],
)
def test_what_is_to_be_doubted_is_told(initializer: str, dtype: str, fragment: str) -> None:
    (text,) = doubted(initializer, dtype)
    assert fragment in text


@pytest.mark.parametrize(
    ("initializer", "dtype"),
    [
        ("truncated_normal(stddev=0.02)", "float32"),
        ("truncated_normal(stddev=0.02, lower=-3, upper=6)", "bfloat16"),
        ("truncated_normal(stddev=0.02, upper=inf)", "bfloat16"),
        ("he_normal", "float16"),
        ("random_normal(stddev=0.02)", "float8_e5m2"),
        ("zeros", "float8_e4m3fn"),
        ("ones", "int8"),
        ("random_normal(stddev=1000)", "float32"),
        ("orthogonal", "bfloat16"),
    ],
)
def test_what_is_sound_is_not_doubted(initializer: str, dtype: str) -> None:
    assert doubted(initializer, dtype) == ()


def test_what_is_computed_whole_is_described_where_it_is_small() -> None:
    plan = Plan(
        [Rule("*", "orthogonal", layout="o i")], parameters=[Parameter("a", (32, 32)), Parameter("b", (2048, 1024))]
    )
    small, large = fanin.explain(plan).tensors
    assert small.std == pytest.approx(1 / math.sqrt(32), rel=0.05)
    assert (large.std, large.distribution) == (None, "computed whole")


def test_warnings_are_collected_below_the_table() -> None:
    parameters = [Parameter(f"h.{i}.w", (8, 8)) for i in range(3)]
    plan = Plan([Rule("*", "truncated_normal(lower=-9, upper=9)")], parameters=parameters)
    explanation = fanin.explain(plan)
    assert len(explanation.warnings) == 3
    (line,) = [line for line in str(explanation).splitlines() if line.startswith("warning:")]
    assert line.startswith("warning: h.0.w and 2 more: lower=-9 and upper=9 never bites")
    data = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    assert [each["name"] for each in data["tensors"]] == ["h.0.w", "h.1.w", "h.2.w"]
    assert data["tensors"][0]["warnings"] == list(explanation.tensors[0].warnings)
