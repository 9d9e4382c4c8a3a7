"""Settings of the whole suite."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton; 0 tests on a CUDA device
