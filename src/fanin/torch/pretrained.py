"""What transformers writes on a model's tensors."""

import torch

__all__ = ["missing"]


def missing(name: str, tensor: torch.Tensor) -> bool:
    """Whether transformers' ``from_pretrained`` did not find a tensor in the checkpoint, for ``only=`` of a plan.

    It flags what it has loaded (``_is_hf_initialized``). So this draws the new head of a model, and
    leaves the rest::

        model = AutoModelForSequenceClassification.from_pretrained("gpt2")
        plan.apply(model, seed=7, only=fanin.torch.missing)

    Args:
        name: of the tensor, which does not matter.
        tensor: of the model.

    >>> loaded, new = torch.zeros(2), torch.zeros(2)
    >>> loaded._is_hf_initialized = True
    >>> missing("a", loaded), missing("b", new)
    (False, True)
    """
    return not getattr(tensor, "_is_hf_initialized", False)
