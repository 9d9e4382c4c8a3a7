"""A layer or a model of Keras as plans see it."""

from collections.abc import Iterable, Sequence
from typing import Any

from fanin.errors import PlanError
from fanin.models.arrays import Array, Part
from fanin.models.keras.listing import arrays, layers
from fanin.models.keras.reading import read
from fanin.models.keras.writing import check, finish, write
from fanin.recipe import Piece

__all__ = ["Layer", "opened"]


class Layer:
    """A layer whose variables get new values: a `fanin.models.Model`.

    Args:
        layer: a layer or a model, built.
        listed: its arrays.
    """

    def __init__(self, layer: Any, listed: Sequence[Array]) -> None:
        self.arrays = listed
        self._layer = layer

    def read(self, array: Array) -> Sequence[Part]:
        """What this process has of a variable, as NumPy sees it."""
        return read(array)

    def check(self, array: Array) -> None:
        """Refuse a variable that cannot be written."""
        check(array)

    def write(self, array: Array, pieces: Iterable[Piece]) -> None:
        """Write what this process has of a variable."""
        write(array, pieces)

    def result(self) -> Any:
        """The layer, if it still has the variables that were listed."""
        after = arrays(self._layer)
        if len(after) != len(self.arrays) or any(
            a.handle is not b.handle for a, b in zip(after, self.arrays, strict=True)
        ):
            raise PlanError(
                "the model's variables were replaced while they were written, by a function in the plan perhaps; the "
                "new ones are not initialized. Apply the plan to the model as it is now."
            )
        finish(self._layer, layers(self._layer))
        return self._layer


def opened(layer: Any) -> Layer:
    """List a layer or a model; see `fanin.models.keras.listing.arrays` for what is refused."""
    return Layer(layer, arrays(layer))
