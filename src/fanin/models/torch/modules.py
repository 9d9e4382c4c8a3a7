"""A module of torch as plans see it."""

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from fanin.errors import PlanError
from fanin.models.arrays import Array, Part
from fanin.models.torch.listing import arrays, places
from fanin.models.torch.reading import read
from fanin.models.torch.shards import Declared
from fanin.models.torch.writing import check, write
from fanin.recipe import Piece

__all__ = ["Module", "opened"]


class Module:
    """A module whose tensors are read and written in place: a `fanin.models.Model`.

    Args:
        module: whatever wraps it.
        listed: its arrays.
    """

    def __init__(self, module: nn.Module, listed: Sequence[Array]) -> None:
        self.arrays = listed
        self._module = module
        self._before = [place.tensor for place in places(module)]

    def read(self, array: Array) -> Sequence[Part]:
        """What this process has of an array, as NumPy sees it."""
        return read(array)

    def check(self, array: Array) -> None:
        """Refuse a tensor that cannot be written in place."""
        check(array.handle, array.name)

    def write(self, array: Array, pieces: Iterable[Piece]) -> None:
        """Write what this process has of an array."""
        write(array, pieces)

    def result(self) -> nn.Module:
        """The module, if it still has the tensors that were listed."""
        after = [place.tensor for place in places(self._module)]
        if len(after) != len(self._before) or any(a is not b for a, b in zip(after, self._before, strict=True)):
            raise PlanError(
                "the model's tensors were replaced while they were written, by a function in the plan perhaps; the "
                "new ones are not initialized. Apply the plan to the model as it is now."
            )
        return self._module


def opened(module: nn.Module, shards: Mapping[str, Declared] | None = None) -> Module:
    """List a module; see `fanin.models.torch.listing.arrays` for what is refused."""
    return Module(module, arrays(module, shards))
