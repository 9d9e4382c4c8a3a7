"""Code that initializes by torch's own functions, filled by fanin instead."""

import itertools
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch.overrides import TorchFunctionMode

from fanin.dtypes import FLOATS
from fanin.initializers.base import Seed
from fanin.models.torch import can_write
from fanin.recipe import check_seed
from fanin.torch import functions

__all__ = ["accelerate"]

Function = Callable[..., torch.Tensor]

# What draws: the functions of torch.nn.init that hand themselves to a mode, and the two methods that
# all others but trunc_normal_ end in, by whatever name a library imported them.
_DRAWING: Mapping[str, Function] = {
    "uniform_": functions.uniform_,
    "normal_": functions.normal_,
    "kaiming_uniform_": functions.kaiming_uniform_,
}
_OTHER_NAMES = {"from": "a", "to": "b"}  # of the arguments of torch.Tensor.uniform_

_lock = threading.Lock()
_entered = 0
_stacks = threading.local()


class accelerate:  # noqa: N801 - reads as a function: with fanin.torch.accelerate(seed=7)
    r"""Fill by fanin what code in the block draws by torch.

    Inside the block `torch.nn.init`'s random functions, by whatever name they were imported, the
    ``reset_parameters`` of torch's layers, ``from_config`` of transformers, and ``uniform_`` and
    ``normal_`` of tensors draw from fanin's streams, at its speed. Distributions stay what they are.
    ::

        with fanin.torch.accelerate(seed=7):
            model = AutoModelForCausalLM.from_config(config)

    This is the one door of this module that depends on order: call number n of the block, counted
    from 0, draws the stream named ``\#n``. A layer more changes all later ones, as with
    torch's own generator. Weights by name come from `fanin.Plan.apply` and `materialize`.

    Left to torch: calls with a generator, tensors on the meta device, of dtypes that fanin does not
    write, or that it cannot write in place; constants; what needs the whole tensor (``orthogonal_`` and
    ``sparse_`` take only their normals from here); and other draws, among them ``torch.randn`` and
    ``torch.rand``. Blocks nest, and end with an exception as well; other threads see nothing.

    Args:
        seed: 0 to 2**64 - 1; None draws a fresh one for the block.

    Raises:
        SeedError: the seed is no such integer.
    """

    def __init__(self, seed: Seed = None) -> None:
        self.seed = None if seed is None else check_seed(seed)

    def __enter__(self) -> Self:
        """Begin; the calls are counted from 0."""
        mode = _Mode(secrets.randbits(64) if self.seed is None else self.seed)
        _install(1)
        _stack().append(mode)
        mode.__enter__()  # type: ignore[no-untyped-call]  # torch has no type for it
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo it."""
        _stack().pop().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]  # likewise
        _install(-1)


class _Mode(TorchFunctionMode):
    """One block: its seed, and the number of its next call."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.numbers = itertools.count()

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        ours = _drawing(func)
        tensor = args[0] if args else kwargs.get("tensor")
        if ours is None or not _suits(tensor, kwargs.get("generator")) or _breaks_graph(func, tensor):
            return func(*args, **kwargs)
        return self.draw(ours, args, {_OTHER_NAMES.get(name, name): value for name, value in kwargs.items()})

    def draw(self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor:
        return function(*args, **kwargs, seed=self.seed, name=f"\\#{next(self.numbers)}")


def _drawing(func: Any) -> Function | None:
    """What takes the place of a function, if it draws.

    torch's functions hand over what torch.nn.init has by their name at that time. While transformers builds
    a model that is its own function, which has called torch's already.
    """
    name = getattr(func, "__name__", "")
    ours = _DRAWING.get(name)
    return ours if ours and func in (getattr(torch.nn.init, name), getattr(torch.Tensor, name, None)) else None


def _suits(tensor: Any, generator: object) -> bool:
    """Whether a call is one that fanin takes over."""
    return (
        isinstance(tensor, torch.Tensor)
        and generator is None
        and str(tensor.dtype).removeprefix("torch.") in FLOATS
        and tensor.numel() > 0
        and can_write(tensor)
    )


def _breaks_graph(func: Any, tensor: Any) -> bool:
    """Whether autograd has a say: outside of no_grad it refuses the method of a leaf, which is not to be hidden."""
    is_method = func in (torch.Tensor.uniform_, torch.Tensor.normal_)
    return is_method and bool(tensor.requires_grad) and torch.is_grad_enabled()


def _stack() -> list[_Mode]:
    """The blocks that this thread is in."""
    if not hasattr(_stacks, "modes"):
        _stacks.modes = []
    return _stacks.modes  # type: ignore[no-any-return]  # set right here


# `trunc_normal_` hands itself to no mode, and draws again and again inside: the function behind it is
# replaced while any block is open, and looks whether its thread is in one.
_theirs: Function = torch.nn.init._no_grad_trunc_normal_


def _trunc_normal_(
    tensor: torch.Tensor, mean: float, std: float, a: float, b: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    modes = _stack()
    if modes and _suits(tensor, generator):
        return modes[-1].draw(functions.trunc_normal_, (tensor, mean, std, a, b), {})
    return _theirs(tensor, mean, std, a, b, generator=generator)


def _install(change: int) -> None:
    global _entered
    with _lock:
        _entered += change
        torch.nn.init._no_grad_trunc_normal_ = _trunc_normal_ if _entered else _theirs
