"""The main process of a program of workers: starts its processes, keeps them alive, ends them.

One loop over one selector, without threads: signals, children's output, news and deaths all arrive in it. A
process without threads may fork at any time, which restarts need.
"""

import multiprocessing
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from .. import __version__
from ..engine.board import Cause
from ..logging import own_logger
from .child import Child, Context, Exit, Kind, Outlook, Task, on_child_death, outlook
from .crashes import Bystanders
from .fork_process import run_fork
from .lingering import end_lingering
from .log_pipe import LogSink
from .memory import MemoryKills
from .overruns import end_overdue
from .posts import Nursery, Post
from .reload import run_watch
from .scratch import Scratch
from .settings import Settings
from .signals import SUPERVISOR_SIGNALS, SignalPipe, unblock
from .worker_process import run_worker

__all__ = ["Ending", "Supervisor"]

#: Seconds that processes get between being told to end at once and being killed.
KILL_AFTER_S = 1.0

#: The same signal twice within so many seconds is one: `timeout` and other launchers signal us and our group.
ECHO_S = 0.1

#: Seconds beyond the workers' own time limit after which a stop is given up and what is left is killed.
STOP_GRACE_S = 30.0

#: Seconds after which the loop looks at the processes even if no event told it to.
TICK_S = 1.0

logger = own_logger("pgqueue", "MainProcess")


@dataclass(frozen=True, slots=True)
class Ending:
    """How the program ended.

    Parameters:
      code: The exit code.
      reload: It is to be run again, in this process.
      failure: Why it could not start, for people; empty if it could.
    """

    code: int
    reload: bool = False
    failure: str = ""


