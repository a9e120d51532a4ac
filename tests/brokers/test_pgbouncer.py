"""Through PgBouncer in transaction mode: producers as ever, workers past it, or by polling."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.operations.checking import check
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from tests.conftest import WorkerFor
from tests.support.pgbouncer import pgbouncer

POLLING = "It works by POLLING"

#: What somebody has set on this connection of the pooler's for all who come after him.
OF_THE_SESSION = """
SELECT name, setting FROM pg_settings
WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding')
"""


@pytest.fixture
def producers(pooled_url: str) -> Iterator[PostgresBroker]:
    broker = PostgresBroker(pooled_url)
    broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))
    yield broker
    broker.close()


@pytest.fixture
def direct(database_url: str) -> Iterator[PostgresBroker]:
    broker = PostgresBroker(database_url)
    broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))
    yield broker
    broker.close()


def double(number: int) -> int:
    return 2 * number


@pytest.mark.slow
def test_producers_send_in_all_ways_and_wait_for_results(
    producers: PostgresBroker,
    direct: PostgresBroker,
    pooled_url: str,
    worker_for: WorkerFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pgqueue.actor(broker=direct)(double)
    actor = pgqueue.actor(broker=producers)(double)
    sent: list[pgqueue.Message[int]] = []

    def send_some() -> None:
        for number in range(30):
            sent.append(actor.send(number))

    threads = [threading.Thread(target=send_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent += actor.send_many([(number,) for number in range(20)])
    sent.append(actor.send_with_options(args=(7,), delay=50))
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as conn:
        with conn.transaction(), pgqueue.transaction(conn):
            sent.append(actor.send(8))
        with conn.transaction(force_rollback=True), pgqueue.transaction(conn):
            actor.send(9)

    async def send_from_a_coroutine() -> None:
        sent.append(await actor.send_async(10))
        await producers.close_async()

    asyncio.run(send_from_a_coroutine())
    worker_for(direct)
    # The results' backend of the global broker is asked.
    backend = PostgresBackend(broker=producers)
    results = [message.get_result(backend=backend, block=True, timeout=20_000) for message in sent]
    assert results == [2 * int(message.args[0]) for message in sent]
    assert len(sent) == 143
    assert POLLING not in caplog.text


@pytest.mark.slow
def test_workers_with_a_url_of_their_own_go_past_it(
    pooled_url: str, database_url: str, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PostgresBroker(pooled_url, worker_url=database_url)
    ran: list[int] = []
    actor = pgqueue.actor(broker=broker, actor_name="note")(ran.append)
    worker_for(broker)
    actor.send(1)
    broker.join("default", timeout=15_000)
    with psycopg.connect(database_url) as conn:
        names = conn.execute(
            "SELECT application_name, query LIKE 'LISTEN%' FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchall()
        locks = conn.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        ).fetchone()
    assert {"pgqueue listener", "pgqueue acker", "pgqueue fetcher"} <= {name for name, _ in names}
    assert locks != (0,)
    assert ran == [1]
    assert POLLING not in caplog.text


@pytest.mark.slow
def test_workers_that_have_to_go_through_it_poll_and_say_so_once(
    pooled_url: str, database_url: str, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        broker = PostgresBroker(pooled_url)
        ran: list[int] = []

        def note(number: int) -> None:
            if number == 3 and ran.count(3) == 0:
                ran.append(number)
                raise RuntimeError("the first time")
            ran.append(number)

        actor = pgqueue.actor(broker=broker, min_backoff=10, max_backoff=20)(note)
        worker_for(broker)
        for number in range(40):
            actor.send(number)
        actor.send_with_options(args=(99,), delay=100)
        broker.join("default", timeout=30_000)
    assert sorted(ran) == sorted([*range(40), 3, 99])
    assert caplog.text.count(POLLING) == 1
    # What would be another's on a shared connection is left alone.
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as conn:
        for _ in range(4):
            assert conn.execute(OF_THE_SESSION).fetchall() == []
            assert conn.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)
    with psycopg.connect(database_url) as conn:
        locks = conn.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND datname = current_database()"
        )
        assert locks.fetchone() == (0,)


def test_the_environment_may_name_the_workers_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGQUEUE_WORKER_URL", "postgres://direct/db")
    assert PostgresBroker("postgresql://pooler/db").database.direct_url == "postgresql://direct/db"
    monkeypatch.delenv("PGQUEUE_WORKER_URL")
    assert PostgresBroker("postgresql://server/db").database.direct_url == "postgresql://server/db"


@pytest.mark.slow
def test_workers_keep_their_sessions_where_the_pooler_does(
    database_url: str, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    with pgbouncer(database_url, mode="session") as url:
        broker = PostgresBroker(url, pooler="session")
        ran: list[int] = []
        actor = pgqueue.actor(broker=broker, actor_name="note")(ran.append)
        worker_for(broker)
        actor.send(1)
        asyncio.run(_send_and_close(broker, actor, 2))
        broker.join("default", timeout=15_000)
        assert {check.name: check.verdict for check in check(broker.database)}["listeners"] == "ok"
        assert sorted(ran) == [1, 2]
        assert POLLING not in caplog.text
        broker.close()


async def _send_and_close(broker: PostgresBroker, actor: pgqueue.Actor[[int], None], number: int) -> None:
    await actor.send_async(number)
    await broker.close_async()


def test_the_mode_of_a_pooler_is_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGQUEUE_POOLER", "statement")
    with pytest.raises(ValueError, match="'session' or 'transaction', not 'statement'"):
        PostgresBroker("postgresql://pooler/db")
    monkeypatch.setenv("PGQUEUE_POOLER", "session")
    PostgresBroker("postgresql://pooler/db")
