"""The main process's side of its children: starting one, hearing from it, burying it."""

import enum
import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkContext, ForkServerContext, SpawnContext
from pathlib import Path
from typing import TypeAlias

from ..engine.board import Board, Cause, how_it_ended
from ..logging import own_logger
from .crashes import Bystanders, LastWord
from .home import Body, Booted, Dismissed, Ended, Failed, Home, News, Retired, enter
from .log_pipe import LogPipe, LogSink
from .scratch import Scratch
from .settings import Settings

__all__ = [
    "Child",
    "Context",
    "Exit",
    "Kind",
    "Outlook",
    "Task",
    "on_child_death",
    "outlook",
    "restart_delay_s",
]

#: A process that lived this long, in seconds, was sound: the next restart of its task is quick again.
SOUND_LIFE_S = 60.0

#: Seconds before the first restart; each further quick death doubles them.
FIRST_DELAY_S = 0.1

#: Seconds that a restart waits at most.
LONGEST_DELAY_S = 30.0

#: How processes end that take too long about it. With what code, they have said.
_HASTENED = (-signal.SIGKILL, -signal.SIGALRM)

#: How processes are started.
Context: TypeAlias = ForkContext | ForkServerContext | SpawnContext

logger = own_logger("pgqueue", "MainProcess")


class Kind(enum.Enum):
    """What a process is for."""

    WORKER = "worker"
    FORK = "fork"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class Task:
    """What one process at a time does; a dead process's task goes to a new one.

    Parameters:
      name: As people read it in the log.
    """

    kind: Kind
    name: str
    body: Body


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its exit code, negative for the signal that killed it."""

    code: int
    cause: Cause = Cause.UNKNOWN

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return self.code < 0

    def __str__(self) -> str:
        return how_it_ended(self.code, self.cause)


class Outlook(enum.Enum):
    """What becomes of a task whose process has ended."""

    RESTART = "restart"
    GONE = "gone"
    BRING_DOWN = "bring down"
    AWAIT_CHANGE = "await change"


def outlook(
    kind: Kind,
    ended: Exit,
    *,
    first: bool,
    booted: bool,
    stopping: bool,
    reloaded: bool = False,
    dismissed: bool = False,
) -> Outlook:
    """Decide what follows from a death.

    A first process that gives up before it is up (wrong module, no database) brings the program down: its
    replacement would fail the same way. Anything later is worth another process, since the others still work.

    Parameters:
      first: This was the task's first process.
      stopping: All are to stop.
      dismissed: An operator has ordered it to end.
      reloaded: A change of the program's files has started it; a broken one waits to be mended.
    """
    if stopping or dismissed or (kind is Kind.FORK and ended.code == 0):
        return Outlook.GONE
    if first and not booted and not ended.killed:
        return Outlook.AWAIT_CHANGE if reloaded and ended.code == 2 else Outlook.BRING_DOWN
    return Outlook.RESTART


def restart_delay_s(quick_deaths: int) -> float:
    """Return how long to wait before a restart, after so many deaths in quick succession."""
    return min(FIRST_DELAY_S * 2.0 ** min(quick_deaths, 16), LONGEST_DELAY_S)


class Child:
    """One running process, with our ends of its pipes.

    Parameters:
      inherited: Descriptors of ours that a forked child must close.
      board: Where a worker process notes what it runs; None for others.

    Attributes:
      condemned_at: Since when, on the monotonic clock, a message in it is overdue; None if none was.
      culprits: The messages for which it was killed; None if it was not.
      ended_at: Since when, on the monotonic clock, it has nothing left to do but to end; None if it has.
      given_up: It was killed because it has not ended then.
    """

    def __init__(
        self,
        task: Task,
        settings: Settings,
        *,
        context: Context,
        sink: LogSink,
        inherited: Sequence[int] = (),
        board: Path | None = None,
    ) -> None:
        self.task = task
        self.news: list[News] = []
        self.culprits: Collection[int] | None = None
        self.condemned_at: float | None = None
        self.ended_at: float | None = None
        self.given_up = False
        self._asked = False
        self.board: Board | None = None
        self.last_word: LastWord | None = None
        try:
            if board is not None:
                self.board = Board.create(board, settings.threads)
                self.last_word = LastWord(board)
            self._launch(settings, context, sink, inherited)
        except BaseException:
            self._drop_files()
            raise

    def _launch(self, settings: Settings, context: Context, sink: LogSink, inherited: Sequence[int]) -> None:
        self._status, status = context.Pipe(duplex=False)
        reader, log = context.Pipe(duplex=False)
        self.log = LogPipe(reader, sink)
        ours = (*inherited, self._status.fileno(), reader.fileno()) if _forks(context) else ()
        board = None if self.board is None else self.board.path
        home = Home(status, log, os.getpid(), board, ours)
        self._process = context.Process(
            target=enter, args=(home, settings, self.task.body), name=self.task.name
        )
        self._process.start()
        self.pid = self._process.pid or 0
        self._started_at = time.monotonic()
        # Only the child may hold the writing ends: so they end with it.
        status.close()
        log.close()

    @property
    def exit(self) -> Exit | None:
        """How the process ended; None while it runs."""
        code = self._process.exitcode
        if code is None:
            return None
        if self.culprits is not None and code == -signal.SIGKILL:
            return Exit(code, Cause.TIME_LIMIT)
        if code in _HASTENED and (said := self._last_news) is not None:
            return Exit(said.code)
        return Exit(code)

    @property
    def booted(self) -> bool:
        """Whether the child has said that it is up."""
        return any(isinstance(news, Booted) for news in self.news)

    @property
    def failure(self) -> str:
        """Why the child could not start, in its own words; empty if it has said nothing."""
        return next((news.text for news in self.news if isinstance(news, Failed)), "")

    @property
    def retired(self) -> str:
        """Of what the child had done enough, when it ended for that; empty if it did not."""
        return next((news.reason for news in self.news if isinstance(news, Retired)), "")

    @property
    def dismissed(self) -> bool:
        """Whether the child has been ordered by an operator to end."""
        return any(isinstance(news, Dismissed) for news in self.news)

    @property
    def left_behind(self) -> str:
        """What Python waits for in the child before it ends; empty if nothing is known of."""
        return "" if self._last_news is None else self._last_news.left_behind

    @property
    def _last_news(self) -> Ended | None:
        return next((news for news in self.news if isinstance(news, Ended)), None)

    @property
    def sound(self) -> bool:
        """Whether the child has lived long enough for its death not to be its task's fault."""
        return time.monotonic() - self._started_at > SOUND_LIFE_S

    @property
    def status_fd(self) -> int:
        """The descriptor that becomes readable when the child has news."""
        return self._status.fileno()

    def listen(self) -> bool:
        """Take the child's news; return False at the end, when there can't be more."""
        try:
            while self._status.poll():
                self.news.append(self._status.recv())
        except (EOFError, OSError):
            return False
        finally:
            if self.ended_at is None and self._last_news is not None:
                self.ended_at = time.monotonic()
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.exit is None:
            os.kill(self.pid, number)

    def ask_to_stop(self) -> None:
        """Ask the process, once, to finish what it is doing."""
        if not self._asked:
            self._asked = True
            self.signal(signal.SIGTERM)

    def bury(self) -> None:
        """Take what a dead child has left in its pipes, and close them."""
        self.listen()
        self.log.drain()
        self.log.close()
        self._status.close()

    def forget(self) -> None:
        """Let go of the board, after the last look at it, and of the process."""
        self._process.close()
        self._drop_files()

    def _drop_files(self) -> None:
        if self.board is not None:
            self.board.close()
            with suppress(OSError):
                self.board.path.unlink()
        if self.last_word is not None:
            self.last_word.close()


