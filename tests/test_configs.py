"""Configurations: which quantities a plan takes from them, what counts under a condition, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_plans import told
from transformers import LlamaConfig

from fanin import Plan

FILE = """
[about]
title = "A transformer"
sources = ["its authors' code, 2026-01-01"]
model_type = ["small", "smaller"]
architectures = ["SmallModel", "SmallModelForClassification"]

[config]
width = "text.hidden_size"
stages = "depths.#"
first = "depths.0"
gated = { key = "mlp", values = { relu = 0, gated-gelu = 1 } }
norm = { key = "norm", values = ["rms", "layer"] }
pre_norm = { key = "pre_norm", values = ["true"] }
period = { key = "kinds", every = "a", values = ["a", "b"] }

[quantities]
n_layer = 2
width = 8
inner = "4 * width"
stages = 1
first = 0
gated = 0
bias = 0

[[parameters]]
name = "h.{i}.w"
for = { i = "n_layer" }
shape = ["width", "inner"]

[[parameters]]
name = "h.{i}.gate"
for = { i = "n_layer" }
shape = ["width"]
when = "gated and i % 2 == 1"

[[parameters]]
name = "bias"
shape = ["stages", "first"]
when = "bias"

[[rules]]
match = "h.{i}.w"
initializer = "random_normal(stddev=1 / sqrt(n_layer))"
when = "not gated"

[[rules]]
match = "h.{i}.w"
initializer = "random_normal(stddev=i + 1)"
when = "gated"

[[rules]]
match = "*.gate"
initializer = "ones"
when = "gated"

