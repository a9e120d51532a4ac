"""Notices when the last message of a group has succeeded, and enqueues the group's completion callbacks."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pgqueue.common import getenv_int
from pgqueue.message import Message
from pgqueue.rate_limits import Barrier

from .middleware import Middleware

if TYPE_CHECKING:
    from pgqueue.broker import Broker, MessageProxy
    from pgqueue.rate_limits import RateLimiterBackend

__all__ = ["DEFAULT_BARRIER_TTL", "GroupCallbacks"]

#: Milliseconds after the last success for which a group is waited for: a day.
DEFAULT_BARRIER_TTL = 86_400_000


class GroupCallbacks(Middleware):
    """Counts down a group's barrier with each success; whoever clears it enqueues the callbacks.

    On Postgres, with the queue in the same database, the count goes down in the commit that acknowledges the
    message, and the callbacks are enqueued in that commit, once: a message that is delivered twice is counted once.

    Parameters:
      rate_limiter_backend: Where the barriers are kept.
      barrier_ttl: Milliseconds for which a group is kept after the last of its successes.
    """

    def __init__(
        self, rate_limiter_backend: RateLimiterBackend, *, barrier_ttl: int = DEFAULT_BARRIER_TTL
    ) -> None:
        self.rate_limiter_backend = rate_limiter_backend
        self.barrier_ttl = _from_environment(barrier_ttl)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count a success, and enqueue the callbacks when it was the last."""
        if exception is not None or message.failed:
            return
        uuid = message.options.get("group_completion_uuid")
        callbacks = message.options.get("group_completion_callbacks")
        if uuid and callbacks:
            self._arrive(broker, uuid, [Message(**callback) for callback in callbacks])

    def _arrive(self, broker: Broker, uuid: str, callbacks: list[Message[Any]]) -> None:
        if self.rate_limiter_backend.arrive_with_ack(uuid, self.barrier_ttl, callbacks):
            return
        barrier = Barrier(self.rate_limiter_backend, uuid, ttl=self.barrier_ttl)
        if barrier.wait(block=False):
            for callback in callbacks:
                broker.enqueue(callback)


def _from_environment(barrier_ttl: int) -> int:
    """Let the environment variable of old override the argument, with a warning."""
    override = getenv_int("pgqueue_group_callback_barrier_ttl")
    if override is None:
        return barrier_ttl
    warnings.warn(
        "The environment variable pgqueue_group_callback_barrier_ttl will stop to have an effect; "
        "pass barrier_ttl= to GroupCallbacks instead.",
        category=FutureWarning,
        stacklevel=3,
    )
    return override
