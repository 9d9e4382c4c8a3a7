"""What is looked at: a model or a checkpoint, its tensors under their logical names, and what a plan says of them."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fanin import checkpoint, models
from fanin.checkpoint import Stored
from fanin.errors import CheckpointError, PlanError, StreamError
from fanin.layouts import Layout, as_layout
from fanin.models import Array, Naming, Parameter, Readable
from fanin.plan import Entry, Plan, Resolved
from fanin.plan.application import Only, chosen
from fanin.spec import STREAM

__all__ = ["Matched", "Subject", "Tensor", "is_path", "matched", "opened", "recorded_seed", "resolved"]


@dataclass(frozen=True)
class Tensor:
    """A logical tensor of a subject, and the array that holds it."""

    parameter: Parameter
    array: Array

    @property
    def layout(self) -> Layout:
        """Which axis is which, as far as that is known; array order otherwise."""
        return as_layout(self.parameter.layout)


@dataclass(frozen=True)
class Subject:
    """A model or a checkpoint.

    Attributes:
        name: for messages.
        readable: what its arrays are read by.
        arrays: those that are looked at, their tensors under the names asked for.
        metadata: of a checkpoint.
        is_file: whether it is a checkpoint, of whose layers nothing is known.
    """

    name: str
    readable: Readable
    arrays: tuple[Array, ...]
    metadata: Mapping[str, str]
    is_file: bool

    @property
    def tensors(self) -> list[Tensor]:
        """All logical tensors."""
        return [Tensor(parameter, array) for array in self.arrays for parameter in array.parameters]


def is_path(model: object) -> bool:
    """Whether that names a file."""
    return isinstance(model, str | os.PathLike)


def opened(model: Any, names: Naming = None, shards: Mapping[str, Any] | None = None) -> Subject:
    """Open a model, or the checkpoint of a path.

    Raises:
        CheckpointError: there is no checkpoint.
        StreamError: the checkpoint was written by another version of the stream.
        PlanError: it is no model, or the names do not fit it.
    """
    if is_path(model):
        stored = checkpoint.opened(model)
        _check_stream(stored)
        return Subject(str(stored.path), stored, models.renamed(stored.arrays, names), stored.metadata, True)
    readable = models.opened(model, shards)
    return Subject(type(model).__name__, readable, models.renamed(readable.arrays, names), {}, False)


def _check_stream(stored: Stored) -> None:
    stream = stored.metadata.get("fanin.stream", STREAM)
    if stream != STREAM:
        raise StreamError(
            f"{stored.path} was written by the stream {stream!r}, and this version of fanin draws {STREAM!r}: the same "
            f"plan and seed give other numbers. Look at it with the version that wrote it, "
            f"{stored.metadata.get('fanin.version', 'which it does not tell')}."
        )


def recorded_seed(subject: Subject) -> int | None:
    """The seed that a checkpoint says it was made with.

    Raises:
        CheckpointError: what it says is no seed.
    """
    text = subject.metadata.get("fanin.seed")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) >= 2**64:
        raise CheckpointError(
            f"{subject.name} says that its seed is {text!r}, which is none; give one, such as seed=0."
        )
    return int(text)


def resolved(plan: Plan | Iterable[Entry], subject: Subject, seed: int, only: Only = None) -> Resolved:
    """What a plan says of a subject: of its tensors, or of those that the plan lists itself.

    A model's tensors are its own, as in `fanin.Plan.apply`; a checkpoint has those of a plan that lists any.
    """
    if isinstance(plan, Resolved):
        return plan
    if not isinstance(plan, Plan):
        return Resolved(plan)
    if subject.is_file and plan.parameters:
        return plan.resolve(seed=seed)
    if not subject.arrays:
        raise PlanError(f"{subject.name} has no tensors that a plan could be asked for.")
    return plan.of_arrays(subject.arrays, seed=seed, only=only)


@dataclass(frozen=True)
class Matched:
    """What a plan says, beside what there is.

    Attributes:
        pairs: entries, and the tensors of their names.
        missing: entries of which there is no tensor.
        unexpected: arrays of which the plan says nothing.
    """

    pairs: tuple[tuple[Entry, Tensor], ...]
    missing: tuple[Entry, ...]
    unexpected: tuple[Array, ...]


def matched(entries: Resolved, subject: Subject, only: Only = None, *, ties: bool = True) -> Matched:
    """Pair what a plan says with what there is, as far as `only` means it.

    Args:
        entries: of the plan.
        subject: that is looked at.
        only: which arrays.
        ties: whether a tensor that several arrays hold is paired with each; the later ones under their own names.

    Raises:
        PlanError: a pattern of `only` means nothing.
    """
    tensors = {tensor.parameter.name: tensor.array for tensor in subject.tensors}
    arrays = {array.name: array for array in subject.arrays}
    pairs, missing, used, seen = [], [], set(), set()
    for array in entries.arrays:
        for parameter, entry in entries.held(array):
            here = next(
                (
                    found
                    for found in (arrays.get(array.name), tensors.get(entry.name), arrays.get(parameter.array))
                    if found is not None
                ),
                None,
            )
            if entry.name in seen:
                if here is not None:
                    used.add(here.name)
                if not ties:
                    continue
                parameter = replace(parameter, name=array.name)
            seen.add(entry.name)
            found = replace(entry, parameter=parameter)
            if here is None:
                missing.append(found)
                continue
            used.add(here.name)
            pairs.append((found, Tensor(parameter, here)))
    absent = {entry.name: Array(entry.name, None, entry.shape, (entry.parameter,)) for entry in missing}
    means = {id(array) for array in chosen([*subject.arrays, *absent.values()], only)}
    return Matched(
        tuple((entry, tensor) for entry, tensor in pairs if id(tensor.array) in means),
        tuple(entry for entry in missing if id(absent[entry.name]) in means),
        tuple(array for array in subject.arrays if array.name not in used and id(array) in means),
    )
