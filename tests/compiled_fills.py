"""Fills by the Triton kernel as it is compiled for CUDA, run by `ptx` and compared with NumPy's engine.

Run as a program, without TRITON_INTERPRET; prints what the compiled texts hold, and how many fills agree.
"""

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import triton
from harness import Case, assert_same_bits, filled, poisoned
from ptx import Program
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fanin.dtypes import FLOATS
from fanin.engines import triton as engine
from fanin.engines import triton_kernel as kernel
from fanin.layouts import as_layout
from fanin.recipe import Draw, Normal, Stream, UniformInterval, Window

# One form for each way through memory: rows, transposed, odd, two axes of rows, two of columns, a vector, windows.
FORMS = [
    ((12, 256), None, None, "C"),
    ((256, 12), "o i", None, "C"),
    ((9, 37), None, None, "C"),
    ((37, 9), "o i", ((1, 2), (36, 9)), "strided"),
    ((16, 16, 3, 3), "o i *k", None, "C"),
    ((4, 16, 16), "o1 i o2", None, "C"),
    ((4, 3, 16), "o2 i o1", None, "C"),
    ((16, 3, 4), "i o1 o2", ((0, 0, 1), (16, 3, 4)), "F"),
    ((1100,), None, ((3,), (1100,)), "C"),
]
DISTRIBUTIONS = [UniformInterval(-1.0, 1.0), Normal(0.0, 1.0, -1.0, 3.0), Normal(1.0, 1.0)]
PARAMETERS = kernel.fill.params


class Compiled:
    """Stands in for the kernel: compiles it as Triton would for these arguments, and runs every program."""

    COLUMNS, ROWS, OUTER = kernel.COLUMNS, kernel.ROWS, kernel.OUTER

    def __init__(self, capability: int, change: Callable[[str], str]) -> None:
        self.fill, self.grid = self, (0,)
        self.target, self.change = GPUTarget("cuda", capability, 32), change
        self.texts: dict[object, str] = {}
        self.programs = 0

    def __getitem__(self, grid: tuple[int]) -> "Compiled":
        self.grid = grid
        return self

    def __call__(self, out: torch.Tensor, *, num_warps: int, enable_fp_fusion: bool, **rest: Any) -> None:
        arguments = {parameter.name: {**rest, "out": out}[parameter.name] for parameter in PARAMETERS}
        signature, constants, attributes = specialized(arguments)
        key = repr((signature, constants, attributes))
        if key not in self.texts:
            source = ASTSource(kernel.fill, signature, constants, attributes)
            options = {"num_warps": num_warps, "enable_fp_fusion": enable_fp_fusion}
            self.texts[key] = self.change(triton.compile(source, target=self.target, options=options).asm["ptx"])
        program = Program(self.texts[key], 32 * num_warps)
        tensors = [argument for argument in arguments.values() if isinstance(argument, torch.Tensor)]
        memory = {tensor.untyped_storage().data_ptr(): storage(tensor) for tensor in tensors}
        passed = [bits(arguments[name]) for name, kind in signature.items() if kind != "constexpr"]
        for index in range(self.grid[0]):
            program.run(index, passed, memory)
            self.programs += 1


def specialized(arguments: dict[str, Any]) -> tuple[dict[str, str], dict[Any, Any], dict[Any, Any]]:
    """Types, constants and what is known to be divisible by 16, as Triton's launcher has them."""
    signature, constants, attributes = {}, {}, {}
    for place, parameter in enumerate(PARAMETERS):
        value = arguments[parameter.name]
        if parameter.is_constexpr or (type(value) is int and value == 1 and not parameter.do_not_specialize):
            signature[parameter.name], constants[(place,)] = "constexpr", value
            continue
        if isinstance(value, torch.Tensor):
            signature[parameter.name], number = f"*i{8 * value.element_size()}", value.data_ptr()
        elif isinstance(value, float):
            signature[parameter.name], number = "fp32", 1
        else:
            signature[parameter.name], number = "i32" if -(2**31) <= value < 2**31 else "i64", value
        if number % 16 == 0 and not parameter.do_not_specialize:
            attributes[(place,)] = [["tt.divisibility", 16]]
    return signature, constants, attributes


def bits(argument: Any) -> int:
    if isinstance(argument, torch.Tensor):
        return argument.data_ptr()
    return int(np.float32(argument).view(np.uint32)) if isinstance(argument, float) else argument


def storage(tensor: torch.Tensor) -> np.ndarray:
    whole = torch.tensor([], dtype=torch.uint8).set_(tensor.untyped_storage())  # type: ignore[call-overload]
    return whole.numpy()


def compare() -> int:
    """Fill every form with every distribution, the dtypes in turn; say how many fills agree."""
    compared = 0
    for number, (shape, layout, window, order) in enumerate(FORMS):
        for distribution in DISTRIBUTIONS:
            dtype = list(FLOATS.values())[(number + compared) % len(FLOATS)]
            draw = Draw(distribution, shape, as_layout(layout), Stream("w", 2**63 + 5))
            case = Case(draw, Window(*window) if window else Window.whole(shape), dtype)
            view = poisoned(case.window.shape, dtype, order=order)
            engine.fill(case.draw, case.window, view, 1)
            assert_same_bits(view, filled(case, "numpy, 1 thread"))
            compared += 1
    return compared


def main(capability: int, old: str = "", new: str = "") -> None:
    """Compare; with a pattern and its replacement, kernels that were changed so."""
    assert not engine.INTERPRETED
    compiled = Compiled(capability, lambda text: re.sub(old, new, text) if old else text)
    engine.kernel = compiled  # type: ignore[assignment]
    engine.INTERPRETED = True  # so that the engine launches on memory of the host
    print("fills", compare(), "texts", len(compiled.texts), "programs", compiled.programs)
    text = "".join(compiled.texts.values())
    for what, pattern in [
        ("fused float32", r"(?:fma|mad)[.\w]*f32"),
        ("flushed", r"\.ftz"),
        ("slow integers", r"(?:mul|div|rem)\.(?:lo\.|hi\.)?[su]64"),
    ]:
        print(what, len(re.findall(pattern, text)))
    print("runs", *sorted(set(re.findall(r"st\.global\.(v\d[.\w]*)", text))))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
