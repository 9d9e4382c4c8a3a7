"""Plans as TOML files: what can be written, and what is said, with file and line, of what cannot."""

import math
from pathlib import Path

import pytest
from harness import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plans import made, rounded, stddev, told

from fanin import Parameter, Plan, initializers
from fanin.plan import digest
from fanin.plan.positions import Lines

FILE = """\
# A comment with [[rules]] in it.
[plan]
layout = "o i *k"
dtype = "bfloat16"

[quantities]
n_layer = 3
width = 8
inner = "4 * width"
scale = "0.02 / sqrt(2 * n_layer)"

[[parameters]]
name = "h.{i}.c_proj.weight"
for = { i = "n_layer" }
shape = ["width", "inner"]

[[parameters]]
name = "h.{i}.{norm}.{part}"
for = { i = [0, 2], norm = ["ln_1", "ln_2"], part = ["weight", "bias"] }
shape = ["width * (i + 1)"]

[[parameters]]
name = "steps"
shape = []
dtype = "int64"

[[parameters]]
name = "conv"
shape = [2, 3, 5, 5]
layout = "i o *k"
dtype = "float32"

[[rules]]
match = "*.c_proj.weight"
initializer = "random_normal(stddev=scale)"
expect = "n_layer"

[[rules]]
match = ["*.bias", "steps"]
initializer = { class_name = "Constant", config = { value = 0 } }

[[rules]]
regex = 'h\\.(?P<n>\\d)\\.ln_[12]\\.weight'
initializer = "constant(n)"

[[rules]]
match = "conv"
initializer = "he_uniform"
seed = 7
"""


