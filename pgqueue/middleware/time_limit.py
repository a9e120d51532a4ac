"""Interrupts actors that run for too long.

A thread of its own looks at the deadlines of all worker threads once per interval and raises
`TimeLimitExceeded` in those that are past theirs; under gevent each message has a timer of gevent's instead.
"""

from __future__ import annotations

import warnings
import weakref
from importlib import import_module
from threading import Lock, Thread, get_ident
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from pgqueue._locks import enter
from pgqueue.faults import Fault
from pgqueue.logging import OwnLogger, own_logger
from pgqueue.threading import (
    Interrupt,
    current_platform,
    is_gevent_active,
    raise_thread_exception,
    supported_platforms,
)

from ._options import check_duration
from .middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.broker import Broker, MessageProxy

__all__ = ["DEFAULT_TIME_LIMIT", "TimeLimit", "TimeLimitExceeded"]

#: Milliseconds that a message may run unless told otherwise: ten minutes.
DEFAULT_TIME_LIMIT = 600_000

#: Milliseconds beyond its limit after which the process of an actor that can't be interrupted is replaced.
DEFAULT_GRACE = 30_000

#: Milliseconds between two looks at the deadlines; an actor may overrun its limit by that much.
DEFAULT_INTERVAL = 1000


class TimeLimitExceeded(Interrupt):
    """Raised in an actor that has run for longer than its time limit."""


class TimeLimit(Middleware):
    """Raises `TimeLimitExceeded` in actors that overrun their ``time_limit``.

    Only Python code can be interrupted: an actor that waits in a system call is when it returns from it. If it does
    not, the supervisor replaces the whole process: the message is charged an attempt, whatever else the process was
    running or had fetched is not and runs elsewhere. After three such attempts the message goes to the dead letters.
    Nothing is interrupted in a process that has not called ``process_boot``.

    Parameters:
      time_limit: Milliseconds; infinity for none. A message's or an actor's own option comes first.
      interval: Milliseconds between two looks at the deadlines.
      grace: Milliseconds beyond the limit after which the process is replaced, by the workers of ``pgqueue MODULE``
        and with a broker that keeps account of what runs, as PostgreSQL's does; None for never.
    """

    def __init__(
        self,
        *,
        time_limit: float = DEFAULT_TIME_LIMIT,
        interval: int = DEFAULT_INTERVAL,
        grace: float | None = DEFAULT_GRACE,
    ) -> None:
        self.logger = own_logger(__name__, type(self))
        self.time_limit = time_limit
        self.interval = interval
        self.grace = grace
        self.manager: ThreadTimers | GeventTimers = (
            GeventTimers(self) if is_gevent_active() else ThreadTimers(self)
        )

    @property
    def actor_options(self) -> set[str]:
        """``time_limit``, in milliseconds."""
        return {"time_limit"}

    def check_actor_options(self, options: Mapping[str, Any]) -> None:
        """Refuse what is no span of time."""
        check_duration(options, "time_limit")

    def after_process_boot(self, broker: Broker) -> None:
        """Start to watch the deadlines, or warn that nothing can be interrupted here."""
        if not is_gevent_active() and current_platform not in supported_platforms:
            warnings.warn(
                f"TimeLimit cannot kill threads on your current platform ({current_platform!r}).",
                category=RuntimeWarning,
                stacklevel=2,
            )
            return
        self.manager.start()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Set this thread's deadline."""
        limit_ms = (
            message.options.get("time_limit")
            or broker.get_actor(message.actor_name).options.get("time_limit")
            or self.time_limit
        )
        self.manager.add_timeout(get_ident(), limit_ms)
        if self.grace is not None and limit_ms != float("inf"):
            broker.limit_run(monotonic() + (limit_ms + self.grace) / 1000)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Drop this thread's deadline."""
        self.manager.remove_timeout(get_ident())
        broker.limit_run(0.0)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Drop this thread's deadline."""
        self.manager.remove_timeout(get_ident())
        broker.limit_run(0.0)


