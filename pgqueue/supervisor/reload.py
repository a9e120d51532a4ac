"""Reload on change: a process that watches a directory, and the main process's way of running itself anew."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NoReturn, cast

from ..errors import MissingExtra
from ..logging import own_logger
from .home import Booted, Failed, Home
from .settings import Settings
from .signals import StopRequest, unblock

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

__all__ = ["matches", "reexecute", "run_watch", "setup_file_watcher"]

#: Events that say that a file was read, not changed: imports cause them.
HARMLESS_EVENTS = frozenset({"opened", "closed_no_write"})

DEFAULT_INCLUDE = ("**.py",)


def setup_file_watcher(
    path: str | Path,
    use_polling: bool = False,  # noqa: FBT001, FBT002 - Dramatiq's signature
    include_patterns: Sequence[str] | None = None,
    exclude_patterns: Sequence[str] | None = None,
    *,
    on_change: Callable[[str], None] | None = None,
) -> "BaseObserver":
    """Watch a directory and all below it, in threads; return the running observer.

    Parameters:
      use_polling: Look again and again instead of asking the system; for network and container file systems.
      include_patterns: What counts, matched against paths relative to ``path``; None means ``**.py``.
      on_change: Called in the observer's thread with the path; by default this process gets a HUP.

    Raises:
      MissingExtra: watchdog is not installed.
    """
    try:
        from watchdog.observers import Observer  # noqa: PLC0415 - an optional dependency's edge
        from watchdog.observers.polling import PollingObserver  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("watch", "Watching files for changes") from error
    handler = _ChangeHandler(
        Path(path).resolve(),
        include_patterns or DEFAULT_INCLUDE,
        exclude_patterns or (),
        on_change or _hang_up,
    )
    observer: BaseObserver = PollingObserver() if use_polling else Observer()
    observer.schedule(handler, str(handler.root), recursive=True)  # type: ignore[arg-type]  # dispatch is enough
    observer.start()
    return observer


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a relative path matches one of the patterns; ``*`` crosses slashes, ``**/`` may match nothing.

    Our own matching, because watchdog's changed meaning from release to release: ``**.py`` once matched any
    Python file, then none.
    """
    return any(
        fnmatchcase(path, pattern) or (pattern.startswith("**/") and fnmatchcase(path, pattern[3:]))
        for pattern in patterns
    )


def run_watch(home: Home, settings: Settings) -> int:
    """Be the watching process: send the main process a HUP for each change; return the exit code.

    A process of its own, because the observer has threads, and a process with threads should not fork.
    """
    stop = StopRequest()
    unblock()
    logger = own_logger("pgqueue", "WatchProcess")

    asked = threading.Event()

    def reload(path: str) -> None:
        if not asked.is_set() and not stop.orphaned():
            asked.set()
            logger.info("'%s' has changed: reloading.", path)
            os.kill(home.main_process, signal.SIGHUP)

    try:
        observer = setup_file_watcher(
            settings.watch or ".",
            settings.watch_use_polling,
            settings.watch_include,
            settings.watch_exclude,
            on_change=reload,
        )
    except (MissingExtra, OSError) as error:
        home.report(Failed(f"Can't watch '{settings.watch}': {error}"))
        return 2
    home.report(Booted())
    logger.info("Watching '%s' for changes.", settings.watch)
    stop.wait()
    observer.stop()
    return 0


def reexecute() -> NoReturn:
    """Become a fresh run of the same command: same process id, same interpreter, options and arguments."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def _hang_up(_path: str) -> None:
    os.kill(os.getpid(), signal.SIGHUP)


class _ChangeHandler:
    """What watchdog calls for each event."""

    def __init__(
        self, root: Path, include: Sequence[str], exclude: Sequence[str], on_change: Callable[[str], None]
    ) -> None:
        self.root = root
        self._include = include
        self._exclude = exclude
        self._on_change = on_change

    def dispatch(self, event: "FileSystemEvent") -> None:
        """Report a change of a file that counts."""
        if event.is_directory or event.event_type in HARMLESS_EVENTS:
            return
        for name in filter(None, (event.src_path, event.dest_path)):
            path = self._relative(os.fsdecode(cast("str | bytes", name)))
            if matches(path, self._include) and not matches(path, self._exclude):
                self._on_change(path)
                return

    def _relative(self, name: str) -> str:
        path = PurePath(name)
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()
