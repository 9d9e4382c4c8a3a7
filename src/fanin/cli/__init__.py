"""The command line: each command turns its arguments into one library call, and its outcome into an exit code.

What only one command needs is imported inside it, so that ``fanin --help`` answers at once.
"""

import contextlib
import errno
import math
import signal
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any, Self

import click

from fanin import __version__, use
from fanin.dtypes import FLOATS
from fanin.errors import CheckpointError, EngineError, FaninError, SelftestError
from fanin.recipe import check_seed
from fanin.spec import STREAM


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
        case CheckpointError():
            return ExitCode.CHECKPOINT
        case EngineError():
            return ExitCode.ENGINE
        case SelftestError():
            return ExitCode.SELFTEST
    return ExitCode.PLAN


class _Signal(BaseException):
    """A signal that ends the command, as an exception, so that everything is tidied up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Signals:
    """In a block, SIGINT, SIGTERM and SIGHUP raise where they would just end the process: the first of them, once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup ignores SIGHUP
                self.before[number] = signal.signal(number, self.stop)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            # After one, the process is about to end, and no other may change its exit code.
            signal.signal(number, handler if self.number is None else signal.SIG_IGN)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Raise, unless what was raised before is on its way: a second would disturb the tidying up."""
        if self.number is None:
            self.number = number
            raise _Signal(number)

    def check(self) -> None:
        """Raise once more what was lost: nothing that a signal raises leaves a callback of LLVM's or a finalizer."""
        if self.number is not None:
            raise _Signal(self.number)


class _Commands(click.Group):
    """The commands, with one place where errors and signals become messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _Signals() as ctx.obj:
                return super().invoke(ctx)
        except FaninError as error:
            click.echo(f"fanin: error: {error}", err=True)
            ctx.exit(exit_code(error))
        except _Signal as stop:
            name = signal.Signals(stop.number).name
            with contextlib.suppress(OSError):  # a terminal that hung up
                click.echo(f"fanin: ended by {name}; no half-written file is left.", err=True)
            ctx.exit(128 + stop.number)


def _seed(ctx: click.Context, param: click.Parameter, text: str) -> int:
    try:
        return check_seed(int(text, 16 if text[:2].lower() == "0x" else 10))
    except ValueError:  # SeedError among them
        raise click.BadParameter(
            f"{text!r} is no integer from 0 to 2**64 - 1; write it in decimal digits, or in hexadecimal after 0x."
        ) from None


def _output(ctx: click.Context, param: click.Parameter, text: str) -> Path:
    if text == "-":
        raise click.BadParameter("the output cannot be a pipe; give the name of a file.")
    return Path(text)


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fanin", message="%(prog)s %(version)s")
def main() -> None:
    """One seed, the same weights: on every framework, device and sharding."""


@main.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="FILE", callback=_output, help="The file to write.")
@click.option(
    "--seed", metavar="INTEGER", callback=_seed, default="0", show_default=True, help="Up to 2^64 - 1, or 0x..."
)
@click.option("--dtype", type=click.Choice(list(FLOATS)), help="Of all floating-point tensors, whatever the plan says.")
@click.option(
    "--like",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take names, shapes and dtypes from a .safetensors file, or a .safetensors.index.json.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Otherwise FANIN_NUM_THREADS, otherwise all cores.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_obj
def init(
    signals: _Signals,
    plan: Path,
    output: Path,
    seed: int,
    dtype: str | None,
    like: Path | None,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Write the weights of a model, by a plan, to a file.

    PLAN is a TOML file of rules, the output a safetensors file. No framework is needed. One version of
    fanin, plan, seed, dtype and list of tensors make the same file, anywhere; only in tensors that are
    computed whole (orthogonal, stft) may a few last bits differ.
    """
    from fanin import checkpoint
    from fanin.plan import Plan, digest

    started = time.perf_counter()
    rules = Plan.from_file(plan)
    if like is None and not rules.parameters:
        raise click.UsageError(f"{plan} lists no parameters; list them there, or take those of a checkpoint by --like.")
    if like is not None and rules.parameters:
        raise click.UsageError(f"{plan} lists its own parameters, so there is no use for --like; drop one of the two.")
    parameters = None if like is None else checkpoint.shapes(like)
    if parameters == ():
        raise click.UsageError(f"{like} holds no tensors, so there is nothing to write; give another checkpoint.")
    entries = rules.resolve(parameters, seed=seed, dtype=dtype)
    metadata = {
        "format": "pt",  # what transformers asks for
        "fanin.version": __version__,
        "fanin.stream": STREAM,
        "fanin.seed": str(seed),
        "fanin.plan": digest(entries),
    }
    with use(threads=threads), _bar(output, quiet) as shown:

        def progress(written: int, size: int) -> None:
            signals.check()
            if shown is not None:
                shown(written, size)

        size = checkpoint.write(output, entries, metadata=metadata, overwrite=force, progress=progress)
    if not quiet:
        seconds = time.perf_counter() - started
        numbers = sum(math.prod(entry.shape) for entry in entries)
        click.echo(
            f"{output}: {len(entries):,} tensors, {numbers:,} parameters, {size:,} bytes "
            f"in {seconds:.2f} s ({size / seconds / 1e6:,.0f} MB/s); seed {seed}, plan {metadata['fanin.plan'][:16]}"
        )


@main.command()
def selftest() -> None:
    """Check every engine against the recorded vectors."""
    from fanin.selftest import main as run

    click.get_current_context().exit(ExitCode.SELFTEST if run() else ExitCode.OK)


def _bar(output: Path, quiet: bool) -> contextlib.AbstractContextManager[Callable[[int, int], None] | None]:
    """A progress bar where someone looks."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():  # None where it was closed
        return contextlib.nullcontext()
    from fanin.progress import bar

    return bar(output.name)
