"""A server that has taken over, and gives queues other numbers than the one before: nobody goes by those."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg_pool import ConnectionPool

import pgqueue
from pgqueue import schema
from pgqueue.brokers._outgoing import Encoded
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.composition import group, pipeline
from pgqueue.engine.catalog import Lanes
from pgqueue.errors import ConnectionClosed, TargetElsewhere
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.storage.messages import NewMessage
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.replication import Node, Pair

#: What the server before has called these: numbers that nobody knows here.
OLD = Lanes({("default", 0): 4_711, ("next", 0): 4_712}, "1764373000.000001/16400")

STRAYS = "SELECT count(*) FROM pgqueue.messages WHERE lane NOT IN (SELECT id FROM pgqueue.lanes)"


def message(queue_name: str = "default", actor_name: str = "note") -> pgqueue.Message[Any]:
    return pgqueue.Message(queue_name, actor_name, (), {}, {})


def renumber(url: str) -> None:
    """Give queues other numbers: the first has that of another queue now, as it may after a failover or a restore."""
    with psycopg.connect(url) as conn:
        conn.execute("DROP SCHEMA pgqueue CASCADE")
    schema.upgrade(url)
    other = PostgresBroker(url)
    other.enqueue(message("next"))
    other.close()


def be_outdated(broker: PostgresBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what is sent with an acknowledgement, or in its transaction, for the server before."""
    make = broker._sender.rows

    def rows(encoded: Sequence[Encoded], delay: int | None) -> list[NewMessage]:
        made = make(encoded, delay)
        return [replace(row, lane=4_711, origin=OLD.origin) for row in made]

    monkeypatch.setattr(broker._sender, "rows", rows)


def strays(url: str) -> int:
    """How many messages are in lanes that nobody knows."""
    with psycopg.connect(url) as conn:
        row = conn.execute(STRAYS).fetchone()
    return int(row[0]) if row else 0


@pytest.fixture
def arrived(postgres_broker: PostgresBroker, database_url: str) -> Callable[[], int]:
    """Count the messages of the queue, after a look at whether any is nobody's."""
    postgres_broker.declare_queue("default")

    def count() -> int:
        assert strays(database_url) == 0
        return sum(postgres_broker.get_queue_message_counts("default"))

    return count


def test_a_transaction_of_the_applications(
    postgres_broker: PostgresBroker, database_url: str, arrived: Callable[[], int]
) -> None:
    """Its connection is no one's of ours: what it has written shows that it leads elsewhere."""
    postgres_broker.enqueue(message())
    renumber(database_url)
    with psycopg.connect(database_url) as conn, pgqueue.transaction(conn):
        postgres_broker.enqueue_many([message(), message()])
        postgres_broker.enqueue(message(), delay=60_000)
    assert arrived() == 3


def test_a_transaction_of_a_coroutine(
    postgres_broker: PostgresBroker, database_url: str, arrived: Callable[[], int]
) -> None:
    async def send() -> None:
        await postgres_broker.enqueue_async(message())
        renumber(database_url)
        async with (
            await psycopg.AsyncConnection.connect(database_url) as conn,
            pgqueue.transaction(conn),
        ):
            await postgres_broker.enqueue_async(message())
        await postgres_broker.close_async()

    asyncio.run(send())
    assert arrived() == 1


def test_a_pool_of_the_programs(
    postgres_broker: PostgresBroker, database_url: str, arrived: Callable[[], int]
) -> None:
    with ConnectionPool(database_url, min_size=1) as pool:
        broker = PostgresBroker(pool=pool)
        broker.enqueue(message())
        renumber(database_url)
        broker.enqueue(message())
        broker.close()
    assert arrived() == 1


@pytest.mark.slow
def test_a_pooler_on_the_way(pooled_url: str, database_url: str, arrived: Callable[[], int]) -> None:
    broker = PostgresBroker(pooled_url)
    broker.enqueue(message())
    renumber(database_url)
    broker.enqueue(message())
    assert arrived() == 1
    renumber(database_url)
    with psycopg.connect(pooled_url) as conn, pgqueue.transaction(conn):
        broker.enqueue(message())
    broker.close()
    assert arrived() == 1


