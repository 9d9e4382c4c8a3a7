"""Recipes cover the real models that they are for, and give them what the reference code does."""

import re
from pathlib import Path

import numpy as np
import pytest
import recipe_decoders
import recipe_methods
import recipe_sequences
import recipe_vision
import torch
from reference import (
    Case,
    Law,
    check_law,
    check_list,
    check_loads,
    check_orthogonal,
    check_reference,
    check_told,
    check_values,
    constant,
    normal,
    truncated,
    within,
)

from fanin import recipes
from fanin.errors import PlanError
from fanin.proof import Explained

CASES: list[Case] = [
    *recipe_decoders.CASES,
    *recipe_methods.CASES,
    *recipe_sequences.CASES,
    *recipe_vision.CASES,
]
PLANS = {name: recipes.load(name) for name in recipes.NAMES}


@pytest.mark.parametrize("case", [case for case in CASES if case.lists], ids=str)
def test_the_tensors_that_a_recipe_lists_are_those_of_the_model(case: Case) -> None:
    assert check_list(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recipe_gives_a_real_model_what_the_reference_says(case: Case) -> None:
    assert check_values(case)


@pytest.mark.parametrize("case", [case for case in CASES if case.departs is not None], ids=str)
def test_a_library_departs_from_a_recipe_where_it_is_known_to_and_nowhere_else(case: Case) -> None:
    assert check_reference(case)


@pytest.mark.parametrize("case", [case for case in CASES if case.forward is not None], ids=str)
def test_transformers_loads_a_checkpoint_of_a_recipe_and_computes_with_it(case: Case, tmp_path: Path) -> None:
    assert check_loads(case, tmp_path)


def test_every_recipe_has_a_case() -> None:
    assert {case.recipe for case in CASES} == set(recipes.NAMES)
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", recipes.NAMES)
def test_a_recipe_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    about = PLANS[name].about
    assert about.title
    assert about.sources
    assert all(re.search(r"\d{4}|\d+\.\d+", source) for source in about.sources)  # a date, or a version
    assert recipes.text(name).startswith("# ")
    if PLANS[name].parameters:
        assert about.names


@pytest.mark.parametrize("name", [name for name, plan in PLANS.items() if plan.parameters])
def test_a_recipe_without_a_configuration_is_a_whole_plan(name: str) -> None:
    entries = PLANS[name].resolve()
    assert len(entries.arrays) == len(PLANS[name].parameters)


def test_the_page_lists_every_recipe_as_it_calls_itself() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "recipes.md").read_text("utf-8")
    told = [f"| `{each.name}` | {each.title} | " for each in recipes.listing().recipes]
    rows = [line for line in page.splitlines() if any(line.startswith(f"| `{name}` | ") for name in recipes.NAMES)]
    assert len(rows) == len(told)
    for row, start in zip(rows, told, strict=True):
        assert row.startswith(start)
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")
    assert f"{len(recipes.NAMES)} plans of real architectures" in readme


def test_an_unknown_recipe_is_told() -> None:
    with pytest.raises(PlanError, match="no recipe 'lama'; did you mean 'llama'"):
        recipes.load("lama")
    with pytest.raises(AttributeError, match="no recipe 'lama'"):
        _ = recipes.lama
    with pytest.raises(PlanError, match="the recipe gpt2 has no quantity 'n_layers'; did you mean 'n_layer'"):
        recipes.gpt2(n_layers=3)


def told(law: Law) -> Explained:
    return Explained("w", (64, 64), "", "float32", mean=law.mean, std=law.std, low=law.low, high=law.high)


def test_the_checks_can_fail() -> None:
    generator = np.random.default_rng(1)
    values = generator.standard_normal(10_000)
    check_law("w", values, normal(1))
    for law in (normal(1.05), normal(1, 0.1), within(1), constant(0), truncated(1, -2, 2)):
        with pytest.raises(AssertionError):
            check_law("w", values, law)
    matrix = np.linalg.qr(generator.standard_normal((30, 20)))[0] * 1.5
    for each in (matrix, matrix.T, matrix.reshape(30, 5, 4)):
        check_orthogonal("w", each, 1.5)
        for other in (each * 1.001, np.where(each == each.max(), 0, each)):
            with pytest.raises(AssertionError):
                check_orthogonal("w", other, 1.5)
    check_told(told(within(0.1)), within(0.1))
    for law in (within(0.1001), normal(0.1 / 3**0.5), truncated(0.1, -0.1, 0.1)):
        with pytest.raises(AssertionError):
            check_told(told(within(0.1)), law)


def test_a_model_that_departs_is_seen() -> None:
    case = next(case for case in CASES if str(case) == "llama")

    def other() -> torch.nn.Module:
        model = case.model()
        model.model.layers[1].mlp.up_proj.weight.data *= 1.2
        return model

    changed = Case(case.recipe, other, case.expected, case.config)
    with pytest.raises(AssertionError, match=r"model.layers.1.mlp.up_proj.weight departs: differs, std 0.02"):
        check_reference(changed)
    with pytest.raises(AssertionError, match="does not depart"):
        check_reference(Case(case.recipe, case.model, case.expected, case.config, departs={"*up_proj*": ""}))
    with pytest.raises(AssertionError, match="nothing is expected"):
        check_values(Case(case.recipe, case.model, {"*norm.weight": constant(1)}, case.config))
    with pytest.raises(AssertionError, match="only in one"):
        check_list(Case(case.recipe, case.model, case.expected, case.config, {"vocab_size": 302}))
