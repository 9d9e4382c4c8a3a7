"""What is here of logical tensors, cut into blocks that some threads share."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fanin import engines
from fanin.checkpoint.cuts import windows
from fanin.layouts import Shape
from fanin.models import Part
from fanin.recipe import Window

__all__ = ["MOST", "Block", "blocks", "intersection", "moved", "shared"]

MOST = 2**18  # elements per block: one thread draws it in every engine, and it fits a second-level cache

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Block:
    """A box of a logical tensor.

    Attributes:
        place: in which of the windows that are here of the tensor it lies, by its number.
        window: of the tensor.
        at: the same elements, as a window of the array.
        view: what has the elements of `here`, an array or a `fanin.models.Copied`.
        here: where in the view they are.
    """

    place: int
    window: Window
    at: Window
    view: Any
    here: tuple[slice, ...]

    def values(self) -> np.ndarray:
        """The elements, where they are or copied."""
        return np.asarray(self.view[self.here])  # of no axes, NumPy gives a number


def intersection(one: Window, other: Window) -> Window | None:
    """What two windows of one array have in common; None where that is nothing."""
    start = tuple(map(max, one.start, other.start))
    stop = tuple(map(min, one.stop, other.stop))
    return None if any(a >= b for a, b in zip(start, stop, strict=True)) else Window(start, stop)


def moved(window: Window, by: Shape) -> Window:
    """A window, so far from where it was."""
    return Window(
        tuple(a + d for a, d in zip(window.start, by, strict=True)),
        tuple(b + d for b, d in zip(window.stop, by, strict=True)),
    )


def blocks(
    places: Sequence[tuple[Window, Window]], parts: Sequence[Part], most: int = MOST
) -> tuple[list[Window], Iterator[Block]]:
    """What of a tensor is here.

    Args:
        places: of the tensor, and of the array where each lies.
        parts: of the array that are here.
        most: elements per block, about.

    Returns:
        the windows of the tensor that are here, and the blocks that they are made of, in order.
    """
    found: list[Window] = []
    boxes = []
    for inside, outside in places:
        back = tuple(a - b for a, b in zip(inside.start, outside.start, strict=True))
        for part in parts:
            at = intersection(outside, part.window)
            if at is not None:
                boxes.append((len(found), at, back, part))
                found.append(moved(at, back))

    def cut() -> Iterator[Block]:
        for number, at, back, part in boxes:
            for window in windows(at.shape, most):
                box = moved(window, at.start)
                here = moved(box, tuple(-a for a in part.window.start)).slices
                yield Block(number, moved(box, back), box, part.view, here)

    return found, cut()


def shared(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    elements: int,
    report: Callable[[Job], None],
) -> list[Result]:
    """Do jobs on some threads of their own.

    Args:
        jobs: made as they are needed, by one thread at a time.
        work: on a job, by any thread.
        elements: that all jobs have, about.
        report: told of each job that is done, one at a time.

    Returns:
        the results, in the order of the jobs.
    """
    _, threads = engines.current(elements if elements >= engines.LOAD_FROM else 0)
    lock = threading.Lock()
    waiting = enumerate(jobs)
    results: dict[int, Result] = {}
    failures: list[BaseException] = []

    def take() -> tuple[int, Job] | None:
        with lock:
            return None if failures else next(waiting, None)

    def do(number: int, job: Job) -> None:
        result = work(job)
        with lock:
            results[number] = result
            report(job)

    def go() -> None:
        try:
            while (taken := take()) is not None:
                do(*taken)
        except BaseException as error:  # raised again in the caller's thread
            failures.append(error)

    first = take()
    if first is not None:
        do(*first)  # the engine is loaded, perhaps compiled: by one thread, that an interrupt stops
    workers = [
        threading.Thread(target=go, name=f"fanin-look-{number}")
        for number in range(1, min(threads, -(-elements // MOST)))
    ]
    for worker in workers:
        worker.start()
    go()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(results))]
