"""Settings of the whole suite."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