class ThreadTimers:
    """The deadlines of real threads, on the monotonic clock, and the thread that watches them."""

    def __init__(self, middleware: TimeLimit) -> None:
        self._logger = middleware.logger
        self._interval_s = middleware.interval / 1000
        #: By thread id; None stands for no deadline.
        self.deadlines: dict[int, float | None] = {}
        # Held while an exception is raised, so that none is once `remove_timeout` has returned.
        self._lock = Lock()
        self._watcher: Thread | None = None

    def start(self) -> None:
        """Start to watch, unless a thread of this process does; one from before a fork does not count."""
        if self._watcher is None or not self._watcher.is_alive():
            self._lock = Lock()
            self.deadlines = {}
            arguments = (weakref.ref(self), self._interval_s)
            self._watcher = Thread(target=self._watch, args=arguments, name="TimeLimit", daemon=True)
            self._watcher.start()

    def add_timeout(self, thread_id: int, ttl: float) -> None:
        """Give a thread that many milliseconds."""
        self.deadlines[thread_id] = monotonic() + ttl / 1000

    def remove_timeout(self, thread_id: int) -> None:
        """Let a thread off."""
        enter(self._lock)
        try:
            self.deadlines.pop(thread_id, None)
        finally:
            self._lock.release()

    def _handle_deadlines(self) -> None:
        """Raise the exception, once, in every thread that is past its deadline."""
        now = monotonic()
        for thread_id, deadline in list(self.deadlines.items()):
            if deadline is not None and deadline <= now:
                self._interrupt(thread_id, deadline)

    def _interrupt(self, thread_id: int, deadline: float) -> None:
        with self._lock:
            # The thread may have ended this message, or even begun the next one, since the list was made.
            if self.deadlines.get(thread_id) == deadline:
                del self.deadlines[thread_id]
                _warn(self._logger, thread_id)
                raise_thread_exception(thread_id, TimeLimitExceeded)

    @staticmethod
    def _watch(timers: weakref.ref[ThreadTimers], interval_s: float) -> None:
        """Watch deadlines until their middleware is gone: programs, above all test suites, make many brokers."""
        while (present := timers()) is not None:
            try:
                present._handle_deadlines()  # noqa: SLF001  # of this class
            except Exception:
                present._logger.critical(  # noqa: SLF001
                    "The watch over time limits failed unexpectedly; it goes on.", exc_info=True,
                    fault=Fault.THREAD_FAILED,
                )  # fmt: skip
            del present
            sleep(interval_s)


def _warn(logger: OwnLogger, thread_id: int) -> None:
    logger.warning(
        "Time limit exceeded. Raising exception in worker thread %r.", thread_id, fault=Fault.TIME_LIMIT
    )


class GeventTimers:
    """A timer of gevent's for each greenlet that runs a message.

    Not a `gevent.Timeout`: that one is raised wherever its greenlet waits, also in an acknowledgement. What
    `raise_thread_exception` raises comes through in the actor only.
    """

    def __init__(self, middleware: TimeLimit) -> None:
        self._logger = middleware.logger
        self._timers: dict[int, Any] = {}

    def start(self) -> None:
        """Do nothing: gevent's hub watches its timers."""

    def add_timeout(self, thread_id: int, ttl: float) -> None:
        """Give a greenlet that many milliseconds."""
        if ttl != float("inf"):
            self._timers[thread_id] = import_module("gevent").spawn_later(
                ttl / 1000, self._interrupt, thread_id
            )

    def remove_timeout(self, thread_id: int) -> None:
        """Let a greenlet off."""
        timer = self._timers.pop(thread_id, None)
        if timer is not None:
            timer.kill(block=False)

    def _interrupt(self, thread_id: int) -> None:
        del self._timers[thread_id]
        _warn(self._logger, thread_id)
        raise_thread_exception(thread_id, TimeLimitExceeded)
