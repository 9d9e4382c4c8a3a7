"""Models from a text: ``"package.module:factory"`` names a function that makes one."""

import contextlib
import functools
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from fanin.errors import FactoryError

__all__ = ["built"]

FORM = "give package.module:factory, a function that takes no arguments and returns a model"


def built(text: str) -> Any:
    """Make the model that a text names, without values where its framework can.

    The module is imported, also from the current directory, and the function is called. Under torch it runs on the
    meta device, so that a model of any size takes no memory; for Flax it returns ``nnx.eval_shape(...)`` itself.

    Args:
        text: ``"package.module:factory"``, where the factory is a function or a class without arguments, or a
            model.

    Raises:
        FactoryError: the text has another form, there is no such module or name, or the function fails.
    """
    name, colon, path = text.partition(":")
    if not (name and colon and path):
        raise FactoryError(f"{text!r} names no factory; {FORM}.")
    found = _imported(text, name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise FactoryError(f"{text!r}: {name} has no {path!r}; {FORM}.") from None
        except (Exception, SystemExit) as error:  # of code that is not ours, as below
            raise _failed(text, error) from error
    if not (inspect.isclass(found) or inspect.isroutine(found) or isinstance(found, functools.partial)):
        return found
    torch = sys.modules.get("torch")
    try:
        with torch.device("meta") if torch is not None else contextlib.nullcontext():
            return found()
    except (Exception, SystemExit) as error:
        raise _failed(text, error) from error


def _imported(text: str, name: str) -> Any:
    """Import a module, as ``python -m`` finds it."""
    try:
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise FactoryError(f"{text!r}: there is no module {error.name!r} here; {FORM}.") from None
        raise _failed(text, error) from error
    except (Exception, SystemExit) as error:  # a script that ends the process would end the command, as if it were done
        raise _failed(text, error) from error


def _failed(text: str, error: BaseException) -> FactoryError:
    return FactoryError(f"{text!r} cannot be used, it raises {type(error).__name__}: {error}")
