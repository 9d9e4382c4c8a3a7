"""A Keras model whose weights are distributed over eight devices of JAX. Run by `test_keras_backends`.

    KERAS_BACKEND=jax python tests/keras_sharded.py

prints, as JSON, the shape of a shard of each weight, whether the weight is fanin's, what was drawn at once,
and what is said where a sharding does not fit a shape.
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

import fanin.keras  # noqa: E402
from fanin import engines, initializers  # noqa: E402

CONSTANT = [[float(column) for column in range(8)]] * 8


def main() -> None:
    fill, drawn = engines.fill, []

    def recorded(recipe: Any, window: Any, view: np.ndarray) -> None:
        drawn.append(list(view.shape))
        fill(recipe, window, view)

    engines.fill = recorded
    mesh = distribution.DeviceMesh((2, 4), ("batch", "model"), distribution.list_devices())
    layout = distribution.LayoutMap(mesh)
    layout[".*kernel"] = ("batch", "model")
    layout[".*bias"] = ("model",)
    distribution.set_distribution(distribution.ModelParallel(layout_map=layout, batch_dim_name="batch"))
    model = keras.Sequential(
        [
            keras.Input((16,)),
            layers.Dense(
                32, kernel_initializer=fanin.keras.HeNormal(7), bias_initializer=fanin.keras.RandomUniform(seed=2)
            ),
            layers.Dense(8, kernel_initializer=fanin.keras.Orthogonal(seed=3), bias_initializer=fanin.keras.Zeros()),
            layers.Dense(8, kernel_initializer=fanin.keras.Constant(CONSTANT), dtype="bfloat16"),
        ]
    )
    engines.fill = fill
    expected = {
        "sequential/dense/kernel": initializers.HeNormal(7)((16, 32)),
        "sequential/dense/bias": initializers.RandomUniform(seed=2)((32,)),
        "sequential/dense_1/kernel": initializers.Orthogonal(seed=3)((32, 8)),
        "sequential/dense_1/bias": initializers.Zeros()((8,)),
        "sequential/dense_2/kernel": initializers.Constant(CONSTANT)((8, 8), "bfloat16"),
    }
    report = {}
    for weight in model.weights:
        if weight.path in expected:
            shard = weight.value.addressable_shards[0].data.shape
            array = np.asarray(weight.value)
            report[weight.path] = [shard, array.dtype.name, array.tobytes() == expected[weight.path].tobytes()]
    model.compile("sgd", "mse")
    loss = float(model.train_on_batch(np.ones((16, 16)), np.ones((16, 8))))
    try:
        misfit = repr(fanin.keras.HeNormal(1)((6, 6), layout=distribution.TensorLayout(("batch", "model"), mesh)))
    except ValueError as error:  # JAX'
        misfit = f"ValueError: {error}"
    facts = {"weights": report, "drawn": sorted(drawn), "finite": bool(np.isfinite(loss)), "misfit": misfit}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
