"""Verification: every tensor drawn again, and compared with what is there, bit for bit."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fanin.dtypes import resolve
from fanin.errors import VerificationError
from fanin.layouts import Shape
from fanin.models import Naming
from fanin.plan import Entry, Plan, digest
from fanin.plan.application import Only
from fanin.progress import Progress
from fanin.proof.checking import checks, compared, size_of
from fanin.proof.diagnosis import diagnosed
from fanin.proof.drawing import Check, Difference, bits_of
from fanin.proof.subjects import Subject, matched, opened, recorded_seed, resolved
from fanin.recipe import check_seed
from fanin.tables import Table, shaped

__all__ = ["Finding", "Verification", "verify"]

OK = "ok"
DIFFERS = "differs"
MISSING = "missing"
UNEXPECTED = "unexpected"


@dataclass(frozen=True)
class Finding:
    """What verification found of one tensor.

    Attributes:
        name: of the tensor, or of an array that the plan does not know.
        status: "ok", "differs", "not initialized", "missing", "unexpected", "other shape" or "other dtype".
        text: what is wrong, in words.
        array: the name of the array that holds it.
        shape: of the tensor.
        dtype: of the array.
        compared: how many elements were: those that this process has.
        differing: how many of them differ.
        index: of the first that differs, in the array.
        row, column: of the same element, logically.
        found, expected: that element and what the plan has, as numbers.
        found_bits, expected_bits: their bits, in hexadecimal.
        rounded: of a tensor that is computed whole, how many elements differ by one unit in the last
            place, which is allowed: no two libraries of linear algebra agree on it.
        causes: what the values look like instead, as far as that can be told.
    """

    name: str
    status: str
    text: str = ""
    array: str = ""
    shape: Shape | None = None
    dtype: str = ""
    compared: int = 0
    differing: int = 0
    index: Shape | None = None
    row: int | None = None
    column: int | None = None
    found: float | int | None = None
    expected: float | int | None = None
    found_bits: str = ""
    expected_bits: str = ""
    rounded: int = 0
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verification:
    """What verification found. It is true where everything is as the plan has it.

    Attributes:
        subject: what was verified.
        seed: that the plan was drawn with.
        digest: of the plan, `fanin.plan.digest`.
        findings: one for each tensor, in the order of the plan.
        notes: what else is to be known, such as that a file says of itself that it was made otherwise.
    """

    subject: str
    seed: int
    digest: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that are not ok."""
        return tuple(finding for finding in self.findings if finding.status != OK)

    @property
    def ok(self) -> bool:
        """Whether every bit is as the plan has it, and there is nothing else."""
        return not self.wrong

    def __bool__(self) -> bool:
        return self.ok

    def check(self) -> None:
        """Raise unless all is ok.

        Raises:
            VerificationError: with what is wrong.
        """
        if not self.ok:
            raise VerificationError(str(self))

    def to_dict(self) -> dict[str, Any]:
        """It as plain data, which JSON can hold: what is no number is a text."""
        findings = [
            {key: _plain(value) for key, value in asdict(finding).items() if value not in (None, "", (), [])}
            for finding in self.findings
        ]
        return {
            "ok": self.ok, "subject": self.subject, "seed": self.seed, "plan": self.digest, "notes": list(self.notes),
            "tensors": findings,
        }  # fmt: skip

    def table(self) -> Table:
        """What is wrong, as a table, and a summary."""
        rows = [(each.name, shaped(each.shape), each.dtype, each.status, _told(each)) for each in self.wrong]
        notes = [f"note: {note}" for note in self.notes]
        return Table.of(("name", "shape", "dtype", "", "what is wrong"), rows, [*notes, self.summary])

    @property
    def summary(self) -> str:
        """One line."""
        elements = sum(finding.compared for finding in self.findings)
        verdict = "every bit is the plan's" if self.ok else f"{len(self.wrong):,} of {len(self.findings):,} are not ok"
        rounded = sum(finding.rounded for finding in self.findings)
        near = f", but for {rounded:,} that are computed whole and differ in the last place" if rounded else ""
        return (
            f"{self.subject}: {len(self.findings):,} tensors, {elements:,} elements compared: {verdict}{near}; "
            f"seed {self.seed}, plan {self.digest[:16]}"
        )

    def __str__(self) -> str:
        return str(self.table())


