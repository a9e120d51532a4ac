"""Tells running actors that want to know it that their worker is shutting down."""

from __future__ import annotations

import warnings
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

from pgqueue._locks import enter
from pgqueue.logging import OwnLogger, own_logger
from pgqueue.threading import (
    Interrupt,
    current_platform,
    is_gevent_active,
    raise_thread_exception,
    supported_platforms,
)

from .middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgqueue.actor import Actor
    from pgqueue.broker import Broker, MessageProxy
    from pgqueue.message import Message
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
        self.manager = RunningThreads(self.logger)

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
        self.logger.debug("Sending shutdown notification to worker threads...")
        self.manager.shutdown()

    def should_notify(self, actor: Actor[..., Any], message: Message[Any] | MessageProxy) -> bool:
        """Whether a message has opted in: by its own option, its actor's, or this middleware's."""
        notify = message.options.get("notify_shutdown")
        if notify is None:
            notify = actor.options.get("notify_shutdown")
        return bool(self.notify_shutdown if notify is None else notify)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Remember this thread if its message has opted in."""
        if self.should_notify(broker.get_actor(message.actor_name), message):
            self.manager.add_notification()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Forget this thread."""
        self.manager.remove_notification()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Forget this thread."""
        self.manager.remove_notification()


class RunningThreads:
    """The threads that are to be told."""

    def __init__(self, logger: OwnLogger) -> None:
        #: Their ids.
        self.notifications: Collection[int] = set()
        self._logger = logger
        # Held while exceptions are raised, so that none is once `remove_notification` has returned.
        self._lock = Lock()

    def add_notification(self) -> None:
        """Remember the calling thread."""
        enter(self._lock)
        try:
            self.notifications = {*self.notifications, get_ident()}
        finally:
            self._lock.release()

    def remove_notification(self) -> None:
        """Forget the calling thread."""
        if self.notifications:
            enter(self._lock)
            try:
                self.notifications = set(self.notifications) - {get_ident()}
            finally:
                self._lock.release()

    def shutdown(self) -> None:
        """Raise `Shutdown` once in every thread that is remembered."""
        with self._lock:
            for thread_id in sorted(self.notifications):
                self._logger.info(
                    "Worker shutdown notification. Raising exception in worker thread %r.", thread_id
                )
                raise_thread_exception(thread_id, Shutdown)
            # Last, because a thread that finds it empty does not wait for the lock.
            self.notifications = set()
