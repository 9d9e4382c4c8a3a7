"""Claims: which rule has which parameter, strictly: all parameters are claimed, and every rule claims."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

from fanin.errors import PlanError
from fanin.layouts import Shape
from fanin.models import Parameter
from fanin.plan.problems import joined, listed, located
from fanin.plan.rules import Rule
from fanin.plan.selectors import Selector

__all__ = ["Claim", "claimed", "titled"]

NEAREST = 3  # names that are suggested
MOST_KINDS = 12  # classes of layers, and roles, that are listed
COMPARED = 500  # kinds of names, at most, among which they are looked for


@dataclass(frozen=True)
class Claim:
    """A parameter, the number of the rule that has it, counted from 0, and what the rule captured."""

    parameter: Parameter
    number: int
    captures: Mapping[str, int]


def titled(number: int, rule: Rule) -> str:
    """How messages call a rule."""
    return f"rule {number + 1} ({rule})"


def claimed(
    rules: Sequence[Rule],
    expected: Sequence[int | None],
    parameters: Sequence[Parameter],
    spared: Set[str] = frozenset(),
) -> tuple[Claim, ...]:
    """Give every parameter to the most specific rule that means it.

    Args:
        rules: in any order.
        expected: how many parameters each is to claim, where it says so.
        parameters: with different names.
        spared: the names of those that may be left.

    Raises:
        PlanError: another parameter is left, or two rules are equally specific for it; a rule claims nothing, or
            a count is not as expected.
    """
    claims: list[Claim] = []
    left: list[Parameter] = []
    tied: dict[tuple[int, ...], list[Parameter]] = {}
    for parameter in parameters:
        meant = {
            number: captures for number, rule in enumerate(rules) if (captures := rule.claims(parameter)) is not None
        }
        best = [n for n in meant if not any(rules[m].outranks(rules[n], parameter) for m in meant if m != n)]
        if not meant:
            left += [] if parameter.name in spared else [parameter]
        elif len(best) == 1:
            claims.append(Claim(parameter, best[0], meant[best[0]]))
        else:
            tied.setdefault(tuple(best or meant), []).append(parameter)
    counts = Counter(claim.number for claim in claims)
    complaints: list[Callable[[], str]] = []  # not all will be told, and looking for what is near takes time
    ambiguous = {number for numbers in tied for number in numbers}
    for number, (rule, wanted) in enumerate(zip(rules, expected, strict=True)):
        if number in ambiguous:  # which has been told, and has to be settled first
            continue
        if not counts[number]:
            if rule.optional:
                continue
            complaints.append(partial(_idle, number, rules, claims, parameters))
        elif wanted is not None and wanted != counts[number]:
            complaints.append(partial(_unexpected, number, rules, claims, wanted))
        for selector in rule.selectors if counts[number] and len(rule.selectors) > 1 and not rule.optional else ():
            if not any(_matches(selector, parameter) for parameter in parameters):
                complaints.append(partial(_unmatched, number, rule, selector, parameters))
    sections = [_unclaimed(left, rules, len(parameters))] if left else []
    sections += [_tied([rules[number] for number in numbers], numbers, found) for numbers, found in tied.items()]
    if len(complaints) > 1:
        sections.append(f"{len(complaints)} rules or patterns do not fit:{listed(complaints, lambda text: text())}")
    elif complaints:
        sections.append(complaints[0]())
    if sections:
        raise PlanError("\n".join(sections))
    return tuple(claims)


def _alike(parameters: Iterable[Parameter]) -> list[list[Parameter]]:
    """Parameters in groups of one shape whose names differ in their numbers only."""
    groups: dict[tuple[str, Shape], list[Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((re.sub("[0-9]+", "0", parameter.name), parameter.shape), []).append(parameter)
    return list(groups.values())


def _unclaimed(left: Sequence[Parameter], rules: Sequence[Rule], total: int) -> str:
    def line(group: list[Parameter]) -> str:
        first = group[0]
        alike = f" and {len(group) - 1} more that differ in numbers only" if len(group) > 1 else ""
        if not rules:
            return located(f"{first}{alike}", first.where)
        near = min(range(len(rules)), key=lambda number: rules[number].distance(first))
        return located(f"{first}{alike}; nearest is {titled(near, rules[near])}", rules[near].where)

    return (
        f"no rule claims {len(left)} of {total} parameters; write a rule for them, or widen one. A plan leaves nothing "
        f"as it happens to be:{listed(_alike(left), line)}"
    )


def _tied(rules: Sequence[Rule], numbers: Sequence[int], parameters: Sequence[Parameter]) -> str:
    names = joined([parameter.name for parameter in parameters])
    titles = " and ".join(titled(number, rule) for number, rule in zip(numbers, rules, strict=True))
    text = (
        f"{titles} both mean {names}, and neither is more specific. Narrow one of them, or write a rule for what they "
        f"share: by a longer pattern, or by name."
    )
    return located(text, ", ".join(rule.where for rule in rules if rule.where))


def _idle(number: int, rules: Sequence[Rule], claims: Sequence[Claim], parameters: Sequence[Parameter]) -> str:
    """Say why a rule claims nothing."""
    rule = rules[number]
    taken = [claim for claim in claims if rule.claims(claim.parameter) is not None]
    if taken:
        others = sorted({claim.number for claim in taken})
        names = joined([claim.parameter.name for claim in taken])
        text = (
            f"{titled(number, rule)} claims nothing: all that it matches ({names}) is claimed by "
            f"{joined([titled(n, rules[n]) for n in others])}, more specific. Remove one of them, or narrow the other."
        )
        return located(text, rule.where)
    return located(f"{titled(number, rule)} matches no parameter. {_missed(rule, parameters)}", rule.where)


def _matches(selector: Selector, parameter: Parameter) -> bool:
    return any(name and selector.match(name) is not None for name in (parameter.name, parameter.array))


def _unmatched(number: int, rule: Rule, selector: Selector, parameters: Sequence[Parameter]) -> str:
    text = f"{titled(number, rule)}: its pattern {selector.text!r} matches no parameter."
    return located(f"{text} {_near([selector], parameters)}", rule.where)


def _missed(rule: Rule, parameters: Sequence[Parameter]) -> str:
    """Say which of the things that a rule selects by there are."""
    texts = []
    for key in ("module", "role"):
        if getattr(rule, key) is not None:
            found = sorted({getattr(parameter, key) for parameter in parameters} - {""})
            texts.append(f"The {key}s here are {joined(found, MOST_KINDS)}." if found else f"No {key}s are known here.")
    return " ".join([*texts, *([_near(rule.selectors, parameters)] if rule.selectors else [])])


def _near(selectors: Sequence[Selector], parameters: Sequence[Parameter]) -> str:
    """Say which names are nearest to selectors that match none."""
    kinds = [group[0].name for group in _alike(parameters)[:COMPARED]]
    near = sorted(kinds, key=lambda name: min(selector.distance(name) for selector in selectors))[:NEAREST]
    brackets = any("[" in selector.tokens for selector in selectors)
    hint = "Brackets stand for themselves; use a regex for sets. " if brackets else ""
    return f"{hint}The nearest names are {', '.join(near)}."


def _unexpected(number: int, rules: Sequence[Rule], claims: Sequence[Claim], wanted: int) -> str:
    rule = rules[number]
    own = [claim.parameter.name for claim in claims if claim.number == number]
    lost = [claim for claim in claims if claim.number != number and rule.claims(claim.parameter) is not None]
    above = f" {len(lost)} more that it matches are claimed by more specific rules." if lost else ""
    written = f"{rule.expect} = {wanted}" if isinstance(rule.expect, str) else f"{wanted}"
    text = f"{titled(number, rule)} claims {len(own)} parameters, {joined(own)}, but expects {written}.{above}"
    return located(text, rule.where)
