"""Real Keras models with fanin's initializers: build, train, save, load. Run by `test_keras_layers`.

Keras takes its backend from the environment when it is imported, so that each backend has a process:

    KERAS_BACKEND=torch python tests/keras_layers.py DIRECTORY

writes the first weights of every model to DIRECTORY/weights.npz, and prints what happened as JSON.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("error")
# Keras 3.15 with NumPy 2.4, whenever it saves a variable
warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)

import keras  # noqa: E402
from keras import layers  # noqa: E402
from test_keras_layers import BIAS, DENSE, WIDTH  # noqa: E402

from fanin import backend as K  # noqa: E402, N812 - as the page of Keras' initializers writes it
from fanin import initializers  # noqa: E402
from fanin.dtypes import resolve  # noqa: E402


def my_init(shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """The custom initializer of the page."""
    return K.random_normal(shape, dtype=dtype)


def page() -> keras.Model:
    """The page's own examples."""
    model = keras.Sequential([keras.Input((WIDTH,))])
    model.add(
        layers.Dense(
            64,
            kernel_initializer=initializers.RandomNormal(stddev=0.01, seed=1),
            bias_initializer=initializers.Constant(0.1),
        )
    )
    with K.drawing("page", 7):  # what has no seed is fresh otherwise
        model.add(layers.Dense(64, kernel_initializer=my_init))
    return model


def dense() -> keras.Model:
    """Side by side, so that each has a gradient, those after Zeros as well."""
    inputs = keras.Input((WIDTH,))
    outputs = [layers.Dense(8, kernel_initializer=init, bias_initializer=BIAS)(inputs) for init in DENSE.values()]
    return keras.Model(inputs, layers.Concatenate()(outputs))


def images() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((7, 6, 3)),
            layers.Conv2D(4, (3, 2), kernel_initializer=initializers.HeNormal(seed=1), bias_initializer=BIAS),
            layers.DepthwiseConv2D(3, depth_multiplier=2, depthwise_initializer=initializers.LecunNormal(seed=2)),
            layers.Conv2DTranspose(5, 2, kernel_initializer=initializers.GlorotUniform(seed=3)),
            layers.BatchNormalization(
                gamma_initializer=initializers.TruncatedNormal(1.0, 0.1, seed=4),
                beta_initializer=initializers.Zeros(),
                moving_mean_initializer=initializers.Zeros(),
                moving_variance_initializer=initializers.Ones(),
            ),
            layers.Flatten(),
        ]
    )


def sequences() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(11, 8, embeddings_initializer=initializers.RandomUniform(seed=1)),
            layers.LSTM(
                6,
                kernel_initializer=initializers.GlorotUniform(seed=2),
                recurrent_initializer=initializers.Orthogonal(seed=3),
                bias_initializer=BIAS,
                return_sequences=True,
            ),
            layers.GRU(4, recurrent_initializer=initializers.Orthogonal(2.0, 4), return_sequences=True,
                       kernel_initializer=initializers.HeUniform(seed=5)),
            layers.EinsumDense("abc,cde->abde", (5, 2, 3), bias_axes="de", bias_initializer=BIAS,
                               kernel_initializer=initializers.HeNormal(6, [0], [1, 2])),
            layers.Flatten(),
        ]
    )  # fmt: skip


def attention() -> keras.Model:
    inputs = keras.Input((5, 8))
    kernels = initializers.GlorotNormal(seed=1)  # one instance for four kernels
    return keras.Model(inputs, layers.MultiHeadAttention(2, 4, kernel_initializer=kernels)(inputs, inputs))


def spectra() -> keras.Model:
    sides = [initializers.STFT(side, "hamming", "spectrum", True) for side in ("real", "imag")]
    inputs = keras.Input((20, 1))
    outputs = [layers.Conv1D(5, 8, kernel_initializer=side, use_bias=False)(inputs) for side in sides]
    return keras.Model(inputs, layers.Concatenate()(outputs))


