"""What fanin costs, as ratios to other libraries measured in the same run: ``python -m benchmarks``."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it when it is imported, and asks for TensorFlow otherwise