def on_child_death(child: Child, ended: Exit, bystanders: Bystanders, scratch: Scratch) -> None:
    """Tell what a dead worker process was running, and leave its board to the others, who take over its messages.

    Runs in the main process before the replacement starts: must not start threads nor keep a connection open,
    since a fork follows.
    """
    if child.board is None or child.last_word is None:
        return
    noted = child.board.read()
    if ended.code == 0 and not noted.running:
        return
    crash = child.last_word.read(code=ended.code)
    culprit = 0 if crash is None else child.board.run_by(crash.thread)
    culprits = child.culprits
    if culprit and culprits is None:
        culprits = bystanders.guilty(culprit, noted.keys)
    if noted.owners:
        try:
            child.board.bequeath(scratch.directory(), code=ended.code, cause=ended.cause, culprits=culprits)
        except OSError as error:
            logger.error(
                "What %s was running can't be left to the others: %s. Some seconds later the reaper takes over, "
                "and has to guess whom to charge.", child.task.name, error,
            )  # fmt: skip
    if noted.running:
        logger.warning("%s was running %d messages.", child.task.name, len(noted.running))
    if crash is not None and (culprit or ended.killed):
        where = "ended in this thread" if culprit else "ended, and this thread, which ran no message, met it"
        logger.error("%s %s (most recent call first):\n%s", child.task.name, where, crash.stack.rstrip())


def _forks(context: Context) -> bool:
    return context.get_start_method() == "fork"
