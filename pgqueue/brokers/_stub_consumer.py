"""What a worker draws messages from and settles them with, in memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from queue import Queue
from threading import Lock
from typing import Any

from .._locks import enter
from ..broker import MessageProxy
from ..broker.worker_consumer import Withheld, WorkerConsumer
from ..common import q_name
from ..errors import DecodeError
from ..faults import Fault
from ..logging import own_logger
from ..message import Message

__all__ = ["StubConsumer", "exception_of"]

#: Seconds for which a consumer whose prefetch is used up waits for several places before it is content with one.
#: Fetching a handful of messages at a time saves most of the switches between its thread and the worker threads.
GATHER_PLACES_S = 0.001

#: Seconds after which a paused consumer looks whether it is still paused.
PAUSED_TICK_S = 0.02


class StubProxy(MessageProxy):
    """A message that a consumer has handed out.

    Attributes:
      round: How often the consumer had forgotten everything when it handed the message out.
    """

    def __init__(self, message: Message[Any], *, forgotten: int) -> None:
        super().__init__(message)
        self.round = forgotten


class StubConsumer(WorkerConsumer):
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
        self.logger = own_logger("pgqueue.brokers.stub", "StubConsumer")
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
        self._forgotten = 0
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
        enter(self.queue.mutex)
        try:
            self._held.setdefault(message.message_id, []).append(data)
            self._held_count += 1
            return StubProxy(message, forgotten=self._forgotten)
        finally:
            self.queue.mutex.release()

    def ack(self, message: MessageProxy) -> None:
        """Forget a message."""
        self._settle(message)

    def nack(self, message: MessageProxy) -> None:
        """Add a message to the dead letters."""
        # A proxy of its own, for the worker will clear the exception of the one that it has.
        letter = MessageProxy(message._message if isinstance(message, MessageProxy) else message)  # noqa: SLF001
        letter.fail()
        exception = exception_of(message)
        if exception is not None:
            letter.stuff_exception(exception)
        self._settle(message, letter=letter)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put messages back in front of the queue, in their order."""
        with self.queue.mutex:
            returned = [data for message in messages if (data := self._release(message)) is not None]
            self.queue.queue.extendleft(reversed(returned))
            self.queue.not_empty.notify(len(returned))

    @property
    def forgotten(self) -> int:
        """How often the queue was flushed since this consumer came to it."""
        return self._forgotten

    def holds(self, message: MessageProxy) -> bool:
        """Whether the queue was not flushed since the message was handed out."""
        return not isinstance(message, StubProxy) or message.round == self._forgotten

    def started(self, message: MessageProxy) -> None:
        """Keep a message from beginning whose queue was flushed.

        Raises:
          Withheld: It was.
        """
        if not self.holds(message):
            raise Withheld("its queue was flushed")

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
            self._forgotten += 1
            self._offer_place(self._places_wanted)

    # -- fetching

    def _take(self) -> bytes | None:
        """Take the first message out of the queue, after a wait if need be."""
        enter(self.queue.mutex)
        try:
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
        finally:
            self.queue.mutex.release()

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
        self.logger.error(
            "Rejected a message of queue %r: %s", self.queue_name, error, fault=Fault.UNDECODABLE
        )
        letter = MessageProxy(Message(q_name(self.queue_name), "", (data,), {}, {}))
        letter.fail()
        letter.stuff_exception(error)
        self.dead_letters.append(letter)
        self.queue.task_done()

    # -- settling

    def _settle(self, message: MessageProxy, *, letter: MessageProxy | None = None) -> None:
        queue = self.queue
        enter(queue.mutex)
        try:
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
        finally:
            queue.mutex.release()

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


def exception_of(message: MessageProxy) -> BaseException | None:
    """What a message failed with, if that is known: a plain Message, which may be rejected too, does not know."""
    exception: BaseException | None = getattr(message, "_exception", None)
    return exception
