"""Other names for the tensors of a model, so that models of several frameworks mean the same ones."""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from fanin.errors import PlanError
from fanin.layouts import Shape
from fanin.models.arrays import Array
from fanin.models.parameter import Parameter

__all__ = ["Names", "Naming", "paired", "renamed"]

Naming = Mapping[str, str] | Callable[[str], str] | None

MOST = 10  # names that a message shows


@dataclass(frozen=True)
class Names(Mapping[str, str]):
    """The names of one model for the tensors of another: a mapping, whose text is a table of what means what.

    Attributes:
        pairs: a tensor of the model, and that of the reference whose name it gets.
    """

    pairs: tuple[tuple[Parameter, Parameter], ...]

    def __getitem__(self, name: str) -> str:
        return self._found[name].name

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def _found(self) -> dict[str, Parameter]:
        return {own.name: other for own, other in self.pairs}

    @property
    def arrays(self) -> dict[str, str]:
        """By the name that a tensor gets, the array of the reference that holds it, where that has another name."""
        return {other.name: other.array for _, other in self.pairs}

    def __str__(self) -> str:
        rows = [("name", "shape", "layout", "gets the name", "shape", "layout")]
        rows += [(*_cells(own), *_cells(other)) for own, other in self.pairs]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)


def _cells(parameter: Parameter) -> tuple[str, str, str]:
    shape = " ".join(map(str, parameter.shape))
    return parameter.name, f"({shape})", str(parameter.layout or "")


def renamed(arrays: Sequence[Array], names: Naming) -> tuple[Array, ...]:
    """The arrays, their tensors called otherwise.

    Args:
        arrays: of a model.
        names: by the name of each tensor the one that it gets, or a function from the one to the other;
            None leaves them as they are.

    Raises:
        PlanError: a tensor has no name, two have the same, or the mapping has names that no tensor has.
        LogicalNameError: what a tensor gets is no name.
    """
    if names is None:
        return tuple(arrays)
    parameters = [parameter for array in arrays for parameter in array.parameters]
    mapping = names if isinstance(names, Mapping) else {each.name: names(each.name) for each in parameters}
    _check(mapping, [parameter.name for parameter in parameters])
    held = names.arrays if isinstance(names, Names) else {}
    return tuple(
        replace(
            array,
            parameters=tuple(
                replace(each, name=mapping[each.name], array=held.get(mapping[each.name], ""))
                for each in array.parameters
            ),
        )
        for array in arrays
    )


def _check(mapping: Mapping[str, str], names: Sequence[str]) -> None:
    known = set(names)
    problems = []
    if missing := [name for name in names if name not in mapping]:
        problems.append(f"has no name for {_listed(missing)}")
    if unknown := [name for name in mapping if name not in known]:
        near = difflib.get_close_matches(str(unknown[0]), names, n=2, cutoff=0.0)
        problems.append(f"names {_listed(unknown)}, which the model does not have (it has {_listed(near)}, say)")
    given = defaultdict(list)
    for name in names:
        if name in mapping:
            given[mapping[name]].append(name)
    for clash, several in given.items():
        if len(several) > 1:
            problems.append(f"gives {_listed(several)} the same name, {clash!r}")
    if problems:
        raise PlanError(
            f"names= {'; it '.join(problems)}. Every tensor of the model needs a name of its own "
            f"(fanin.parameters(model) lists them)."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(map(repr, names[:MOST])) + more


def paired(own: Iterable[Parameter], reference: Iterable[Parameter], ignore: Sequence[str]) -> Names:
    """Pair the tensors of two models, by what they are, by shape and by order.

    The first of one kind with the first of that kind, and so on: a kind is a role, where layers have
    one (attention projections count as dense), and the canonical shape. Counters of normalizations,
    which some frameworks have, take no part.

    Args:
        own: the tensors that get names.
        reference: those whose names they get.
        ignore: patterns for tensors of either that have no counterpart. Those of the first keep their names.

    Raises:
        PlanError: a kind has more tensors in one of the models.
    """
    ours, rest = _split(own, ignore)
    theirs, _ = _split(reference, ignore)
    kinds, others = _kinds(ours), _kinds(theirs)
    problems = []
    for kind in {**kinds, **others}:
        mine, other = kinds.get(kind, []), others.get(kind, [])
        if len(mine) != len(other):
            problems.append(f"{_titled(kind)}: {_names(mine)} and, in the reference, {_names(other)}")
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:MOST])
        raise PlanError(
            f"the models differ in {len(problems)} kinds of tensors:{shown}\nGive names= by hand, or say by ignore= "
            f"which tensors have no counterpart."
        )
    pairs = {mine.name: (mine, other) for kind in kinds for mine, other in zip(kinds[kind], others[kind], strict=True)}
    pairs |= {each.name: (each, each) for each in rest}
    return Names(tuple(pairs[each.name] for each in (*ours, *rest)))


def _split(parameters: Iterable[Parameter], ignore: Sequence[str]) -> tuple[list[Parameter], list[Parameter]]:
    """What takes part, and what does not."""
    taken: list[Parameter] = []
    left: list[Parameter] = []
    for each in parameters:
        ignored = any(fnmatchcase(name, pattern) for pattern in ignore for name in (each.name, each.array))
        (left if ignored or each.role == "norm.count" else taken).append(each)
    return taken, left


def _kinds(parameters: Iterable[Parameter]) -> dict[tuple[str, Shape], list[Parameter]]:
    kinds: dict[tuple[str, Shape], list[Parameter]] = defaultdict(list)
    for each in parameters:
        role = each.role.replace("attention.kernel", "dense.kernel").replace("attention.bias", "dense.bias")
        shape = each.shape if each.layout is None else each.layout.canonical_shape(each.shape)  # type: ignore[union-attr]
        kinds[role, tuple(length for length in shape if length != 1)].append(each)
    return kinds


def _titled(kind: tuple[str, Shape]) -> str:
    role, shape = kind
    return f"{role or 'no known role'}, canonical shape {shape!r}"


def _names(parameters: Sequence[Parameter]) -> str:
    return _listed([each.name for each in parameters]) or "none"
