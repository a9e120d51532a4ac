"""Lets the code that an actor calls ask which message is being processed."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .middleware import Middleware

if TYPE_CHECKING:
    from pgqueue.broker import Broker, MessageProxy

__all__ = ["CurrentMessage"]


class CurrentMessage(Middleware):
    """Keeps the message that a worker thread is processing, also for the coroutine of an async actor."""

    # A context variable, not a thread-local: the context travels with a coroutine to the event loop's thread.
    _current: ContextVar[MessageProxy | None] = ContextVar("pgqueue_current_message", default=None)

    @classmethod
    def get_current_message(cls) -> MessageProxy | None:
        """Return the message being processed here, or None outside of actors."""
        return cls._current.get()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Remember the message."""
        self._current.set(message)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Forget the message."""
        self._current.set(None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Forget the message."""
        self._current.set(None)
