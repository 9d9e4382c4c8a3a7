"""Layouts of layers that are an einsum of inputs and a kernel."""

from collections import Counter

__all__ = ["einsum_layouts"]


def einsum_layouts(equation: str) -> tuple[str | None, str | None]:
    """The layouts of the kernel of an equation, and of a bias that has those of its axes that are left.

    Axes of the kernel that inputs and outputs have as well are batch axes; those of the outputs alone are
    outputs, all others are summed over.

    Args:
        equation: such as ``"abc,cde->abde"``, of inputs, kernel and outputs.

    Returns:
        None where it does not tell, and of a bias of one axis.

    >>> einsum_layouts("btd,dhk->bthk")
    ('i o1 o2', 'o1 o2')
    """
    operands, arrow, outputs = equation.replace(" ", "").partition("->")
    inputs, comma, kernel = operands.partition(",")
    if not (arrow and comma) or "." in kernel or len(set(kernel)) < len(kernel) or not kernel:
        return None, None
    roles = {letter: _role(letter in inputs, letter in outputs) for letter in kernel}
    several = Counter(roles.values())
    met: Counter[str] = Counter()
    axes = {}
    for letter, role in roles.items():
        met[role] += 1
        axes[letter] = f"{role}{met[role]}" if role != "b" and several[role] > 1 else role
    left = [axes[letter] for letter in outputs if letter in axes]
    return " ".join(axes.values()), " ".join(left) if len(left) > 1 else None


def _role(of_inputs: bool, of_outputs: bool) -> str:
    if of_outputs:
        return "b" if of_inputs else "o"
    return "i"
