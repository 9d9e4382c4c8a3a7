"""Plans: rules over the names of parameters, and what they resolve to."""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from fanin import dtypes, models
from fanin.errors import ExpressionError, PlanError
from fanin.expressions import Number
from fanin.layouts import Layout, Shape, as_layout
from fanin.models import Array, Naming, Parameter
from fanin.plan.about import About
from fanin.plan.application import Only, apply, chosen
from fanin.plan.arrangement import Arrangement, Fused, unpacked
from fanin.plan.claims import claimed, titled
from fanin.plan.configs import Config
from fanin.plan.files import read
from fanin.plan.problems import Problems
from fanin.plan.quantities import check_name, evaluated, whole_number
from fanin.plan.resolution import Settings, resolved
from fanin.plan.resolved import Resolved
from fanin.plan.rules import Rule
from fanin.progress import Progress

__all__ = ["Plan"]

T = TypeVar("T")


class Plan:
    """Rules over the names of parameters: how all tensors of a model are initialized.

    The most specific rule that matches a parameter claims it (see `Rule`). A plan is strict: it resolves
    only where every parameter is claimed, every rule claims at least one, and counts are as expected.

    Args:
        rules: in any order.
        parameters: the tensors themselves, where the plan knows them.
        quantities: numbers and expressions over earlier ones, by name, which rules may use.
        fused: which arrays hold several tensors, and which.
        renames: by pattern the names that tensors keep, those of their streams:
            ``{"encoder.{i}.w": "layers.{i}.weight"}``. Rules may mean either.
        ties: by pattern the tensors that others are the same as: ``{"lm_head.weight": "wte.weight"}``.
        layout: for parameters of rank 2 and more that it fits and that neither their rule nor they
            themselves give one.
        dtype: for parameters without one of their own; None is float32.
        about: what the plan says of itself.

    Attributes:
        rules, parameters, quantities, layout, dtype, about, arrangement: as given, checked and computed.

    Raises:
        PlanError: a quantity or a count cannot be computed, a name is taken twice, or what was given
            are no rules and parameters.
        LayoutError, DTypeError: the layout or the dtype cannot be read.

    >>> from fanin import Parameter, Plan, Rule
    >>> plan = Plan([Rule("*.bias", "zeros"), Rule("*", "he_normal")], layout="o i")
    >>> entries = plan.resolve([Parameter("fc.weight", (10, 512)), Parameter("fc.bias", (10,))], seed=7)
    >>> for entry in entries:
    ...     print(entry.name, entry.dtype, entry.initializer)
    fc.weight float32 HeNormal()
    fc.bias float32 Zeros()
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        parameters: Iterable[Parameter] = (),
        quantities: Mapping[str, Number | str] | None = None,
        fused: Iterable[Fused] = (),
        renames: Mapping[str, str] | None = None,
        ties: Mapping[str, str] | None = None,
        layout: Layout | str | None = None,
        dtype: object = None,
        about: About | None = None,
    ) -> None:
        self.about = about or About()
        self.rules: tuple[Rule, ...] = _all(Rule, rules, "rules", "Rule('*.bias', 'zeros')")
        self.parameters: tuple[Parameter, ...] = _parameters(parameters)
        self.layout = None if layout is None else as_layout(layout)
        self.dtype = dtypes.resolve(dtype)
        problems = Problems()
        self.quantities = evaluated(quantities or {}, problems)
        problems.check()
        parts = _all(Fused, fused, "fused", "Fused('*.qkv', ['*.q', '*.k', '*.v'])")
        self.arrangement = Arrangement(parts, renames or {}, ties or {}, self.quantities)
        self._expected: list[int | None] = []
        for number, rule in enumerate(self.rules):
            self._check_captures(number, rule, problems)
            try:
                self._expected.append(
                    None if rule.expect is None else whole_number(rule.expect, self.quantities, least=1)
                )
            except ExpressionError as error:
                problems.add(f"{titled(number, rule)}: expect: {error}", rule.where, error)
        problems.check()

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        config: Config = None,
        quantities: Mapping[str, Number | str] | None = None,
    ) -> Self:
        """Read a plan from a TOML file.

        Args:
            path: of the file.
            config: see `from_text`.
            quantities: see `from_text`.

        Raises:
            PlanError: the file cannot be read, or is no plan, or not for such a model; the message tells the line.
        """
        try:
            text = Path(path).read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise PlanError(f"the plan {os.fspath(path)!r} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise PlanError(f"the plan is no UTF-8 text: {error.reason}. ({os.fspath(path)}, line {line})") from None
        return cls.from_text(text, source=os.fspath(path), config=config, quantities=quantities)

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        source: str = "the plan",
        config: Config = None,
        quantities: Mapping[str, Number | str] | None = None,
    ) -> Self:
        """Read a plan from the text of a TOML file.

        Args:
            text: as `docs/plans.md` describes it.
            source: what messages call it, such as the name of the file.
            config: of a model: a mapping, an object with `to_dict` such as one of transformers, or the path of a
                JSON file. Its numbers take the place of quantities of the same names, or as ``[config]`` says.
            quantities: numbers or expressions that take the place of those of the plan and the configuration.

        Raises:
            PlanError: it is no plan, or not for such a model; the message tells the line.

        >>> plan = Plan.from_text('''
        ... [[parameters]]
        ... name = "layers.{i}.weight"
        ... for = { i = 2 }
        ... shape = [8, 8]
        ...
        ... [[rules]]
        ... match = "layers.{i}.weight"
        ... initializer = "random_normal(stddev=0.02 / sqrt(2 * (i + 1)))"
        ... ''')
        >>> [entry.initializer for entry in plan.resolve()]
        [RandomNormal(stddev=0.014142135623730949), RandomNormal(stddev=0.01)]
        """
        document = read(text, source, config=config, quantities=quantities)
        return cls(
            document.rules,
            parameters=document.parameters,
            quantities=document.quantities,
            fused=document.fused,
            renames=document.renames,
            ties=document.ties,
            layout=document.layout,
            dtype=document.dtype,
            about=document.about,
        )

    def resolve(
        self,
        parameters: Iterable[Parameter] | None = None,
        *,
        seed: int = 0,
        dtype: object = None,
        member: int | None = None,
    ) -> Resolved:
        """Give every parameter its recipe, or none.

        Args:
            parameters: what is asked for, in the order of the result, such as the `fanin.parameters` of a
                model; None for the plan's own.
            seed: 0 to 2**64 - 1, of all that have no seed of their own.
            dtype: takes the place of every floating-point dtype; None leaves them as they are.
            member: k, from 0, for member k of an ensemble: every tensor is slice k of itself with one more
                batch axis in front. Member 0 is what None gives.

        Returns:
            One `Entry` per tensor, in their order, and the arrays that hold them.

        Raises:
            PlanError: the plan does not fit the parameters; the message names them, and the rules.
            SeedError: the seed is no such integer.
            DTypeError: the dtype is unknown, or no floating-point dtype.
        """
        asked = self.parameters if parameters is None else _parameters(parameters)
        return self.of_arrays(unpacked(asked), seed=seed, dtype=dtype, member=member)

    def of_arrays(
        self,
        arrays: Sequence[Array],
        *,
        seed: int = 0,
        dtype: object = None,
        member: int | None = None,
        only: Only = None,
    ) -> Resolved:
        """Resolve what is in arrays, such as those of a model.

        Args:
            arrays: as a `fanin.models.Model` lists them.
            seed: see `resolve`.
            dtype: see `resolve`.
            member: see `resolve`.
            only: see `apply`; arrays that it does not mean and of which no rule means all are not in the result.

        Raises:
            PlanError: see `resolve`.
        """
        if not arrays:
            raise PlanError(
                "the plan has no parameters: list them in the file, headed [[parameters]], or give them to resolve."
            )
        settings = Settings.of(self.quantities, self.layout, self.dtype, seed, dtype, member)
        arranged = self.arrangement.arrays(arrays)
        held = {parameter.name: parameter for array in reversed(arranged) for parameter in reversed(array.parameters)}
        order = dict.fromkeys(parameter.name for array in arranged for parameter in array.parameters)
        spared: set[str] = set()
        if only is not None:
            means = {array.name for array in chosen(arranged, only)}
            others = [array for array in arranged if array.name not in means]
            spared = {parameter.name for array in others for parameter in array.parameters}
            spared -= {parameter.name for array in arranged if array.name in means for parameter in array.parameters}
        claims = claimed(self.rules, self._expected, _parameters(held[name] for name in order), spared)
        if spared:
            names = {claim.parameter.name for claim in claims}
            arranged = tuple(array for array in arranged if all(each.name in names for each in array.parameters))
        return Resolved(resolved(self.rules, claims, settings), arranged)

    def apply(
        self,
        model: Any,
        *,
        seed: int = 0,
        member: int | None = None,
        only: Only = None,
        names: Naming = None,
        shards: Mapping[str, tuple[Shape, Shape]] | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Initialize a model: its parameters and the buffers that its checkpoints hold.

        Names are those of the model: paths, without what wrappers (compilation, FSDP, DDP, activation
        checkpointing) put before them; layouts, roles and fans come from the classes of its layers;
        packed weights are drawn as the separate ones would be, tied ones once, under their first name.
        Every process writes what it has of a sharded tensor, in time and memory of that; nothing is
        communicated. Applying a plan twice is the same as applying it once.

        Args:
            model: a `torch.nn.Module` on any devices but meta (see `fanin.torch.materialize`), a `keras.Model`
                or `keras.Layer` that is built, with or without values, a `flax.nnx.Module`, an Equinox
                module, what `fanin.jax.shapes` returns, or any tree of arrays: of NumPy, torch or JAX, or of
                `jax.ShapeDtypeStruct` (docs/jax.md).
            seed: 0 to 2**64 - 1, of all that have no seed of their own.
            member: of an ensemble, see `resolve`.
            only: which arrays are written: a pattern, a list of patterns, or a function of name and
                array. The others need no rules; every rule has to fit the whole model all the same. None
                writes all.
            names: what the model's tensors are called in the plan and in the stream, so that models of two
                frameworks get the same weights: a mapping from every name of the model, a function, or what
                `fanin.names_like` derives. None is the model's own names.
            shards: of plain tensors of torch that are parts of larger ones: by name, the shape of the whole, and
                the index of the first element in it.
            progress: called with the bytes written so far, and in all; None shows a bar where that is
                half a gigabyte or more and the standard error is a terminal.

        Returns:
            the model, written in place; of a tree with arrays of JAX, which do not change, a new one.

        Raises:
            PlanError: the plan or the names do not fit the model, or it is none; the message names
                parameters and rules.
            OutputError: a tensor cannot be written. Nothing has been written where anything of this is raised.
            ShapeError, ArgumentError: the sharding of an array to be made does not fit, or has no mesh.
        """
        opened = models.opened(model, shards)
        resolved = self.of_arrays(models.renamed(opened.arrays, names), seed=seed, member=member, only=only)
        return apply(resolved, opened, resolved.arrays, only, progress, type(model).__name__)

    def _check_captures(self, number: int, rule: Rule, problems: Problems) -> None:
        for name in sorted({name for selector in rule.selectors for name in selector.captures}):
            if name in self.quantities:
                problems.add(f"{titled(number, rule)} captures {name!r}, which is a quantity already.", rule.where)
            elif complaint := check_name(name):
                problems.add(f"{titled(number, rule)} captures a name that it cannot use: {complaint}", rule.where)

    def __repr__(self) -> str:
        return f"<Plan of {len(self.rules)} rules and {len(self.parameters)} parameters>"


def _all(cls: type[T], items: Iterable[T], what: str, example: str) -> tuple[T, ...]:
    """A tuple of items that are all of a class."""
    found = tuple(items)
    for item in found:
        if not isinstance(item, cls):
            raise PlanError(f"{what} must be a list of {cls.__name__}, such as {example}; {item!r} is none.")
    return found


def _parameters(items: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """A tuple of parameters with different names."""
    parameters = _all(Parameter, items, "parameters", "Parameter('fc.weight', (10, 512))")
    first: dict[str, Parameter] = {}
    problems = Problems()
    for parameter in parameters:
        # In NFC, as streams have it: two spellings of one name would get the same numbers.
        other = first.setdefault(unicodedata.normalize("NFC", parameter.name), parameter)
        if other is not parameter:
            also = f", first at {other.where}" if other.where else ""
            problems.add(
                f"the parameter {parameter.name!r} is there twice{also}; names are different.", parameter.where
            )
    problems.check()
    return parameters
