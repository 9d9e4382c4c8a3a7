"""The Triton kernel as it is compiled for CUDA, without a GPU: its text is read, and run by `ptx`.

What this leaves to a GPU is NVIDIA's assembler, the launch, and the speed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "compiled_fills.py"


def compiled(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program where Triton compiles, with a cache of its own."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(directory)}
    return subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("triton")


@pytest.mark.parametrize("capability", ["80", "90"])
def test_the_compiled_kernel_writes_the_same_bits(capability: str, cache: Path) -> None:
    """No product is fused or flushed, no integers of 64 bits are multiplied, runs of memory are stored at once."""
    done = compiled(cache, capability)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "fills 27 texts 27 programs 36",
        "fused float32 0",
        "flushed 0",
        "slow integers 0",
        "runs v2.b32 v2.b64 v4.b32",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"mul\.hi\.u32", "mul.lo.s32"),
        (r"shr\.s32", "shr.u32"),
        (r"setp\.lt\.s32", "setp.le.s32"),
        (r"cvt\.rn\.f32\.u32", "cvt.rn.f32.s32"),
    ],
)
def test_a_wrong_instruction_is_caught(old: str, new: str, cache: Path) -> None:
    done = compiled(cache, "80", old, new)
    assert done.returncode == 1
    assert "elements differ" in done.stderr or "outside of the global memory" in done.stderr
