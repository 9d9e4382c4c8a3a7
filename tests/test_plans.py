"""Plans: which rule has which parameter, what it resolves to, and what is said of a plan that does not fit."""

import fnmatch
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harness import assert_same_bits, poisoned
from hypothesis import given, settings
from hypothesis import strategies as st

import fanin
from fanin import Parameter, Plan, Rule, backend, engines, initializers
from fanin.errors import DTypeError, FaninError, LayoutError, LogicalNameError, PlanError, SeedError, ShapeError
from fanin.layouts import ARRAY_ORDER, Layout
from fanin.plan import Entry, digest
from fanin.plan.selectors import Selector
from fanin.recipe import Draw, Normal, Window

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
GPT2 = Plan.from_file(EXAMPLES / "gpt2.toml")


def told(action: Callable[[], object], *fragments: str) -> str:
    """Check that an action raises a `PlanError` whose message has all fragments; return the message."""
    with pytest.raises(PlanError) as caught:
        action()
    message = str(caught.value)
    for fragment in fragments:
        assert fragment in message, f"{fragment!r} is not in {message!r}"
    return message


def weights(*names: str, shape: tuple[int, ...] = (4, 3)) -> list[Parameter]:
    return [Parameter(name, shape) for name in names]


def rules_of(entries: tuple[Entry, ...], plan: Plan) -> dict[str, int]:
    return {entry.name: plan.rules.index(entry.rule) for entry in entries}


def made(entry: Entry) -> np.ndarray:
    view = poisoned(entry.shape, entry.dtype)
    engines.fill(entry.recipe, Window.whole(entry.shape), view)
    return view


def stddev(entry: Entry) -> float:
    assert isinstance(entry.recipe, Draw)
    assert isinstance(entry.recipe.distribution, Normal)
    return entry.recipe.distribution.stddev


def rounded(value: float) -> float:
    return float(np.float32(value))


def test_the_helper_can_fail() -> None:
    with pytest.raises(AssertionError, match="is not in"):
        told(lambda: Rule("*"), "no initializer", "something else")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        told(lambda: Rule("*", "zeros"))


# Which rule claims ---------------------------------------------------------------------------------


def fc_weight() -> Parameter:
    return Parameter("h.3.fc.weight", (4, 3), module="Linear", role="dense.kernel")


@pytest.mark.parametrize(
    ("special", "general"),
    [
        (Rule("h.3.fc.weight", "ones"), Rule("h.3.fc.*", "zeros")),
        (Rule("h.3.fc.weight", "ones"), Rule("h.3.*", "zeros", module="Linear", role="dense.kernel", rank=2)),
        (Rule("h.{i}.fc.weight", "ones"), Rule("h.{i}.*", "zeros")),
        (Rule("h.3.*", "ones"), Rule("h.{i}.*", "zeros")),
        (Rule("h.{i}.*.weight", "ones"), Rule("h.*.weight", "zeros")),
        (Rule("*.fc.weight", "ones"), Rule("*.weight", "zeros", role="dense.kernel")),
        (Rule("*.weight", "ones"), Rule("*", "zeros")),
        (Rule("*.weight", "ones"), Rule(role="dense.kernel", module="Linear", initializer="zeros")),
        (Rule("h.3.fc.weigh?", "ones"), Rule("h.3.fc.*", "zeros")),
        (Rule(["*", "*.fc.*"], "ones"), Rule("*.*", "zeros")),
        (Rule(regex=r"h\.\d+\.fc\..*", initializer="ones"), Rule("*", "zeros")),
        (Rule("h.3.fc.weight", "ones"), Rule(regex=r"h\.\d\.fc\.weight", initializer="zeros")),
        (Rule(role="dense.kernel", initializer="ones"), Rule(role="*.kernel", initializer="zeros")),
        (Rule(role="dense.kernel", initializer="ones"), Rule("*", "zeros")),
        (Rule(role="*.kernel", rank=2, initializer="ones"), Rule(role="*.kernel", initializer="zeros")),
        (Rule(role="*.kernel", module="Linear", initializer="ones"), Rule(role="*.kernel", initializer="zeros")),
        (Rule("*.weight", "ones", rank=[2, 4]), Rule("*.weight", "zeros")),
        (Rule(rank=2, initializer="ones"), Rule(rank=[2, 4], initializer="zeros")),
        (Rule("*.weight", "ones"), Rule(["*.weight", "*.bias"], "zeros")),
        (
            Rule(role="dense.kernel", initializer="ones"),
            Rule(role=["dense.kernel", "conv.kernel"], initializer="zeros"),
        ),
    ],
)
def test_the_more_specific_rule_claims_wherever_it_stands(special: Rule, general: Rule) -> None:
    other = Parameter("h.3.fc.x", (2, 2, 2), module="Conv1d", role="conv.kernel")
    rest = Rule("h.3.fc.x", "zeros", optional=True)
    for rules in ([special, general, rest], [rest, general, special]):
        entries = Plan([replace(rule, optional=True) for rule in rules]).resolve([fc_weight(), other])
        assert entries[0].rule.initializer == "ones"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Rule("*.weight", "ones"), Rule("*.weight", "zeros")),
        (Rule("h.*", "ones"), Rule("*.weight", "zeros")),
        (Rule("h.{i}.*", "ones"), Rule("*.fc.*", "zeros")),
        (Rule("h.?.fc.weight", "ones"), Rule("h.{i}.fc.weight", "zeros")),
        (Rule(regex="h.*", initializer="ones"), Rule("h.*", "zeros")),
        (Rule(role="*.kernel", initializer="ones"), Rule(module="Linear", initializer="zeros")),
        (Rule("*.weight", "ones", role="*.kernel"), Rule("*.weight", "zeros", rank=2)),
    ],
)
def test_rules_of_which_neither_is_more_specific_are_told(one: Rule, other: Rule) -> None:
    for rules in ([one, other], [other, one]):
        told(
            lambda rules=rules: Plan(rules).resolve([fc_weight()]),  # type: ignore[misc]
            "rule 1 (", "and rule 2 (", "both mean h.3.fc.weight, and neither is more specific", "Narrow one of them",
        )  # fmt: skip
    Plan([one, other, Rule("h.3.fc.weight", "zeros")])
    settled = Plan([replace(one, optional=True), replace(other, optional=True), Rule("h.3.fc.weight", "constant(2)")])
    assert settled.resolve([fc_weight()])[0].rule.initializer == "constant(2)"


