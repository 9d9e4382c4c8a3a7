"""How a command ends: the exit codes, what they mean, and which error has which."""

import errno
from enum import IntEnum

from fanin.errors import (
    CheckpointError,
    EngineError,
    FactoryError,
    FaninError,
    SelftestError,
    StreamError,
    VerificationError,
)

__all__ = ["EPILOG", "MEANINGS", "ExitCode", "exit_code"]


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    DEFECT = 1
    USAGE = 2
    PLAN = 3
    EXISTS = 4
    NO_SPACE = 5
    CHECKPOINT = 6
    ENGINE = 7
    SELFTEST = 8
    NO_MEMORY = 9
    DIFFERS = 10
    STREAM = 11
    BUSY = 12
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.DEFECT: "a defect of fanin; please report what it says",
    ExitCode.USAGE: "wrong arguments",
    ExitCode.PLAN: "the plan cannot be read, or does not fit its parameters",
    ExitCode.EXISTS: "the output exists, and --force was not given",
    ExitCode.NO_SPACE: "no room for the output",
    ExitCode.CHECKPOINT: "a checkpoint cannot be read or written",
    ExitCode.ENGINE: "an engine is unknown, or not installed, or cannot be set up so",
    ExitCode.SELFTEST: "this machine does not write the stream",
    ExitCode.NO_MEMORY: "no memory for a tensor that has to be computed whole",
    ExitCode.DIFFERS: "what was compared is not the same, or not as the plan has it",
    ExitCode.STREAM: "a checkpoint was written by another version of the stream",
    ExitCode.BUSY: "another process writes to the output",
    ExitCode.HANGUP: "ended by SIGHUP",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C, SIGINT)",
    ExitCode.TERMINATED: "ended by SIGTERM",
}
EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:3}  {meaning}" for code, meaning in MEANINGS.items())


def exit_code(error: FaninError) -> ExitCode:
    """The exit code of an error."""
    match error:
        case CheckpointError(errno=errno.EEXIST):
            return ExitCode.EXISTS
        case CheckpointError(errno=errno.ENOSPC):
            return ExitCode.NO_SPACE
        case CheckpointError(errno=errno.ENOMEM):
            return ExitCode.NO_MEMORY
        case CheckpointError(errno=errno.EBUSY):
            return ExitCode.BUSY
        case CheckpointError():
            return ExitCode.CHECKPOINT
        case FactoryError():
            return ExitCode.USAGE
        case EngineError():
            return ExitCode.ENGINE
        case SelftestError():
            return ExitCode.SELFTEST
        case VerificationError():
            return ExitCode.DIFFERS
        case StreamError():
            return ExitCode.STREAM
    return ExitCode.PLAN
