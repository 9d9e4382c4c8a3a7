"""The bar that long work in Python shows: on a terminal, where nobody says otherwise."""

import os
import pty
import subprocess
import sys

import pytest

CODE = """
import sys, torch, fanin
from fanin import progress
progress.LONG = int(sys.argv[1])
told = []
report = (lambda *bytes: told.append(bytes)) if "told" in sys.argv else None
fanin.defaults("torch").apply(torch.nn.Sequential(torch.nn.Linear(512, 512)), progress=report)
print(told[-1:])
"""


def shown(*arguments: object) -> str:
    """What a process with a terminal as its standard error writes there."""
    outer, inner = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=inner,
            check=True,
            timeout=120,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )
    finally:
        os.close(inner)
    text = b""
    try:
        while piece := os.read(outer, 2**16):
            text += piece
    except OSError:  # all is read
        pass
    os.close(outer)
    return text.decode() + done.stdout.decode()


def test_long_work_shows_a_bar() -> None:
    text = shown(0)
    assert "Sequential" in text
    assert "MB" in text


@pytest.mark.parametrize("arguments", [(2**40,), (0, "told")])
def test_short_work_and_a_function_of_ones_own_show_none(arguments: tuple[object, ...]) -> None:
    text = shown(*arguments)
    assert "Sequential" not in text
    assert text == ("[]\n" if len(arguments) == 1 else "[(1050624, 1050624)]\n")
