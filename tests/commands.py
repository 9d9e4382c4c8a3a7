"""What the tests of the command share: plans, a device, the command `fanin` in this process and in one of its own."""

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner, Result

from fanin.cli import main

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

PARAMETERS = """
[[parameters]]
name = "fc.weight"
shape = [8, 5]

[[parameters]]
name = "fc.bias"
shape = [8]

[[parameters]]
name = "steps"
shape = []
dtype = "int64"
"""
RULES = """
[plan]
layout = "o i"

[[rules]]
match = "*.weight"
initializer = "he_normal"

[[rules]]
match = ["*.bias", "steps"]
initializer = "zeros"
"""
SMALL = RULES + PARAMETERS
BLOCK = 2**22  # elements of each tensor of `large`, 16 MiB


def large(blocks: int) -> str:
    """A plan of that many tensors of 16 MiB each."""
    return f"""
[[parameters]]
name = "block.{{i:}}.weight"
for = {{ i = {blocks} }}
shape = [{BLOCK // 1024}, 1024]

[[rules]]
match = "*"
initializer = "random_normal"
""".replace("{i:}", "{i}")


@contextlib.contextmanager
def device() -> Iterator[Path]:
    """A device to be refused: a terminal, whose directory takes no files, not even from root.

    Never /dev/null: tests run as root, and a defect would replace it for the whole machine.
    """
    ends = pty.openpty()
    try:
        yield Path(os.ttyname(ends[1]))
    finally:
        for end in ends:
            os.close(end)


def line(*arguments: object) -> list[str]:
    """The command as a process is given it."""
    return [sys.executable, "-m", "fanin", *map(str, arguments)]


def environment(**variables: str | None) -> dict[str, str]:
    """The environment without what chooses an engine, but for the variables; None removes one."""
    merged = {**os.environ, "FANIN_ENGINE": None, "FANIN_NUM_THREADS": None, **variables}
    return {name: value for name, value in merged.items() if value is not None}


def fanin(*arguments: object, before: list[str] | None = None, **variables: str | None) -> subprocess.CompletedProcess:
    """Run the command in a process of its own, `before` being what starts it in turn."""
    return subprocess.run(
        [*(before or []), *line(*arguments)],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=120,
        check=False,
        env=environment(**variables),
    )


def invoked(*arguments: object) -> Result:
    """Run the command in this process; whatever is no exit is raised."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
