"""Fills on a CUDA device as shares of a plain device fill: ``python -m benchmarks.cuda``.

First it compares every kernel's bits with the CPU's, and ends with an error where they differ. Times are
the device's own, contenders take turns, the best of several rounds counts.
"""

import sys
from collections.abc import Callable, Mapping

import torch
from rich.console import Console
from rich.table import Table

import fanin
import fanin.torch

ELEMENTS = 2**28
ROUNDS = 20

FILLS: Mapping[str, Callable[[torch.Tensor], object]] = {
    "uniform": lambda out: fanin.torch.uniform_(out, -1.0, 1.0, seed=7, name="w"),
    "normal": lambda out: fanin.torch.normal_(out, seed=7, name="w"),
    "truncated normal": lambda out: fanin.torch.trunc_normal_(out, seed=7, name="w"),
}
PEERS: Mapping[str, Callable[[torch.Tensor], object]] = {
    "uniform": lambda out: out.uniform_(-1.0, 1.0),
    "normal": lambda out: out.normal_(),
    "truncated normal": lambda out: torch.nn.init.trunc_normal_(out),
}


def check(shape: tuple[int, ...]) -> None:
    """Compare bits with those of the CPU, for all dtypes and both orders of memory."""
    for what, fill in FILLS.items():
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn):
            for turned in (False, True):
                outputs = []
                for device in ("cpu", "cuda"):
                    out = torch.empty(shape, dtype=dtype, device=device)
                    fill(out.T if turned else out)
                    outputs.append(out.cpu().view(torch.uint8))
                if not torch.equal(*outputs):
                    sys.exit(f"{what}, {dtype}, {'transposed' if turned else 'contiguous'}: not the CPU's bits")


def best(contenders: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds on the device, the least of several rounds in which each contender runs once."""
    times = dict.fromkeys(contenders, float("inf"))
    for number in range(ROUNDS + 2):
        for name, contender in contenders.items():
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            contender()
            stop.record()
            torch.cuda.synchronize()
            if number >= 2:  # compiled, and warm
                times[name] = min(times[name], start.elapsed_time(stop) / 1e3)
    return times


def instructions() -> str:
    """PTX instructions in the kernels that have been compiled, per element of a thread's tile."""
    from fanin.engines.triton_kernel import fill

    counts = []
    for cache in fill.device_caches.values():
        for compiled in cache[0].values():
            lines = (line.strip() for line in compiled.asm["ptx"].splitlines())
            counts.append(sum(line.endswith(";") and not line.startswith((".", "//")) for line in lines))
    return ", ".join(map(str, counts))


def main() -> None:
    """Check, measure, print."""
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here")
    check((1031, 517))
    table = Table("what", "dtype", "GB/s", "share of a fill", "times faster than torch", box=None, pad_edge=False)
    for dtype in (torch.float32, torch.bfloat16):
        out = torch.ones(ELEMENTS, dtype=dtype, device="cuda").view(2**14, -1)
        for what in FILLS:
            contenders = {
                "fanin": lambda out=out, what=what: FILLS[what](out),
                "transposed": lambda out=out, what=what: FILLS[what](out.T),
                "fill": lambda out=out: out.fill_(2.0),
                "torch": lambda out=out, what=what: PEERS[what](out),
            }
            times = best(contenders)
            for name in ("fanin", "transposed"):
                rate = out.numel() * out.element_size() / times[name] / 1e9
                cells = f"{rate:.0f}", f"{times['fill'] / times[name]:.2f}", f"{times['torch'] / times[name]:.2f}"
                table.add_row(what + (", transposed" if name == "transposed" else ""), str(dtype), *cells)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; PTX instructions: {instructions()}")
    console.print(table)


if __name__ == "__main__":
    main()
