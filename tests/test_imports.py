"""What an import costs beyond NumPy. A soft bound, for noisy machines; the figure is printed (`pytest -s`)."""

import subprocess
import sys

import pytest

CODE = """
import time
import numpy
started = time.perf_counter()
{statement}
print(time.perf_counter() - started)
"""
STATEMENTS = ["import fanin", "from fanin import initializers, backend", "pass", "import time; time.sleep(0.3)"]


@pytest.fixture(scope="module")
def seconds() -> dict[str, float]:
    """The best of five processes each, in turns."""
    best = dict.fromkeys(STATEMENTS, float("inf"))
    for _ in range(5):
        for statement in STATEMENTS:
            code = CODE.format(statement=statement)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            best[statement] = min(best[statement], float(done.stdout))
    return best


@pytest.mark.parametrize("statement", STATEMENTS[:2])
def test_an_import_takes_a_moment(statement: str, seconds: dict[str, float]) -> None:
    print(f"{statement}: {1000 * seconds[statement]:.0f} ms beyond NumPy")
    assert seconds["pass"] < seconds[statement] < 0.25


def test_the_clock_sees_what_would_be_too_slow(seconds: dict[str, float]) -> None:
    assert seconds[STATEMENTS[3]] > 0.25
