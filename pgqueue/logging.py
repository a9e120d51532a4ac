"""Names of loggers, and how this package writes to its own."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, cast

from . import faults
from .faults import Fault

__all__ = ["OwnLogger", "get_logger", "log_safely", "own_logger"]


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
    """Return the logger of that name for this package's own use; parameters as for :func:`get_logger`.

    It is the one that ``logging.getLogger`` gives, which is an :class:`OwnLogger` from now on.
    """
    logger = get_logger(module, name)
    kind = type(logger)
    if not issubclass(kind, OwnLogger):
        try:
            logger.__class__ = _own(kind)
        except TypeError:  # logging.setLoggerClass was given a class that nobody may derive from
            own = OwnLogger(logger.name)
            own.__dict__ = logger.__dict__
            return own
    return cast("OwnLogger", logger)


def log_safely(logger: logging.Logger, level: int, msg: str, *args: object) -> None:
    """Log to a logger of the program's, whose filters and handlers may raise, as :class:`OwnLogger` does."""
    try:
        logger.log(level, msg, *args, stacklevel=2)
    except Exception:  # noqa: BLE001  # shown, as far as that is possible
        _show(logger.name, msg)


class OwnLogger(logging.Logger):
    """A logger that knows faults, and whose filters and handlers may raise without harm to what is logged about.

    Logging lets the errors of filters, of record factories and of many handlers through to whoever logs: a line about a
    message would then decide what becomes of it, or end a thread. Here they are shown on standard error, as those of
    the standard library's handlers are, unless ``logging.raiseExceptions`` is false.
    """

    def warning(self, msg: object, *args: object, fault: Fault | None = None, **kwargs: Any) -> None:
        """Log at the level WARNING.

        Parameters:
          fault: What the line is about, here and in the others: it is counted whatever the logger's level, and the
            record has its name.
        """
        super().warning(msg, *args, **self._about(fault, msg, kwargs))

    def error(self, msg: object, *args: object, fault: Fault | None = None, **kwargs: Any) -> None:
        """Log at the level ERROR."""
        super().error(msg, *args, **self._about(fault, msg, kwargs))

    def exception(self, msg: object, *args: object, fault: Fault | None = None, **kwargs: Any) -> None:
        """Log at the level ERROR, with the exception that is being handled."""
        super().exception(msg, *args, **self._about(fault, msg, kwargs))

    def critical(self, msg: object, *args: object, fault: Fault | None = None, **kwargs: Any) -> None:
        """Log at the level CRITICAL."""
        super().critical(msg, *args, **self._about(fault, msg, kwargs))

    def log(self, level: int, msg: object, *args: object, fault: Fault | None = None, **kwargs: Any) -> None:
        """Log at any level."""
        super().log(level, msg, *args, **self._about(fault, msg, kwargs))

    def _about(self, fault: Fault | None, msg: object, kwargs: dict[str, Any]) -> dict[str, Any]:
        kwargs = _from_one_further_up(kwargs)
        if fault is not None:
            kwargs["extra"] = {**(kwargs.get("extra") or {}), "fault": str(fault)}
            try:
                faults.report(fault)
            except Exception:  # noqa: BLE001  # the line itself is logged nevertheless
                _show(self.name, msg)
        return kwargs

    # All methods that log end here, once the level is known to be wanted.
    def _log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        try:
            super()._log(level, msg, *args, **_from_one_further_up(kwargs))
        except Exception:  # noqa: BLE001  # shown, as far as that is possible
            _show(self.name, msg)


def _own(kind: type[logging.Logger]) -> type[logging.Logger]:
    return OwnLogger if kind is logging.Logger else type(OwnLogger.__name__, (OwnLogger, kind), {})


def _from_one_further_up(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Let the line name the caller's caller, for these methods stand between logging and the place that logs."""
    return {**kwargs, "stacklevel": kwargs.get("stacklevel", 1) + 1}


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
