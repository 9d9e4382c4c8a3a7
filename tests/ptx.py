"""A processor for PTX, the text that Triton's compiler gives NVIDIA's assembler: compiled kernels run without a GPU.

Registers are arrays over the threads of a program, which run in step. That is enough for a kernel
without branches: a barrier then has nothing to do. Only the instructions that our kernel is made of
are known, and any other is an error, as are misaligned addresses and those outside of the memory given.
"""

import re
from collections.abc import Callable

import numpy as np

_LINE = re.compile(r"^\s*(?:@(!?)(%p\d+)\s+)?([a-z][\w.]*)\s*(.*?);")
_UNSIGNED = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
_SIGNED = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
_REGISTERS = {"%rs": 16, "%rd": 64}  # the others have 32 bits
WARP = 32

_PLAIN: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "min": np.minimum, "max": np.maximum, "not": np.invert, "neg": np.negative, "mov": np.copy,
}  # fmt: skip
_COMPARED: dict[str, Callable[..., np.ndarray]] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip


def _width(kind: str) -> int:
    return int(kind[1:])


def _register_width(name: str) -> int:
    return _REGISTERS.get(name[:3], 32)


class Program:
    """A compiled kernel."""

    def __init__(self, text: str, threads: int) -> None:
        self.threads = np.arange(threads, dtype=np.uint32)
        body = text[text.index("\n{") : text.index("\n}")]
        lines = (_LINE.match(line.partition("//")[0]) for line in body.splitlines())
        self.lines = [match.groups() for match in lines if match]

    def run(self, index: int, parameters: list[int], memory: dict[int, np.ndarray]) -> None:
        """Run the program of an index; `memory` has the bytes at each address that a parameter points to."""
        self.index, self.parameters, self.memory = index, parameters, memory
        self.registers: dict[str, np.ndarray] = {}
        self.shared = np.full(2**17, 0xA5, np.uint8)
        with np.errstate(over="ignore"):
            for negated, predicate, operation, operands in self.lines:
                self.active = np.ones(len(self.threads), bool)
                if predicate:
                    self.active = ~self.registers[predicate] if negated else self.registers[predicate]
                name, *kinds = operation.split(".")
                if name == "ret":
                    return
                if name in ("ld", "st"):
                    self.move(name, kinds, operands)
                elif name != "bar":
                    self.execute(name, kinds, operands)

    # Registers

    def read(self, text: str, kind: str) -> np.ndarray:
        """A register, or a number, as bits of a kind."""
        width = 32 if kind == "f32" else _width(kind)
        dtype = np.float32 if kind == "f32" else (_SIGNED if kind[0] == "s" else _UNSIGNED)[width]
        special = {"%tid.x": self.threads, "%ctaid.x": np.full_like(self.threads, self.index)}
        if text in special:
            return special[text].view(dtype)
        if text.startswith("%"):  # one that was never written holds anything, which must not matter
            garbage = np.full(len(self.threads), 0xDEADBEEFDEADBEEF % 2**width, _UNSIGNED[width])
            return self.registers.get(text, garbage).view(dtype)
        number = {"global_smem": "0"}.get(text, text).rstrip("U")
        number = f"0x{number[2:]}" if number.startswith("0f") else number
        return np.full(len(self.threads), int(number, 0) % 2**width, _UNSIGNED[width]).view(dtype)

    def write(self, name: str, value: np.ndarray) -> None:
        """Set a register where threads are active; a value that is narrower is extended."""
        if value.dtype != bool:
            width = max(_register_width(name), 8 * value.dtype.itemsize)
            signed = value.dtype.kind == "i"
            value = value.view(f"u{value.itemsize}") if value.dtype.kind == "f" else value
            value = value.astype((_SIGNED if signed else _UNSIGNED)[width]).view(_UNSIGNED[width])
            assert width == _register_width(name), (name, value.dtype)
        self.registers[name] = np.where(self.active, value, self.registers.get(name, np.zeros_like(value)))

    # Arithmetic

    def execute(self, name: str, kinds: list[str], operands: str) -> None:
        if name in ("ldmatrix", "stmatrix"):
            self.move_matrices(name, kinds, operands)
        elif name == "mov" and "{" in operands:
            self.repack(_width(kinds[0]), operands)
        else:
            target, *sources = (operand.strip() for operand in operands.split(","))
            self.write(target, self.compute(name, kinds, sources))

    def compute(self, name: str, kinds: list[str], sources: list[str]) -> np.ndarray:
        kind = kinds[-1]
        if kind == "pred":
            if name == "mov":
                return np.full(len(self.threads), sources[0] != "0")
            return _PLAIN[name](*(self.registers[source] for source in sources))
        if name == "setp":
            return _COMPARED[kinds[0]](*(self.read(source, kind) for source in sources))
        if name == "selp":
            return np.where(self.registers[sources[2]], *(self.read(source, kind) for source in sources[:2]))
        if name == "cvt":
            return self.convert(kinds, sources[0])
        if name in ("mul", "mad"):
            return self.multiply(name, kinds, sources)
        if name in ("shl", "shr", "bfe", "prmt", "shfl", "div"):
            return getattr(self, name)(kinds, sources)
        assert kinds == [kind], (name, kinds)
        return _PLAIN[name](*(self.read(source, kind) for source in sources))

    def convert(self, kinds: list[str], source: str) -> np.ndarray:
        *rounding, to, start = kinds
        value = self.read(source, start)
        if to == "f64":
            return value.astype(np.float64)
        if to == "f32":
            assert rounding == ["rn"], kinds
            return value.astype(np.float32)
        return value.astype((_SIGNED if to[0] == "s" else _UNSIGNED)[_width(to)])

    def multiply(self, name: str, kinds: list[str], sources: list[str]) -> np.ndarray:
        how, kind = kinds
        a, b = (self.read(source, kind) for source in sources[:2])
        if kind == "f32":
            assert (name, how) == ("mul", "rn"), "a float32 product that is not rounded by itself"
            return a * b
        if how == "lo":
            return a * b + self.read(sources[2], kind) if name == "mad" else a * b
        wide = f"{kind[0]}64"
        product = a.astype(self.read("0", wide).dtype) * b.astype(self.read("0", wide).dtype)
        if how == "wide":
            return product + self.read(sources[2], wide) if name == "mad" else product
        assert (name, how, kind) == ("mul", "hi", "u32"), (name, kinds)
        return (product >> np.uint64(32)).astype(np.uint32)

    def div(self, kinds: list[str], sources: list[str]) -> np.ndarray:
        a, b = (self.read(source, kinds[0]) for source in sources)
        assert (a >= 0).all()
        assert (b > 0).all()
        return a // b

    def shl(self, kinds: list[str], sources: list[str]) -> np.ndarray:
        value, count = self.read(sources[0], kinds[0]), self.read(sources[1], "u32").astype(np.uint64)
        shifted = value.astype(np.uint64) << np.minimum(count, 63)
        return np.where(count < _width(kinds[0]), shifted, 0).astype(value.dtype)

    def shr(self, kinds: list[str], sources: list[str]) -> np.ndarray:
        value = self.read(sources[0], kinds[0])
        wide = value.astype(np.int64 if kinds[0][0] == "s" else np.uint64)
        return (wide >> np.minimum(self.read(sources[1], "u32"), 63).astype(wide.dtype)).astype(value.dtype)

    def bfe(self, kinds: list[str], sources: list[str]) -> np.ndarray:
        """A field of bits, from a position and of a length; signed, its highest bit is repeated."""
        value = self.read(sources[0], "u32").astype(np.int64)
        start, length = (int(source) for source in sources[1:])
        field = value >> start & (1 << length) - 1
        if kinds[0] == "s32":
            field -= (field >> length - 1 & 1) << length
        return field.astype(np.int32 if kinds[0] == "s32" else np.uint32)

    def prmt(self, kinds: list[str], sources: list[str]) -> np.ndarray:
        """Four of the eight bytes of two registers."""
        a, b, selector = (self.read(source, "u32").astype(np.uint64) for source in sources)
        both, result = a | b << np.uint64(32), np.zeros_like(a)
        for place in range(4):
            chosen = selector >> np.uint64(4 * place) & np.uint64(15)
            assert (chosen < 8).all(), "a byte's sign is not known here"
            result |= (both >> chosen * np.uint64(8) & np.uint64(255)) << np.uint64(8 * place)
        return result.astype(np.uint32)

    def shfl(self, kinds: list[str], sources: list[str]) -> np.ndarray:
        """A register of another thread of the warp."""
        assert self.active.all()
        assert kinds[0] == "sync"
        assert sources[2:] == ["31", "-1"], sources
        by, lane = self.read(sources[1], "u32"), self.threads % WARP
        source = {"bfly": lane ^ by, "idx": by % WARP}[kinds[1]]
        return self.read(sources[0], "u32")[self.threads - lane + source]

    def repack(self, width: int, operands: str) -> None:
        """Put registers together, or take one apart."""
        left, right = (
            side.split(",") for side in re.fullmatch(r"\{?(.*?)\}?,\s*\{?([^{}]*)\}?", operands, re.DOTALL).groups()
        )
        lefts, rights = [name.strip(" {}") for name in left], [name.strip(" {}") for name in right]
        part = width // max(len(lefts), len(rights))
        if len(rights) > 1:
            pieces = [
                self.read(name, f"u{part}").astype(np.uint64) << np.uint64(i * part) for i, name in enumerate(rights)
            ]
            self.write(lefts[0], np.bitwise_or.reduce(pieces).astype(_UNSIGNED[width]))
        else:
            whole = self.read(rights[0], f"u{width}").astype(np.uint64)
            for i, name in enumerate(lefts):
                self.write(name, (whole >> np.uint64(i * part)).astype(_UNSIGNED[part]))

    # Memory

    def move(self, name: str, kinds: list[str], operands: str) -> None:
        """Load or store one register or a few that are side by side in memory."""
        space, *_, kind = kinds
        if space == "param":
            target, source = operands.split(",")
            value = self.parameters[int(re.search(r"_param_(\d+)", source)[1])]
            self.write(target, self.read(str(value), kind))
            return
        size = _width(kind) // 8
        address, names = self.address(operands)
        assert len(names) == (int(kinds[1][1:]) if len(kinds) == 3 else 1), (kinds, operands)
        assert not (address[self.active] % (size * len(names))).any(), "misaligned"
        for place, register in enumerate(names):
            at = address + place * size
            if name == "st":
                bits = self.read(register, f"u{_register_width(register)}").astype(_UNSIGNED[8 * size])
                self.store(space, at, bits)
            else:
                self.write(register, self.load(space, at, kind))

    def load(self, space: str, at: np.ndarray, kind: str) -> np.ndarray:
        found = np.zeros(len(self.threads), self.read("0", kind).dtype)
        if self.active.any():
            memory, cells = self.cells(space, at[self.active], found.itemsize)
            found[self.active] = memory[cells].view(found.dtype)[:, 0]
        return found

    def store(self, space: str, at: np.ndarray, bits: np.ndarray) -> None:
        if self.active.any():
            memory, cells = self.cells(space, at[self.active], bits.itemsize)
            memory[cells] = bits[self.active].view(np.uint8).reshape(-1, bits.itemsize)

    def address(self, operands: str) -> tuple[np.ndarray, list[str]]:
        """Where to, and the registers named beside it."""
        base, step = re.search(r"\[\s*(\S+?)\s*(?:\+\s*(-?\d+)\s*)?\]", operands).groups()
        width = _register_width(base) if base.startswith("%") else 32
        names = re.findall(r"%\w+", re.sub(r"\[.*?\]", "", operands))
        return self.read(base, f"u{width}").astype(np.int64) + int(step or 0), names

    def cells(self, space: str, at: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The memory that holds all of these addresses, and the indices of their bytes in it."""
        spaces = {0: self.shared} if space == "shared" else self.memory
        for start, memory in spaces.items():
            if at.min() >= start and at.max() + size <= start + len(memory):
                return memory, at[:, None] - start + np.arange(size)
        raise AssertionError(f"addresses {at.min()} to {at.max()} are outside of the {space} memory given")

    def move_matrices(self, which: str, kinds: list[str], operands: str) -> None:
        """Eight by eight elements of 16 bits; each thread of a quarter of a warp says where a row is."""
        assert kinds[:3] == ["sync", "aligned", "m8n8"], kinds
        assert kinds[4:] == ["shared", "b16"], kinds
        assert self.active.all()
        rows, names = self.address(operands)
        lane = self.threads % WARP
        for number, name in enumerate(names):
            at = rows[self.threads - lane + 8 * number + lane // 4] + 4 * (lane % 4)
            if which == "ldmatrix":
                self.write(name, self.load("shared", at, "u32"))
            else:
                self.store("shared", at, self.read(name, "u32"))
