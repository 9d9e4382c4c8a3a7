"""Plans on Keras models that are distributed over eight devices of JAX. Run by `test_keras_models`.

    KERAS_BACKEND=jax python tests/keras_distributed.py

prints, as JSON and for a model with values and one without, the shape of a shard of each weight, whether the weight
is what the plan says, and what was drawn at once.
"""

import json
import os
import warnings
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
warnings.simplefilter("error")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import distribution, layers  # noqa: E402

from fanin import Plan, Rule, engines, initializers  # noqa: E402

PLAN = Plan(
    [Rule("dense_1.kernel", "orthogonal"), Rule("*kernel*", "he_normal"), Rule("*bias*", "random_normal(stddev=1)")]
)


def model() -> keras.Model:
    return keras.Sequential(
        [keras.Input((6, 16)), layers.LSTM(8), layers.Dense(32), layers.Dense(8), layers.Dense(8, dtype="bfloat16")]
    )


def expected() -> dict[str, np.ndarray]:
    normal, he = initializers.RandomNormal(0.0, 1.0, seed=7), initializers.HeNormal(seed=7)
    gates = {
        key: np.concatenate([make(shape, name=f"lstm.lstm_cell.{key}_{gate}") for gate in "ifco"], axis=-1)
        for key, make, shape in (("kernel", he, (16, 8)), ("recurrent_kernel", he, (8, 8)), ("bias", normal, (8,)))
    }
    return {
        "lstm_cell/kernel": gates["kernel"],
        "lstm_cell/recurrent_kernel": gates["recurrent_kernel"],
        "lstm_cell/bias": gates["bias"],
        "dense/kernel": he((8, 32), name="dense.kernel"),
        "dense/bias": normal((32,), name="dense.bias"),
        "dense_1/kernel": initializers.Orthogonal(seed=7)((32, 8), name="dense_1.kernel"),
        "dense_1/bias": normal((8,), name="dense_1.bias"),
        "dense_2/kernel": he((8, 8), "bfloat16", name="dense_2.kernel"),
        "dense_2/bias": normal((8,), "bfloat16", name="dense_2.bias"),
    }


def applied(made: keras.Model) -> dict[str, Any]:
    fill, drawn = engines.fill, []

    def recorded(recipe: Any, window: Any, view: np.ndarray) -> None:
        drawn.append(list(view.shape))
        fill(recipe, window, view)

    before = [weight.value.sharding if weight._value is not None else None for weight in made.weights]
    engines.fill = recorded
    PLAN.apply(made, seed=7)
    engines.fill = fill
    weights = {}
    for weight, array, sharding in zip(made.weights, expected().values(), before, strict=True):
        assert sharding in (None, weight.value.sharding)
        value = np.asarray(weight.value)
        same = value.dtype == array.dtype and value.tobytes() == array.tobytes()
        weights["/".join(weight.path.split("/")[-2:])] = [weight.value.addressable_shards[0].data.shape, same]
    return {"weights": weights, "drawn": sorted(drawn)}


def main() -> None:
    mesh = distribution.DeviceMesh((2, 4), ("batch", "model"), distribution.list_devices())
    layout = distribution.LayoutMap(mesh)
    layout[".*kernel"] = ("batch", "model")
    layout[".*bias"] = ("model",)
    distribution.set_distribution(distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
    with keras.StatelessScope(initialize_variables=False):
        unfilled = model()
    report: dict[str, Any] = {"without values": applied(unfilled)}
    unfilled.compile("sgd", "mse")
    report["trains"] = bool(np.isfinite(unfilled.train_on_batch(np.ones((16, 6, 16)), np.ones((16, 8)))))
    keras.utils.clear_session(free_memory=False)
    distribution.set_distribution(distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
    print(json.dumps({**report, "with values": applied(model())}))


if __name__ == "__main__":
    main()