def test_an_optional_rule_gives_way() -> None:
    """So that what frameworks do by default can be overridden, by the very role."""
    for rules in (
        [Rule("a*", "ones"), Rule("*a", "zeros", optional=True)],
        [Rule("*a", "zeros", optional=True), Rule("a*", "ones")],
    ):
        assert Plan(rules).resolve(weights("a"))[0].rule.initializer == "ones"
    plan = Plan([Rule(role="embedding.table", initializer="he_normal", layout="i o"), *fanin.defaults("torch").rules])
    table = Parameter("wte", (8, 4), role="embedding.table")
    assert plan.resolve([table])[0].rule.initializer == "he_normal"


def test_the_name_of_a_part_is_more_specific_than_that_of_its_array() -> None:
    part = Parameter("attn.q.weight", (2, 3), array="attn.qkv.weight", at=Window((0, 0), (2, 3)))
    plan = Plan([Rule("attn.qkv.weight", "ones"), Rule("*.q.*", "zeros")])
    told(lambda: plan.resolve([part]), "rule 1", "claims nothing: all that it matches (attn.q.weight) is claimed by")
    assert Plan([Rule("attn.qkv.weight", "ones")]).resolve([part])[0].rule.initializer == "ones"


def test_entries_are_in_the_order_of_the_parameters() -> None:
    plan = Plan(
        [Rule("a.*", "ones"), Rule("a.weight", "constant(2)"), Rule("*.weight", "zeros"), Rule("*", "constant(3)")]
    )
    entries = plan.resolve(weights("b.weight", "a.weight", "a.bias", "c"))
    assert rules_of(entries, plan) == {"b.weight": 2, "a.weight": 1, "a.bias": 0, "c": 3}
    assert [entry.name for entry in entries] == ["b.weight", "a.weight", "a.bias", "c"]
    assert [float(made(entry)[0, 0]) for entry in entries] == [0, 2, 1, 3]


names = st.text("ab.0", min_size=1, max_size=6)
globs = st.lists(st.sampled_from(["a", "b", ".", "0", "*", "?", "{i}"]), min_size=1, max_size=6).map("".join)


@settings(deadline=None)
@given(globs, globs, st.lists(names, min_size=1, max_size=30))
def test_a_pattern_within_another_matches_no_more(inner: str, outer: str, found: list[str]) -> None:
    one, other = Selector.of_pattern(inner.replace("{i}", "{i}", 1)), Selector.of_pattern(outer)
    if one.within(other):
        assert all(other.match(name) is not None for name in found if one.match(name) is not None)
    assert one.within(one)
    assert one.within(Selector.of_pattern("*"))


def test_a_pattern_that_takes_for_ever_is_told() -> None:
    name = "a" * 60
    told(
        lambda: Plan([Rule(regex="(a|aa)+[0-9]", initializer="zeros")]).resolve(weights(name)),
        "'(a|aa)+[0-9]' takes more than 1 s for the name", "one way only",
    )  # fmt: skip
    stars = Rule("*a" * 20 + "b", "zeros", optional=True)
    assert Plan([stars, Rule("*", "ones")]).resolve(weights("ab" * 40 + "c"))[0].rule.initializer == "ones"


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("*", ["a", "a.b", "a/b", "a\nb"], []),
        ("*.weight", ["a.weight", "a.b.weight", ".weight"], ["weight", "a.weight_g", "aweight"]),
        ("h.*.bias", ["h.0.bias", "h.0.attn.bias", "h..bias"], ["h.bias", "xh.0.bias"]),
        ("ln_?", ["ln_1", "ln_f", "ln_."], ["ln_", "ln_12"]),
        ("a.weight", ["a.weight"], ["a_weight", "a.weight.", "b.a.weight"]),
        ("a[0]^$+(x|y)\\d", ["a[0]^$+(x|y)\\d"], ["a0"]),
        (
            "h.{i}.w",
            ["h.0.w", "h.12.w", "h.007.w"],
            ["h.w", "h..w", "h.a.w", "h.1a.w", "h.-1.w", "h.1.0.w", "h.\u0661.w"],
        ),
        ("{i}.{i}", ["1.1", "12.12"], ["1.2", "1.01"]),
        ("{i}.{j}", ["1.1", "1.2"], ["1"]),
        ("*{i}", ["h12", "12", "a1b2"], ["a", "12a"]),
        ("w{i}2", [], ["w12", "w2", "w122"]),  # a whole run of digits, and no part of one
        ("*{i}*", ["a12b", "1", "a1b2"], ["ab"]),
        ("e\u0301", ["\u00e9", "e\u0301"], ["e"]),
        (["*.a", "b.*"], ["x.a", "b.x", "b.a"], ["a", "a.b"]),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str | list[str], good: list[str], bad: list[str]) -> None:
    rule = Rule(pattern, "zeros")
    for name in good:
        assert rule.captured(name) is not None, name
    for name in bad:
        assert rule.captured(name) is None, name


