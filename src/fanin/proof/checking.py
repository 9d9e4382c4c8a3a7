"""Tensors of a plan beside those that there are: what can be compared, and the comparison, bit for bit."""

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fanin.errors import DTypeError, OutputError
from fanin.layouts import Shape
from fanin.plan import Entry
from fanin.progress import Progress, shown
from fanin.proof.blocks import Block, blocks, shared
from fanin.proof.drawing import Check, Difference, Drawn
from fanin.proof.subjects import Subject, Tensor

__all__ = ["DTYPE", "SHAPE", "UNINITIALIZED", "Unfit", "checks", "compared", "size_of"]

UNINITIALIZED = "not initialized"
SHAPE = "other shape"
DTYPE = "other dtype"


@dataclass(frozen=True)
class Unfit:
    """A tensor that cannot be compared.

    Attributes:
        status: `UNINITIALIZED`, `SHAPE` or `DTYPE`.
        text: why.
        shape: of what there is.
        dtype: likewise.
    """

    status: str
    text: str
    shape: Shape
    dtype: str


def checks(subject: Subject, pairs: Iterable[tuple[Entry, Tensor]]) -> tuple[list[Check], dict[str, Unfit]]:
    """What can be compared; and, by name, what cannot."""
    found: list[Check] = []
    unfit: dict[str, Unfit] = {}
    for entry, tensor in pairs:
        array = tensor.array
        dtype = array.parameters[0].dtype or ""
        if problem := _misfit(entry, tensor):
            unfit[entry.name] = Unfit(SHAPE, problem, array.shape, dtype)
            continue
        try:
            parts = subject.readable.read(array)
        except OutputError as error:
            unfit[entry.name] = Unfit(UNINITIALIZED, str(error), array.shape, dtype)
            continue
        held = parts[0].view.dtype if parts else entry.dtype
        try:
            entry.recipe.check_dtype(held)
        except DTypeError as error:
            unfit[entry.name] = Unfit(DTYPE, f"the plan has {entry.dtype}: {error}", array.shape, str(held))
            continue
        found.append(Check(entry, tensor, Drawn(entry.recipe, held, array.zero_rows, entry.zero_rows), parts))
    return found, unfit


def size_of(check: Check) -> int:
    """How many elements of a tensor are here."""
    return sum(math.prod(window.shape) for window in blocks(check.entry.parameter.places, check.parts)[0])


def _misfit(entry: Entry, tensor: Tensor) -> str:
    """Why a tensor of the plan cannot be that of the subject."""
    places = entry.parameter.places
    shape = tensor.array.shape
    if len(places) == 1 and entry.parameter.at is None and shape != entry.shape:
        return f"the plan has {entry.shape!r}"
    for _, outside in places:
        if len(outside.stop) != len(shape) or any(a > b for a, b in zip(outside.stop, shape, strict=True)):
            return f"the plan has it at {outside.start!r} to {outside.stop!r} of {entry.parameter.array!r}"
    return ""


def compared(name: str, asked: Sequence[Check], progress: Progress | None) -> list[list[Difference]]:
    """Draw every tensor again: of each check the blocks that differ.

    Args:
        name: of the subject, for the bar.
        asked: what is compared.
        progress: called with the bytes compared so far, and in all.
    """
    sizes = [(math.prod(part.window.shape), check.drawn.dtype.itemsize) for check in asked for part in check.parts]
    elements, total = sum(size for size, _ in sizes), sum(size * width for size, width in sizes)

    def jobs() -> Iterator[tuple[int, Block]]:
        for number, check in enumerate(asked):
            _, cut = blocks(check.entry.parameter.places, check.parts)
            for block in cut:
                yield number, block

    rooms = threading.local()

    def work(job: tuple[int, Block]) -> tuple[int, Difference]:
        number, block = job
        needed = math.prod(block.window.shape) * asked[number].drawn.dtype.itemsize
        if getattr(rooms, "bytes", np.empty(0)).size < needed:
            rooms.bytes = np.empty(needed, np.uint8)
        return number, asked[number].drawn.compared(block, rooms.bytes)

    done = 0
    with shown(progress, name, total) as tell:

        def report(job: tuple[int, Block]) -> None:
            nonlocal done
            done += math.prod(job[1].window.shape) * asked[job[0]].drawn.dtype.itemsize
            tell(done, total)

        results = shared(jobs(), work, elements, report)
    found: list[list[Difference]] = [[] for _ in asked]
    for number, difference in results:
        if difference.count or difference.near:
            found[number].append(difference)
    return found
