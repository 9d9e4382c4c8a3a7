"""Timing on a machine that others use too: contenders take turns, and each keeps its best."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Row:
    """One line of the table.

    Attributes:
        what: what is measured.
        seconds: of fanin.
        peers: seconds of the others, by name.
        elements: how many numbers are written; 0 where a rate says nothing.
        note: whatever else should be known.
    """

    what: str
    seconds: float
    peers: Mapping[str, float] = field(default_factory=dict)
    elements: int = 0
    note: str = ""


SHORT = 0.1  # seconds below which a call is preceded by one that does not count


def best(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least seconds of each contender over several rounds in which each runs once.

    A short call is timed after an untimed one of its own, since the contender before leaves caches
    cold and, for some 0.1 s, idle threads that spin (those of torch cost the next fill a third).
    """
    for contender in contenders.values():
        contender()  # compile, load, touch memory
    times = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, contender in contenders.items():
            if times[name] < SHORT:
                time.sleep(SHORT)
                contender()
            started = time.perf_counter()
            contender()
            times[name] = min(times[name], time.perf_counter() - started)
    return times


def repeated(function: Callable[[], object], times: int) -> Callable[[], object]:
    """Return a function that calls another so many times."""

    def calls() -> None:
        for _ in range(times):
            function()

    return calls
