"""Which tensors a checkpoint holds, from its headers alone."""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

from safetensors import SafetensorError, safe_open

from fanin.checkpoint.header import CODES
from fanin.checkpoint.shards import INDEX, SINGLE
from fanin.checkpoint.staging import STAGING
from fanin.errors import CheckpointError, LogicalNameError, ShapeError
from fanin.models import Parameter

__all__ = ["files", "shapes"]

_NAMES = {code: dtype.name for dtype, code in CODES.items()}


def shapes(path: str | os.PathLike[str]) -> tuple[Parameter, ...]:
    """Return the name, shape and dtype of every tensor of a checkpoint. No tensor is read.

    Args:
        path: a ``.safetensors`` file, the ``.safetensors.index.json`` of a sharded checkpoint, whose shards lie
            beside it, or a directory with one of these.

    Returns:
        one `Parameter` per tensor, in the order of their names, or of the index.

    Raises:
        CheckpointError: a file is missing, cannot be read, is no such file, or holds a dtype that
            fanin does not write, or a tensor that no plan can name.
    """
    path = _file_of(Path(path))
    if path.suffix == ".json":
        shards, weights = _of_index(path)
        return tuple(shards[shard][name] for name, shard in weights.items())
    return tuple(_of_file(path).values())


def files(path: Path) -> list[tuple[Path, Sequence[Parameter]]]:
    """The files that a checkpoint is made of, and the tensors that each holds of it; see `shapes`."""
    path = _file_of(path)
    if path.suffix != ".json":
        return [(path, tuple(_of_file(path).values()))]
    shards, weights = _of_index(path)
    return [
        (path.parent / shard, [held[name] for name, place in weights.items() if place == shard])
        for shard, held in shards.items()
    ]


def _file_of(path: Path) -> Path:
    """The file that a directory is read by, as transformers finds it; any other path is itself."""
    try:
        names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from error
    if names is None:
        return path
    usual = [name for name in (INDEX, SINGLE) if name in names]
    found = usual or [name for name in names if name.endswith((".safetensors", ".safetensors.index.json"))]
    if len(found) == 1:
        return path / found[0]
    if found:
        raise CheckpointError(
            f"{path} is a directory of several checkpoints: {', '.join(found[:4])}{' and others' * (len(found) > 4)}; "
            f"give one of these files."
        )
    unfinished = STAGING in names
    raise CheckpointError(
        f"{path} is a directory without a checkpoint: it holds no {SINGLE}, no {INDEX} and no other .safetensors file"
        + (", but one that was not finished; go on with it by `fanin init --resume`." if unfinished else ".")
    )


def _of_file(path: Path) -> dict[str, Parameter]:
    _check_file(path)
    try:
        with safe_open(path, framework="numpy") as file:  # "numpy" names the lazy reader; nothing is converted
            names = file.keys()
            slices = {name: file.get_slice(name) for name in names}
            found = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a safetensors file: {error}. Give a .safetensors file, whole and unpacked, or the "
            f".safetensors.index.json of a sharded checkpoint."
        ) from None
    for name, (_, code) in found.items():
        if code not in _NAMES:
            raise CheckpointError(
                f"{path}: tensor {name!r} is of dtype {code!r}, which fanin does not write; it writes "
                f"{', '.join(_NAMES)}."
            )
    try:
        return {name: Parameter(name, shape, _NAMES[code]) for name, (shape, code) in found.items()}
    except (LogicalNameError, ShapeError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def _of_index(path: Path) -> tuple[dict[str, dict[str, Parameter]], Mapping[str, str]]:
    """The tensors of each shard, by name, and the shard of each that the index lists."""
    _check_file(path)
    try:
        index = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise CheckpointError(f"{path}: not JSON: {error}. Give the index as it was published.") from None
    weights = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weights, Mapping) or not all(isinstance(shard, str) for shard in weights.values()):
        raise CheckpointError(f"{path}: no index of a checkpoint: it has no table 'weight_map' of file names.")
    shards: dict[str, dict[str, Parameter]] = {}
    for name, shard in weights.items():
        if shard in ("", ".", "..") or PureWindowsPath(shard).name != shard:  # to which both slashes part names
            raise CheckpointError(f"{path}: shard {shard!r} of {name!r} does not lie beside the index.")
        if shard not in shards:
            try:
                shards[shard] = _of_file(path.parent / shard)
            except CheckpointError as error:
                raise CheckpointError(f"{path} lists a shard that cannot be used. {error}") from None
        if name not in shards[shard]:
            raise CheckpointError(
                f"{path}: the index says {shard!r} holds {name!r}, and it does not; they do not match."
            )
    for shard, held in shards.items():
        unlisted = [name for name in held if weights.get(name) != shard]
        if unlisted:
            raise CheckpointError(
                f"{path}: {shard!r} holds {unlisted[0]!r}, and the index does not say so"
                f"{f' ({len(unlisted):,} such tensors)' if len(unlisted) > 1 else ''}; they do not match."
            )
    return shards, weights


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # a ValueError is of a name that no file can have
        raise CheckpointError(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from error
    if stat.S_ISDIR(mode):
        raise CheckpointError(f"{path} is a directory, and no file of tensors.")
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is no regular file, and only such a file can be read in parts.")
    if not os.access(path, os.R_OK):
        raise CheckpointError(f"{path} cannot be read: there is no permission to.")
