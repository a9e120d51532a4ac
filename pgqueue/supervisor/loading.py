"""Finding what the command line names: ``module``, ``module:variable``, ``module:path.to.object``."""

import importlib
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from ..broker import Broker, get_broker
from ..errors import (
    BadSetting,
    BrokerConnectionError,
    BrokerNotConfigured,
    EmbeddedServerError,
    MissingExtra,
    PermissionDenied,
    ReleaseOutdated,
    SchemaOutdated,
)

__all__ = ["LoadingError", "explain", "import_broker", "import_object", "shown"]

#: Errors whose text alone tells what to do; a traceback would hide it.
PLAIN_ERRORS = (
    BadSetting,
    BrokerConnectionError,
    BrokerNotConfigured,
    EmbeddedServerError,
    MissingExtra,
    PermissionDenied,
    ReleaseOutdated,
    SchemaOutdated,
)

#: Files whose frames stand between our call and the first line of an imported module.
IMPORT_SYSTEM = (importlib.__file__, "<frozen importlib")


class LoadingError(ImportError):
    """A module was imported, but what was asked of it is not there."""


def import_object(value: str) -> tuple[ModuleType, Any]:
    """Import ``module`` or ``module:path.to.object``; return the module and the object (None for a module alone).

    Raises:
      ImportError: The module can't be imported, or has no such object.
    """
    name, colon, path = value.partition(":")
    module = importlib.import_module(name)
    if not colon:
        return module, None
    found: Any = module
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise LoadingError(f"Module '{name}' does not define a '{path}' variable.") from None
    return module, found


def import_broker(value: str) -> tuple[ModuleType, Broker]:
    """Import a module; return it and its broker.

    Parameters:
      value: ``module`` alone means the broker that it has set (or the default one); ``module:variable`` that
        variable; ``module:function`` is called once, and has then set the broker.

    Raises:
      ImportError: The module can't be imported, or what it names is not a broker.
    """
    module, found = import_object(value)
    if ":" not in value:
        found = get_broker()
    elif callable(found) and not isinstance(found, Broker):
        found()
        found = get_broker()
    if not isinstance(found, Broker):
        raise LoadingError(f"'{value}' is not a Broker.")
    return module, found


def explain(error: Exception, value: str) -> str:
    """Say why ``value`` could not be loaded: in one line if the user named something wrong, else with a traceback."""
    name = value.partition(":")[0]
    if not all(name.split(".")) and not name.endswith(".py"):
        return f"'{value}' names no module: write it as in an import, 'package.module' or 'package.module:variable'."
    if name.startswith("."):
        return _no_such_module(name)
    if isinstance(error, LoadingError):
        return str(error)
    if isinstance(error, PLAIN_ERRORS):
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return _no_such_module(name)
    return f"Module '{name}' can't be imported:\n{shown(error)}"


def _no_such_module(name: str) -> str:
    if name.endswith(".py"):
        return f"There is no module '{name}': write it as in an import, '{_as_module(name)}'."
    return f"There is no module '{name}'. Run from the directory that holds it, or name that with --path."


def _as_module(name: str) -> str:
    return name.removesuffix(".py").replace("/", ".").strip(".")


def shown(error: Exception) -> str:
    """Format an error without the supervisor's and the import system's frames, which come before the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    here = str(Path(__file__).parent)
    first = max((at + 1 for at, frame in enumerate(frames) if frame.filename.startswith(here)), default=0)
    while first < len(frames) and frames[first].filename.startswith(IMPORT_SYSTEM):
        first += 1
    shown = frames[first:]
    lines = ["Traceback (most recent call last):\n"] if shown else []
    lines += traceback.format_list(shown) + traceback.format_exception_only(error)
    return "".join(lines).rstrip()