@given(st.text("ab.1*?", max_size=6), st.text("ab.1\n[", max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_pattern_without_braces_is_a_glob(pattern: str, name: str) -> None:
    expected = fnmatch.fnmatchcase(name, pattern)
    assert (Selector.of_pattern(pattern).match(name) is not None) is expected
    assert (Selector.of_pattern(pattern).distance(name) == 0) is expected


@pytest.mark.parametrize(
    ("rule", "name", "captures"),
    [
        (Rule("h.{i}.w", "zeros"), "h.12.w", {"i": 12}),
        (Rule("h.{i}.w", "zeros"), "h.007.w", {"i": 7}),
        (Rule("*{i}.w", "zeros"), "a1.b23.w", {"i": 23}),
        (Rule("s{stage}.{i}.*", "zeros"), "s2.0.w", {"stage": 2, "i": 0}),
        (Rule(["a.{i}", "b.{j}", "*"], "zeros"), "b.3", {"j": 3}),
        (Rule(["a.{i}", "b.{j}", "*"], "zeros"), "c", {}),
        (Rule(regex=r"h\.(?P<i>\d+)\.(?P<what>w|b)", initializer="zeros"), "h.3.w", {"i": 3}),
        (Rule(regex=r"(?P<i>\d+)?(?P<rest>.*)", initializer="zeros"), "x", {}),
        (Rule(regex=r"[ab]+", initializer="zeros"), "abba", {}),
    ],
)
def test_a_name_captures_integers(rule: Rule, name: str, captures: dict[str, int]) -> None:
    assert rule.captured(name) == captures


def test_a_regex_has_to_match_the_whole_name() -> None:
    rule = Rule(regex=r"h\.\d", initializer="zeros")
    assert rule.captured("h.1") == {}
    assert rule.captured("h.12") is None
    assert rule.captured("xh.1") is None


def test_a_capture_enters_the_initializer() -> None:
    rules = [
        Rule("layers.{i}.wo.weight", "random_normal(stddev=0.02 / sqrt(2 * (i + 1)))"),
        Rule(regex=r"layers\.(?P<n>\d+)\.w1\.weight", initializer="random_normal(stddev=scale * (n + 1))"),
    ]
    plan = Plan(rules, quantities={"scale": 0.5})
    names = [f"layers.{i}.{w}.weight" for i in range(3) for w in ("wo", "w1")]
    entries = plan.resolve(weights(*names))
    expected = [s for i in range(3) for s in (rounded(0.02 / math.sqrt(2 * (i + 1))), 0.5 * (i + 1))]
    assert [stddev(entry) for entry in entries] == expected
    again = plan.resolve(weights("layers.07.wo.weight", "layers.0.w1.weight"))
    assert stddev(again[0]) == rounded(0.02 / 4)


# Strictness ----------------------------------------------------------------------------------------


def test_a_parameter_that_no_rule_claims_is_told_with_the_nearest_rule() -> None:
    plan = Plan.from_text(
        '[[rules]]\nmatch = "*.weight"\ninitializer = "ones"\n\n[[rules]]\nmatch = "*.b"\ninitializer = "zeros"\n',
        source="file.toml",
    )
    told(
        lambda: plan.resolve(weights("a.weight", "a.b", "a.bb", "head.wieght")),
        "no rule claims 2 of 4 parameters",
        'a.bb, shape (4, 3); nearest is rule 2 (match "*.b", zeros) (file.toml, line 5)',
        'head.wieght, shape (4, 3); nearest is rule 1 (match "*.weight", ones) (file.toml, line 1)',
    )


def test_many_unclaimed_parameters_are_counted_in_kinds() -> None:
    names = [f"{kind}.{i}.weight" for i in range(7) for kind in "abcdefghijklmnop"]
    plan = Plan([Rule("x", "zeros"), Rule("a.*", "zeros")])
    message = told(
        lambda: plan.resolve(weights("x", *names)),
        "no rule claims 105 of 113 parameters",
        "b.0.weight, shape (4, 3) and 6 more that differ in numbers only",
        "\n  and 5 more",
    )
    assert message.count("\n") == 11


def test_a_plan_without_rules_claims_nothing() -> None:
    told(lambda: Plan([]).resolve(weights("a")), "no rule claims 1 of 1", "a, shape (4, 3)")


@pytest.mark.parametrize(
    ("rules", "fragments"),
    [
        (
            [Rule("*", "zeros", expect=3), Rule("*.bias", "ones")],
            ["rule 1", "claims 2 parameters", "but expects 3", "1 more that it matches are claimed by more specific"],
        ),
        (
            [Rule("*", "zeros"), Rule("?.bias", "ones"), Rule("a.bias", "ones")],
            ['rule 2 (match "?.bias", ones) claims nothing', "(a.bias)", 'by rule 3 (match "a.bias", ones)', "narrow"],
        ),
        ([Rule("*.bais", "zeros"), Rule("*", "ones")], ["matches no parameter", "nearest names are a.bias"]),
        ([Rule(regex="c.*", initializer="zeros"), Rule("*", "ones")], ['rule 1 (regex "c.*", zeros) matches no']),
        ([Rule("*.[bw]*", "zeros"), Rule("*", "ones")], ["matches no parameter", "Brackets stand for themselves"]),
        ([Rule(["*.bias", "*.baas"], "zeros"), Rule("*", "ones")], ["rule 1", "its pattern '*.baas' matches no"]),
        ([Rule("*", "zeros", expect=4)], ["rule 1", "claims 3 parameters, a.weight, a.bias, b.weight, but expects 4."]),
        ([Rule("*", "zeros", expect="2 * n")], ["claims 3 parameters", "but expects 2 * n = 4."]),
        (
            [Rule("a.weight", "ones"), Rule("*.weight", "zeros", expect="n"), Rule("*", "ones")],
            ["rule 2", "claims 1 parameters", "but expects n = 2", "1 more that it matches"],
        ),
        (
            [Rule("*", "zeros", expect=1), Rule("x", "ones"), Rule("?.bias", "ones"), Rule("a.bias", "ones")],
            ["3 rules or patterns do not", "rule 1", "but expects 1", "rule 2", "nearest names", "rule 3", "narrow"],
        ),
    ],
)  # fmt: skip
def test_a_rule_that_does_not_fit_is_told(rules: list[Rule], fragments: list[str]) -> None:
    plan = Plan(rules, quantities={"n": 2})
    told(lambda: plan.resolve(weights("a.weight", "a.bias", "b.weight")), *fragments)


def test_counts_that_fit_pass() -> None:
    plan = Plan([Rule("*.bias", "zeros", expect="n - 1"), Rule("*", "ones", expect=2)], quantities={"n": 2})
    assert len(plan.resolve(weights("a.weight", "a.bias", "b.weight"))) == 3


def test_many_rules_that_claim_nothing_are_counted() -> None:
    plan = Plan([Rule("*", "zeros"), *(Rule(f"x{n}", "zeros") for n in range(14))])
    told(lambda: plan.resolve(weights("a")), "14 rules or patterns", "rule 11 ", "\n  and 4 more")


def test_suggestions_are_quick_for_thousands_of_names() -> None:
    letters = random.Random(7)
    names = ["".join(letters.choices("abcdefgh.", k=40)) for _ in range(3000)]
    told(lambda: Plan([Rule("x" * 5000, "zeros"), Rule("*", "ones")]).resolve(weights(*names)), "matches no parameter")


def test_a_name_is_there_once() -> None:
    told(lambda: Plan([Rule("*", "zeros")]).resolve(weights("a", "b", "a")), "parameter 'a' is there twice")
    told(lambda: Plan([Rule("*", "zeros")], parameters=weights("a", "a")), "'a' is there twice")
    # One stream, by its NFC form.
    told(lambda: Plan([Rule("*", "zeros")]).resolve(weights("\u00e9", "e\u0301")), "is there twice")
    model = {name: np.zeros(3, np.float32) for name in ("\u00e9", "e\u0301")}
    told(lambda: Plan([Rule("*", "zeros")]).apply(model), "is there twice")


def test_parameters_are_needed() -> None:
    for plan in (Plan([Rule("*", "zeros")]), Plan([])):
        told(plan.resolve, "the plan has no parameters", "[[parameters]]")
        told(lambda plan=plan: plan.resolve([]), "the plan has no parameters")  # type: ignore[misc]


def test_what_is_no_rule_or_parameter_is_told() -> None:
    told(lambda: Plan([("*", "zeros")]), "rules must be a list of Rule", "('*', 'zeros') is none")  # type: ignore[list-item]
    told(lambda: Plan([], parameters=[("a", (3,))]), "parameters must be a list of Parameter")  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("make", "fragments"),
    [
        (lambda: Rule("*"), ['rule (match "*") has no initializer']),
        (lambda: Rule("*", None), ["has no initializer"]),
        (lambda: Rule(initializer="zeros"), ["none of match, regex, module, role, rank"]),
        (lambda: Rule("*", "zeros", regex=".*"), ["both match and regex"]),
        (lambda: Rule("", "zeros"), ["match must be a pattern or a list of patterns, not ''"]),
        (lambda: Rule([], "zeros"), ["match must be a pattern"]),
        (lambda: Rule(["a", 3], "zeros"), ["match must be a pattern"]),
        (lambda: Rule(3, "zeros"), ["match must be a pattern"]),
        (lambda: Rule(b"a", "zeros"), ["match must be a pattern"]),
        (lambda: Rule(regex="", initializer="zeros"), ["regex must be a regular expression"]),
        (lambda: Rule(regex=3, initializer="zeros"), ["regex must be a regular expression"]),
        (lambda: Rule(regex="(", initializer="zeros"), ["the regex '(' cannot be read", "missing )"]),
        (lambda: Rule("{a,b}", "zeros"), ["'{a,b}' has a brace", "list of patterns"]),
        (lambda: Rule("a{", "zeros"), ["has a brace"]),
        (lambda: Rule("{1}", "zeros"), ["has a brace"]),
        (lambda: Rule("*", "zeros", expect=True), ["expect must be a count or an expression"]),
        (lambda: Rule("*", "zeros", expect=2.0), ["expect must be a count or an expression"]),
        (lambda: Plan([Rule("*", "zeros", expect=0)]), ["rule 1", "expect: 0, which is no integer from 1"]),
        (lambda: Plan([Rule("*", "zeros", expect="5 / 2")]), ["'5 / 2' is 2.5", "divide integers by //"]),
        (lambda: Plan([Rule("*", "zeros", expect="n")]), ["expect: 'n'", "unknown name 'n'"]),
        (lambda: Plan([Rule("{n}", "zeros")], quantities={"n": 1}), ["captures 'n', which is a quantity already"]),
        (lambda: Plan([Rule("{sqrt}", "zeros")]), ["'sqrt' has a meaning in every expression"]),
        (lambda: Plan([Rule("{if}", "zeros")]), ["'if' cannot stand in an expression"]),
        (lambda: Plan([Rule(regex="(?P<pi>x)", initializer="zeros")]), ["'pi' has a meaning"]),
        (lambda: Plan([], quantities={"a": True}), ["quantity 'a': is True; give a finite number"]),
        (lambda: Plan([], quantities={"a": [1]}), ["is [1]"]),
        (lambda: Plan([], quantities={"a": math.nan}), ["is nan"]),
        (lambda: Plan([], quantities={"a": "inf"}), ["is inf"]),
        (lambda: Plan([], quantities={"a": "1 / 0"}), ["quantity 'a'", "division by zero"]),
        (lambda: Plan([], quantities={"a": "b", "b": 1}), ["refers to 'b', which is not above it"]),
        (lambda: Plan([], quantities={"a": "a"}), ["refers to 'a', which is not above it"]),
        (lambda: Plan([], quantities={"n-layer": 1}), ["'n-layer' cannot stand in an expression"]),
        (lambda: Plan([], quantities={"max": 1}), ["'max' has a meaning"]),
        (lambda: Plan([], quantities={"a": "x", "b": "a", "c": "y"}), ["2 problems", "'a'", "'c'", "unknown name 'y'"]),
    ],
)  # fmt: skip
def test_a_rule_or_plan_that_cannot_be_is_told(make: Callable[[], object], fragments: list[str]) -> None:
    told(make, *fragments)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Rule("*", "zeros", seed=-1), SeedError),
        (lambda: Rule("*", "zeros", seed=True), SeedError),
        (lambda: Rule("*", "zeros", layout="q"), LayoutError),
        (lambda: Rule("*", "zeros", layout=""), LayoutError),
        (lambda: Plan([], layout="i i"), LayoutError),
        (lambda: Plan([], dtype="float7"), DTypeError),
        (lambda: Parameter("", (3,)), LogicalNameError),
        (lambda: Parameter(3, (3,)), LogicalNameError),
        (lambda: Parameter("\ud800", (3,)), LogicalNameError),
        (lambda: Parameter("a", (3.5,)), ShapeError),
        (lambda: Parameter("a", (-1,)), ShapeError),
        (lambda: Parameter("a", (3,), "float7"), DTypeError),
        (lambda: Parameter("a", (3,), layout="o i"), LayoutError),
        (lambda: Plan([Rule("*", "zeros")]).resolve(weights("a"), seed=None), SeedError),
        (lambda: Plan([Rule("*", "zeros")]).resolve(weights("a"), seed=2**64), SeedError),
        (lambda: Plan([Rule("*", "zeros")]).resolve(weights("a"), dtype="int8"), DTypeError),
        (lambda: Plan([Rule("*", "zeros")]).resolve(weights("a"), dtype="float7"), DTypeError),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_be_is_told(make: Callable[[], object], error: type[FaninError]) -> None:
    with pytest.raises(error):
        make()


