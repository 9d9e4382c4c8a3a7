"""Every error that fanin raises on purpose: one class per kind of mistake.

Each is a `FaninError` and also the built-in that a caller would expect to catch. A message says
what was asked, what was found and what to do.
"""


class FaninError(Exception):
    """Base class of all errors raised by fanin."""

    ag_pass_through = True  # or TensorFlow's AutoGraph raises another error in its place, which no one catches


class ArgumentError(FaninError, ValueError):
    """An argument of an initializer or a fill has a value that cannot be used."""


class SeedError(FaninError, ValueError):
    """A seed is not an integer from 0 to 2**64 - 1, or is missing where one is needed."""


class ShapeError(FaninError, ValueError):
    """A shape is not a tuple of non-negative integers that the stream can address."""


class DTypeError(FaninError, TypeError):
    """A dtype is unknown, or cannot hold what was asked."""


class LayoutError(FaninError, ValueError):
    """A layout cannot be read, does not fit its shape, or has no fans where they are needed."""


class WindowError(FaninError, ValueError):
    """A window does not lie inside its tensor."""


class OutputError(FaninError, ValueError):
    """The array given as ``out`` cannot take the result."""


class LogicalNameError(FaninError, ValueError):
    """A logical name, or a component of one, cannot be used."""


class UnknownInitializerError(FaninError, ValueError):
    """No initializer answers to this name, configuration or object."""


class ExpressionError(FaninError, ValueError):
    """A text is not in the small grammar of calls and arithmetic."""


class EngineError(FaninError, RuntimeError):
    """An engine is unknown, not installed, or was configured with an unusable value."""


class PlanError(FaninError, ValueError):
    """A plan cannot be read, or does not fit the parameters it is applied to."""


class FactoryError(FaninError, ValueError):
    """A function that is to make a model cannot be found, or fails."""


class CheckpointError(FaninError, OSError):
    """A checkpoint cannot be read or written."""


class StreamError(FaninError, ValueError):
    """What was written by another version of the stream is to be compared with this one."""


class VerificationError(FaninError, AssertionError):
    """Weights are not those of their plan."""


class SelftestError(FaninError, AssertionError):
    """An engine does not reproduce a recorded vector."""
