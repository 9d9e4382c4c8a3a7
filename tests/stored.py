"""Safetensors files of any dtype, written and read by a few lines of their own: the library's NumPy has no float8."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fanin.checkpoint.header import CODES

DTYPES = {code: dtype for dtype, code in CODES.items()}


def written(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> Path:
    """Write arrays to a file."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, array in sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize):
        content = array.tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": CODES[array.dtype], "shape": array.shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def held(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Copies of the arrays of a file, and its metadata."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, fields in header.items():
        low, high = fields["data_offsets"]
        content = np.frombuffer(data[start + low : start + high], np.uint8)
        arrays[name] = content.copy().view(DTYPES[fields["dtype"]]).reshape(fields["shape"])
    return arrays, metadata
