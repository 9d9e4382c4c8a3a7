"""Counting fingerprints: of every tensor of a model or a checkpoint what this process has of it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fanin.errors import PlanError
from fanin.layouts import Layout
from fanin.models import Naming
from fanin.plan import Entry, Plan
from fanin.plan.application import Only, chosen
from fanin.progress import Progress, shown
from fanin.proof.blocks import Block, blocks, shared
from fanin.proof.fingerprints import ARRAY, LOGICAL, Fingerprint, TensorFingerprint
from fanin.proof.subjects import Subject, Tensor, matched, opened, resolved
from fanin.proof.sums import Lanes, added, sums
from fanin.recipe import Window

__all__ = ["counted", "fingerprint"]

MOST = 2**20  # elements per block: nothing is drawn, so that only what a call costs counts


def fingerprint(
    model: Any,
    plan: Plan | Iterable[Entry] | None = None,
    *,
    names: Naming = None,
    only: Only = None,
    shards: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Fingerprint:
    """Hash what a model or a checkpoint holds, whatever the order in memory, the framework, the dtype or the shards.

    A tensor's fingerprint is a sum over its elements of 128 bits of (logical row, logical column,
    value), so that the fingerprints of shards add up, ``one + other`` or ``sum(all)``, to that of the whole:
    each process counts what it has, nothing is communicated, and of replicas one counts. A value enters as it is:
    an array that is cast to a wider dtype keeps its fingerprint. docs/proof.md has the definition.

    Args:
        model: see `fanin.Plan.apply`; or the path of a ``.safetensors`` file or a ``.safetensors.index.json``.
        plan: whose layouts and names a checkpoint has, and by which tensors that are computed whole
            are known, which enter the model's hash by name only. Without one a model has the layouts of its
            layers, and a checkpoint is hashed over the order of its arrays: that is told, and never equal.
        names: see `fanin.Plan.apply`.
        only: which arrays, see `fanin.Plan.apply`.
        shards: see `fanin.Plan.apply`.
        progress: called with the bytes read so far, and in all.

    Returns:
        a `Fingerprint`, whose text is short.

    Raises:
        PlanError: it is no model, or the plan or the names do not fit it.
        OutputError: a tensor has no values, as on the meta device.
        CheckpointError: the checkpoint cannot be read.

    >>> import torch, fanin, fanin.torch
    >>> model = torch.nn.Linear(4, 3)
    >>> _ = fanin.Plan([fanin.Rule("*", "ones")]).apply(model)
    >>> print(fanin.fingerprint(model)["bias"])
    b30b0202c7610f58a7e642ab41cf41c6
    """
    subject = opened(model, names, shards)
    if plan is None:
        means = {id(array) for array in chosen(subject.arrays, only)}
        asked = [(tensor, tensor.layout, False) for tensor in subject.tensors if id(tensor.array) in means]
    else:
        asked = _by_plan(plan, subject, only)
    coordinates = ARRAY if subject.is_file and plan is None else LOGICAL
    return Fingerprint.of(coordinates, counted(subject, asked, progress))


def _by_plan(plan: Plan | Iterable[Entry], subject: Subject, only: Only) -> list[tuple[Tensor, Layout, bool]]:
    found = matched(resolved(plan, subject, 0, only), subject, only, ties=False)
    if found.missing or found.unexpected:
        names = [entry.name for entry in found.missing] or [array.name for array in found.unexpected]
        verb = "has no" if found.missing else "has, which the plan does not,"
        raise PlanError(
            f"{subject.name} {verb} {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}; a fingerprint by a "
            f"plan is of just the tensors of the plan."
        )
    return [(tensor, entry.layout, not entry.recipe.windowable) for entry, tensor in found.pairs]


def counted(
    subject: Subject, asked: Sequence[tuple[Tensor, Layout, bool]], progress: Progress | None = None
) -> list[TensorFingerprint]:
    """The fingerprints of some tensors of a subject, by their layouts, and whether each was computed whole."""
    held: list[list[Window]] = [[] for _ in asked]
    parts = {tensor.array.name: subject.readable.read(tensor.array) for tensor, _, _ in asked}
    dtypes = {name: str(here[0].view.dtype) for name, here in parts.items() if here}
    maps = [layout.coordinates(tensor.parameter.shape) for tensor, layout, _ in asked]
    sizes = [(_size(part.window), part.view.dtype.itemsize) for here in parts.values() for part in here]
    elements, total = sum(size for size, _ in sizes), sum(size * width for size, width in sizes)

    def jobs() -> Iterator[tuple[int, Block]]:
        for number, (tensor, _, _) in enumerate(asked):
            held[number], cut = blocks(tensor.parameter.places, parts[tensor.array.name], MOST)
            for block in cut:
                yield number, block

    def work(job: tuple[int, Block]) -> tuple[int, int, Lanes]:
        number, block = job
        window = block.window
        return number, block.place, sums(block.values(), maps[number].window(window.start, window.stop))

    done = 0
    with shown(progress, subject.name, total) as tell:

        def report(job: tuple[int, Block]) -> None:
            nonlocal done
            done += _size(job[1].window) * job[1].view.dtype.itemsize
            tell(done, total)

        results = shared(jobs(), work, elements, report)
    lanes: list[dict[int, Lanes]] = [{} for _ in asked]
    for number, place, found in results:
        lanes[number][place] = added(lanes[number].get(place, (0, 0)), found)
    return [
        TensorFingerprint.of(
            tensor.parameter.name,
            tensor.parameter.shape,
            layout,
            dtypes.get(tensor.array.name, str(tensor.parameter.dtype)),
            [(window, lanes[number].get(place, (0, 0))) for place, window in enumerate(held[number])],
            whole,
        )
        for number, (tensor, layout, whole) in enumerate(asked)
    ]


def _size(window: Window) -> int:
    return math.prod(window.shape)
