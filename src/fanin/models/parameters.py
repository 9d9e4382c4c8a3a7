"""What a plan is asked for: tensors by name and shape."""

from dataclasses import dataclass, field

from fanin import dtypes
from fanin.errors import LogicalNameError
from fanin.layouts import Layout, Shape, as_layout
from fanin.recipe import check_shape
from fanin.spec.identity import name_words

__all__ = ["Parameter"]


@dataclass(frozen=True)
class Parameter:
    """One tensor that a plan is asked for.

    Args:
        name: the name of the tensor, which is that of its stream, as it is.
        shape: of the whole array, a tuple of non-negative integers.
        dtype: by name or as any library writes it; None leaves it to the plan.
        layout: which axis is which, such as ``"o i"``; None leaves it to the plan.
        where: the place that it was written at, such as ``"gpt2.toml, line 9"``, for messages.

    Raises:
        LogicalNameError: the name is no text, or empty.
        ShapeError, DTypeError, LayoutError: what was given cannot be used.

    >>> Parameter("fc.weight", (10, 512), layout="o i").shape
    (10, 512)
    """

    name: str
    shape: Shape
    dtype: str | None = None
    layout: Layout | str | None = None
    where: str = field(default="", compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise LogicalNameError(f"a parameter's name must be a text, such as 'encoder.0.weight', not {self.name!r}.")
        name_words(self.name)  # refuses what has no UTF-8 form
        object.__setattr__(self, "shape", check_shape(self.shape))
        if self.dtype is not None:
            object.__setattr__(self, "dtype", dtypes.resolve(self.dtype).name)
        if self.layout is not None:
            layout = as_layout(self.layout)
            layout.axes(self.shape)
            object.__setattr__(self, "layout", layout)

    def __str__(self) -> str:
        return f"{self.name}, shape {self.shape!r}"
