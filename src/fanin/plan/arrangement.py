"""Which logical tensors the arrays of a model hold, as a plan says it: fused, renamed and tied ones."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from fanin.errors import ExpressionError, PlanError
from fanin.expressions import Number
from fanin.layouts import Shape
from fanin.models import Array, Parameter
from fanin.plan.problems import Problems, joined
from fanin.plan.quantities import whole_number
from fanin.plan.selectors import Selector, filled, placeholders
from fanin.recipe import Window

__all__ = ["Arrangement", "Fused", "unpacked"]


@dataclass(frozen=True)
class Fused:
    """What the arrays of a name hold: tensors that lie side by side along an axis.

    Args:
        match: a pattern for the names of arrays, as that of a `Rule`.
        into: the names of the tensors, in their order; ``{i}`` stands for what the pattern captured. One
            name with a number more, ``"experts.{e}.w1"``, stands for one tensor at each index of the axis.
        axis: along which they lie, counted from 0, or from the end by negative numbers.
        sizes: how far each reaches along the axis, numbers or expressions; None for equal parts. Tensors of
            one index each have no sizes.
        groups: how often they alternate: 8 for eight groups of queries, keys and values, each of which
            has an eighth of every tensor.
        optional: whether there may be no such array, as in a plan for models that pack theirs and for models
            that do not.
        where: the place that it was written at, for messages.

    Raises:
        PlanError: something of this cannot be used.

    >>> Fused("*.{i}.attn.c_attn.weight", ["h.{i}.q", "h.{i}.k", "h.{i}.v"], axis=1).axis
    1
    """

    match: str
    into: str | Sequence[str]
    axis: int = field(default=0, kw_only=True)
    sizes: Sequence[int | str] | None = field(default=None, kw_only=True)
    groups: int | str = field(default=1, kw_only=True)
    optional: bool = field(default=False, kw_only=True)
    where: str = field(default="", compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        texts = [self.into] if isinstance(self.into, str) else list(self.into)
        for text in (self.match, *texts):
            if not isinstance(text, str) or not text:
                raise PlanError(f"fused: {text!r} is no pattern and no name; give texts such as 'h.{{i}}.q.weight'.")
        if not texts:
            raise PlanError(f"fused {self.match!r} holds no tensors; give their names by into=.")
        object.__setattr__(self, "into", tuple(texts))
        if not isinstance(self.optional, bool):
            raise PlanError(f"fused {self.match!r}: optional must be true or false, not {self.optional!r}.")
        if isinstance(self.axis, bool) or not isinstance(self.axis, int):
            raise PlanError(f"fused {self.match!r}: axis must be the number of an axis, not {self.axis!r}.")
        if self.sizes is not None:
            object.__setattr__(self, "sizes", tuple(self.sizes))
            if len(self.sizes) != len(texts) or self.index is not None:
                raise PlanError(f"fused {self.match!r}: {len(self.sizes)} sizes for {len(texts)} tensors.")

    @cached_property
    def selector(self) -> Selector:
        """The test of names."""
        return Selector.of_pattern(self.match)

    @cached_property
    def index(self) -> str | None:
        """The name of the number that counts along the axis, where one name stands for many tensors."""
        known = set(self.selector.captures)
        unknown = sorted({name for text in self.into for name in placeholders(text)} - known)
        if not unknown:
            return None
        if len(unknown) > 1 or len(self.into) > 1:
            raise PlanError(
                f"fused {self.match!r}: {', '.join(map(repr, self.into))} use {', '.join(unknown)}, which the pattern "
                f"does not capture; one name may have one number more, which then counts along the axis."
            )
        return unknown[0]

    def split(self, array: Parameter, captures: Mapping[str, int], quantities: Mapping[str, Number]) -> list[Parameter]:
        """The tensors in an array.

        Raises:
            PlanError, ExpressionError: the array does not hold them.
        """
        try:
            axis = range(len(array.shape))[self.axis]
        except IndexError:
            raise PlanError(f"has no axis {self.axis}.") from None
        length = array.shape[axis]
        if self.index is not None:
            names = [filled(self.into[0], {**captures, self.index: n}) for n in range(length)]
            return [_part(array, name, axis, [(n, 1)]) for n, name in enumerate(names)]
        known = {**quantities, **captures}
        groups = whole_number(self.groups, known, least=1)
        if self.sizes is None:
            sizes = [length // len(self.into)] * len(self.into)
        else:
            sizes = [whole_number(size, known) for size in self.sizes]
        if sum(sizes) != length or any(size % groups for size in sizes):
            told = " + ".join(map(str, sizes))
            raise PlanError(f"has {length} on axis {axis}, which is not {told}{f' in {groups} groups' * (groups > 1)}.")
        starts = [0, *itertools.accumulate(size // groups for size in sizes)]
        return [
            _part(
                array,
                filled(text, captures),
                axis,
                [(g * length // groups + at, size // groups) for g in range(groups)],
            )
            for text, at, size in zip(self.into, starts, sizes, strict=False)
        ]


def _part(array: Parameter, name: str, axis: int, runs: Sequence[tuple[int, int]]) -> Parameter:
    """The tensor that is made of some runs along an axis."""

    def window(start: int, size: int, shape: Shape) -> Window:
        first = tuple(start if a == axis else 0 for a in range(len(shape)))
        return Window(first, tuple(start + size if a == axis else n for a, n in enumerate(shape)))

    whole = tuple(sum(size for _, size in runs) if a == axis else n for a, n in enumerate(array.shape))
    inside = itertools.accumulate((size for _, size in runs), initial=0)
    cuts = [
        (window(at, size, whole), window(start, size, array.shape))
        for at, (start, size) in zip(inside, runs, strict=False)
    ]
    places = tuple(found for cut in cuts for place in array.places for found in _composed(cut, place))
    return replace(array, name=name, shape=whole, array=array.array or array.name, at=places)


def _composed(cut: tuple[Window, Window], place: tuple[Window, Window]) -> Iterator[tuple[Window, Window]]:
    """Where a part of a tensor lies, given where the part is in the tensor and the tensor in its array."""
    (own, there), (here, outside) = cut, place
    start, stop = tuple(map(max, there.start, here.start)), tuple(map(min, there.stop, here.stop))
    if all(low < high for low, high in zip(start, stop, strict=True)):
        yield (
            Window(*(_moved(end, there.start, own.start) for end in (start, stop))),
            Window(*(_moved(end, here.start, outside.start) for end in (start, stop))),
        )


def _moved(index: Shape, origin: Shape, target: Shape) -> Shape:
    return tuple(each - a + b for each, a, b in zip(index, origin, target, strict=True))


@dataclass(frozen=True)
class Arrangement:
    """All that a plan says of what arrays hold.

    Attributes:
        fused: arrays of several tensors.
        renames: by pattern the names that tensors keep: those of their streams.
        ties: by pattern the names of the tensors that others are the same as.
        quantities: that expressions may use.
    """

    fused: tuple[Fused, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    quantities: Mapping[str, Number] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, table in (("renames", self.renames), ("ties", self.ties)):
            for pattern, name in table.items():
                if not isinstance(pattern, str) or not isinstance(name, str) or not pattern or not name:
                    raise PlanError(f"{what} are names by patterns, such as 'lm_head.weight' = 'wte.weight'.")
                unknown = set(placeholders(name)) - set(Selector.of_pattern(pattern).captures)
                if unknown or "*" in name or "?" in name:
                    raise PlanError(f"{what}: {name!r} cannot be filled in from what {pattern!r} captures.")

    def arrays(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """The arrays with the tensors that the plan says they hold.

        Raises:
            PlanError: something that is said fits no array, or an array does not hold what is said; two tensors
                have one name and are not tied, or tied ones differ in shape or hang together in a ring.
        """
        if not (self.fused or self.renames or self.ties):
            return tuple(arrays)
        problems, used = Problems(), set[object]()
        made = []
        for array in arrays:
            parts = [part for each in self._held(array) for part in self._split(each, used, problems)]
            parts = [self._renamed(part, self.renames, "renames", used, problems) for part in parts]
            made.append((array, parts))
        owners = {part.name: part for _, parts in made for part in parts}
        result = []
        for array, parts in made:
            tied = [self._renamed(part, self.ties, "ties", used, problems) for part in parts]
            for part, other in zip(parts, tied, strict=True):
                if part.name != other.name:
                    self._check_tie(part, other, owners, problems)
            result.append(replace(array, parameters=tuple(tied)))
        needed = [each.match for each in self.fused if not each.optional]
        for kind, key in [*(("fused", match) for match in needed), *(("renames", key) for key in self.renames),
                          *(("ties", key) for key in self.ties)]:  # fmt: skip
            if (kind, key) not in used:
                problems.add(f"{kind}: {key!r} matches no array.")
        self._check_names(made, problems)
        problems.check()
        return tuple(result)

    def _held(self, array: Array) -> tuple[Parameter, ...]:
        """The tensors in an array as its layer has them, or the array as one that the plan splits itself."""
        first, *others = array.parameters
        if others and any(each.selector.match(array.name) is not None for each in self.fused):
            return (replace(first, name=array.name, shape=array.shape, array="", at=None),)
        return array.parameters

    def _split(
        self, parameter: Parameter, used: set[object], problems: Problems, within: tuple[str, ...] = ()
    ) -> list[Parameter]:
        """The tensors in one, which may hold several themselves."""
        found = [
            (each, captures) for each in self.fused if (captures := each.selector.match(parameter.name)) is not None
        ]
        used.update(("fused", each.match) for each, _ in found)
        if not found:
            return [parameter]
        (fused, captures), *others = found
        try:
            if others:
                raise PlanError(f"is meant by {others[0][0].match!r} as well; keep one.")
            if fused.match in within:
                raise PlanError(f"comes of {fused.match!r} itself, and so on for ever; give its tensors other names.")
            parts = fused.split(parameter, captures, self.quantities)
        except (PlanError, ExpressionError) as error:
            problems.add(
                f"fused {fused.match!r}: {parameter.name!r}, shape {parameter.shape!r}, {error}", fused.where, error
            )
            return [parameter]
        return [each for part in parts for each in self._split(part, used, problems, (*within, fused.match))]

    @staticmethod
    def _renamed(
        part: Parameter, table: Mapping[str, str], kind: str, used: set[object], problems: Problems
    ) -> Parameter:
        found = [
            (key, captures) for key in table if (captures := Selector.of_pattern(key).match(part.name)) is not None
        ]
        used.update((kind, key) for key, _ in found)
        if len(found) > 1:
            problems.add(
                f"{kind}: {part.name!r} is meant by {joined([repr(key) for key, _ in found])}; keep one of them."
            )
        if not found:
            return part
        key, captures = found[0]
        return replace(part, name=filled(table[key], captures), array=part.array or part.name)

    def _check_tie(self, part: Parameter, tied: Parameter, owners: Mapping[str, Parameter], problems: Problems) -> None:
        owner = owners.get(tied.name)
        if owner is None:
            problems.add(f"ties: {part.name!r} is tied to {tied.name!r}, which there is not.")
        elif any(Selector.of_pattern(key).match(owner.name) is not None for key in self.ties):
            problems.add(f"ties: {part.name!r} is tied to {tied.name!r}, which is tied itself; name the owner.")
        elif owner.shape != part.shape:
            problems.add(f"ties: {part.name!r}, shape {part.shape!r}, is tied to {tied.name!r}, shape {owner.shape!r}.")

    @staticmethod
    def _check_names(made: Sequence[tuple[Array, list[Parameter]]], problems: Problems) -> None:
        seen: dict[str, str] = {}
        for array, parts in made:
            counts = Counter(part.name for part in parts)
            for part in parts:
                other = seen.setdefault(part.name, array.name)
                if other != array.name or counts[part.name] > 1:
                    problems.add(
                        f"{other!r} and {array.name!r} both hold {part.name!r}; where they are the same tensor, say so "
                        f"by ties."
                    )


def unpacked(parameters: Sequence[Parameter]) -> tuple[Array, ...]:
    """The arrays that hold some parameters: one for each, but for those that say where in one they are."""
    held: dict[str, list[Parameter]] = {}
    for each in parameters:
        held.setdefault(each.array if each.at is not None and each.array else each.name, []).append(each)
    arrays = []
    for name, parts in held.items():
        stops = [outside.stop for part in parts for _, outside in part.places]
        arrays.append(Array(name, None, tuple(map(max, zip(*stops, strict=True))), tuple(parts)))
    return tuple(arrays)