# Model, batch, and the dtype policy under which it is built.
MODELS: dict[str, tuple[Callable[[], keras.Model], tuple[int, ...], str]] = {
    "page": (page, (16, WIDTH), "float32"),
    "dense": (dense, (16, WIDTH), "float32"),
    "images": (images, (4, 7, 6, 3), "float32"),
    "sequences": (sequences, (4, 5), "float32"),
    "attention": (attention, (4, 5, 8), "float32"),
    "spectra": (spectra, (4, 20, 1), "float32"),
    "dense, bfloat16": (dense, (16, WIDTH), "bfloat16"),
    "images, mixed_bfloat16": (images, (4, 7, 6, 3), "mixed_bfloat16"),
    "sequences, bfloat16": (sequences, (4, 5), "bfloat16"),
    "dense, float16": (dense, (16, WIDTH), "float16"),
}


def values(model: keras.Model) -> list[np.ndarray]:
    """The weights as NumPy arrays of their own dtype; torch's bfloat16 goes through float32."""
    exact = [keras.ops.convert_to_numpy(keras.ops.cast(weight.value, "float32")) for weight in model.weights]
    return [array.astype(resolve(weight.dtype)) for array, weight in zip(exact, model.weights, strict=True)]


def run(name: str, directory: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    make, batch, policy = MODELS[name]
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    model = make()
    before = values(model)
    generator = np.random.default_rng(0)
    x = generator.integers(0, 11, batch) if make is sequences else generator.normal(size=batch)
    y = generator.normal(size=(batch[0], *model.output_shape[1:]))
    model.compile(keras.optimizers.SGD(1.0), "mse")  # far enough to be seen in bfloat16
    loss = float(model.train_on_batch(x, y))
    after = values(model)

    file = directory / f"{name}.keras"
    model.save(file)
    # What a user has to write, so that Keras does not take its own class of that name:
    objects = {**vars(initializers), "my_init": my_init}
    with keras.saving.custom_object_scope(objects):
        loaded = keras.saving.load_model(file)
        with K.drawing("page", 7):
            again = keras.models.clone_model(loaded)
    facts = {
        "paths": [weight.path for weight in model.weights],
        "dtypes": [array.dtype.name for array in before],
        "loss": loss,
        "changed": [bool((a != b).any()) for a, b in zip(before, after, strict=True)],
        "trainable": [weight.trainable for weight in model.weights],
        "finite": all(bool(np.isfinite(array.astype(np.float64)).all()) for array in after),
        "same predictions": bool(np.array_equal(*(predicted(m, x) for m in (model, loaded)))),
        "same weights": all(a.tobytes() == b.tobytes() for a, b in zip(after, values(loaded), strict=True)),
        "first weights again": [a.tobytes() == b.tobytes() for a, b in zip(before, values(again), strict=True)],
    }
    keras.config.set_dtype_policy("float32")
    return facts, before


def predicted(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(model(x, training=False), "float32"))


def traps() -> dict[str, str]:
    """Whose initializer Keras takes when it reads a configuration outside the scope, and inside."""

    def read() -> list[str]:
        inner = layers.LSTM(2, kernel_initializer=initializers.HeNormal(seed=1))
        model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_initializer=initializers.HeNormal(seed=1))])
        taken = [
            keras.models.clone_model(model).layers[0].kernel_initializer,
            layers.Bidirectional(inner).forward_layer.cell.kernel_initializer,
            keras.initializers.deserialize(keras.initializers.serialize(initializers.HeNormal(seed=1))),
        ]
        return sorted({type(found).__module__.partition(".")[0] for found in taken})

    outside = read()
    with keras.saving.custom_object_scope(vars(initializers)):
        return {"outside": outside, "inside": read()}


def main() -> None:
    directory = Path(sys.argv[1])
    report: dict[str, Any] = {"backend": keras.backend.backend(), "traps": traps(), "models": {}}
    arrays = {}
    for name in MODELS:
        report["models"][name], weights = run(name, directory)
        for number, array in enumerate(weights):
            arrays[f"{name}/{number}"] = array.view(f"u{array.itemsize}")
    np.savez(directory / "weights.npz", **arrays)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
