"""The grammar of calls and arithmetic: what it computes, and that it refuses everything else quickly."""

import decimal
import math
import time
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin.errors import ExpressionError
from fanin.expressions import Call, evaluate, parse_call

QUANTITIES = {"fan_in": 512, "n_layer": 12, "β": 0.02}

VALUES = [
    ("3", 3),
    ("  3  ", 3),
    ("0x10 + 1_000", 1016),
    ("2 + 3 * 4", 14),
    ("-2 ** 2", -4),
    ("2 ** -3", 0.125),
    ("2 ** 3 ** 2", 512),
    ("7 // 2", 3),
    ("-7 // 2", -4),
    ("-7 % 4", 1),
    ("7.5 % 2", 1.5),
    ("7 / 2", 3.5),
    ("6 / 2", 3.0),
    ("10 ** 40 // 10 ** 38", 100),
    ("(2 ** 60 + 1) * 1", 2**60 + 1),
    ("sqrt(16)", 4.0),
    ("log(1)", 0.0),
    ("exp(0)", 1.0),
    ("exp(-1e300)", 0.0),
    ("0 ** 0", 1),
    ("0.0 ** 0", 1.0),
    ("(-2.0) ** 3", -8.0),
    ("(10 ** 300) ** 0.5", 1e150),
    ("min(3, 1.5, 2)", 1.5),
    ("max(3, 4)", 4),
    ("abs(-3)", 3),
    ("pick(0, 5, 6.5)", 5),
    ("pick(n_layer - 10, 1, 2, fan_in)", 512),
    ("+fan_in", 512),
    ("0.02 / sqrt(2 * n_layer)", 0.02 / math.sqrt(24)),
    ("fan_in ** -0.5", 512**-0.5),
    ("β * 2", 0.04),
    ("2 * pi", 2 * math.pi),
    ("-inf", -math.inf),
    ("2 ** 4095", 2**4095),
    ("1 ** (10 ** 1000)", 1),
    ("1 < 2", 1),
    ("2 <= 1", 0),
    ("n_layer == 12.0", 1),
    ("n_layer != 12", 0),
    ("2 > 1 and 0.5", 1),
    ("n_layer % 4 == 3 or 0", 0),
    ("not 3", 0),
    ("not 0.0", 1),
    ("not 1 < 2", 0),
    ("3 * (fan_in >= 512)", 3),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_values_and_their_types(text: str, value: float) -> None:
    result = evaluate(text, QUANTITIES)
    assert (result, type(result)) == (value, type(value))


ERRORS = [
    ("", "column 1", "cannot be read"),
    ("1 +", "cannot be read", "invalid syntax"),
    ("1\x00", "cannot be read", "null bytes"),
    ("\ud800", "cannot be read", "surrogates"),
    ("1 / 0", "division by zero", "column 1"),
    ("2 * (1 // 0)", "division by zero", "column 6"),
    ("5 % 0", "division by zero", ""),
    ("0 ** -1", "division by zero", ""),
    ("0.0 ** -1", "division by zero", ""),
    ("1 + fan_ni", "unknown name 'fan_ni'; did you mean fan_in?", "column 5"),
    ("β + sigmoid", "unknown name 'sigmoid'", "column 5"),
    ("zebra", "unknown name 'zebra'", "the names fan_in, inf, n_layer, pi"),
    ("sqrt", "sqrt is a function", "sqrt(...)"),
    ("sqr(4)", "unknown function 'sqr'; did you mean sqrt?", ""),
    ("fan_in(3)", "unknown function 'fan_in'", ""),
    ("sqrt(1, 2)", "sqrt takes 1 argument(s), not 2", ""),
    ("min()", "min takes one or more", ""),
    ("2 * pick(2, 5, 6)", "'pick(2, 5, 6)' picks none of 2, counted from 0", "column 5"),
    ("pick(-1, 5, 6)", "picks none of 2", ""),
    ("pick(1.0, 5, 6)", "picks none of 2", ""),
    ("pick(0)", "picks none of 0", ""),
    ("sqrt(x=2)", "is no arithmetic", ""),
    ("min(*fan_in)", "is no arithmetic", ""),
    ("sqrt(-1)", "is not a real number", ""),
    ("log(0)", "is not a real number", ""),
    ("(-8) ** (1 / 3)", "is not a real number", ""),
    ("exp(1000)", "beyond float64", ""),
    ("exp(1e300)", "beyond float64", ""),
    ("1.5 ** 1e300", "beyond float64", ""),
    ("1e400", "beyond float64", ""),
    ("1e308 * 10", "beyond float64", ""),
    ("10 ** 400 * 1.5", "beyond float64", ""),
    ("inf + 1", "beyond float64", ""),
    ("inf - inf", "no number", ""),
    ("2 ** 4096", "more than 4096 bits", ""),
    ("99999 ** 99999999999", "more than 4096 bits", ""),
    ("(2 ** 4000) * (2 ** 4000)", "more than 4096 bits", ""),
    ("True", "'True' is no arithmetic", ""),
    ("'a'", "is no arithmetic", ""),
    ("1j", "is no arithmetic", ""),
    ("[1]", "is no arithmetic", ""),
    ("1 < 2 < 3", "is no arithmetic", ""),
    ("1 in 2", "is no arithmetic", ""),
    ("1 is 1", "is no arithmetic", ""),
    ("1 < 'a'", "is no arithmetic", ""),
    ("1 and x", "unknown name 'x'", ""),
    ("1 if 1 else 2", "is no arithmetic", ""),
    ("~1", "is no arithmetic", ""),
    ("1 << 9", "is no arithmetic", ""),
    ("lambda: 1", "is no arithmetic", ""),
    ("().__class__", "is no arithmetic", ""),
    ("__import__('os')", "unknown function '__import__'", ""),
    ("(lambda: 1)()", "is no arithmetic", ""),
    ("[x for x in (1,)]", "is no arithmetic", ""),
    ("(x := 3)", "is no arithmetic", ""),
    ("1" + "+1" * 300, "nested more than 100 deep", ""),
    ("-" * 900 + "1", "nested", ""),
    ("(" * 400 + "1" + ")" * 400, "cannot be read", ""),
    ("1" * 1001, "has 1001 characters", "at most 1000"),
]


@pytest.mark.parametrize(("text", "fragment", "also"), ERRORS)
def test_errors_say_what_and_where(text: str, fragment: str, also: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, QUANTITIES)
    assert time.perf_counter() - start < 1.0
    assert fragment in str(caught.value)
    assert also in str(caught.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ExpressionError, match="an expression is a text, not 3"):
        evaluate(3)  # type: ignore[arg-type]


def test_there_are_as_many_cases_as_were_written() -> None:
    assert (len(VALUES), len(ERRORS)) == (46, 59)


@given(st.integers(-(10**30), 10**30), st.integers(-(10**30), 10**30))
def test_integers_stay_exact(a: int, b: int) -> None:
    names = {"a": a, "b": b}
    assert evaluate("a + b", names) == a + b
    assert evaluate("a * b - b", names) == a * b - b
    if b:
        assert evaluate("a // b", names) * b + evaluate("a % b", names) == a
        assert evaluate("a / b", names) == a / b


@given(st.floats(1e-300, 1e300), st.floats(-3, 3))
def test_powers_and_logarithms_are_the_nearest_float64(x: float, y: float) -> None:
    with mpmath.workprec(300):
        log, exp, power = float(mpmath.log(x)), float(mpmath.exp(y)), mpmath.power(x, y)
    assert evaluate("log(x)", {"x": x}) == log
    assert evaluate("exp(y)", {"y": y}) == exp
    if 1e-300 < power < 1e300:
        assert evaluate("x ** y", {"x": x, "y": y}) == float(power)


def test_the_decimal_context_of_the_process_does_not_matter() -> None:
    expected = evaluate("2 ** 0.5 + log(3) + exp(0.1)")
    with decimal.localcontext(prec=3, rounding=decimal.ROUND_UP):
        assert evaluate("2 ** 0.5 + log(3) + exp(0.1)") == expected
    before = decimal.DefaultContext.rounding
    try:
        decimal.DefaultContext.rounding = decimal.ROUND_UP
        assert evaluate("2 ** 0.5 + log(3) + exp(0.1)") == expected
    finally:
        decimal.DefaultContext.rounding = before


@given(st.text(max_size=40))
def test_any_text_is_a_number_or_an_expression_error(text: str) -> None:
    try:
        value = evaluate(text)
    except ExpressionError as error:
        value = len(str(error))
    assert isinstance(value, int | float)


CALLS = [
    ("he_normal", ("he_normal", (), {})),
    (" he_normal ( ) ", ("he_normal", (), {})),
    ("he_normal(seed=1)", ("he_normal", (), {"seed": 1})),
    ("f(1 / 3, -inf, mode='fan_out')", ("f", (1 / 3, -math.inf), {"mode": "fan_out"})),
    ("f(True, None, [1, [2.5, 'a'], []])", ("f", (True, None, [1, [2.5, "a"], []]), {})),
    ("f(std=0.02 / sqrt(n_layer))", ("f", (), {"std": 0.02 / math.sqrt(12)})),
    ("f(g(1), h=h())", ("f", (Call("g", (1,), {}),), {"h": Call("h", (), {})})),
    ("f(sqrt(4), n_layer, n_layer(2))", ("f", (2.0, 12, Call("n_layer", (2,), {})), {})),  # a name and a call differ
]


@pytest.mark.parametrize(("text", "call"), CALLS)
def test_calls(text: str, call: tuple[str, tuple[object, ...], dict[str, object]]) -> None:
    assert parse_call(text, QUANTITIES) == call


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("3", "no name or call"),
        ("a.b(1)", "no name or call"),
        ("f(1)(2)", "no name or call"),
        ("f(**{})", "each argument once"),
        ("f(a=1, a=2)", "column 8: give each argument once"),
        ("f(*x)", "is no arithmetic"),
        ("f((1, 2))", "is no arithmetic"),
        ("f(f'{x}')", "is no arithmetic"),
        ("f(b'a')", "is no arithmetic"),
        ("f(2 * g(1))", "unknown function 'g'"),
        ("f([g(1)])", "unknown function 'g'"),
        ("f(g)", "unknown name 'g'"),
        ("f(g.h(1))", "is no arithmetic"),
        ("f(g(1)(2))", "is no arithmetic"),
        ("f(log(x=1))", "is no arithmetic"),
        ("f(g(h(i(j(*x)))))", "is no arithmetic"),
        ("f(" * 102 + "1" + ")" * 102, "nested more than 100 deep"),
        ("f(nlayer)", "did you mean n_layer?"),
        ("f(1", "was never closed"),
        ("f(" + "[" * 120 + "]" * 120 + ")", "nested more than 100 deep"),
    ],
)
def test_texts_that_are_no_calls(text: str, fragment: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_call(text, QUANTITIES)
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("quantities", "fragment"),
    [
        ([("n", 1)], "quantities are a dict of numbers by name, not"),
        (3, "quantities are a dict"),
        ({1: 2}, "quantity 1 is 2; give a number under a name"),
        ({"n": "2"}, "quantity 'n' is '2'; give a number"),
        ({"n": None}, "quantity 'n' is None"),
        ({"n": True}, "quantity 'n' is True"),
        ({"n": 1j}, "quantity 'n' is 1j"),
        ({"n": np.ones(2)}, "give a number"),
        ({"n": Fraction(10**400)}, "beyond float64"),
        ({"n": math.nan}, "no number"),
    ],
)
def test_quantities_are_numbers_by_name(quantities: object, fragment: str) -> None:
    for read in (lambda: evaluate("n + 1", quantities), lambda: parse_call("f(n)", quantities)):
        with pytest.raises(ExpressionError) as caught:
            read()
        assert fragment in str(caught.value)


def test_quantities_of_numpy_are_python_numbers() -> None:
    found = evaluate("n * x", {"n": np.int64(3), "x": np.float32(0.5)})
    assert (found, type(found)) == (1.5, float)
    assert type(evaluate("n", {"n": np.int64(3)})) is int
