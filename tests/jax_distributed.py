"""Two processes of jax.distributed, each with the shards of its own devices only. Run by `test_jax_sharded`.

    python tests/jax_distributed.py

starts both. Each compares its shards with those parts of the whole, and prints what its memory grew by.
"""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

WORLD, DEVICES = 2, 2  # processes, and devices of each
LARGE = (4096, 16384)  # 256 MiB of float32
PATIENCE = 120


def main() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(port), str(rank)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(WORLD)
    ]
    try:
        reports = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * WORLD
    print(json.dumps(reports))


def peak() -> int:
    """The most memory that this process has had, in MiB."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) // 1024


def run(port: str, rank: int) -> None:
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import numpy as np
    from flax import nnx
    from harness import assert_same_bits
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    import fanin
    import fanin.jax
    from fanin import Plan, Rule, initializers

    jax.distributed.initialize(f"localhost:{port}", WORLD, rank, initialization_timeout=PATIENCE)
    assert jax.device_count() == WORLD * DEVICES
    assert jax.local_device_count() == DEVICES
    mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    plan = Plan(
        [
            Rule("*orthogonal", "orthogonal", layout="i o", optional=True),
            Rule("*", "random_normal(stddev=1)", optional=True),
        ]
    )
    shapes = {
        "w": jax.ShapeDtypeStruct((16, 24), "float32"),
        "half": jax.ShapeDtypeStruct((8, 3, 16), "bfloat16"),
        "orthogonal": jax.ShapeDtypeStruct((16, 8), "float32"),
        "bias": jax.ShapeDtypeStruct((16,), "float32"),
    }
    whole = plan.apply(shapes, seed=7)
    compared = 0
    for spec in (P("a"), P("b"), P(("a", "b")), P()):
        made = fanin.jax.init_sharded(shapes, plan, NamedSharding(mesh, spec), 7)
        for name, array in made.items():
            assert array.shape == shapes[name].shape
            for shard in array.addressable_shards:
                assert_same_bits(np.asarray(shard.data), np.asarray(whole[name])[shard.index])
                compared += 1
    model = nnx.eval_shape(lambda: nnx.OptimizedLSTMCell(8, 16, rngs=nnx.Rngs(0)))
    fanin.jax.init_sharded(model, plan, lambda name, shape: NamedSharding(mesh, P(*[None] * (len(shape) - 1), "a")), 7)
    alone = plan.apply(nnx.eval_shape(lambda: nnx.OptimizedLSTMCell(8, 16, rngs=nnx.Rngs(0))), seed=7)
    for shard in model.dense_h.kernel[...].addressable_shards:
        assert_same_bits(np.asarray(shard.data), np.asarray(alone.dense_h.kernel[...])[shard.index])
        compared += 1
    init = fanin.jax.he_normal()
    named = init(7, (16, 24), out_sharding=NamedSharding(mesh, P("a", "b")), name="w")
    for shard in named.addressable_shards:
        wanted = initializers.HeNormal(seed=7)((16, 24), name="w")[shard.index]
        assert_same_bits(np.asarray(shard.data), wanted)
        compared += 1
    jax.block_until_ready(init(7, (1024, 1024)))  # so that the engine is loaded
    before = peak()
    large = {"w": jax.ShapeDtypeStruct(LARGE, "float32")}
    made = fanin.jax.init_sharded(large, plan, NamedSharding(mesh, P("a", "b")), 7)
    jax.block_until_ready(made)
    print(json.dumps({"compared": compared, "grown": peak() - before}))
    jax.distributed.shutdown()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        run(sys.argv[1], int(sys.argv[2]))
