"""Messages with an eta that a consumer thread holds in memory until they are due.

For brokers with delay queues of their own (the stub, another's); the Postgres broker never hands one out.
"""

from __future__ import annotations

import math
from heapq import heapify
from itertools import count
from typing import TYPE_CHECKING, Any

from .._queue import PriorityQueue
from ..common import iter_queue, q_name
from ..faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..broker import MessageProxy
    from ..logging import OwnLogger
    from ..message import Message

__all__ = ["DelayedMessages", "due_copy", "read_eta"]

#: The eta, the number of the arrival, the message.
DelayedItem = tuple[float, int, "MessageProxy"]


def read_eta(message: MessageProxy, logger: OwnLogger) -> float | None:
    """Return when a message is due, in milliseconds since the epoch; None if it is not a delayed one.

    An eta of None is taken out of the options. One that is no number is worth a warning and long past.
    """
    if "eta" not in message.options:
        return None
    eta = message.options["eta"]
    if eta is None:
        del message.options["eta"]
        return None
    if not isinstance(eta, int | float) or math.isnan(eta):
        logger.warning(
            "Invalid eta value for message %r: %r is not a number; it is due now.", message, eta,
            fault=Fault.INVALID_ETA,
        )  # fmt: skip
        return 0
    return eta


def due_copy(message: MessageProxy) -> Message[Any]:
    """Return the message that takes the place of a delayed one: on its canonical queue and without an eta."""
    # `copy` merges options, so that the eta has to go afterwards; the dictionary is the copy's own.
    copy: Message[Any] = message.copy(queue_name=q_name(message.queue_name))
    del copy.options["eta"]
    return copy


class DelayedMessages(PriorityQueue[DelayedItem]):
    """A consumer thread's delayed messages, the next one first."""

    def __init__(self) -> None:
        super().__init__()
        self._arrivals = count()

    def add(self, message: MessageProxy, *, eta: float) -> None:
        """Add a message that is due at ``eta``."""
        self.put((eta, next(self._arrivals), message))

    def next_eta(self) -> float | None:
        """Return when the first one is due; None if there is none."""
        with self.mutex:
            return self.queue[0][0] if self.queue else None

    def take_due(self, now: float) -> Iterator[MessageProxy]:
        """Give those that are due; each is taken out and counted as done once the caller asks for the next.

        For the thread that adds messages only: it must not add one in between.
        """
        while (eta := self.next_eta()) is not None and eta <= now:
            yield self.queue[0][2]
            self.get_nowait()
            self.task_done()

    def keep(self, is_wanted: Callable[[MessageProxy], bool]) -> None:
        """Drop all but the wanted ones; for the thread that adds messages only, as `take_due`."""
        with self.mutex:
            wanted = [item for item in self.queue if is_wanted(item[2])]
            dropped = len(self.queue) - len(wanted)
            self.queue[:] = wanted
            heapify(self.queue)
        for _ in range(dropped):
            self.task_done()

    def take_all(self) -> list[MessageProxy]:
        """Take out all, in the order of their arrival."""
        items = sorted(iter_queue(self), key=lambda item: item[1])
        for _ in items:
            self.task_done()
        return [message for _, _, message in items]
