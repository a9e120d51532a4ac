"""A broker in memory, for programs' unit tests: queues are `queue.Queue` objects of encoded messages."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, cast
from weakref import WeakSet

from .._queue import Queue
from ..broker import Broker, Consumer, MessageProxy
from ..common import current_millis, dq_name, q_name
from ..errors import QueueJoinTimeout, QueueNotFound
from ._asking import checked_queue
from ._stub_consumer import StubConsumer, exception_of

if TYPE_CHECKING:
    from ..message import Message
    from ..middleware import Middleware

__all__ = ["StubBroker"]


class StubBroker(Broker):
    """A broker that keeps its messages in this process, without any server.

    Parameters:
      middleware: As for every broker.
      fail_fast_default: Whether `join` raises what made a message fail unless told otherwise.
    """

    queues: dict[str, Queue[bytes]]

    # So that programs for PostgreSQL can be tested here; nobody cancels or looks at a message of this broker's.
    own_actor_options: ClassVar[frozenset[str]] = frozenset({"cancellable", "redact"})

    def __init__(
        self, middleware: Iterable[Middleware] | None = None, *, fail_fast_default: bool = True
    ) -> None:
        super().__init__(middleware)
        self.queues = {}
        self.fail_fast_default = fail_fast_default
        #: Rejected messages, with the exceptions that they failed with, by the name of their queue.
        self.dead_letters_by_queue: defaultdict[str, list[MessageProxy]] = defaultdict(list)
        self._declaring = Lock()
        self._consumers: WeakSet[StubConsumer] = WeakSet()

    @property
    def dead_letters(self) -> list[MessageProxy]:
        """The rejected messages of all queues."""
        return [message for letters in self.dead_letters_by_queue.values() for message in letters]

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue and its delay queue, unless they are there."""
        if queue_name in self.queues:
            return
        self.emit_before("declare_queue", queue_name)
        delay_name = dq_name(queue_name)
        with self._declaring:
            if queue_name in self.queues:
                return
            self.dead_letters_by_queue[queue_name] = []
            self.queues[queue_name] = Queue()
            self.queues[delay_name] = Queue()
            self.delay_queues.add(delay_name)
        self.emit_after("declare_queue", queue_name)
        self.emit_after("declare_delay_queue", delay_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        """Return a consumer of one queue, which may be a delay queue.

        Raises:
          QueueNotFound: It is not declared.
        """
        consumer = StubConsumer(
            self._queue(queue_name),
            dead_letters=self.dead_letters_by_queue[q_name(queue_name)],
            queue_name=queue_name,
            prefetch=prefetch,
            timeout=timeout,
        )
        self._consumers.add(consumer)
        return consumer

    def enqueue(self, message: Message[Any] | MessageProxy, *, delay: int | None = None) -> Message[Any]:
        """Put a message into its queue, or with a delay a copy of it into the delay queue.

        Raises:
          QueueNotFound: The queue is not declared.
        """
        queue_name = message.queue_name if delay is None else dq_name(message.queue_name)
        queue = self._queue(queue_name)
        if delay is not None:
            message = message.copy(queue_name=queue_name, options={"eta": current_millis() + delay})
        self.emit_before("enqueue", message, delay)
        queue.put(message.encode())
        self.emit_after("enqueue", message, delay)
        return cast("Message[Any]", message)

    def enqueue_many(
        self, messages: Iterable[Message[Any] | MessageProxy], *, delay: int | None = None
    ) -> list[Message[Any]]:
        """Put messages into their queues, in order; none of them, if one can't be encoded.

        Raises:
          QueueNotFound: A queue is not declared.
        """
        messages = list(messages)
        for message in messages:
            self._queue(message.queue_name)
        self.check_messages(cast("list[Message[Any]]", messages))
        return super().enqueue_many(messages, delay=delay)

    def flush(self, queue_name: str) -> None:
        """Drop the messages of a queue and its delay queue; its dead letters stay until `flush_all`."""
        queue_name = checked_queue(queue_name, "flush")
        for name in (queue_name, dq_name(queue_name)):
            self._empty(self._queue(name))

    def flush_all(self) -> None:
        """Drop all messages and all dead letters, and forget those that are still being run."""
        for queue in list(self.queues.values()):
            self._empty(queue)
        # In place, because consumers add to these lists.
        for letters in list(self.dead_letters_by_queue.values()):
            letters.clear()

    def join(self, queue_name: str, *, timeout: int | None = None, fail_fast: bool | None = None) -> None:
        """Wait until a queue has no message: none waiting, none delayed, none being run.

        Parameters:
          timeout: Milliseconds; None waits for ever.
          fail_fast: Whether to raise then what the first dead letter of the queue failed with; None means the
            broker's ``fail_fast_default``.

        Raises:
          QueueNotFound: The queue is not declared.
          QueueJoinTimeout: It took longer.
        """
        checked_queue(queue_name, "join")
        deadline = None if timeout is None else time.monotonic() + timeout / 1000
        ready, delayed = self._queue(q_name(queue_name)), self._queue(dq_name(queue_name))
        while not _is_done(ready, delayed):
            _wait_until_done(ready, deadline, queue_name)
            _wait_until_done(delayed, deadline, queue_name)
        if self.fail_fast_default if fail_fast is None else fail_fast:
            self._raise_first_failure(q_name(queue_name))

    def _raise_first_failure(self, queue_name: str) -> None:
        letters = self.dead_letters_by_queue[queue_name]
        if not letters:
            return
        error = exception_of(letters[0]) or Exception(f"Message {letters[0]} failed without an exception.")
        try:
            raise error from None
        finally:
            del error  # this frame is part of its traceback

    def _queue(self, queue_name: str) -> Queue[bytes]:
        try:
            return self.queues[queue_name]
        except KeyError:
            raise QueueNotFound(queue_name) from None

    def _empty(self, queue: Queue[bytes]) -> None:
        with queue.mutex:
            queue.queue.clear()
            queue.unfinished_tasks = 0
            queue.all_tasks_done.notify_all()
            for consumer in list(self._consumers):
                consumer.forget(queue)


def _is_done(ready: Queue[bytes], delayed: Queue[bytes]) -> bool:
    """Look at both queues in one moment: messages move from each to the other."""
    with ready.mutex, delayed.mutex:
        return not ready.unfinished_tasks and not delayed.unfinished_tasks


def _wait_until_done(queue: Queue[bytes], deadline: float | None, queue_name: str) -> None:
    timeout_s = None if deadline is None else max(0.0, deadline - time.monotonic())
    with queue.all_tasks_done:
        if not queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, timeout_s):
            raise QueueJoinTimeout(f"Queue {queue_name!r} was not empty in time.")
