"""A broker in memory, for programs' unit tests: queues are `queue.Queue` objects of encoded messages."""

from __future__ import annotations

import time
from collections.abc import Iterable
from queue import Queue
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from ..broker import Broker, Consumer, MessageProxy
from ..common import current_millis, dq_name, q_name
from ..errors import DecodeError, QueueJoinTimeout, QueueNotFound
from ..logging import get_logger
from ..message import Message

if TYPE_CHECKING:
    from ..middleware import Middleware

__all__ = ["StubBroker"]

#: Seconds for which a consumer whose prefetch is used up waits for several places before it is content with one.
#: Fetching a handful of messages at a time saves most of the switches between its thread and the worker threads.
GATHER_PLACES_S = 0.001

#: Seconds after which a paused consumer looks whether it is still paused.
PAUSED_TICK_S = 0.02


class StubBroker(Broker):
    """A broker that keeps its messages in this process, without any server.

    Parameters:
      middleware: As for every broker.
      fail_fast_default: Whether `join` raises what made a message fail unless told otherwise.
    """

    queues: dict[str, Queue[bytes]]

    def __init__(
        self, middleware: Iterable[Middleware] | None = None, *, fail_fast_default: bool = True
    ) -> None:
        super().__init__(middleware)
        self.queues = {}
        self.fail_fast_default = fail_fast_default
        #: Rejected messages, with the exceptions that they failed with, by the name of their queue.
        self.dead_letters_by_queue: dict[str, list[MessageProxy]] = {}
        self._declaring = Lock()
        self._consumers: WeakSet[_StubConsumer] = WeakSet()

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
        consumer = _StubConsumer(
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

    def flush(self, queue_name: str) -> None:
        """Drop the messages of a queue and its delay queue; its dead letters stay until `flush_all`."""
        for name in (q_name(queue_name), dq_name(queue_name)):
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
        error = _exception_of(letters[0]) or Exception(f"Message {letters[0]} failed without an exception.")
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


class _StubConsumer(Consumer):
    """Hands out the messages of one queue; the queue's own mutex guards its count of what it has handed out."""

    def __init__(
        self,
        queue: Queue[bytes],
        *,
        dead_letters: list[MessageProxy],
        queue_name: str,
        prefetch: int,
        timeout: int,
    ) -> None:
        self.logger = get_logger("pgqueue.brokers.stub", "StubConsumer")
        self.queue = queue
        self.queue_name = queue_name
        self.dead_letters = dead_letters
        self.prefetch = prefetch
        #: Milliseconds.
        self.timeout = timeout
        #: The bytes of each message that is handed out, by its id. Copies of one message, of which a retry makes
        #: one, have the same id, so each id has a list.
        self._held: dict[str, list[bytes]] = {}
        self._held_count = 0
        self._paused = False
        # Released to end a wait for a place, and held otherwise.
        self._place = Lock()
        self._place.acquire()
        self._places_wanted = 0

    def __next__(self) -> MessageProxy | None:
        """Return the next message; None when there is none in time, or no place for one."""
        if self._paused:
            time.sleep(PAUSED_TICK_S)
            return None
        if self._held_count >= self.prefetch and not self._wait_for_places():
            return None
        data = self._take()
        if data is None:
            return None
        try:
            message = Message.decode(data)
        except DecodeError as error:
            self._reject_undecodable(data, error)
            return None
        with self.queue.mutex:
            self._held.setdefault(message.message_id, []).append(data)
            self._held_count += 1
        return MessageProxy(message)

    def ack(self, message: MessageProxy) -> None:
        """Forget a message."""
        self._settle(message)

    def nack(self, message: MessageProxy) -> None:
        """Add a message to the dead letters."""
        letter = MessageProxy(message._message)  # noqa: SLF001  # the worker will clear the proxy's exception
        letter.fail()
        exception = _exception_of(message)
        if exception is not None:
            letter.stuff_exception(exception)
        self._settle(message, letter=letter)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put messages back in front of the queue, in their order."""
        with self.queue.mutex:
            returned = [data for message in messages if (data := self._release(message)) is not None]
            self.queue.queue.extendleft(reversed(returned))
            self.queue.not_empty.notify(len(returned))

    def pause(self) -> None:
        """Hand out nothing, and end the wait of the thread that iterates."""
        self._paused = True
        with self.queue.mutex:
            self.queue.not_empty.notify_all()
            self._offer_place(self._places_wanted)

    def resume(self) -> None:
        """Hand out messages again."""
        self._paused = False

    def forget(self, queue: Queue[bytes]) -> None:
        """Forget what is handed out if it comes from this queue, whose mutex the caller holds."""
        if queue is self.queue:
            self._held.clear()
            self._held_count = 0
            self._offer_place(self._places_wanted)

    # -- fetching

    def _take(self) -> bytes | None:
        """Take the first message out of the queue, after a wait if need be."""
        with self.queue.mutex:
            if not self.queue.queue:
                self.queue.not_empty.wait(self.timeout / 1000)
                if not self.queue.queue:
                    return None
            if self._paused:
                # Somebody else may want the message that has ended this wait.
                self.queue.not_empty.notify()
                return None
            data: bytes = self.queue.queue.popleft()
            return data

    def _wait_for_places(self) -> bool:
        """Wait until half of the prefetch is free, but not for long, then until anything is."""
        if self._wait_for(max(1, self.prefetch // 2), GATHER_PLACES_S):
            return True
        return self._wait_for(1, self.timeout / 1000)

    def _wait_for(self, places: int, timeout_s: float) -> bool:
        with self.queue.mutex:
            if self._paused or self.prefetch - self._held_count >= places:
                return self._held_count < self.prefetch
            self._places_wanted = places
        offered = self._place.acquire(timeout=timeout_s)
        with self.queue.mutex:
            self._places_wanted = 0
            if not offered:
                # Perhaps it was since.
                self._place.acquire(blocking=False)
            return self._held_count < self.prefetch

    def _reject_undecodable(self, data: bytes, error: DecodeError) -> None:
        self.logger.error("Rejected a message of queue %r: %s", self.queue_name, error)
        letter = MessageProxy(Message(q_name(self.queue_name), "", (data,), {}, {}))
        letter.fail()
        letter.stuff_exception(error)
        self.dead_letters.append(letter)
        self.queue.task_done()

    # -- settling

    def _settle(self, message: MessageProxy, *, letter: MessageProxy | None = None) -> None:
        queue = self.queue
        with queue.mutex:
            if self._release(message) is None:
                self.logger.warning("Message %s is not (or no longer) held by this consumer.", message)
                return
            # Before the queue counts as done: whoever waits for that looks at the dead letters next.
            if letter is not None:
                self.dead_letters.append(letter)
            # A flush has forgotten everything; a message may have been on its way to here.
            queue.unfinished_tasks = max(0, queue.unfinished_tasks - 1)
            if queue.unfinished_tasks == 0:
                queue.all_tasks_done.notify_all()

    def _release(self, message: MessageProxy) -> bytes | None:
        copies = self._held.get(message.message_id)
        if copies is None:
            return None
        data = copies.pop(0)
        if not copies:
            del self._held[message.message_id]
        self._held_count -= 1
        if self._places_wanted:
            self._offer_place(self.prefetch - self._held_count)
        return data

    def _offer_place(self, free: int) -> None:
        if 0 < self._places_wanted <= free:
            self._places_wanted = 0
            self._place.release()


def _exception_of(message: MessageProxy) -> BaseException | None:
    return message._exception  # noqa: SLF001  # Dramatiq's name for it


def _is_done(ready: Queue[bytes], delayed: Queue[bytes]) -> bool:
    """Look at both queues in one moment: messages move from each to the other."""
    with ready.mutex, delayed.mutex:
        return not ready.unfinished_tasks and not delayed.unfinished_tasks


def _wait_until_done(queue: Queue[bytes], deadline: float | None, queue_name: str) -> None:
    timeout_s = None if deadline is None else max(0.0, deadline - time.monotonic())
    with queue.all_tasks_done:
        if not queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, timeout_s):
            raise QueueJoinTimeout(f"Queue {queue_name!r} was not empty in time.")
