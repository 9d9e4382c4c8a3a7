"""Settings of the whole suite."""

import contextlib
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton; 0 tests on a CUDA device
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow writes what processor it has found to stderr

# Before TensorFlow, which Keras imports when it saves a model on any backend: after it, LLVM ends the process.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401
