"""What a plan says of itself: what it is, where it comes from, and which models it is for."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["About"]


@dataclass(frozen=True)
class About:
    """The table ``[about]`` of a plan.

    Attributes:
        title: what the plan is, in a line.
        sources: where its rules were read: code with its version or date, papers.
        names: whose names of tensors the plan has, such as ``"transformers.LlamaForCausalLM"``.
        model_type: the kinds of models, as configurations call them, that it is for; any, where there are none.
        architectures: the classes of models, as configurations call them, that it is for; any, where there
            are none.
        notes: what one should know before using it.
    """

    title: str = ""
    sources: tuple[str, ...] = ()
    names: str = ""
    model_type: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Mapping[str, str | list[str]]) -> "About":
        """Read a table whose keys and types are right."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})  # type: ignore[arg-type]  # the keys were checked
