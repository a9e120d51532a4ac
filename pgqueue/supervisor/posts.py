"""The tasks of a program and which process has each now."""

import itertools
import time
from collections.abc import Iterable

from ..logging import own_logger
from .child import Child, Context, Kind, Task, restart_delay_s
from .home import Booted
from .log_pipe import LogSink
from .scratch import Scratch
from .settings import Settings
from .signals import blocked

__all__ = ["Nursery", "Post"]

logger = own_logger("pgqueue", "MainProcess")


class Nursery:
    """What every new process needs from the main one.

    Parameters:
      scratch: Where the boards are.
    """

    def __init__(self, settings: Settings, *, context: Context, sink: LogSink, scratch: Scratch) -> None:
        self._settings = settings
        self._context = context
        self._sink = sink
        self._scratch = scratch
        self._numbers = itertools.count()

    def start(self, task: Task, *, inherited: Iterable[int]) -> Child:
        """Start a process; it begins with signals held back, so that none comes before its handlers.

        Raises:
          OSError: There is no room for another process, or for its board.
        """
        board = None
        if task.kind is Kind.WORKER:
            board = self._scratch.directory() / f"board-{next(self._numbers)}"
        with blocked():
            return Child(
                task,
                self._settings,
                context=self._context,
                sink=self._sink,
                inherited=tuple(inherited),
                board=board,
            )


class Post:
    """One task, the process that has it, and when the next one is due."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.child: Child | None = None
        self._due_at: float | None = time.monotonic()
        self._starts = 0
        self._quick_deaths = 0

    @property
    def first(self) -> bool:
        """Whether no process but the present one ever had the task."""
        return self._starts <= 1

    @property
    def occupied(self) -> bool:
        """Whether a process has the task, or is due to."""
        return self.child is not None or self._due_at is not None

    @property
    def booted(self) -> Booted | None:
        """What the present process said when it was up; None until then."""
        news = self.child.news if self.child is not None else []
        return next((item for item in news if isinstance(item, Booted)), None)

    def wait_s(self) -> float | None:
        """Return the seconds until a start is due; None if none is."""
        return None if self._due_at is None else max(0.0, self._due_at - time.monotonic())

    def start(self, nursery: Nursery, *, inherited: Iterable[int]) -> Child | None:
        """Start the task's process; None, and another attempt later, if the system has no room for it."""
        self._starts += 1
        self._due_at = None
        try:
            self.child = nursery.start(self.task, inherited=inherited)
        except OSError as error:
            delay_s = self.restart_later(sound=False)
            logger.error("Can't start %s: %s; next try in %.1f s.", self.task.name, error, delay_s)
        return self.child

    def vacate(self) -> None:
        """Forget a process that has ended, or a start that is due."""
        self.child = None
        self._due_at = None

    def restart_later(self, *, sound: bool) -> float:
        """Plan the next process; return how many seconds it waits.

        Parameters:
          sound: The last one lived long enough for the next to come at once.
        """
        self._quick_deaths = 0 if sound else self._quick_deaths + 1
        delay_s = restart_delay_s(max(0, self._quick_deaths - 1))
        self._due_at = time.monotonic() + delay_s
        return delay_s