def test_a_send_of_several_statements_is_all_there_or_none_of_it(
    postgres_broker: PostgresBroker,
    database_url: str,
    arrived: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgqueue.brokers._sending.MOST_MESSAGES", 2)
    postgres_broker.enqueue(message())
    renumber(database_url)
    postgres_broker.enqueue_many([message() for _ in range(5)])
    assert arrived() == 5


def test_a_coroutine_over_connections_of_ours(
    postgres_broker: PostgresBroker, database_url: str, arrived: Callable[[], int]
) -> None:
    async def send() -> None:
        await postgres_broker.enqueue_async(message())
        renumber(database_url)
        await postgres_broker.enqueue_async(message())
        await postgres_broker.close_async()

    asyncio.run(send())
    assert arrived() == 1


def test_two_servers_by_turns_are_told_of_and_nothing_is_written(
    postgres_broker: PostgresBroker, arrived: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.brokers._asking.RETRY_S", 0.0)
    monkeypatch.setattr(postgres_broker._catalog, "learn", lambda *_: OLD)
    postgres_broker._catalog._lanes = OLD
    with pytest.raises(ConnectionClosed, match="to a single one that takes writes"):
        postgres_broker.enqueue(message())
    assert arrived() == 0


def test_what_a_transactional_body_sends(
    postgres_broker: PostgresBroker,
    arrived: Callable[[], int],
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @pgqueue.actor(broker=postgres_broker, queue_name="first", transactional=True)
    def send() -> None:
        postgres_broker.enqueue(message())

    send.send()
    be_outdated(postgres_broker, monkeypatch)
    worker_for(postgres_broker, queues={"first"})
    postgres_broker.join("first", timeout=30_000)
    assert arrived() == 1


@pytest.mark.parametrize("transactional", [False, True])
def test_what_is_sent_with_an_acknowledgement(
    postgres_broker: PostgresBroker,
    database_url: str,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    *,
    transactional: bool,
) -> None:
    """It was made for the old server, which the acknowledgement did not reach any more."""
    ran: list[str] = []

    @pgqueue.actor(broker=postgres_broker, transactional=transactional)
    def first() -> None:
        ran.append("first")
        if transactional:
            pgqueue.current_transaction().connection.execute("SELECT 1")

    @pgqueue.actor(broker=postgres_broker, queue_name="next")
    def second(_: object = None) -> None:
        ran.append("second")

    be_outdated(postgres_broker, monkeypatch)
    postgres_broker.enqueue(pipeline([first.message(), second.message()]).messages[0])
    worker_for(postgres_broker)
    for name in ("default", "next"):
        postgres_broker.join(name, timeout=30_000)
    assert ran == ["first", "second"]
    assert strays(database_url) == 0


def test_what_the_last_of_a_group_sends(
    postgres_broker: PostgresBroker, database_url: str, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_broker.add_middleware(GroupCallbacks(LimiterBackend(broker=postgres_broker)))
    ran: list[str] = []

    @pgqueue.actor(broker=postgres_broker)
    def each() -> None:
        ran.append("each")

    @pgqueue.actor(broker=postgres_broker, queue_name="next")
    def last() -> None:
        ran.append("last")

    parts = group([each.message(), each.message()])
    parts.add_completion_callback(last.message())
    parts.run()
    be_outdated(postgres_broker, monkeypatch)
    worker_for(postgres_broker)
    for name in ("default", "next"):
        postgres_broker.join(name, timeout=30_000)
    assert ran == ["each", "each", "last"]
    assert strays(database_url) == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_transaction_on_another_server_than_the_brokers_is_refused_and_stays_well() -> None:
    """The old primary lives on, alone: by its place it is the same database."""
    with Pair(synchronous=False) as pair:
        schema.upgrade(pair.primary.url)
        old = PostgresBroker(pair.primary.url)
        old.enqueue(message())
        eventually(lambda: _assert_has_all(pair.standby, of=pair.primary))  # nobody has waited for it
        pair.promote()
        with psycopg.connect(pair.primary.url) as conn:
            conn.execute("CREATE TABLE mine (id int)")
            with pgqueue.transaction(conn), pytest.raises(TargetElsewhere):
                old.enqueue(message("unheard-of"))
            conn.execute("INSERT INTO mine VALUES (1)")
            conn.commit()
        assert pair.primary.execute("SELECT count(*) FROM pgqueue.messages") == [(1,)]
        old.close()


def _assert_has_all(node: Node, *, of: Node) -> None:
    ((written,),) = of.execute("SELECT pg_current_wal_lsn()")
    assert node.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == [(True,)]
