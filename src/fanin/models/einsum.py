"""Layouts of layers that are an einsum of inputs and a kernel."""

__all__ = ["einsum_layouts"]


def einsum_layouts(equation: str) -> tuple[str | None, str | None]:
    """The layouts of the kernel of an equation, and of a bias that has those of its axes that are left.

    Axes of the kernel that inputs and outputs have as well are batch axes; those of the outputs alone are
    outputs, all others are summed over. Several merge in the order in which the data has them, whatever
    that in the kernel is.

    Args:
        equation: such as ``"abc,cde->abde"``, of inputs, kernel and outputs.

    Returns:
        None where it does not tell, and of a bias of one axis.

    >>> einsum_layouts("btd,dhk->bthk")
    ('i o1 o2', 'o1 o2')
    >>> einsum_layouts("bthk,dkh->btd")
    ('o i2 i1', None)
    """
    operands, arrow, outputs = equation.replace(" ", "").partition("->")
    inputs, comma, kernel = operands.partition(",")
    if not (arrow and comma) or "." in kernel or len(set(kernel)) < len(kernel) or not kernel:
        return None, None
    made = [letter for letter in outputs if letter in kernel and letter not in inputs]
    summed = [letter for letter in inputs if letter in kernel and letter not in outputs]
    summed += [letter for letter in kernel if letter not in inputs and letter not in outputs]
    axes = dict.fromkeys(kernel, "b") | _numbered("i", summed) | _numbered("o", made)
    left = [axes[letter] for letter in outputs if letter in axes]
    return " ".join(axes[letter] for letter in kernel), " ".join(left) if len(left) > 1 else None


def _numbered(role: str, letters: list[str]) -> dict[str, str]:
    return {letter: f"{role}{number}" if len(letters) > 1 else role for number, letter in enumerate(letters, start=1)}