class Supervisor:
    """Runs the processes that ``settings`` ask for until a signal or a failed start ends them.

    Belongs into the main thread of a process that has no other.
    """

    def __init__(self, settings: Settings, sink: LogSink) -> None:
        self._settings = settings
        self._sink = sink
        self._selector = selectors.PollSelector()  # epoll would be one more descriptor that children inherit
        self._posts: list[Post] = []
        self._forks = list(settings.forks)
        self._middleware_forks_known = False
        self._fork_environment: Mapping[str, str] = {}
        self._fork_deadline = time.monotonic() + settings.fork_timeout_ms / 1000
        self._memory_kills = MemoryKills()
        self._bystanders = Bystanders()
        self._look_at = 0.0
        self._stopping = False
        self._asked_by: signal.Signals | None = None
        self._asked_at = 0.0
        self._kill_at = float("inf")
        self._ending = Ending(0)

    def run(self) -> Ending:
        """Run the program to its end."""
        logger.info("pgqueue '%s' is booting up.", __version__)
        with (
            Scratch() as self._scratch,
            SignalPipe(SUPERVISOR_SIGNALS) as self._signals,
        ):
            unblock()  # a reload has held them back
            self._nursery = Nursery(
                self._settings, context=_context(self._settings), sink=self._sink, scratch=self._scratch
            )
            self._listen(self._signals.fileno(), self._on_signals)
            self._posts += map(Post, _first_tasks(self._settings))
            try:
                while not self._finished():
                    self._turn()
            finally:
                self._signal_all(signal.SIGKILL)
        return self._ending

    # ── The loop ──────────────────────────────────────────────────────────────────────────────────

    def _finished(self) -> bool:
        return self._stopping and all(post.child is None for post in self._posts)

    def _turn(self) -> None:
        for post in self._posts:
            self._tend(post)
        self._start_forks()
        self._look_after_workers()
        if time.monotonic() > self._kill_at:
            self._kill_the_rest()
        for key, _events in self._selector.select(self._patience_s()):
            if not key.data():
                self._selector.unregister(key.fd)

    def _look_after_workers(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + TICK_S / 2
        self._memory_kills.look()
        for post in self._posts:
            if post.child is not None:
                end_overdue(post.child)
                end_lingering(post.child)

    def _patience_s(self) -> float:
        waits = [wait_s for post in self._posts if (wait_s := post.wait_s()) is not None]
        return 0.0 if self._finished() else min([TICK_S, *waits])

    def _listen(self, descriptor: int, callback: Callable[[], bool]) -> None:
        """Call back whenever a descriptor is readable, until that returns False."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def _tend(self, post: Post) -> None:
        """Start or bury the process of a post, if it is time."""
        if post.child is None:
            if post.wait_s() == 0.0:
                self._start(post)
        elif (ended := post.child.exit) is not None:
            self._bury(post, post.child, ended)

    # ── Births and deaths ─────────────────────────────────────────────────────────────────────────

    def _start(self, post: Post) -> None:
        child = post.start(self._nursery, inherited=self._own_descriptors())
        if child is not None:
            self._listen(child.log.fileno(), child.log.pump)
            self._listen(child.status_fd, child.listen)

    def _own_descriptors(self) -> Iterator[int]:
        yield from self._signals.descriptors()
        yield from (key.fd for key in self._selector.get_map().values() if key.fd != self._signals.fileno())

    def _bury(self, post: Post, child: Child, ended: Exit) -> None:
        for descriptor in (child.log.fileno(), child.status_fd):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        first = post.first
        child.bury()
        post.vacate()
        ended = self._explained(child.exit or ended)  # by its last news, perhaps
        on_child_death(child, ended, self._bystanders, self._scratch)
        match self._outlook(child, ended, first=first):
            case Outlook.RESTART:
                self._restart_later(post, child, ended)
            case Outlook.BRING_DOWN:
                self._give_up(child, ended)
            case Outlook.AWAIT_CHANGE:
                self._complain(child, ended)
            case Outlook.GONE:
                self._note_end(child, ended)
        if child.dismissed:
            self._dismiss(child)
        child.forget()

    def _explained(self, ended: Exit) -> Exit:
        """Tell a kill for want of memory from others."""
        suspect = ended.code == -signal.SIGKILL and ended.cause is Cause.UNKNOWN
        return replace(ended, cause=Cause.OUT_OF_MEMORY) if suspect and self._memory_kills.lately() else ended

    def _outlook(self, child: Child, ended: Exit, *, first: bool) -> Outlook:
        return outlook(
            child.task.kind,
            ended,
            first=first,
            booted=child.booted,
            stopping=self._stopping,
            reloaded=self._settings.reloaded,
            dismissed=child.dismissed,
        )

    def _restart_later(self, post: Post, child: Child, ended: Exit) -> None:
        if child.failure:
            logger.error("%s", child.failure)
        if child.retired and ended.code == 0:
            post.restart_later(sound=True)
            logger.info("%s (PID %d) %s and is replaced.", child.task.name, child.pid, child.retired)
            return
        delay_s = post.restart_later(sound=child.sound)
        logger.warning("%s (PID %d) %s; restarting it in %.1f s.", child.task.name, child.pid, ended, delay_s)

    def _give_up(self, child: Child, ended: Exit) -> None:
        """End the program because a process could not start."""
        failure = self._complain(child, ended)
        self._ending = Ending(ended.code, failure=failure)
        self._stop()

    def _complain(self, child: Child, ended: Exit) -> str:
        failure = child.failure or f"{child.task.name} {ended} before it was up."
        logger.critical("%s", failure)
        return failure

    def _note_end(self, child: Child, ended: Exit) -> None:
        """Remember a worker's bad end for the program's exit code."""
        if child.task.kind is Kind.WORKER and ended.code != 0 and self._ending == Ending(0):
            logger.warning("%s (PID %d) %s.", child.task.name, child.pid, ended)
            self._ending = Ending(1 if ended.killed else ended.code)

    def _dismiss(self, child: Child) -> None:
        """Leave the post of a process empty that an operator has stopped; with the last of them the program ends."""
        if self._stopping:
            return
        left = sum(post.task.kind is Kind.WORKER and post.occupied for post in self._posts)
        logger.info(
            "%s (PID %d) has stopped as ordered and is not replaced; %d left.",
            child.task.name,
            child.pid,
            left,
        )
        if not left:
            logger.info("All worker processes were ordered to stop: stopping.")
            self._stop()

    def _start_forks(self) -> None:
        """Start what runs beside the workers, once these are up or have taken too long."""
        workers = [post for post in self._posts if post.task.kind is Kind.WORKER]
        ready = (
            all(post.booted for post in workers if post.occupied) or time.monotonic() > self._fork_deadline
        )
        if self._stopping or not ready:
            return
        booted = next((post.booted for post in workers if post.booted), None)
        if not self._middleware_forks_known and booted:
            self._forks += booted.forks
            self._fork_environment = booted.fork_environment
            self._middleware_forks_known = True
        while self._forks:
            index = sum(post.task.kind is Kind.FORK for post in self._posts)
            self._posts.append(Post(_fork_task(index, self._forks.pop(0), self._fork_environment)))

    # ── The end ───────────────────────────────────────────────────────────────────────────────────

    def _on_signals(self) -> bool:
        for number in self._signals.read():
            if number is signal.SIGHUP:
                self._reload()
            elif number in {signal.SIGINT, signal.SIGTERM}:
                self._stop_or_end(number)
        return True

    def _reload(self) -> None:
        if not self._stopping:
            logger.info("Reloading...")
            self._ending = Ending(0, reload=True)
            self._stop()

    def _stop_or_end(self, number: signal.Signals) -> None:
        """Stop gracefully at the first signal, at once at the second."""
        asked_at, self._asked_at = self._asked_at, time.monotonic()
        if self._asked_by is number and self._asked_at - asked_at < ECHO_S:
            return
        if self._asked_by is not None:
            logger.warning("%s again: ending at once.", number.name)
            self._ending = Ending(1)
            self._kill_at = min(self._kill_at, time.monotonic() + KILL_AFTER_S)
            self._signal_all(signal.SIGQUIT)
            return
        logger.info("%s: stopping gracefully; once more to end at once.", number.name)
        self._asked_by = number
        if self._ending.reload:
            self._ending = Ending(0)
        self._stop()

    def _stop(self) -> None:
        """Ask all processes to finish what they are doing; start no more."""
        if self._stopping:
            return
        self._stopping = True
        self._kill_at = time.monotonic() + self._settings.shutdown_timeout_ms / 1000 + STOP_GRACE_S
        for post in self._posts:
            if post.child is None:
                post.vacate()
            else:
                post.child.ask_to_stop()

    def _kill_the_rest(self) -> None:
        logger.error("Killing the processes that have not stopped.")
        self._kill_at = float("inf")
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        for post in self._posts:
            if post.child is not None:
                post.child.signal(number)


def _first_tasks(settings: Settings) -> Iterator[Task]:
    for index in range(settings.processes):
        yield Task(Kind.WORKER, f"Worker process {index}", partial(run_worker, index=index))
    if settings.watch is not None:
        yield Task(Kind.WATCH, "The watching process", run_watch)


def _fork_task(index: int, path: str, environment: Mapping[str, str]) -> Task:
    body = partial(run_fork, index=index, path=path, environment=environment)
    return Task(Kind.FORK, f"Fork process '{path}'", body)


def _context(settings: Settings) -> Context:
    if not settings.use_spawn:
        return multiprocessing.get_context("fork")
    # As Dramatiq: the fork server costs one fresh interpreter for all processes instead of one each.
    if sys.version_info >= (3, 14):
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")
