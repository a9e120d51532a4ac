"""The body of a fork process: one function of the user's or of a middleware's, beside the workers."""

import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType

from ..logging import get_logger
from .home import Booted, Failed, Home
from .loading import explain, import_object
from .settings import Settings
from .signals import unblock

__all__ = ["run_fork"]


class _Stop:
    """TERM: the first raises SystemExit in the function, the second ends the process."""

    def __init__(self) -> None:
        self._requested = False
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        if self._requested:
            os._exit(1)
        self._requested = True
        sys.exit(0)


def run_fork(
    home: Home, _settings: Settings, *, index: int, path: str, environment: Mapping[str, str] | None = None
) -> int:
    """Run the function at ``path`` (``module:name``); what it returns is the exit code.

    Parameters:
      environment: Variables that are set unless they are already.
    """
    _Stop()
    unblock()
    for name, text in (environment or {}).items():
        os.environ.setdefault(name, text)
    logger = get_logger("pgqueue", f"ForkProcess({index})")
    try:
        _module, function = import_object(path)
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything; it is reported
        home.report(Failed(explain(error, path)))
        return 2
    home.report(Booted())
    logger.info("Fork process '%s' is ready for action.", path)
    return int(function() or 0)
