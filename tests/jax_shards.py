"""A process with eight devices of the host: shards of every kind have the bits of the whole. Prints how many."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import pytest
from harness import assert_same_bits
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import fanin
import fanin.jax as fj
from fanin import engines
from fanin.engines.jax import draw_window, origin_of
from fanin.layouts import ARRAY_ORDER
from fanin.recipe import Draw, Normal, Stream, Window

SHAPE = (32, 24)
SPECS = [P("a"), P(None, "a"), P("a", "b"), P(("a", "b")), P()]
KEY = jax.random.key(7)
compared = 0


def check(found: jax.Array, wanted: np.ndarray, sharding: NamedSharding | None = None) -> None:
    """Compare the whole, and how it is split."""
    global compared
    assert_same_bits(np.asarray(found), wanted)
    if sharding is not None:
        assert found.sharding.is_equivalent_to(sharding, found.ndim), found.sharding
    compared += 1


assert len(jax.devices()) == 8
init = fj.he_normal()
whole = np.asarray(init(7, SHAPE))
orthogonal = np.asarray(fj.orthogonal()(7, SHAPE))

mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
for spec in SPECS:
    sharding = NamedSharding(mesh, spec)
    check(init(7, SHAPE, out_sharding=sharding), whole, sharding)
    check(jax.jit(lambda key: init(key, SHAPE), out_shardings=sharding)(KEY), whole, sharding)
    check(jax.jit(lambda key, s=sharding: init(key, SHAPE, out_sharding=s))(KEY), whole, sharding)
    check(fj.orthogonal()(7, SHAPE, out_sharding=sharding), orthogonal, sharding)
    with jax.set_mesh(mesh):
        check(init(7, SHAPE, out_sharding=spec), whole, sharding)

# No device draws more than its shard, and none talks to another.
lowered = jax.jit(lambda key: init(key, SHAPE), out_shardings=NamedSharding(mesh, P("a", "b"))).lower(KEY)
text = lowered.compile().as_text()
assert "f32[8,12]" in text
assert "f32[32,24]" not in text
assert not any(word in text for word in ("all-gather", "all-reduce", "collective", "all-to-all"))

# The host's engines fill windows only.
asked = []
fill = engines.fill
engines.fill = lambda recipe, window, view: (asked.append(view.shape), fill(recipe, window, view))  # type: ignore[assignment]
init(7, SHAPE, out_sharding=NamedSharding(mesh, P("a", "b")))
engines.fill = fill
assert asked == [(8, 12)] * 8

# Meshes whose axes are part of types.
explicit = jax.make_mesh((4, 2), ("a", "b"), axis_types=(AxisType.Explicit,) * 2)
with jax.set_mesh(explicit):
    for spec in (P("a"), P("a", "b")):
        sharding = NamedSharding(explicit, spec)
        check(init(7, SHAPE, out_sharding=spec), whole, sharding)
        check(jax.jit(lambda key, s=spec: init(key, SHAPE, out_sharding=s))(KEY), whole, sharding)

# Inside shard_map each device draws its own window, whose start is known when the program runs.
draw = Draw(Normal(0.0, 1.0), SHAPE, ARRAY_ORDER, Stream("w", 7))
part = Window((0, 0), (8, 12))
(k0, k1), (n2, n3) = Stream("w", 7).words()
words = tuple(map(np.uint32, (k0, k1, n2, n3)))
zero = origin_of(draw.coordinates(part))


def shard() -> jax.Array:
    """The part of this device."""
    row = jax.lax.axis_index("a").astype(np.uint32) * np.uint32(8)
    block = jax.lax.axis_index("b").astype(np.uint32) * np.uint32(12 // 4)
    return draw_window(draw, part, words, np.dtype("float32"), zero._replace(row=row, block=block))


wanted = np.empty(SHAPE, np.float32)
with fanin.use(engine="numpy"):
    engines.fill(draw, Window.whole(SHAPE), wanted)
check(jax.jit(jax.shard_map(shard, mesh=mesh, in_specs=(), out_specs=P("a", "b")))(), wanted)

# A sharding that does not fit.
with pytest.raises(fanin.errors.ShapeError, match=r"does not fit the shape \(31, 24\)"):
    init(7, (31, 24), out_sharding=NamedSharding(mesh, P("a")))
print("compared", compared)