[[rules]]
match = "bias"
initializer = "zeros"
when = "bias"
"""


def plan(config: Any = None, **quantities: Any) -> Plan:
    return Plan.from_text(FILE, source="file.toml", config=config, quantities=quantities)


def shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    return {entry.name: entry.shape for entry in plan.resolve()}


CONFIG = {
    "model_type": "small", "architectures": ["SmallModel"], "n_layer": 3, "text": {"hidden_size": 16},
    "depths": [5, 6], "mlp": "gated-gelu", "norm": "rms", "pre_norm": True, "bias": True, "inner": None,
    "unknown": "left alone",
}  # fmt: skip


def test_without_a_configuration_the_plan_has_its_own_quantities() -> None:
    assert shapes(plan()) == {"h.0.w": (8, 32), "h.1.w": (8, 32)}


def test_a_configuration_gives_quantities_by_name_by_path_by_length_and_by_text() -> None:
    made = plan(CONFIG)
    assert made.quantities == {
        "n_layer": 3, "width": 16, "inner": 64, "stages": 2, "first": 5, "gated": 1, "bias": 1,
    }  # fmt: skip
    assert shapes(made) == {
        "h.0.w": (16, 64), "h.1.w": (16, 64), "h.2.w": (16, 64), "h.1.gate": (16,), "bias": (2, 5),
    }  # fmt: skip
    assert [entry.initializer.stddev for entry in made.resolve() if entry.name.endswith("w")] == [1, 2, 3]


def test_what_is_given_wins_over_the_configuration_and_what_is_computed_of_it_follows() -> None:
    made = plan(CONFIG, width="2 * 16", gated=0)
    assert made.quantities["inner"] == 128
    assert "h.1.gate" not in shapes(made)
    assert plan(CONFIG, inner=7).quantities["inner"] == 7


def test_a_configuration_may_be_an_object_or_a_file(tmp_path: Path) -> None:
    class Object:
        def to_dict(self) -> dict[str, Any]:
            return CONFIG

    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG), "utf-8")
    for config in (Object(), file, str(file)):
        assert shapes(plan(config)) == shapes(plan(CONFIG))


def test_a_configuration_of_transformers_is_one() -> None:
    text = FILE.replace('"small", ', '"llama", ')
    made = Plan.from_text(text, config=LlamaConfig(hidden_size=32), quantities={"width": 4})
    assert made.quantities["width"] == 4


def test_a_configuration_need_not_say_of_which_class_it_is() -> None:
    assert plan(CONFIG | {"architectures": None}).quantities["n_layer"] == 3
    assert plan({"model_type": "smaller"}).quantities["n_layer"] == 2


REFUSED: dict[str, tuple[Any, list[str]]] = {
    "kind": (
        CONFIG | {"model_type": "large"},
        ["of model_type 'large', and file.toml is for small, smaller", "fanin list"],
    ),
    "no kind": ({"n_layer": 3}, ["of model_type None"]),
    "class": (CONFIG | {"architectures": ["SmallModelForTagging"]}, ["architectures ['SmallModelForTagging']"]),
    "text": (CONFIG | {"mlp": "glu"}, ["mlp = 'glu', which file.toml does not know; it knows relu, gated-gelu"]),
    "check": (CONFIG | {"norm": "batch"}, ["norm = 'batch'", "it knows rms, layer"]),
    "truth": (CONFIG | {"pre_norm": False}, ["pre_norm = False", "it knows true"]),
    "no number": (CONFIG | {"n_layer": "three"}, ["n_layer = 'three', and file.toml needs a number"]),
    "a list": (CONFIG | {"n_layer": [3]}, ["n_layer = [3]"]),
    "a fraction": (CONFIG | {"n_layer": 2.5}, ["'n_layer' is 2.5, which is no integer"]),
    "several": (CONFIG | {"norm": "batch", "mlp": "glu"}, ["2 problems", "norm = 'batch'", "mlp = 'glu'"]),
    "kind that is no text": (CONFIG | {"model_type": [["small"]]}, ["of model_type [['small']]"]),
    "kind that is a number": (CONFIG | {"model_type": 5}, ["of model_type 5, and file.toml is for small"]),
    "class that is a number": (CONFIG | {"architectures": 5}, ["of architectures 5, and"]),
    "no table": (CONFIG | {"text": 5}, ["text = 5, and file.toml needs text.hidden_size, which would be in it"]),
    "no list": (CONFIG | {"depths": "56"}, ["2 problems", "depths = '56', and file.toml needs depths.#"]),
    "no list of texts": (CONFIG | {"kinds": [["b"], "a"]}, ["kinds = [['b'], 'a'], and file.toml can follow a list"]),
    "beyond any machine": (CONFIG | {"n_layer": 10**30}, ["'h.{i}.w': for asks for more than 1048576 parameters"]),
    "no mapping": (7, ["config=7 is no configuration"]),
    "empty": ({}, ["is no configuration"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_configuration_that_does_not_fit_is_refused(name: str) -> None:
    config, fragments = REFUSED[name]
    told(lambda: plan(config).resolve(), *fragments)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [("{", "is no JSON"), ("[1]", "is no table"), (None, "cannot be read: No such file"), ("[" * 99999, "is no JSON")],
)
def test_a_file_that_is_no_configuration_is_refused(content: str | None, fragment: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    if content is not None:
        file.write_text(content, "utf-8")
    told(lambda: plan(file), fragment, "config.json")


COUNTED = """
[quantities]
n = 2
[[parameters]]
name = "w.{i}"
for = { i = "n" }
shape = [3]
[[rules]]
match = "*"
initializer = "ones"
"""


def test_a_plan_for_no_kind_of_model_takes_its_quantities_and_nothing_else() -> None:
    assert len(Plan.from_text(COUNTED, config={"n": 5}).resolve()) == 5
    told(lambda: Plan.from_text(COUNTED, config={"n": 5, "m": 1}), "the configuration has 'm', which the plan", "n.")


def test_an_unknown_quantity_is_told() -> None:
    told(lambda: plan(n_layers=3), "file.toml has no quantity 'n_layers'; did you mean 'n_layer'?")
    told(lambda: plan(n_layer="3 +"), "quantity 'n_layer'", "cannot be read")


BAD = {
    "about's key": ("[about]\nname = 'x'\n", ["[about] has no key 'name'; did you mean 'names'?", "line 2"]),
    "about's type": ("[about]\nsources = 'x'\n", ["[about]: sources must be a list of texts"]),
    "config's type": ("[config]\nn = 3\n", ["[config]: n must be the path of an entry, or a table", "line 2"]),
    "config's key": ("[config]\nn = { kez = 'x', values = ['a'] }\n", ["[config]: n has no key 'kez'"]),
    "no quantity": ("[config]\nm = 'm'\n", ["[config]: 'm' is no quantity, nor has it the key and the values"]),
    "no values": ("[config]\nm = { key = 'x' }\n", ["[config]: m needs values"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_told(name: str) -> None:
    text, fragments = BAD[name]
    text += (
        '[quantities]\nn = 2\n[[parameters]]\nname = "w"\nshape = ["n"]\n[[rules]]\nmatch = "*"\ninitializer = "ones"'
    )
    told(lambda: Plan.from_text(text, source="file.toml"), *fragments, "file.toml")


def test_a_bad_condition_is_told() -> None:
    text = '[[parameters]]\nname = "w"\nshape = [2]\n{}[[rules]]\nmatch = "*"\ninitializer = "ones"\n{}'
    told(lambda: Plan.from_text(text.format("when = 'nn > 1'\n", "")), "unknown name 'nn'", "parameter 'w'")
    told(lambda: Plan.from_text(text.format("", "when = '1 <'")), "cannot be read", "line 7")
    told(lambda: Plan.from_text(text.format("when = 1\n", "")), "when must be an expression")
    told(lambda: Plan.from_text(text.format("", "when = '0'")).resolve(), "no rule claims 1 of 1")


def test_fused_arrays_may_have_a_condition() -> None:
    text = """
    [quantities]
    packed = 1
    [[parameters]]
    name = "qkv"
    shape = [6, 2]
    [[fused]]
    match = "qkv"
    into = ["q", "k", "v"]
    when = "packed"
    [[rules]]
    match = "*"
    initializer = "ones"
    """
    assert [entry.name for entry in Plan.from_text(text).resolve()] == ["q", "k", "v"]
    assert [entry.name for entry in Plan.from_text(text, quantities={"packed": 0}).resolve()] == ["qkv"]
