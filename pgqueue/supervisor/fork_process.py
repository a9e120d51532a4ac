"""The body of a fork process: one function of the user's or of a middleware's, beside the workers."""

import os
import signal
from collections.abc import Mapping
from typing import NoReturn

from ..logging import own_logger
from .home import Booted, Failed, Home, ToldToStop
from .loading import explain, import_object
from .settings import Settings
from .signals import on_term, unblock

__all__ = ["run_fork"]


def _raise_it() -> NoReturn:
    raise ToldToStop(0)


def _let_term_stop_us() -> None:
    """Let TERM raise a SystemExit in the function."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    on_term(_raise_it)


def run_fork(
    home: Home, _settings: Settings, *, index: int, path: str, environment: Mapping[str, str] | None = None
) -> int:
    """Run the function at ``path`` (``module:name``); what it returns is the exit code.

    Parameters:
      environment: Variables that are set unless they are already.
    """
    _let_term_stop_us()
    unblock()
    for name, text in (environment or {}).items():
        os.environ.setdefault(name, text)
    logger = own_logger("pgqueue", f"ForkProcess({index})")
    try:
        _module, function = import_object(path)
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything; it is reported
        home.report(Failed(explain(error, path)))
        return 2
    if not callable(function):
        home.report(Failed(f"'{path}' is not a function: name one, --fork-function module:function."))
        return 2
    home.report(Booted())
    logger.info("Fork process '%s' is ready for action.", path)
    return int(function() or 0)