# What a rule gives ---------------------------------------------------------------------------------


def test_entries_are_what_the_initializers_make() -> None:
    plan = Plan([Rule("*.bias", "zeros"), Rule("*", "he_normal")], layout="o i *k", dtype="bfloat16")
    conv, bias = plan.resolve([Parameter("c.weight", (6, 5, 3, 3)), Parameter("c.bias", (6,))], seed=7)
    he = initializers.HeNormal(seed=7)
    assert_same_bits(made(conv), he((6, 5, 3, 3), "bfloat16", name="c.weight", layout="o i *k"))
    assert (bias.dtype.name, made(bias).any()) == ("bfloat16", False)
    assert conv.initializer == initializers.HeNormal()
    assert (conv.name, conv.shape, conv.rule, conv.seed) == ("c.weight", (6, 5, 3, 3), plan.rules[1], 7)
    assert (conv.layout.text, bias.layout) == ("o i *k", ARRAY_ORDER)


@pytest.mark.parametrize(
    "initializer",
    [
        "random_normal(stddev=0.5)",
        {"class_name": "RandomNormal", "config": {"stddev": 0.5}},
        initializers.RandomNormal(stddev=0.5),
        initializers.get("random_normal(0, 0.5)"),
    ],
)
def test_an_initializer_is_written_in_many_ways(initializer: object) -> None:
    (entry,) = Plan([Rule("*", initializer)]).resolve(weights("a"), seed=3)
    assert_same_bits(made(entry), initializers.RandomNormal(stddev=0.5, seed=3)((4, 3), name="a"))


