"""The one small grammar: arithmetic in plans, and calls such as ``"he_normal(seed=1)"``.

A text is parsed by Python's own parser and read from a whitelist of nodes; nothing is ever executed.
The value of an expression is the same on every machine: integers stay exact, ``+ - * /`` and sqrt
are IEEE float64, and powers, log and exp go through `decimal` with 50 digits, rounded once. A comparison
is 1 or 0.
"""

import ast
import decimal
import difflib
import math
import numbers
import operator
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn, Union

from fanin.errors import ExpressionError

__all__ = ["FUNCTIONS", "Argument", "Call", "Number", "evaluate", "parse_call"]

Number = int | float
Argument = Union[Number, str, bool, None, list["Argument"], "Call"]

LONGEST_TEXT = 1000  # characters
DEEPEST_NESTING = 100
WIDEST_INTEGER = 4096  # bits

_CONSTANTS: dict[str, Number] = {"pi": math.pi, "inf": math.inf}


class Call(NamedTuple):
    """A name with its arguments."""

    name: str
    args: tuple[Argument, ...]
    kwargs: dict[str, Argument]


def evaluate(text: str, quantities: Mapping[str, Number] | None = None) -> Number:
    """Compute an arithmetic expression.

    The grammar has numbers, ``+ - * / // % **``, parentheses, ``sqrt log exp min max abs``, ``pick(index, ...)``
    for one of the values after the index, counted from 0, the names of `quantities`, ``pi``, and ``inf`` for open
    bounds; for conditions ``== != < <= > >=`` between two numbers and ``and or not``, which give 1 or 0 and take
    every other number for true.

    Args:
        text: the expression, at most 1000 characters.
        quantities: the names that it may use.

    Returns:
        An int where only integers were added, subtracted, multiplied, floor-divided or raised to
        non-negative powers, and where numbers were compared, else a float. It is finite unless it is plainly
        ``inf`` or ``-inf``.

    Raises:
        ExpressionError: the text is not in the grammar, names an unknown quantity, divides by zero,
            leaves the range of float64 or makes an integer of more than 4096 bits.

    >>> evaluate("0.02 / sqrt(2 * n_layer)", {"n_layer": 8})
    0.005
    """
    reader = _Reader(text, quantities)
    return reader.number(reader.tree)


def parse_call(text: str, quantities: Mapping[str, Number] | None = None) -> Call:
    """Read ``name`` or ``name(argument, key=argument, ...)``.

    An argument is an arithmetic expression (see `evaluate`), a quoted text, True, False, None, a list of
    these, or another call: of any name but the functions of arithmetic, and always with parentheses, so
    that a bare name is always one of the quantities.

    Raises:
        ExpressionError: the text is no such call.

    >>> parse_call("variance_scaling(2 / 3, mode='fan_out')")
    Call(name='variance_scaling', args=(0.6666666666666666,), kwargs={'mode': 'fan_out'})
    >>> parse_call("scaled(ones(), sqrt(4))")
    Call(name='scaled', args=(Call(name='ones', args=(), kwargs={}), 2.0), kwargs={})
    """
    reader = _Reader(text, quantities)
    return reader.call(reader.tree)


