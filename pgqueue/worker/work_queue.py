"""The queue between a worker's consumer threads and its worker threads."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from queue import Empty
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from .._locks import enter
from .._queue import PriorityQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..broker import MessageProxy
    from .consumer import ConsumerThread

__all__ = ["WorkItem", "WorkQueue"]

#: The priority, the turn and the number of the arrival in one, the message, and the thread that fetched it.
WorkItem: TypeAlias = "tuple[int, int, MessageProxy, ConsumerThread]"

#: Bits of the number of an arrival, below those of the turn: one number is compared sooner than two.
_BITS = 48
_ARRIVAL = (1 << _BITS) - 1


class WorkQueue(PriorityQueue[Any]):
    """Fetched messages: lower priority first, among equals a turn for each queue, in each in the order of arrival.

    A `queue.PriorityQueue` in all that can be looked at (``qsize``, ``unfinished_tasks``, ``join``), with another way
    of waking threads. Its condition variable wakes one thread for every message, which for short messages costs more
    than running them: the threads spend their time handing the interpreter's lock to each other. Here one thread is
    woken at a time, and it wakes the next one if it finds more than its own message.
    """

    def __init__(self) -> None:
        super().__init__()
        self._arrivals = count()
        #: A lock per waiting thread; releasing it wakes the thread. The last to come is woken first, being warm.
        self._idle: deque[Lock] = deque()
        #: Whether a woken thread is on its way to the queue.
        self._waking = False
        #: The turn that is on, and of each queue that of the last message that came.
        self._turn = 0
        self._turns: dict[str, int] = {}

    def add(
        self, message: MessageProxy, *, priority: int, fetched_by: ConsumerThread, turn_of: str = ""
    ) -> None:
        """Add a message that was fetched.

        A message comes a turn after the one before it ``turn_of`` the same, and if there is none, with the turn that is
        on: so a queue does not wait for all that was fetched of another.
        """
        enter(self.mutex)
        try:
            turn = self._turns.get(turn_of, 0) + 1
            if turn < self._turn:  # noqa: PLR1730  # max() takes as long as all the rest
                turn = self._turn
            self._turns[turn_of] = turn
            # The number of the arrival is unique, so that messages are never compared.
            heappush(self.queue, (priority, turn << _BITS | next(self._arrivals), message, fetched_by))
            self.unfinished_tasks += 1
            if self._idle and not self._waking:
                self._wake_one()
        finally:
            self.mutex.release()

    def put(self, item: WorkItem, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002  # the signature of queue.Queue
        """Add an item; never blocks, for the queue has no limit."""
        with self.mutex:
            heappush(self.queue, item)
            self.unfinished_tasks += 1
            if self._idle and not self._waking:
                self._wake_one()

    def get(self, block: bool = True, timeout: float | None = None) -> WorkItem:  # noqa: FBT001, FBT002  # as above
        """Take the first item, waiting for one if there is none.

        Parameters:
          timeout: Seconds; None waits for ever.

        Raises:
          queue.Empty: Nothing came in time, or `wake_all` was called.
        """
        enter(self.mutex)
        try:
            if self.queue:
                item: WorkItem = heappop(self.queue)
                self._turn = item[1] >> _BITS
                if self.queue and self._idle and not self._waking:
                    self._wake_one()
                return item
            if not block:
                raise Empty
            waiter = Lock()
            waiter.acquire()
            self._idle.append(waiter)
        finally:
            self.mutex.release()
        try:
            waiter.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
        finally:
            enter(self.mutex)
            try:
                self._stop_waiting(waiter)
            finally:
                self.mutex.release()
        return self.get(block=False)

    def task_done(self) -> None:
        """Count an item that was taken as finished."""
        enter(self.mutex)
        try:
            self.unfinished_tasks -= 1
            if self.unfinished_tasks == 0:
                self.all_tasks_done.notify_all()
        finally:
            self.mutex.release()

    def take_all(self) -> list[WorkItem]:
        """Take every item out and count it as finished; they come in the order of their arrival."""
        with self.mutex:
            items: list[WorkItem] = sorted(self.queue, key=lambda item: item[1] & _ARRIVAL)
            self.queue.clear()
            self.unfinished_tasks -= len(items)
            if self.unfinished_tasks == 0:
                self.all_tasks_done.notify_all()
        return items

    def drop(self, is_unwanted: Callable[[MessageProxy, ConsumerThread], bool]) -> None:
        """Take out, and count as finished, the items of which ``is_unwanted`` says so; it must not come back here."""
        with self.mutex:
            kept = [item for item in self.queue if not is_unwanted(item[2], item[3])]
            self.unfinished_tasks -= len(self.queue) - len(kept)
            self.queue[:] = kept
            heapify(self.queue)
            if self.unfinished_tasks == 0:
                self.all_tasks_done.notify_all()

    def wake_all(self) -> None:
        """Make every waiting `get` return."""
        with self.mutex:
            while self._idle:
                self._idle.pop().release()

    def _wake_one(self) -> None:
        self._waking = True
        self._idle.pop().release()

    def _stop_waiting(self, waiter: Lock) -> None:
        try:
            self._idle.remove(waiter)
        except ValueError:
            # Somebody has woken this thread, whether or not its time was up as well.
            self._waking = False
