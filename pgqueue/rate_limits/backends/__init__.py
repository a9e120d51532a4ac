"""Where rate limiters can keep their numbers: in memory, for tests, or in PostgreSQL."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .stub import StubBackend

if TYPE_CHECKING:
    from .postgres import PostgresBackend

__all__ = ["PostgresBackend", "StubBackend"]


def __getattr__(name: str) -> Any:
    """Import a server's backend when it is asked for: its driver is no condition of the others."""
    if name == "PostgresBackend":
        try:
            return import_module(".postgres", __name__).PostgresBackend
        except ModuleNotFoundError as error:
            warnings.warn(f"{name} is not available: {error}", category=ImportWarning, stacklevel=2)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
