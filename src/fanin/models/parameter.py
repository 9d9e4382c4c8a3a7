"""What a plan is asked for: logical tensors, by name and shape, and where in a model's arrays they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fanin import dtypes
from fanin.errors import LogicalNameError, ShapeError
from fanin.layouts import Layout, Shape, as_layout
from fanin.recipe import Window, check_shape
from fanin.spec.identity import name_words

__all__ = ["FACTS", "Parameter"]

# What a model tells of a layer as a whole, by the names that the expressions of rules may use.
FACTS = {
    "fan_in": "inputs of one output unit of the layer, which its bias shares",
    "fan_out": "outputs that one input unit of the layer feeds, those of all gates together",
    "units": "the width of a recurrent layer's state, of a bilinear layer's first input",
    "gates": "how many gates a recurrent layer has: 4 in an LSTM, 3 in a GRU, 1 in a plain one",
}


@dataclass(frozen=True)
class Parameter:
    """One logical tensor that a plan is asked for.

    Args:
        name: the name of the tensor, which is that of its stream, as it is.
        shape: of the whole tensor, a tuple of non-negative integers.
        dtype: by name or as any library writes it; None leaves it to the plan.
        layout: which axis is which, such as ``"o i"``; None leaves it to the plan.
        array: the name of the model's array that holds the tensor, where that is another; rules that
            mean the array mean the tensor, too.
        at: the window of the array that is the tensor, None for all of it; or pairs, of a window of the
            tensor and that of the array where it lies, for one that lies in several places.
        module: the class of the layer that it belongs to, such as ``"Linear"``.
        role: what it is there, such as ``"dense.kernel"`` (docs/plans.md has the list).
        facts: what is known of the layer as a whole, by the names in `FACTS`.
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
    array: str = field(default="", kw_only=True)
    at: Window | tuple[tuple[Window, Window], ...] | None = field(default=None, kw_only=True)
    module: str = field(default="", kw_only=True)
    role: str = field(default="", kw_only=True)
    facts: Mapping[str, int] = field(default_factory=dict, hash=False, kw_only=True)
    where: str = field(default="", compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise LogicalNameError(f"a parameter's name must be a text, such as 'encoder.0.weight', not {self.name!r}.")
        name_words(self.name)  # refuses what has no UTF-8 form
        object.__setattr__(self, "shape", check_shape(self.shape))
        for inside, outside in self.places:
            if inside.shape != outside.shape:
                raise ShapeError(
                    f"{self.name!r}: a window {inside.shape!r} is not the one {outside.shape!r} in the array."
                )
        if self.dtype is not None:
            object.__setattr__(self, "dtype", dtypes.resolve(self.dtype).name)
        if self.layout is not None:
            layout = as_layout(self.layout)
            layout.axes(self.shape)
            object.__setattr__(self, "layout", layout)

    @property
    def places(self) -> tuple[tuple[Window, Window], ...]:
        """Where the tensor lies in its array: windows of the one and of the other."""
        if isinstance(self.at, tuple):
            return self.at
        whole = Window.whole(self.shape)
        return ((whole, whole if self.at is None else self.at),)

    def __str__(self) -> str:
        role = f", {self.role} of {self.module}" if self.role and self.module else ""
        return f"{self.name}, shape {self.shape!r}{role}"
