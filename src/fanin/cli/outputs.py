"""Where ``fanin init`` writes to: one file, or a directory of shards."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fanin.errors import ArgumentError

if TYPE_CHECKING:
    from fanin.checkpoint import Forecast
    from fanin.plan import Resolved

__all__ = ["Target", "max_shard_size", "resume"]

DEFAULT = "5GB"


def _size(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    from fanin.checkpoint import bytes_of

    try:
        return None if text is None else bytes_of(text)
    except ArgumentError as error:
        raise click.BadParameter(str(error)) from None


max_shard_size = click.option(
    "--max-shard-size",
    metavar="SIZE",
    callback=_size,
    help=f"Of the tensors in each file of a directory: 500MB, 2GiB. Otherwise {DEFAULT}.",
)
resume = click.option(
    "--resume", is_flag=True, help="Go on with a directory that was not finished; its right files are kept."
)


@dataclass(frozen=True)
class Target:
    """What is written to.

    Attributes:
        path: of a file or a directory.
        sharded: whether it is a directory.
        most: bytes of tensors in each of its files.
        resume: whether to go on with what is there.
    """

    path: Path
    sharded: bool
    most: int | None
    resume: bool

    @classmethod
    def of(cls, text: str, most: int | None, resume: bool) -> "Target":
        """Tell a directory from a file, by what is there, how its name ends, and the options that only one has.

        Raises:
            UsageError: the options are of a directory, and the name of a file.
        """
        path, directory, file = Path(text), False, False
        with contextlib.suppress(OSError):  # a name that cannot be is refused by whoever writes
            directory = text != "" and path.is_dir()
            file = path.is_file()
        directory |= text.endswith(tuple(filter(None, (os.sep, os.altsep))))
        if not directory and (most is not None or resume):
            option = "--max-shard-size" if most is not None else "--resume"
            if file or path.suffix == ".safetensors":
                raise click.UsageError(f"{option} is of a directory of shards, and {text!r} names a file.")
            directory = True
        return cls(path, directory, most, resume)

    def settle(self, overwrite: bool) -> None:
        """Bring to its end what another process began to publish: its files may be those to be like."""
        from fanin import checkpoint

        if self.sharded and (self.resume or overwrite):
            checkpoint.settle(self.path)

    def forecast(self, entries: "Resolved", overwrite: bool, **options: Any) -> "Forecast":
        """Say what would be written.

        Args:
            entries: that would be drawn.
            overwrite: whether what is there would be replaced.
            options: of `fanin.checkpoint.forecast`.
        """
        from fanin import checkpoint

        most = None if not self.sharded else DEFAULT if self.most is None else self.most
        return checkpoint.forecast(
            self.path, entries, max_shard_size=most, overwrite=overwrite, resume=self.resume, **options
        )

    def keep(self, content: bytes, changed: bool) -> str:
        """Put a configuration beside the shards, where a model is loaded from both; say why not.

        Args:
            content: of its file.
            changed: whether the weights have other quantities.
        """
        there = self.path / "config.json"
        if not self.sharded:
            return ""
        if os.path.lexists(there):
            same = there.is_file() and there.read_bytes() == content
            return "" if same else f"{there} is another configuration than was given, and is left as it is"
        if changed:
            return f"there is no {there}: --set makes other weights than those of the configuration that was given"
        from fanin.checkpoint.output import new_file

        with new_file(there, len(content), overwrite=False) as temporary:
            temporary.write_bytes(content)
        return ""

    def write(
        self, entries: "Resolved", metadata: Mapping[str, str], overwrite: bool, **options: Any
    ) -> tuple[int, str]:
        """Write; return the bytes, and in words which files they are in.

        Args:
            entries: that are drawn.
            metadata: of the files.
            overwrite: whether what is there is replaced.
            options: of both `fanin.checkpoint.write` and `write_sharded`.
        """
        from fanin import checkpoint

        if not self.sharded:
            return checkpoint.write(self.path, entries, metadata=metadata, overwrite=overwrite, **options), ""
        written = checkpoint.write_sharded(
            self.path,
            entries,
            max_shard_size=DEFAULT if self.most is None else self.most,
            metadata=metadata,
            overwrite=overwrite,
            resume=self.resume,
            **options,
        )
        count, kept = len(written.files), len(written.kept)
        told = f" in {count:,} {'file' if count == 1 else 'files'}"
        return written.size, f"{told}, {kept:,} of them kept," if self.resume else told