def test_classes_arrays_and_functions_are_initializers() -> None:
    def ramp(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return np.arange(math.prod(shape), dtype=dtype).reshape(shape)

    def noisy(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return backend.random_normal(shape, dtype=dtype)

    rules = [Rule("a", initializers.Ones), Rule("b", np.float32([1, 2, 3])), Rule("c", ramp), Rule("d", noisy)]
    entries = Plan(rules).resolve(weights("a", "b", "c", "d"), seed=5)
    values = [made(entry) for entry in entries]
    assert (values[0] == 1).all()
    assert (values[1] == [1, 2, 3]).all()
    assert (values[2].reshape(-1) == np.arange(12)).all()
    again = [made(entry) for entry in Plan(rules).resolve(weights("a", "b", "c", "d"), seed=5)]
    for value, other in zip(values, again, strict=True):
        assert_same_bits(value, other)
    assert (made(Plan(rules).resolve(weights("a", "b", "c", "d"), seed=6)[3]) != values[3]).all()


@pytest.mark.parametrize(
    ("initializer", "fragments"),
    [
        ("he_nrmal", ['rule 1 (match "*", he_nrmal) claims a, shape (4, 3), but', "did you mean", "he_normal"]),
        ("random_normal(stddev=n_layers)", ["unknown name 'n_layers'; did you mean n_layer?"]),
        ("random_normal(stddev=i)", ["unknown name 'i'"]),
        ("random_normal(stddev=1 / 0)", ["division by zero"]),
        ("random_normal(sd=1)", ["sd", "RandomNormal(mean="]),
        ("random_normal(stddev=-1)", ["stddev"]),
        ({"class_name": "Nope"}, ['(match "*", Nope)', "no initializer is called 'Nope'"]),
        ({"config": {}}, ["is no configuration"]),
        (3.0, ["write Constant(3.0)"]),
        (np.zeros(5), ["an array of shape (5,)", "does not broadcast"]),
        (initializers.Constant(np.zeros(5)), ["an array of shape (5,)", "does not broadcast"]),
        ("identity(gain=1e300)", ["float32"]),
        ("random_normal(seed=-1)", ["seed"]),
    ],
)
def test_an_initializer_that_cannot_be_is_told(initializer: object, fragments: list[str]) -> None:
    plan = Plan([Rule("*", initializer)], quantities={"n_layer": 2})
    message = told(lambda: plan.resolve(weights("a", "b")), *fragments)
    assert "(The same for 1 more.)" in message


def test_problems_of_many_rules_are_told_together() -> None:
    rules = [Rule(f"a{n}", f"nope_{n}") for n in range(13)]
    told(
        lambda: Plan(rules).resolve(weights(*(f"a{n}" for n in range(13)))),
        "13 problems", "rule 1 ", "rule 10 ", "and 3 more",
    )  # fmt: skip


# Layouts -------------------------------------------------------------------------------------------


def test_vectors_have_no_fans() -> None:
    """The example of an error in the project's style, as it is told."""
    plan = Plan.from_text('[[rules]]\nmatch = "h.*.ln_1.*"\ninitializer = "HeNormal"\n', source="plans/gpt2.toml")
    message = told(lambda: plan.resolve([Parameter("h.0.ln_1.bias", (768,))]))
    assert message == (
        'rule 1 (match "h.*.ln_1.*", HeNormal) claims h.0.ln_1.bias, shape (768,), which has no input axis. For biases '
        "write a rule with zeros; for a vector with a fan of its own give the rule a layout, such as "
        'layout = "i". (plans/gpt2.toml, line 1)'
    )


@pytest.mark.parametrize("shape", [(), (5,)])
@pytest.mark.parametrize("general", [None, "o i", "*o i", "*k", "*i o"])
@pytest.mark.parametrize("initializer", ["glorot_uniform", "variance_scaling(input_axes=[0])"])
def test_the_layout_of_a_plan_gives_vectors_no_fans(
    initializer: str, general: str | None, shape: tuple[int, ...]
) -> None:
    plan = Plan([Rule("*", initializer)], layout=general)
    told(lambda: plan.resolve(weights("a", shape=shape)), "which has no input axis")


def test_a_vector_with_a_layout_has_fans() -> None:
    by_rule = Plan([Rule("*", "variance_scaling(distribution='untruncated_normal')", layout="i")])
    by_itself = Plan([Rule("*", "variance_scaling(distribution='untruncated_normal')")])
    assert stddev(by_rule.resolve(weights("a", shape=(16,)))[0]) == 0.25
    assert stddev(by_itself.resolve([Parameter("a", (16,), layout="i")])[0]) == 0.25
    assert stddev(by_itself.resolve([Parameter("a", (16,), layout="o")])[0]) == 1
    scalar = Plan([Rule("*", "lecun_uniform", layout="*k")]).resolve(weights("a", shape=()))
    assert made(scalar[0]).shape == ()


@pytest.mark.parametrize(
    ("initializer", "needs"),
    [
        ("he_normal", "whose fans depend on which axis is which"),
        ("variance_scaling(output_axes=[0])", "whose fans depend"),
        (initializers.LecunUniform(), "whose fans depend"),
        ("orthogonal", "whose rows and columns depend"),
    ],
)
def test_what_needs_roles_needs_a_layout(initializer: object, needs: str) -> None:
    plan = Plan([Rule("*", initializer)])
    told(lambda: plan.resolve(weights("a")), needs, "Give the rule, the parameter or the plan a layout")
    for entries in (
        Plan([Rule("*", initializer, layout="o i")]).resolve(weights("a"), seed=1),
        Plan([Rule("*", initializer)], layout="o i *k").resolve(weights("a"), seed=1),
        Plan([Rule("*", initializer)]).resolve([Parameter("a", (4, 3), layout="o i")], seed=1),
    ):
        transposed = Plan([Rule("*", initializer, layout="i o")]).resolve(weights("a", shape=(3, 4)), seed=1)
        np.testing.assert_array_equal(made(entries[0]), made(transposed[0]).T)


@pytest.mark.parametrize(
    "initializer",
    [
        "he_normal(input_axes=[0], output_axes=[1])",
        "random_normal",
        "truncated_normal",
        "random_uniform",
        "identity",
        "zeros",
        "constant(3)",
        lambda shape, dtype=None: np.zeros(shape),
    ],
)
def test_what_needs_no_roles_needs_no_layout(initializer: object) -> None:
    (entry,) = Plan([Rule("*", initializer)]).resolve(weights("a"))
    assert entry.layout == ARRAY_ORDER
    (entry,) = Plan([Rule("*", initializer)], layout="o i *k").resolve(weights("a"))
    assert entry.layout == Layout("o i *k")


def test_the_rule_s_layout_wins_over_the_parameter_s_over_the_plan_s() -> None:
    asked = [
        Parameter("a", (4, 3), layout="i o"),
        Parameter("b", (4, 3)),
        Parameter("c", (4,)),
        Parameter("d", (2, 4, 3)),
    ]
    plan = Plan([Rule("*", "random_normal")], layout="o i")
    assert [entry.layout.text for entry in plan.resolve(asked)] == ["i o", "o i", "", ""]
    plan = Plan([Rule("a", "random_normal", layout="o i"), Rule("*", "random_normal")], layout="b k")
    assert [entry.layout.text for entry in plan.resolve(asked)] == ["o i", "b k", "", ""]
    plan = Plan([Rule("?", "random_normal", layout=ARRAY_ORDER)], layout="o i")
    assert [entry.layout.text for entry in plan.resolve(asked)] == [""] * 4


def test_a_layout_of_the_plan_that_does_not_fit_is_told() -> None:
    plan = Plan([Rule("*", "he_normal")], layout="o i")
    told(lambda: plan.resolve(weights("a", shape=(4, 3, 2))), "(That of the plan, 'o i', does not fit.)")


def test_a_layout_of_a_rule_has_to_fit() -> None:
    for initializer in ("zeros", "random_normal", lambda shape, dtype=None: np.zeros(shape)):
        plan = Plan([Rule("*", initializer, layout="o i")])
        told(lambda plan=plan: plan.resolve(weights("a", shape=(4,))), "a, shape (4,)", "is for rank 2")  # type: ignore[misc]


def test_a_group_that_does_not_divide_is_told() -> None:
    plan = Plan([Rule("*", "he_normal", layout="o/3 i *k")])
    told(lambda: plan.resolve(weights("a", shape=(4, 3, 3, 3))), "do not split into 3 groups")


def test_vectors_are_never_orthogonal() -> None:
    for layout in (None, "i o"):
        plan = Plan([Rule("*", "orthogonal")], layout=layout)
        told(lambda plan=plan: plan.resolve(weights("a", shape=(4,))), "a, shape (4,)", "needs two axes")  # type: ignore[misc]


# Dtypes --------------------------------------------------------------------------------------------


def test_the_parameter_s_dtype_wins_over_the_plan_s_and_the_call_s_replaces_floats() -> None:
    asked = [
        Parameter("a", (3,), "float16"),
        Parameter("b", (3,)),
        Parameter("c", (), "int64"),
        Parameter("d", (), "bool"),
    ]
    rules = [Rule("*", "zeros")]
    names = [
        [entry.dtype.name for entry in plan.resolve(asked)] for plan in (Plan(rules), Plan(rules, dtype="bfloat16"))
    ]
    assert names == [["float16", "float32", "int64", "bool"], ["float16", "bfloat16", "int64", "bool"]]
    replaced = Plan(rules, dtype="bfloat16").resolve(asked, dtype="float64")
    assert [entry.dtype.name for entry in replaced] == ["float64", "float64", "int64", "bool"]
    assert [entry.dtype.name for entry in Plan(rules, dtype="int8").resolve(asked)][1] == "int8"


@pytest.mark.parametrize(
    ("initializer", "dtype", "fragment"),
    [
        ("random_normal", "int64", "int64 cannot hold random values"),
        ("he_normal", "bool", "bool cannot hold random values"),
        ("random_uniform(3, 3)", "int8", "int8 cannot hold random values"),
        ("constant(0.5)", "int64", "int64 cannot hold 0.5"),
        ("constant(300)", "uint8", "uint8 cannot hold 300"),
        ("identity(gain=0.5)", "int8", "int8 cannot hold 0.5"),
        ("orthogonal", "int8", "int8 cannot hold the values of Orthogonal(); it takes constants only"),
        (initializers.Constant([[0.5]]), "int8", "int8 cannot hold all of these"),
        (initializers.Constant([[1e9]]), "float16", "float16"),
        ("random_normal(stddev=1e9)", "float16", "beyond 65504.0"),
        ("constant(1e9)", "float16", "beyond 65504.0"),
    ],
)
def test_a_dtype_that_cannot_hold_the_values_is_told_before_anything_is_made(
    initializer: object, dtype: str, fragment: str
) -> None:
    plan = Plan([Rule("a", initializer), Rule("b", "zeros")], layout="o i")
    asked = [Parameter("b", (4, 3)), Parameter("a", (4, 3), dtype)]
    told(lambda: plan.resolve(asked), "rule 1 (match", "claims a, shape (4, 3), but", fragment)


@pytest.mark.parametrize("initializer", ["zeros", "ones", "constant(2)", "identity", initializers.Constant([[1.0]])])
def test_integers_take_constants(initializer: object) -> None:
    (entry,) = Plan([Rule("a", initializer)]).resolve([Parameter("a", (3, 3), "int64")])
    assert made(entry).dtype == np.int64


def test_integers_take_functions_of_one_s_own() -> None:
    def positions(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return np.arange(shape[-1])[None]

    (entry,) = Plan([Rule("position_ids", positions)]).resolve([Parameter("position_ids", (1, 8), "int64")])
    assert made(entry).tolist() == [list(range(8))]


# Seeds ---------------------------------------------------------------------------------------------


def test_the_seed_of_the_initializer_or_the_rule_wins_over_the_plan_s() -> None:
    rules = [Rule("a", "random_normal(seed=1)"), Rule("b", "random_normal", seed=2), Rule("*", "random_normal")]
    for seed in (0, 3):
        entries = Plan(rules).resolve(weights("a", "b", "c"), seed=seed)
        assert [entry.seed for entry in entries] == [1, 2, seed]
        for entry, own in zip(entries, (1, 2, seed), strict=True):
            assert_same_bits(made(entry), initializers.RandomNormal(seed=own)((4, 3), name=entry.name))
    assert Plan(rules).resolve(weights("a", "b", "c"))[2].seed == 0


def test_a_seed_is_given_once() -> None:
    for own in (1, 2):
        plan = Plan([Rule("a", f"random_normal(seed={own})", seed=2)])
        told(lambda plan=plan: plan.resolve(weights("a")), "with two seeds, ", "and 2 in the rule")  # type: ignore[misc]


def test_the_seed_of_a_rule_reaches_functions_of_one_s_own() -> None:
    def noisy(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return backend.random_normal(shape)

    one, two = (made(Plan([Rule("a", noisy, seed=2)]).resolve(weights("a"), seed=seed)[0]) for seed in (0, 1))
    assert_same_bits(one, two)


# The laws ------------------------------------------------------------------------------------------


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_order_changes_nothing(shuffled: random.Random) -> None:
    asked = list(GPT2.parameters)
    shuffled.shuffle(asked)
    entries = GPT2.resolve(asked, seed=7)
    assert [entry.name for entry in entries] == [parameter.name for parameter in asked]
    straight = GPT2.resolve(seed=7)
    assert {entry.name: entry for entry in entries} == {entry.name: entry for entry in straight}
    assert digest(entries) == digest(straight)


def test_what_is_added_changes_nothing_else() -> None:
    plan = Plan([Rule("*.bias", "zeros"), Rule("*", "lecun_normal")], layout="o i")
    few = plan.resolve([Parameter("b.weight", (4, 3)), Parameter("b.bias", (4,))], seed=7)
    more = plan.resolve([*weights("a.weight", "c.weight"), *few_of(few)], seed=7)
    assert more[2:] == few.entries


def few_of(entries: tuple[Entry, ...]) -> list[Parameter]:
    return [Parameter(entry.name, entry.shape) for entry in entries]


# The digest ----------------------------------------------------------------------------------------


def test_the_digest_is_what_it_was() -> None:
    """A digest is written into checkpoints: a change of it is a change of the format."""
    assert digest(GPT2.resolve(seed=0)) == "649d072ee07e584417f92db7824de98a87974881a6471fc6dfc620f50af67b95"


def of(initializer: object, shape: tuple[int, ...] = (4, 3), name: str = "a", seed: int = 0, **more: object) -> str:
    dtype = more.pop("dtype", "float32")
    rule = Rule("*", initializer, **more)  # type: ignore[arg-type]
    return digest(Plan([rule]).resolve([Parameter(name, shape, dtype)], seed=seed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (of("zeros"), of("zeros", layout="o i")),
        (of("zeros"), of("constant(0.0)", seed=5)),
        (of("zeros"), of({"class_name": "Zeros", "config": {}})),
        (of("constant(3)"), of("random_uniform(3, 3)")),
        (of("random_normal(stddev=0.02)"), of("normal(0, 1 / 50)")),
        (of("random_normal(seed=4)"), of("random_normal", seed=4)),
        (of("random_normal(seed=4)", seed=1), of("random_normal", seed=4)),
        (of("random_normal"), of("random_normal", layout="i o")),  # array order, in other words
        (of("random_normal(mean=0)"), of("random_normal(mean=-0.0)")),
        (of("he_normal", layout="o i"), of("kaiming_normal", layout="o i *k")),
        (of("he_normal", layout="o i"), of("truncated_normal(stddev=sqrt(2 / 3) / 0.87962566103423978)", layout="o i")),
        (of("orthogonal", layout="o i"), of("orthogonal(gain=1)", layout="o i *k")),
        (of("orthogonal(seed=3)", layout="o i"), of("orthogonal", layout="o i", seed=3)),
        (of(initializers.Constant([1, 2, 3])), of(np.float64([1, 2, 3]), seed=3)),
        (of("zeros", name="\u00e9"), of("zeros", name="e\u0301")),
        (of("random_normal", (4, 1), layout="o i"), of("random_normal", (4, 1), layout="o k")),
    ],
)  # fmt: skip
def test_what_asks_for_the_same_has_the_same_digest(one: str, other: str) -> None:
    assert one == other
    assert len(one) == 64


def test_what_differs_has_another_digest() -> None:
    def function(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return np.zeros(shape)

    digests = [
        of("zeros"),
        of("zeros", name="b"),
        of("zeros", (3, 4)),
        of("zeros", (12,)),
        of("zeros", dtype="float64"),
        of("constant(-0.0)"),
        of("constant(1e-30)"),
        of("ones"),
        of("random_normal"),
        of("random_normal", seed=1),
        of("random_normal", name="b"),
        of("random_normal", layout="o i"),
        of("random_normal(stddev=0.02)"),
        of("random_normal(mean=0.02)"),
        of("truncated_normal"),
        of("random_uniform"),
        of("identity"),
        of("identity(gain=2)"),
        of("orthogonal", layout="o i"),
        of("orthogonal", layout="o i", seed=1),
        of("orthogonal", layout="i o"),
        of("orthogonal(gain=2)", layout="o i"),
        of(initializers.Constant([1, 2, 3])),
        of(initializers.Constant([1, 2, 4])),
        of(function),
        of(function, seed=1),
        of("stft", (4, 1, 3)),
        of("stft(side='imag')", (4, 1, 3)),
    ]
    assert len(set(digests)) == len(digests)


# The shape of things -------------------------------------------------------------------------------


def test_what_is_made_is_frozen_and_shown() -> None:
    rule, parameter, entry = GPT2.rules[3], GPT2.parameters[0], GPT2.resolve()[0]
    for thing in (rule, parameter, entry):
        with pytest.raises(AttributeError):
            thing.layout = None  # type: ignore[misc, union-attr]
    assert repr(GPT2) == "<Plan of 4 rules and 148 parameters>"
    assert str(rule) == 'match "*.bias", zeros'
    assert str(Rule(list("abcde"), np.zeros(3))) == 'match ["a", "b", "c", and 2 more], an array of shape (3,)'
    assert str(Rule(["é"], initializers.HeNormal)) == 'match ["é"], HeNormal'
    assert str(parameter) == "transformer.wte.weight, shape (50257, 768)"
    assert "where" not in repr(rule) + repr(parameter)


def test_plans_are_at_the_front_door() -> None:
    assert fanin.Plan is Plan
    assert fanin.plan.Plan is Plan
    assert {"Parameter", "Plan", "Rule"} <= set(fanin.__all__)
    names = ["About", "Entry", "Fused", "Parameter", "Plan", "Resolved", "Rule", "defaults", "digest"]
    assert fanin.plan.__all__ == names
