"""A child's side: its lines home to the main process, and what every child does first."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

from ..engine.board import assign_board
from .departure import Departure, what_is_left
from .log_pipe import configure_logging, redirect_output
from .settings import Settings

__all__ = ["Body", "Booted", "Dismissed", "Ended", "Failed", "Home", "News", "Retired", "ToldToStop", "enter"]


@dataclass(frozen=True, slots=True)
class Booted:
    """The child is up.

    Parameters:
      forks: Functions that its broker's middleware wants run, each in a process of its own.
      fork_environment: Variables that these get, unless they are set.
    """

    forks: tuple[str, ...] = ()
    fork_environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The child could not start, and says why; it exits with a code of the command line's contract."""

    text: str


@dataclass(frozen=True, slots=True)
class Retired:
    """The child ends because it has done enough, and says why, as the rest of a sentence about it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dismissed:
    """The child ends because an operator has ordered it to, and is not to be replaced."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The child has done its work, and nothing is left but the end of its interpreter.

    Parameters:
      code: Its exit code.
      left_behind: What Python waits for before it ends, for people; empty if nothing is known of.
    """

    code: int
    left_behind: str = ""


#: What a child may say.
News: TypeAlias = Booted | Failed | Retired | Dismissed | Ended


@dataclass(frozen=True, slots=True)
class Home:
    """The lines to the main process.

    Parameters:
      main_process: Its id; not always our parent's, which may be a fork server.
      board: The file in which a worker notes the messages that it is running.
      inherited: Descriptors of the main process that a forked child must close; an open copy of a pipe's end
        would hide from its other end that somebody died.
    """

    status: Connection
    log: Connection
    main_process: int
    board: Path | None = None
    inherited: tuple[int, ...] = ()

    def report(self, news: News) -> None:
        """Tell the main process; it may be gone."""
        try:
            self.status.send(news)
        except OSError:
            return


class ToldToStop(SystemExit):
    """Raised in a function that runs in a process of its own, when that is asked to stop."""


#: What a child does after `enter` has furnished the process; returns the exit code.
Body = Callable[[Home, Settings], int]


def enter(home: Home, settings: Settings, body: Body) -> None:
    """Be a child process: output to the pipe, logging and import path as told, then ``body``."""
    signal.set_wakeup_fd(-1)
    for descriptor in home.inherited:
        os.close(descriptor)
    redirect_output(home.log)
    if not settings.skip_logging:
        configure_logging(settings.verbose, sys.stderr, settings.log_format)
    if home.board is not None:
        assign_board(home.board)
    sys.path[:0] = [str(Path(directory).absolute()) for directory in settings.path]
    _leave_after(home, settings, body)


def _leave_after(home: Home, settings: Settings, body: Body) -> None:
    """End this process with the exit code of ``body``, and before long, if it is a worker or was told to stop.

    Of other functions threads may go on when they have returned: Python keeps the process for them.
    """
    ours, code, is_limited = os.getpid(), 1, home.board is not None
    departure = Departure()
    try:
        code = body(home, settings)
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else int(request.code is not None)
        is_limited = is_limited or isinstance(request, ToldToStop)
        raise
    finally:
        if is_limited and os.getpid() == ours:  # not in a fork of the program's, which ends by itself
            home.report(Ended(code, what_is_left()))
            departure.limit()
    sys.exit(code)
