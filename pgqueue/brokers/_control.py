"""The part of the broker on PostgreSQL with which programs steer queues: pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..logging import own_logger
from ..message import Cancellation
from ..operations import cancelling, limiting, pausing
from ..storage.database import Database
from ._asking import checked_actor, checked_id, checked_queue, patiently

__all__ = ["QueueControl"]

T = TypeVar("T")

logger = own_logger(__name__)


class QueueControl:
    """Orders that hold for all workers of the database, until they are taken back. From any process and thread.

    All methods raise `ConnectionClosed` if the database can't be reached, several times, and `StatementTimedOut` if it
    takes longer than five seconds. Where a connection was lost at the very commit, what was done just now may be
    answered as if it had been done before.
    """

    database: Database
    _stop_order: Callable[[], None] | None = None

    def cancel(self, message_id: str, *, timeout: int = 1000) -> Cancellation:
        """See that a message does not run, or not to its end.

        A message that waits is taken out. A worker that holds one is told: it does not begin it, and if it runs it
        already and its actor has the option ``cancellable``, `pgqueue.Cancelled` is raised in it. Either way the
        message is recorded as cancelled and not tried again.

        Parameters:
          timeout: Milliseconds to wait for the answer of the worker that holds it. 0 only asks.
        """
        id_ = checked_id(message_id, "cancel")
        return _told(lambda: cancelling.cancel(self.database, id_, wait_s=timeout / 1000))

    def pause_queue(self, queue_name: str) -> bool:
        """Have no worker begin a message of a queue, until `resume_queue`; False if it was paused already.

        Workers obey within a second; what runs goes on to its end. Sending goes on.
        """
        name = checked_queue(queue_name, "pause_queue")
        return _told(lambda: pausing.pause(self.database, "queue", name))

    def resume_queue(self, queue_name: str) -> bool:
        """Let a queue go on; False if it was not paused."""
        name = checked_queue(queue_name, "resume_queue")
        return _told(lambda: pausing.resume(self.database, "queue", name))

    def pause_actor(self, actor_name: str) -> bool:
        """Have no worker begin a message of an actor, until `resume_actor`; False if it was paused already.

        Workers put the actor's messages aside as they meet them, so that others in the queue go on.
        """
        name = checked_actor(actor_name, "pause_actor")
        return _told(lambda: pausing.pause(self.database, "actor", name))

    def resume_actor(self, actor_name: str) -> bool:
        """Let an actor go on, with its messages in their order; False if it was not paused."""
        name = checked_actor(actor_name, "resume_actor")
        return _told(lambda: pausing.resume(self.database, "actor", name))

    def limit_queue(self, queue_name: str, at_once: int | None) -> bool:
        """Have at most so many messages of a queue run at once, over all workers; False if it was so already.

        Workers obey within a second; what runs goes on to its end. It lasts until another call, and costs other queues
        nothing.

        Parameters:
          at_once: A whole number above 0; None for any number.

        Raises:
          ValueError: It is neither.
        """
        name = checked_queue(queue_name, "limit_queue")
        number = None if at_once is None else limiting.checked_limit(at_once)
        return _told(lambda: limiting.limit(self.database, name, number))

    def get_queue_limits(self) -> dict[str, int]:
        """How many messages may run at once, by the queues that have a limit."""
        return {each.queue_name: each.at_once for each in _told(lambda: limiting.limits(self.database))}

    def get_paused_queues(self) -> set[str]:
        """The names of the queues that are paused."""
        return self._paused("queue")

    def get_paused_actors(self) -> set[str]:
        """The names of the actors that are paused."""
        return self._paused("actor")

    def on_stop_ordered(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, in another thread, when an operator orders this process's worker to stop.

        The command line's worker processes stop by themselves. In a program that runs a `Worker` of its own such an
        order makes the worker quiet; what ends it is up to the program, which can learn of the order here.
        """
        self._stop_order = call

    def _stop_as_ordered(self) -> None:
        if self._stop_order is not None:
            self._stop_order()
            return
        logger.info(
            "An operator has ordered this worker to stop: it begins no more messages. Its program runs it, and can "
            "learn of such an order by broker.on_stop_ordered(call)."
        )

    def _paused(self, kind: str) -> set[str]:
        return {pause.name for pause in _told(lambda: pausing.paused(self.database)) if pause.kind == kind}


def _told(tell: Callable[[], T]) -> T:
    return patiently(tell, what="Not done")
