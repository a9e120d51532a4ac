"""How often an idle worker asks."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine.fetcher import Fetcher
from pgqueue.message import Message
from pgqueue.storage import queue_limits
from pgqueue.storage.messages import ClaimedMessage

from ..support.queue import Queue


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a fetcher has claimed and asked."""
    counted: Counter[str] = Counter()
    fetch, ask = Fetcher.fetch, Fetcher.worth_fetching

    def counting_fetch(self: Fetcher, limit: int) -> list[ClaimedMessage]:
        counted["claims"] += 1
        return fetch(self, limit)

    def counting_ask(self: Fetcher, *, idle: bool) -> bool:
        counted["questions"] += 1
        return ask(self, idle=idle)

    monkeypatch.setattr(Fetcher, "fetch", counting_fetch)
    monkeypatch.setattr(Fetcher, "worth_fetching", counting_ask)
    return counted


@pytest.mark.parametrize("busy", [False, True], ids=["on a quiet server", "on a busy server"])
def test_an_idle_worker_asks_rarely_whatever_others_do(
    postgres_broker: PostgresBroker, queue: Queue, calls: Counter[str], busy: bool
) -> None:
    queue.lane()
    consumer = postgres_broker.consume("default", timeout=1_500)
    stop = threading.Event()

    def write() -> None:
        while busy and not stop.is_set():
            queue.conn.execute("SELECT pg_current_xact_id()")

    writer = threading.Thread(target=write)
    writer.start()
    assert next(consumer) is None
    stop.set()
    writer.join()
    consumer.close()
    # After 5, 50 and 250 ms, then each second; a few more at the start, when the listener wakes everybody.
    assert 3 <= calls["questions"] <= 9
    assert 1 <= calls["claims"] <= (9 if busy else 5)


def test_a_backlog_under_a_limit_leaves_a_worker_without_prefetch_to_other_queues(
    postgres_broker: PostgresBroker, queue: Queue
) -> None:
    """All the room there is is a place at a time, and limited queues are looked at before the others."""
    queue_limits.set_limit(queue.conn, queue.statements, queue_name="limited", at_once=4)
    sent: list[Message[None]] = [
        Message(name, "actor", (), {}, {}) for name in ["limited"] * 8 + ["free"] * 2
    ]
    postgres_broker.enqueue_many(sent)
    consumer = postgres_broker.consume_many({"limited", "free"}, prefetch=1, threads=1, timeout=5_000)
    drawn = []
    for _ in range(6):
        message = next(consumer)
        assert message is not None
        drawn.append(message.queue_name)
        consumer.ack(message)
    consumer.close()
    assert drawn.count("free") == 2
    assert drawn.count("limited") == 4
