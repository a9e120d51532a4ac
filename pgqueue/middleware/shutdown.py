"""Tells running actors that want to know it that their worker is shutting down."""

from __future__ import annotations

import warnings
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

from pgqueue.logging import own_logger
from pgqueue.threading import (
    Interrupt,
    current_platform,
    is_gevent_active,
    raise_thread_exception,
    supported_platforms,
)

from .middleware import Middleware

if TYPE_CHECKING:
    from pgqueue.broker import Broker, MessageProxy
    from pgqueue.worker import Worker

__all__ = ["Shutdown", "ShutdownNotifications"]


class Shutdown(Interrupt):
    """Raised in an actor with ``notify_shutdown`` when its worker is told to stop."""


class ShutdownNotifications(Middleware):
    """Raises `Shutdown` in the running actors that have opted in, when their worker starts to shut down.

    Parameters:
      notify_shutdown: Whether actors are told that have not said themselves. A message's or an actor's own
        option, None excepted, comes first.
    """

    def __init__(self, notify_shutdown: bool = False) -> None:  # noqa: FBT001, FBT002  # Dramatiq's signature
        self.logger = own_logger(__name__, type(self))
        self.notify_shutdown = notify_shutdown
        self._running = RunningThreads()

    @property
    def actor_options(self) -> set[str]:
        """``notify_shutdown``, whether to be told."""
        return {"notify_shutdown"}

    def after_process_boot(self, broker: Broker) -> None:
        """Warn where nothing can be interrupted."""
        if not is_gevent_active() and current_platform not in supported_platforms:
            warnings.warn(
                f"ShutdownNotifications cannot kill threads on your current platform ({current_platform!r}).",
                category=RuntimeWarning,
                stacklevel=2,
            )

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Interrupt the threads whose messages have opted in."""
        for thread_id in self._running.interrupt():
            self.logger.warning("Worker is shutting down. Raising exception in worker thread %r.", thread_id)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Remember this thread if its message has opted in."""
        notify = message.options.get("notify_shutdown")
        if notify is None:
            notify = broker.get_actor(message.actor_name).options.get("notify_shutdown")
        if self.notify_shutdown if notify is None else notify:
            self._running.add()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Forget this thread."""
        self._running.discard()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Forget this thread."""
        self._running.discard()


class RunningThreads:
    """The threads that are to be told."""

    def __init__(self) -> None:
        self._threads: set[int] = set()
        # Held while exceptions are raised, so that none is once `discard` has returned.
        self._lock = Lock()

    def add(self) -> None:
        """Remember the calling thread."""
        with self._lock:
            self._threads.add(get_ident())

    def discard(self) -> None:
        """Forget the calling thread."""
        if self._threads:
            with self._lock:
                self._threads.discard(get_ident())

    def interrupt(self) -> list[int]:
        """Raise `Shutdown` once in every thread that is remembered; return which these were."""
        with self._lock:
            interrupted = sorted(self._threads)
            for thread_id in interrupted:
                raise_thread_exception(thread_id, Shutdown)
            # Last, because a thread that finds the set empty does not wait for the lock.
            self._threads.clear()
        return interrupted
