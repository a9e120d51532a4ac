"""What tests need of a broker beyond its own interface: to peek, to move its clock, to have a worker die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..broker import Broker, Consumer, MessageProxy
from ..brokers._postgres_consumer import ClaimedProxy
from ..brokers.postgres import PostgresBroker
from ..brokers.stub import StubBroker
from ..common import current_millis, q_name
from ..maintenance.reaper import MAX_ATTEMPTS
from ..message import Message
from ..storage import inline, messages, registers, scheduled
from ..worker.delayed import due_copy

if TYPE_CHECKING:
    from .._queue import Queue
    from ..storage.messages import ClaimedMessage

__all__ = ["Shelf", "shelf_of"]

#: Before all messages.
_START = (datetime(1970, 1, 1, tzinfo=UTC), 0)

#: Messages made ready in one statement.
_BATCH = 500

#: Seconds between two looks while somebody else promotes.
_CONTENDED_S = 0.005


class Shelf(Protocol):
    """One broker's."""

    def peek(self) -> Iterator[tuple[Message[Any], float | None]]:
        """All messages that nobody holds, with the milliseconds until they are due; None if they are."""

    def held_or_ready(self, queue_name: str) -> int:
        """How many messages of a queue are ready or held."""

    def next_due_ms(self) -> float | None:
        """Milliseconds until the next delayed message is due; None if there is none."""

    def advance(self, by_ms: float) -> None:
        """Let the time of delayed messages go forward."""

    def loss_of(self, consumer: Consumer, message: MessageProxy) -> Loss:
        """What is to be done with a message that was fetched once the process has died that holds it."""


class Loss(Protocol):
    """Called in the place of a process's death, by the thread that has run the message."""

    def __call__(self, *, charged: bool) -> None: ...


def shelf_of(broker: Broker) -> Shelf:
    """Return the broker's.

    Raises:
      TypeError: It is another kind of broker.
    """
    if isinstance(broker, PostgresBroker):
        return _PostgresShelf(broker)
    if isinstance(broker, StubBroker):
        return _StubShelf(broker)
    raise TypeError(f"pgqueue.testing is for PostgresBroker and StubBroker, not for {type(broker).__name__}.")


class _PostgresShelf:
    def __init__(self, broker: PostgresBroker) -> None:
        self._broker = broker
        self._database = broker.database
        self._statements = broker.database.statements

    def peek(self) -> Iterator[tuple[Message[Any], float | None]]:
        with self._database.connection() as conn:
            for payload, delay_ms in inline.peek(conn, self._statements):
                yield Message.decode(payload), delay_ms

    def held_or_ready(self, queue_name: str) -> int:
        if queue_name in self._broker.get_paused_queues():
            return 0
        return self._broker.get_queue_message_counts(queue_name)[0]

    def next_due_ms(self) -> float | None:
        with self._database.connection() as conn:
            return scheduled.next_due_in(conn, self._statements, after=_START)[1]

    def advance(self, by_ms: float) -> None:
        with self._database.connection() as conn:
            scheduled.shift(conn, self._statements, by_ms=by_ms)
            while (due_ms := scheduled.next_due_in(conn, self._statements, after=_START)[1]) is not None:
                if due_ms > 0:
                    break
                promoted = scheduled.promote(conn, self._statements, after=_START, xids=(), limit=_BATCH)
                if not promoted.promoted:
                    time.sleep(_CONTENDED_S)
            registers.wake(conn, self._statements)

    def loss_of(self, consumer: Consumer, message: MessageProxy) -> Loss:
        # A message whose end is written has no claim any more, and a reaper must not mind.
        claimed = message.claimed if isinstance(message, ClaimedProxy) else None
        return partial(self._lose, claimed)

    def _lose(self, claimed: ClaimedMessage | None, *, charged: bool) -> None:
        if claimed is None:
            return
        if (settling := self._broker.settlement_connection()) is not None:
            settling.close()  # as a process that dies; what a hook or the actor has locked is free
        with self._database.connection() as conn:
            messages.reclaim(
                conn, self._statements, owner=claimed.lease.owner, threads=0, max_attempts=MAX_ATTEMPTS,
                charged=[claimed.id] if charged else [],
                error=f"it was running in {MAX_ATTEMPTS} processes when they died, as a test would have it",
            )  # fmt: skip
            registers.bump_rewind(conn, self._statements)
            registers.wake(conn, self._statements)


class _StubShelf:
    def __init__(self, broker: StubBroker) -> None:
        self._broker = broker

    def peek(self) -> Iterator[tuple[Message[Any], float | None]]:
        for name in self._names():
            for data in list(self._broker.queues[name].queue):
                message = Message.decode(data)
                eta = message.options.get("eta")
                yield message, None if eta is None else float(eta) - current_millis()

    def held_or_ready(self, queue_name: str) -> int:
        return self._broker.queues[queue_name].qsize()

    def next_due_ms(self) -> float | None:
        return min((delay_ms for _, delay_ms in self.peek() if delay_ms is not None), default=None)

    def advance(self, by_ms: float) -> None:
        for name in self._broker.get_declared_delay_queues():
            queue: Queue[bytes] = self._broker.queues[name]
            for _ in range(queue.qsize()):
                message = Message.decode(queue.get_nowait())
                message.options["eta"] -= by_ms
                if message.options["eta"] <= current_millis():
                    self._broker.queues[q_name(name)].put(due_copy(MessageProxy(message)).encode())
                else:
                    queue.put(message.encode())
                queue.task_done()

    def loss_of(self, consumer: Consumer, message: MessageProxy) -> Loss:
        return partial(self._lose, consumer, message)

    def _lose(self, consumer: Consumer, message: MessageProxy, *, charged: bool) -> None:
        consumer.requeue([message])  # one that is acknowledged is not there

    def _names(self) -> list[str]:
        delayed = self._broker.get_declared_delay_queues()
        return sorted(self._broker.queues, key=lambda name: (name in delayed, name))
