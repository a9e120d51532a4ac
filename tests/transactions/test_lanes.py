"""A queue or priority that is used for the first time in an open transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from tests.conftest import WorkerFor
from tests.support.queue import Queue


@pytest.fixture
def connect(database_url: str) -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """Connect an application, in a transaction that keeps the snapshot it begins with."""
    opened: list[psycopg.Connection[Any]] = []

    def open_one() -> psycopg.Connection[Any]:
        conn = psycopg.connect(database_url)
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("SELECT 1")
        opened.append(conn)
        return conn

    yield open_one
    for conn in opened:
        conn.close()


def send(broker: PostgresBroker, conn: psycopg.Connection[Any], *, priority: int = 7) -> None:
    options = {"priority": priority}
    with pgqueue.transaction(conn):
        broker.enqueue(pgqueue.Message("never_used_before", "note", (), {}, options))


def test_nobody_waits_for_the_transaction_in_which_a_queue_is_first_used(
    postgres_broker: PostgresBroker, database_url: str, connect: Callable[[], psycopg.Connection[Any]]
) -> None:
    first, second = connect(), connect()
    send(postgres_broker, first)
    other = PostgresBroker(database_url)
    second.execute("SET LOCAL lock_timeout = '5s'")
    send(other, second)
    second.commit()
    assert other.get_queue_message_counts("never_used_before")[0] == 1
    first.commit()
    assert other.get_queue_message_counts("never_used_before")[0] == 2
    other.close()


def test_a_rollback_leaves_the_lane_as_it_is_remembered(
    postgres_broker: PostgresBroker,
    queue: Queue,
    connect: Callable[[], psycopg.Connection[Any]],
    worker_for: WorkerFor,
) -> None:
    conn = connect()
    send(postgres_broker, conn)
    conn.rollback()
    assert queue.values("SELECT queue_name FROM pgqueue.lanes") == ["never_used_before"]
    send(postgres_broker, conn)
    conn.commit()
    ran: list[int] = []

    @pgqueue.actor(queue_name="never_used_before")
    def note() -> None:
        ran.append(1)

    worker_for(postgres_broker)
    postgres_broker.join("never_used_before", timeout=10_000)
    assert ran == [1]


def test_what_coroutines_learn_of_lanes_is_known_to_threads(
    postgres_broker: PostgresBroker, queue: Queue
) -> None:
    messages: list[pgqueue.Message[Any]] = [
        pgqueue.Message("fresh", "note", (), {}, {"priority": number}) for number in (1, 2)
    ]

    async def send_all() -> None:
        # Two that learn at once make each lane once.
        await asyncio.gather(*(postgres_broker.enqueue_many_async(messages) for _ in range(2)))
        await postgres_broker.close_async()

    asyncio.run(send_all())
    postgres_broker.enqueue_many(messages)
    assert queue.value("SELECT count(*) FROM pgqueue.lanes") == 2
    assert postgres_broker.get_queue_message_counts("fresh")[0] == 6


def test_a_queue_of_too_many_priorities_fails_no_transaction(
    postgres_broker: PostgresBroker,
    connect: Callable[[], psycopg.Connection[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgqueue.engine.catalog.MAX_PRIORITIES", 2)
    conn = connect()
    conn.execute("CREATE TABLE mine (id int)")
    send(postgres_broker, conn, priority=1)
    send(postgres_broker, conn, priority=2)
    with pytest.raises(ValueError, match="different priorities"):
        send(postgres_broker, conn, priority=3)
    conn.execute("INSERT INTO mine VALUES (1)")
    conn.commit()
    assert postgres_broker.get_queue_message_counts("never_used_before")[0] == 2
