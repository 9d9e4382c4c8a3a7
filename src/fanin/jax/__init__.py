"""fanin for JAX: the initializers of `jax.nn.initializers`, with the bits that fanin writes everywhere.

    import fanin.jax

    nn.Dense(64, kernel_init=fanin.jax.he_normal())
    fanin.jax.he_normal()(jax.random.key(7), (512, 256))
    fanin.jax.he_normal()(7, (512, 256), name="fc.kernel")

They are called as JAX's are, inside and outside of `jit`, `vmap`, `scan` and `shard_map`.
"""

from fanin.jax.initializers import (
    Initializer,
    constant,
    delta_orthogonal,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from fanin.jax.sharded import init_sharded
from fanin.jax.variables import shapes

__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "init_sharded",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "shapes",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]