def verify(
    model: Any,
    plan: Plan | Iterable[Entry],
    *,
    seed: int | None = None,
    names: Naming = None,
    only: Only = None,
    shards: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Draw every tensor again, and compare it with what is there, bit for bit.

    Each value is drawn in the dtype that its array has, into a buffer of each thread's own: memory is
    bounded, whatever the size of the model. Every process verifies what it has of a sharded tensor. Of a
    tensor that is computed whole one unit in the last place is allowed, and counted.

    Args:
        model: see `fanin.Plan.apply`; or the path of a ``.safetensors`` file or a ``.safetensors.index.json``,
            which is compared with the parameters of the plan, if it lists any, else with its rules.
        plan: that should have initialized it, or what it resolved to.
        seed: that it should have done so with. None is the one that a checkpoint says it was made with, else 0.
        names: see `fanin.Plan.apply`.
        only: which arrays, see `fanin.Plan.apply`.
        shards: see `fanin.Plan.apply`.
        progress: called with the bytes compared so far, and in all.

    Returns:
        a `Verification`: true if all is ok; its text lists what is not.

    Raises:
        PlanError: the plan or the names do not fit the model, or it is none.
        StreamError: a checkpoint is of another version of the stream.
        CheckpointError: a checkpoint cannot be read.

    >>> import torch, fanin, fanin.torch
    >>> model, plan = torch.nn.Linear(4, 3), fanin.defaults("torch")
    >>> fanin.verify(plan.apply(model, seed=7), plan, seed=7).ok
    True
    >>> with torch.no_grad():
    ...     model.bias[1] = 0
    >>> fanin.verify(model, plan, seed=7).wrong[0].index
    (1,)
    """
    subject = opened(model, names, shards)
    recorded = recorded_seed(subject)
    used = check_seed(seed) if seed is not None else recorded or 0
    entries = resolved(plan, subject, used, only)
    found = matched(entries, subject, only)
    comparable, unfit = checks(subject, found.pairs)
    findings = {
        name: Finding(name, each.status, each.text, shape=each.shape, dtype=each.dtype) for name, each in unfit.items()
    }
    for check, differences in zip(comparable, compared(subject.name, comparable, progress), strict=True):
        finding = _finding(check, differences)
        if finding.status == DIFFERS:
            causes = diagnosed(subject, check, differences, finding.compared, comparable, used)
            finding = replace(finding, causes=causes)
        findings[check.entry.name] = finding
    listed = [findings[entry.name] for entry, _ in found.pairs]
    for entry in found.missing:
        listed.append(Finding(entry.name, MISSING, "the plan has it", entry.parameter.array, entry.shape))
    for array in found.unexpected:
        text = "the plan has no such tensor"
        listed.append(Finding(array.name, UNEXPECTED, text, array.name, array.shape, array.parameters[0].dtype or ""))
    made = digest(_in_dtypes(entries, subject))
    return Verification(subject.name, used, made, tuple(listed), tuple(_notes(subject, used, recorded, made, only)))


def _finding(check: Check, differences: Sequence[Difference]) -> Finding:
    entry, array = check.entry, check.tensor.array
    finding = Finding(
        entry.name, OK, "", array.name, entry.shape, str(check.drawn.dtype), size_of(check),
        rounded=sum(each.near for each in differences),
    )  # fmt: skip
    wrong = [each for each in differences if each.count]
    if not wrong:
        return finding
    first = min(wrong, key=lambda each: each.first)
    assert first.found is not None
    assert first.expected is not None
    coordinates = entry.layout.coordinates(entry.shape).window(first.index, tuple(each + 1 for each in first.index))
    return replace(
        finding,
        status=DIFFERS,
        differing=sum(each.count for each in wrong),
        index=first.first,
        row=coordinates.row_start,
        column=coordinates.column_start,
        found=_number(first.found),
        expected=_number(first.expected),
        found_bits=bits_of(first.found),
        expected_bits=bits_of(first.expected),
    )


def _in_dtypes(entries: Iterable[Entry], subject: Subject) -> list[Entry]:
    """Entries with the dtypes that there are."""
    dtypes = {tensor.parameter.name: tensor.parameter.dtype for tensor in subject.tensors}
    dtypes |= {array.name: array.parameters[0].dtype for array in subject.arrays}
    found = []
    for entry in entries:
        dtype = dtypes.get(entry.name) or dtypes.get(entry.parameter.array)
        found.append(replace(entry, dtype=resolve(dtype)) if dtype else entry)
    return found


def _notes(subject: Subject, seed: int, recorded: int | None, made: str, only: Only) -> Iterator[str]:
    if recorded is not None and recorded != seed:
        yield f"the file says that it was made with seed {recorded}"
    said = subject.metadata.get("fanin.plan")
    if said is not None and said != made and recorded == seed and only is None:
        yield f"the file says that it was made by the plan {said[:16]}"


def _number(value: np.ndarray) -> float | int:
    return int(value) if value.dtype.kind in "biu" else float(value)


def _short(value: float | int | None) -> str:
    """A number in as many digits as tell float32 values apart."""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _told(finding: Finding) -> str:
    if finding.status != DIFFERS:
        return finding.text
    place = "" if finding.shape == () else f" at {list(finding.index or ())}"
    logical = f" (row {finding.row:,}, column {finding.column:,})" if finding.shape != () else ""
    text = (
        f"{finding.differing:,} of {finding.compared:,} differ, first{place}{logical}: {_short(finding.found)} "
        f"({finding.found_bits}), plan {_short(finding.expected)} ({finding.expected_bits})"
    )
    return "; ".join([text, *finding.causes])