class _Reader:
    """Reads the tree of one text."""

    def __init__(self, text: str, quantities: Mapping[str, Number] | None) -> None:
        if not isinstance(text, str):
            raise ExpressionError(f"an expression is a text, not {text!r}.")
        if len(text) > LONGEST_TEXT:
            raise ExpressionError(f"{text[:40]!r}... has {len(text)} characters; write at most {LONGEST_TEXT}.")
        self.text = text
        self.names = _CONSTANTS | _numbers(quantities)
        # One line, so that the parser's columns are positions in the text.
        self.line = "".join(" " if character.isspace() else character for character in text)
        self.indent = len(self.line) - len(self.line.lstrip())
        self.depth = 0
        try:
            self.tree = ast.parse(self.line.strip(), mode="eval").body
        except SyntaxError as error:
            raise self.error(f"cannot be read: {error.msg}", self.indent + (error.offset or 1)) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise self.error(f"cannot be read: {error or 'nested too deeply'}", 1) from None

    def error(self, problem: str, where: ast.AST | int) -> ExpressionError:
        if not isinstance(where, int):
            offset = getattr(where, "col_offset", 0)  # in bytes of UTF-8
            where = self.indent + len(self.line.strip().encode()[:offset].decode()) + 1
        names = ", ".join(sorted(self.names))
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]}..."
        stop = "" if problem.endswith("?") else "."
        return ExpressionError(
            f"{shown!r}, column {where}: {problem}{stop} Write numbers, + - * / // % **, == != < <= > >=, and or not, "
            f"{', '.join(FUNCTIONS)}, and the names {names}."
        )

    def unknown(self, name: str, where: ast.AST) -> NoReturn:
        if name in FUNCTIONS:
            raise self.error(f"{name} is a function; write {name}(...)", where)
        near = difflib.get_close_matches(name, self.names, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise self.error(f"unknown name {name!r}{hint}", where)

    def number(self, node: ast.expr) -> Number:
        self.deeper(node)
        value = self.checked(self.compute(node), node)
        self.depth -= 1
        return value

    def compute(self, node: ast.expr) -> Number:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value
            case ast.Name(id=name):
                return self.names[name] if name in self.names else self.unknown(name, node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.number(operand)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.number(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self.apply(_OPERATORS[type(op)], [self.number(left), self.number(right)], node)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return int(_COMPARISONS[type(op)](self.number(left), self.number(right)))
            case ast.BoolOp(op=op, values=parts):
                truths = [self.number(part) != 0 for part in parts]
                return int(all(truths) if isinstance(op, ast.And) else any(truths))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return int(self.number(operand) == 0)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                function, arity = FUNCTIONS[name]
                if not args or (arity is not None and len(args) != arity):
                    raise self.error(f"{name} takes {arity or 'one or more'} argument(s), not {len(args)}", node)
                return self.apply(function, [self.number(arg) for arg in args], node)
            case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
                near = difflib.get_close_matches(name, FUNCTIONS, n=3)
                raise self.error(f"unknown function {name!r}{f'; did you mean {near[0]}?' if near else ''}", node)
        raise self.error(f"{ast.unparse(node)!r} is no arithmetic", node)

    def apply(self, function: Callable[..., Number], values: list[Number], node: ast.expr) -> Number:
        try:
            return function(*values)
        except (ZeroDivisionError, decimal.DivisionByZero):
            raise self.error("division by zero", node) from None
        except (OverflowError, decimal.Overflow):
            raise self.error("the result is beyond float64, or an integer of more than 4096 bits", node) from None
        except IndexError:
            raise self.error(f"{ast.unparse(node)!r} picks none of {len(values) - 1}, counted from 0", node) from None
        except (ValueError, decimal.InvalidOperation):
            raise self.error(f"{ast.unparse(node)!r} is not a real number", node) from None

    def checked(self, value: Number, node: ast.expr) -> Number:
        if isinstance(value, int):
            if value.bit_length() > WIDEST_INTEGER:
                raise self.error(f"an integer of more than {WIDEST_INTEGER} bits", node)
        elif math.isnan(value):
            raise self.error("the result is no number", node)
        elif math.isinf(value) and not isinstance(node, ast.Name | ast.UnaryOp):
            raise self.error("the result is beyond float64", node)
        return value

    def call(self, node: ast.expr) -> Call:
        match node:
            case ast.Name(id=name):
                return Call(name, (), {})
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                kwargs: dict[str, Argument] = {}
                for keyword in keywords:
                    if keyword.arg is None or keyword.arg in kwargs:
                        raise self.error("give each argument once, as key=value", keyword)
                    kwargs[keyword.arg] = self.argument(keyword.value)
                return Call(name, tuple(self.argument(arg) for arg in args), kwargs)
        raise self.error("this is no name or call, such as he_normal or he_normal(seed=1)", node)

    def argument(self, node: ast.expr) -> Argument:
        match node:
            case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
                self.deeper(node)
                call = self.call(node)
                self.depth -= 1
                return call
        return self.plain(node)

    def plain(self, node: ast.expr) -> Argument:
        match node:
            case ast.Constant(value=bool() | str() | None as value):
                return value
            case ast.List(elts=items):
                self.deeper(node)
                values = [self.plain(item) for item in items]
                self.depth -= 1
                return values
        return self.number(node)

    def deeper(self, node: ast.expr) -> None:
        self.depth += 1
        if self.depth > DEEPEST_NESTING:
            raise self.error(f"nested more than {DEEPEST_NESTING} deep", node)


def _numbers(quantities: Mapping[str, Number] | None) -> dict[str, Number]:
    """Read quantities as Python's own numbers."""
    if not (quantities is None or isinstance(quantities, Mapping)):
        raise ExpressionError(f"quantities are a dict of numbers by name, not {quantities!r}.")
    read: dict[str, Number] = {}
    for name, value in (quantities or {}).items():
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ExpressionError(f"quantity {name!r} is {value!r}; give a number under a name.")
        try:
            read[name] = int(value) if isinstance(value, numbers.Integral) else float(value)
        except OverflowError:
            raise ExpressionError(f"quantity {name!r} is {value!r}, which is beyond float64.") from None
    return read


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        # The width is base's, times the exponent, less one bit per factor at most.
        if abs(base) > 1 and (abs(base).bit_length() - 1) * exponent > WIDEST_INTEGER:
            raise OverflowError
        return int(base**exponent)
    if exponent == 0:
        return 1.0
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    return float(_digits().power(decimal.Decimal(base), decimal.Decimal(exponent)))


def _log(value: Number) -> float:
    if value <= 0:
        raise ValueError
    return float(_digits().ln(decimal.Decimal(value)))


def _exp(value: Number) -> float:
    return float(_digits().exp(decimal.Decimal(value)))


def _pick(index: Number, *values: Number) -> Number:
    if not isinstance(index, int) or not 0 <= index < len(values):
        raise IndexError
    return values[index]


def _digits() -> decimal.Context:
    """Fifty digits, whatever this process has made of `decimal.DefaultContext`."""
    return decimal.Context(
        prec=50,
        rounding=decimal.ROUND_HALF_EVEN,
        Emin=-999_999,
        Emax=999_999,
        capitals=1,
        clamp=0,
        flags=[],
        traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
    )


_OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

_COMPARISONS: dict[type[ast.cmpop], Callable[[Number, Number], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

FUNCTIONS: dict[str, tuple[Callable[..., Number], int | None]] = {
    "sqrt": (math.sqrt, 1),
    "log": (_log, 1),
    "exp": (_exp, 1),
    "min": (lambda *values: min(values), None),
    "max": (lambda *values: max(values), None),
    "abs": (abs, 1),
    "pick": (_pick, None),
}
