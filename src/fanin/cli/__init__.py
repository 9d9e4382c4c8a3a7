"""The command line: each command turns its arguments into one library call, and its outcome into an exit code.

One file per command. What only one command needs is imported inside it, so that ``fanin --help`` answers at once.
"""

from fanin.cli import diff, explain, fingerprint, init, listing, selftest, verify  # noqa: F401 - each adds its command to main
from fanin.cli.codes import MEANINGS, ExitCode, exit_code
from fanin.cli.group import main

__all__ = ["MEANINGS", "ExitCode", "exit_code", "main"]
