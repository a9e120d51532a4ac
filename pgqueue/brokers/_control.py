"""The part of the broker on PostgreSQL with which programs steer queues: pause, resume, cancel."""

from __future__ import annotations

from ..common import q_name
from ..message import Cancellation
from ..operations import cancelling, pausing
from ..storage.database import Database

__all__ = ["QueueControl"]


class QueueControl:
    """Orders that hold for all workers of the database, until they are taken back. From any process and thread.

    All methods raise `DatabaseUnavailable` if the database can't be reached, and `StatementTimedOut` if it takes
    longer than five seconds.
    """

    database: Database

    def cancel(self, message_id: str, *, timeout: int = 1000) -> Cancellation:
        """See that a message does not run, or not to its end.

        A message that waits is taken out. A worker that holds one is told: it does not begin it, and if it runs it
        already and its actor has the option ``cancellable``, `pgqueue.Cancelled` is raised in it. Either way the
        message is recorded as cancelled and not tried again.

        Parameters:
          timeout: Milliseconds to wait for the answer of the worker that holds it. 0 only asks.
        """
        return cancelling.cancel(self.database, message_id, wait_s=timeout / 1000)

    def pause_queue(self, queue_name: str) -> bool:
        """Have no worker begin a message of a queue, until `resume_queue`; False if it was paused already.

        Workers obey within a second; what runs goes on to its end. Sending goes on.
        """
        return pausing.pause(self.database, "queue", q_name(queue_name))

    def resume_queue(self, queue_name: str) -> bool:
        """Let a queue go on; False if it was not paused."""
        return pausing.resume(self.database, "queue", q_name(queue_name))

    def pause_actor(self, actor_name: str) -> bool:
        """Have no worker begin a message of an actor, until `resume_actor`; False if it was paused already.

        Workers put the actor's messages aside as they meet them, so that others in the queue go on.
        """
        return pausing.pause(self.database, "actor", actor_name)

    def resume_actor(self, actor_name: str) -> bool:
        """Let an actor go on, with its messages in their order; False if it was not paused."""
        return pausing.resume(self.database, "actor", actor_name)

    def get_paused_queues(self) -> set[str]:
        """The names of the queues that are paused."""
        return {pause.name for pause in pausing.paused(self.database) if pause.kind == "queue"}

    def get_paused_actors(self) -> set[str]:
        """The names of the actors that are paused."""
        return {pause.name for pause in pausing.paused(self.database) if pause.kind == "actor"}
