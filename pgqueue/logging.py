"""Names of loggers, and how this package writes to its own."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from . import faults

__all__ = ["OwnLogger", "get_logger", "own_logger"]


def get_logger(module: str, name: str | type | None = None) -> logging.Logger:
    """Return the logger called ``module`` or ``module.name``.

    Parameters:
      name: A class stands for its name.
    """
    if name is None:
        return logging.getLogger(module)
    suffix = name.__name__ if isinstance(name, type) else name
    return logging.getLogger(f"{module}.{suffix}")


def own_logger(module: str, name: str | type | None = None) -> OwnLogger:
    """Return the logger of that name for this package's own use; parameters as for :func:`get_logger`."""
    return OwnLogger(get_logger(module, name))


class OwnLogger:
    """A logger whose filters and handlers may raise without harm to what is logged about.

    Logging lets the errors of filters, of record factories and of many handlers through to whoever logs: a line about a
    message would then decide what becomes of it, or end a thread. Here they are shown on standard error, as those of
    the standard library's handlers are, unless ``logging.raiseExceptions`` is false.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger

    def debug(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log at the level DEBUG.

        This and the others take what the logger's own methods take, and ``fault``: the line is about a fault, which is
        counted whatever the logger's level, and the record has its name.
        """
        self._log(self.logger.debug, msg, args, kwargs)

    def info(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log at the level INFO."""
        self._log(self.logger.info, msg, args, kwargs)

    def warning(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log at the level WARNING."""
        self._log(self.logger.warning, msg, args, kwargs)

    def error(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log at the level ERROR."""
        self._log(self.logger.error, msg, args, kwargs)

    def exception(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log at the level ERROR, with the exception that is being handled."""
        self._log(self.logger.exception, msg, args, kwargs)

    def critical(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log at the level CRITICAL."""
        self._log(self.logger.critical, msg, args, kwargs)

    def log(self, level: int, msg: str, *args: object, **kwargs: Any) -> None:
        """Log at any level."""
        self._log(partial(self.logger.log, level), msg, args, kwargs)

    def _log(
        self, method: Callable[..., None], msg: str, args: tuple[object, ...], kwargs: dict[str, Any]
    ) -> None:
        fault = kwargs.pop("fault", None)
        try:
            if fault is not None:
                kwargs["extra"] = {**kwargs.get("extra", {}), "fault": str(fault)}
                faults.report(fault)
        except Exception:  # noqa: BLE001  # the line itself is logged nevertheless
            _show(self.logger.name, msg)
        try:
            # The place that logs is two calls further up than this one.
            method(msg, *args, stacklevel=3, **kwargs)
        except Exception:  # noqa: BLE001  # shown, as far as that is possible
            _show(self.logger.name, msg)

    def __getattr__(self, name: str) -> Any:
        """Give what else a logger has, ``addHandler`` for example."""
        return getattr(self.logger, name)


def _show(name: str, msg: object) -> None:
    if not logging.raiseExceptions or sys.stderr is None:
        return
    try:
        sys.stderr.write(
            f"--- Logging error: a filter or handler of the logger {name!r} failed on {msg!r}.\n"
        )
        traceback.print_exc(file=sys.stderr)
    except Exception:  # noqa: BLE001, S110  # standard error is closed: there is nobody left to tell
        pass