def test_a_file_has_everything() -> None:
    plan = Plan.from_text(FILE, source="file.toml")
    assert plan.quantities == {"n_layer": 3, "width": 8, "inner": 32, "scale": 0.02 / math.sqrt(6)}
    entries = {entry.name: entry for entry in plan.resolve(seed=3)}
    assert list(entries) == [
        *(f"h.{i}.c_proj.weight" for i in range(3)),
        *(f"h.{i}.{norm}.{part}" for i in (0, 2) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")),
        "steps",
        "conv",
    ]
    proj = entries["h.1.c_proj.weight"]
    assert (proj.shape, proj.dtype.name, proj.layout.text, proj.seed) == ((8, 32), "bfloat16", "o i *k", 3)
    assert stddev(proj) == rounded(0.02 / math.sqrt(6))
    assert entries["h.2.ln_1.bias"].shape == (24,)
    assert (made(entries["h.2.ln_2.weight"]) == 2).all()
    assert (entries["steps"].shape, made(entries["steps"]).item(), entries["steps"].dtype.name) == ((), 0, "int64")
    conv = entries["conv"]
    assert (conv.shape, conv.dtype.name, conv.layout.text, conv.seed) == ((2, 3, 5, 5), "float32", "i o *k", 7)
    assert_same_bits(made(conv), initializers.HeUniform(seed=7)((2, 3, 5, 5), name="conv", layout="i o *k"))
    assert [rule.where for rule in plan.rules] == [f"file.toml, line {n}" for n in (33, 38, 42, 46)]
    assert [plan.parameters[n].where for n in (0, 3, 11)] == [f"file.toml, line {n}" for n in (12, 17, 22)]


def test_a_file_is_the_same_as_its_text(tmp_path: Path) -> None:
    data = FILE.encode()
    for name, written in {"a": data, "bom": b"\xef\xbb\xbf" + data, "crlf": data.replace(b"\n", b"\r\n")}.items():
        (tmp_path / name).write_bytes(written)
        plan = Plan.from_file(tmp_path / name)
        assert digest(plan.resolve()) == digest(Plan.from_text(FILE).resolve())
        assert plan.rules[0].where == f"{tmp_path / name}, line 33"
        assert Plan.from_file(str(tmp_path / name)).rules == plan.rules


def test_a_file_s_parameters_can_be_others() -> None:
    plan = Plan.from_text(FILE)
    names = [
        "h.0.c_proj.weight",
        "h.1.c_proj.weight",
        "h.5.c_proj.weight",
        "h.1.ln_1.weight",
        "steps",
        "x.bias",
        "conv",
    ]
    entries = plan.resolve([Parameter(name, (2, 2, 1), "float16") for name in names], dtype="float8_e5m2")
    assert {entry.dtype.name for entry in entries} == {"float8_e5m2"}
    assert [entry.name for entry in entries] == names


def test_loops_can_follow_each_other() -> None:
    plan = Plan.from_text(
        """
        [[parameters]]
        name = "layer{s}.{i}"
        for = [{ s = [1, 4], i = 2 }, { i = "1 + 2", s = [2] }, { s = [3], i = 0 }]
        shape = ["2 ** s", "i"]
        [[rules]]
        match = "*"
        initializer = "zeros"
        """
    )
    shapes = {parameter.name: parameter.shape for parameter in plan.parameters}
    assert list(shapes) == ["layer1.0", "layer1.1", "layer4.0", "layer4.1", "layer2.0", "layer2.1", "layer2.2"]
    assert shapes["layer4.1"] == (16, 1)


def test_a_template_names_each_value_once() -> None:
    plan = Plan.from_text(
        "[[parameters]]\nname = 'a{i}.{i}.{w}'\nfor = { i = 2, w = ['{i}', 'x.y'] }\nshape = [1]\n"
        "[[rules]]\nmatch = '*'\ninitializer = 'zeros'\n"
    )
    assert [p.name for p in plan.parameters] == ["a0.0.{i}", "a0.0.x.y", "a1.1.{i}", "a1.1.x.y"]


def test_thousands_of_parameters_take_a_moment() -> None:
    plan = Plan.from_text(
        "[[parameters]]\nname = 'l.{i}.e.{j}.w'\nfor = { i = 60, j = 200 }\nshape = ['8 * (i + 1)', 3]\n"
        "layout = 'o i'\n[[rules]]\nmatch = '*'\ninitializer = 'he_normal'\n"
    )
    assert len(plan.resolve()) == 12000


def test_from_file_tells_why_it_cannot_read(tmp_path: Path) -> None:
    told(lambda: Plan.from_file(tmp_path / "no.toml"), "no.toml' cannot be read: No such file")
    told(lambda: Plan.from_file(tmp_path), "cannot be read: Is a directory")
    (tmp_path / "latin.toml").write_bytes(b"# a\n# \xe9\n")
    told(lambda: Plan.from_file(tmp_path / "latin.toml"), "is no UTF-8 text", "latin.toml, line 2)")


RULE = '\n[[rules]]\nmatch = "*"\ninitializer = "zeros"\n'
PARAMETER = '[[parameters]]\nname = "a"\nshape = [2]\n'

BAD: dict[str, tuple[str, list[str]]] = {
    "malformed": ("a = = 1", ["no TOML that can be read: Invalid value, column 5.", "(file.toml, line 1)"]),
    "malformed below": ("\n\n[plan]\nx", ["no TOML", "Expected '='", "(file.toml, line 4)"]),
    "key twice": ("[plan]\ndtype = 'a'\ndtype = 'b'", ["no TOML", "(file.toml, line 3)"]),
    "unterminated": ("a = '''\n\n", ["no TOML", "at its end", "(file.toml, line 3)"]),
    "deep": ("a = " + "[" * 5000 + "]" * 5000, ["nested too deeply"]),
    "empty": ("", ["the plan has no rules; write one, headed [[rules]]", "line 1)"]),
    "no rules": (PARAMETER, ["the plan has no rules"]),
    "unknown table": ("[[rulse]]\n", ["a plan has no key 'rulse'; did you mean 'rules'?", "(file.toml, line 1)"]),
    "unknown key": ("x = 1", ["a plan has no key 'x'; there are about, plan, config, quantities, parameters, rules,"]),
    "one rule": ("[rules]\nmatch = '*'", ["a plan: rules must be tables, each headed [[rules]]"]),
    "one parameter": ("[parameters]\nname = '*'", ["parameters must be tables, each headed [[parameters]]"]),
    "many plans": ("[[plan]]", ["a plan: plan must be a table"]),
    "no tables": ("rules = [1, 'a']", ["2 problems", "[[rules]] holds tables, not 1.", "not 'a'."]),
    "plan's key": ("[plan]\nlayuot = 'o i'" + RULE, ["[plan] has no key 'layuot'; did you mean 'layout'?", "line 2)"]),
    "plan's layout": ("[plan]\nlayout = 'o q'" + RULE, ["cannot read 'q'", "(file.toml, line 2)"]),
    "plan's empty layout": ("[plan]\nlayout = ''" + RULE, ["layout '' is empty", "(file.toml, line 2)"]),
    "plan's dtype": ("[plan]\n\ndtype = 'float7'" + RULE, ["unknown dtype 'float7'", "(file.toml, line 3)"]),
    "plan's type": ("[plan]\ndtype = 3" + RULE, ["[plan]: dtype must be a text, not 3.", "(file.toml, line 2)"]),
    "rule's key": (RULE + "iff = 1", ["[[rules]] has no key 'iff'", "(file.toml, line 5)"]),
    "where": (RULE + "where = 'x'", ["[[rules]] has no key 'where'"]),
    "rule's near key": (RULE + "expext = 1", ["no key 'expext'; did you mean 'expect'?"]),
    "rule's match": (RULE.replace('"*"', "3"), ["match must be a pattern or a list of patterns, not 3.", "line 3)"]),
    "rule's matches": (RULE.replace('"*"', "['a', 3]"), ["rule 1: match must be a pattern", "(file.toml, line 2)"]),
    "rule's both": (RULE + "regex = 'a'", ["rule 1: a rule has both match and regex", "(file.toml, line 2)"]),
    "rule's neither": (RULE.replace('match = "*"', ""), ["rule 1: a rule has none of match", "(file.toml, line 2)"]),
    "rule's regex": ("[[rules]]\nregex = '('\ninitializer = 'zeros'", ["rule 1: the regex '(' cannot be read"]),
    "rule's initializer": ("[[rules]]\nmatch = '*'", ["[[rules]] needs initializer: a text such", "line 1)"]),
    "a number": (RULE.replace('"zeros"', "0.5"), ["initializer must be a text such as", "not 0.5.", "line 4)"]),
    "a list": (RULE.replace('"zeros"', "['zeros']"), ["initializer must be a text", "not ['zeros']"]),
    "rule's seed": (RULE + "seed = -1", ["rule 1: seed must be an integer from 0", "(file.toml, line 2)"]),
    "rule's wide seed": (RULE + "seed = 18446744073709551616", ["seed must be an integer from 0"]),
    "rule's true seed": (RULE + "seed = true", ["seed must be an integer, not True.", "(file.toml, line 5)"]),
    "rule's text seed": (RULE + "seed = 'x'", ["seed must be an integer, not 'x'."]),
    "rule's expect": (RULE + "expect = 'n'", ["rule 1", "expect: 'n'", "unknown name 'n'", "(file.toml, line 2)"]),
    "rule's true expect": (RULE + "expect = true", ["expect must be a count or an expression, not True"]),
    "rule's layout": (RULE + "layout = 'x'", ["rule 1: layout 'x': cannot read 'x'", "(file.toml, line 2)"]),
    "two rules": (
        RULE + "seed = -1\n" + RULE + "layout = 'x'\n",
        ["2 problems", "rule 1: seed", "line 2)", "rule 2: layout", "line 7)"],
    ),
    "rule's capture": ("[quantities]\ni = 1" + RULE.replace("*", "{i}") + "expect = 'i'", ["captures 'i'", "line 3)"]),
    "quantity": ("[quantities]\na = 'b'\nb = 2" + RULE, ["'a': refers to 'b'", "not above it", "(file.toml, line 2)"]),
    "quantity's type": ("[quantities]\na = [1]" + RULE, ["quantity 'a': is [1]", "(file.toml, line 2)"]),
    "quantity's truth": ("[quantities]\na = true" + RULE, ["quantity 'a': is True"]),
    "quantity's date": ("[quantities]\na = 2020-01-01" + RULE, ["quantity 'a': is datetime.date"]),
    "quantity's nan": ("[quantities]\na = nan" + RULE, ["quantity 'a': is nan"]),
    "quantity's name": ("[quantities]\na-b = 1" + RULE, ["'a-b' cannot stand in an expression"]),
    "quantity's sum": ("[quantities]\na = '1 +'" + RULE, ["quantity 'a': '1 +'", "cannot be read", "line 2)"]),
    "quantities": (
        "[quantities]\n" + "".join(f"a{n} = 'x'\n" for n in range(12)) + RULE,
        ["12 problems", "(file.toml, line 2)", "(file.toml, line 11)", "and 2 more"],
    ),
    "unused": ("[quantities]\nn_layer = 1\n\nn = 2" + RULE + "expect = 'n_layer'", ["'n' is not used", "line 4)"]),
    "unused ones": ("[quantities]\na = 1\nb = 'a'\nc = 2" + RULE, ["2 problems", "'b' is not used", "'c' is not used"]),
    "parameter's name": ("[[parameters]]\nshape = [2]" + RULE, ["[[parameters]] needs name: a text.", "line 1)"]),
    "parameter's empty name": ("[[parameters]]\nname = ''\nshape = []" + RULE, ["name must be a text", "line 1)"]),
    "parameter's shape": ("[[parameters]]\nname = 'a'" + RULE, ["[[parameters]] needs shape: a list"]),
    "parameter's key": (PARAMETER + "shpae = 1" + RULE, ["no key 'shpae'; did you mean 'shape'?", "line 4)"]),
    "parameter's text": (PARAMETER.replace("[2]", "'2'") + RULE, ["shape must be a list of integers", "line 3)"]),
    "parameter's half": (PARAMETER.replace("2", "2.5") + RULE, ["parameter 'a': 2.5, which is no integer from 0."]),
    "parameter's minus": (PARAMETER.replace("2", "-2") + RULE, ["-2, which is no integer from 0"]),
    "parameter's truth": (PARAMETER.replace("2", "true") + RULE, ["True, which is no integer"]),
    "parameter's list": (PARAMETER.replace("2", "[2]") + RULE, ["[2], which is no integer"]),
    "parameter's ratio": (PARAMETER.replace("2", "'4 / 2'") + RULE, ["'4 / 2' is 2.0", "divide integers by //"]),
    "parameter's sum": (PARAMETER.replace("2", "'n'") + RULE, ["parameter 'a': 'n'", "unknown name 'n'", "line 1)"]),
    "parameter's dtype": (PARAMETER + "dtype = 'f7'" + RULE, ["parameter 'a': unknown dtype 'f7'"]),
    "parameter's layout": (PARAMETER + "layout = 'o i'" + RULE, ["parameter 'a': layout 'o i' is for rank 2"]),
    "parameter's size": (PARAMETER.replace("2", "'2 ** 63'") + RULE, ["2**63 elements"]),
    "twice": (PARAMETER + PARAMETER + RULE, ["'a' is there twice, first at file.toml, line 1", "(file.toml, line 4)"]),
    "for text": (PARAMETER + "for = 'i'" + RULE, ["for must be a table such as", "not 'i'", "line 4)"]),
    "for list": (PARAMETER + "for = [1]" + RULE, ["for must be a table such as", "not [1]"]),
    "for unused": (PARAMETER + "for = { i = 2 }" + RULE, ["the name does not use all of for"]),
    "for missing": (PARAMETER.replace('"a"', '"{i}.a"') + RULE, ["for does not say what {i} is"]),
    "for brace": (PARAMETER.replace('"a"', '"a{"') + RULE, ["has a brace that is part of no {name}"]),
    "for wrong": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = 'n' }" + RULE, ["i must be a count", "name 'n'"]),
    "for half": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = 2.5 }" + RULE, ["i must be a count", "2.5"]),
    "for truth": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = true }" + RULE, ["i must be a count", "True"]),
    "for minus": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = -1 }" + RULE, ["i must be a count", "-1"]),
    "for none": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = [] }" + RULE, ["i is []; a list has texts"]),
    "for half item": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = [1.5] }" + RULE, ["i is [1.5]; a list has"]),
    "for true item": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = [true] }" + RULE, ["i is [True]; a list has"]),
    "for empty item": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = [''] }" + RULE, ["i is ['']; a list has"]),
    "for twice": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = [1, 1] }" + RULE, ["'1' is there twice"]),
    "for many": (PARAMETER.replace('"a"', '"{i}"') + "for = { i = '10 ** 12' }" + RULE, ["more than 1048576"]),
    "for quantity": (
        "[quantities]\ni = 1\n" + PARAMETER.replace('"a"', '"{i}"') + "for = { i = 'i' }" + RULE,
        ["for: 'i' is a quantity already."],
    ),
    "for function": (PARAMETER.replace('"a"', '"{max}"') + "for = { max = 2 }" + RULE, ["'max' has a meaning"]),
    "for word": (
        PARAMETER.replace('"a"', '"{i}"').replace("2", "'i'") + "for = { i = ['x'] }" + RULE,
        ["unknown name 'i'"],
    ),
    "unclaimed": (PARAMETER + RULE.replace("*", "b"), ["no rule claims 1 of 1", "nearest is rule 1", "line 5)"]),
    "tie": (PARAMETER + RULE + RULE, ["and rule 2", "neither is more", "(file.toml, line 5, file.toml, line 9)"]),
    "fans": (PARAMETER + RULE.replace("zeros", "he_normal"), ["has no input axis", "(file.toml, line 5)"]),
    "unknown": (PARAMETER + RULE.replace("zeros", "zeroes_"), ["no initializer is called", "(file.toml, line 5)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told(name: str) -> None:
    text, fragments = BAD[name]
    message = told(lambda: Plan.from_text(text, source="file.toml").resolve(), *fragments)
    assert "file.toml" in message


def test_the_good_file_under_the_bad_ones_resolves() -> None:
    assert len(Plan.from_text(PARAMETER + RULE, source="file.toml").resolve()) == 1
    assert len(BAD) >= 80


# Lines ---------------------------------------------------------------------------------------------

FILLERS = [
    "# [[rules]]\n# match = 1",
    'a{n} = "[[rules]] # no"  # a comment',
    "a{n} = '[[rules]] \\'",
    'a{n} = "\\"[[rules]]\\\\"',
    'a{n} = """\n[[rules]]\nmatch = 1 \\"""\n"""""',
    "a{n} = '''\n[[rules]]\n''''",
    'a{n} = ["""\n]\n""", \'#\', # ]\n  { x = [1, 2], "y z" = "}" },\n]',
    "a{n}.b.'c d' = 1979-05-27 07:32:00",
    '"a{n} = 1" = -1.5e3',
    "a{n} = [\n  [1, 2],\n\n  [],\n]",
    "a{n} = {}",
    "",
]


@given(st.lists(st.tuples(st.sampled_from(FILLERS), st.booleans()), max_size=12), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=200, deadline=None)
def test_lines_are_found_among_anything(pieces: list[tuple[str, bool]], newline: str) -> None:
    text, expected, tables = "", {}, 0
    for n, (filler, opens) in enumerate(pieces):
        if opens:
            expected["rules", tables] = text.count("\n") + 1
            text += ("[[rules]]", "[[ 'rules' ]] # x", '  [["rules"]]')[n % 3] + newline
            tables += 1
            expected["rules", tables - 1, "here"] = text.count("\n") + 1
            text += f"here = {n}{newline}"
        text += filler.replace("{n}", str(n)).replace("\n", newline) + newline
    lines = Lines(text)
    for path, line in expected.items():
        assert lines.of(*path) == line, (path, text)


def test_lines_of_everything() -> None:
    text = (
        'a.b = 1\nc = [\n  { d = 1,\n e = [2,\n3] } ]\n[f]\ng = 1\n[[f.h]]\ni = 1\n[f.h.j]\nk = 1\n[[f.h]]\n"l.m" = 1'
    )
    lines = Lines(text)
    paths = {
        ("a",): 1, ("a", "b"): 1, ("c",): 2, ("c", 0): 3, ("c", 0, "d"): 3, ("c", 0, "e"): 4, ("c", 0, "e", 1): 5,
        ("f",): 6, ("f", "g"): 7, ("f", "h"): 8, ("f", "h", 0, "i"): 9, ("f", "h", 0, "j", "k"): 11,
        ("f", "h", 1): 12, ("f", "h", 1, "l.m"): 13, ("f", "h", 1, "nothing"): 12, ("nothing", 3): 1, (): 1,
    }  # fmt: skip
    for path, line in paths.items():
        assert lines.of(*path) == line, path


def test_a_table_of_a_rule_below_its_header_is_found() -> None:
    text = PARAMETER + '\n[[rules]]\nmatch = "a"\n[rules.initializer]\nclass_name = "Nope"\n'
    told(lambda: Plan.from_text(text, source="file.toml").resolve(), "Nope", "(file.toml, line 5)")
    inline = f"rules = [\n{{ match = 'a', initializer = 'nope' }}]\n{PARAMETER}"
    told(lambda: Plan.from_text(inline, source="file.toml").resolve(), "nope", "(file.toml, line 2)")


def test_the_plan_in_the_documents_resolves() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "plans.md").read_text("utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    plan = Plan.from_text(text)
    assert [str(entry.initializer) for entry in plan.resolve()].count("HeNormal()") == 8
    layouts = {entry.name: entry.layout.text for entry in plan.resolve()}
    assert (layouts["embed.weight"], layouts["layers.0.attn.out.weight"]) == ("i o", "o i *k")
