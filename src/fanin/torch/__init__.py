"""fanin for PyTorch: `torch.nn.init`'s functions with a seed and a name, whole modules, and shards.

    import fanin.torch

    fanin.torch.kaiming_normal_(linear.weight, seed=7, name="fc.weight")
    fanin.torch.init_(linear.weight, "he_normal", seed=7, name="fc.weight")
    fanin.torch.materialize(meta_model, plan, seed=7)
    with fanin.torch.accelerate(seed=7):
        model = AutoModelForCausalLM.from_config(config)

A plan that is applied to a module (`fanin.Plan.apply`) needs none of these.
"""

from fanin.models.torch import Shard
from fanin.torch.acceleration import accelerate
from fanin.torch.filling import init_
from fanin.torch.functions import (
    calculate_gain,
    constant_,
    dirac_,
    eye_,
    kaiming_normal_,
    kaiming_uniform_,
    normal_,
    ones_,
    orthogonal_,
    sparse_,
    trunc_normal_,
    uniform_,
    xavier_normal_,
    xavier_uniform_,
    zeros_,
)
from fanin.torch.materialization import materialize
from fanin.torch.pretrained import missing

__all__ = [
    "Shard",
    "accelerate",
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "init_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "materialize",
    "missing",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]
