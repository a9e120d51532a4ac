"""What a role or a database has set for its sessions does not reach our statements."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.cli import main
from pgqueue.errors import Retry
from tests.conftest import WorkerFor
from tests.support.eventually import eventually

pytestmark = pytest.mark.slow


def alter(url: str, name: str, value: str) -> None:
    """Set something for all sessions of a database to come."""
    database = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE \"{database}\" SET {name} = '{value}'".encode())


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(query.encode()).fetchone()
    return None if row is None else row[0]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_transactional_actors_are_not_charged_for_the_isolation_that_is_their_own(
    database_url: str, worker_for: WorkerFor, level: str
) -> None:
    alter(database_url, "default_transaction_isolation", level)
    levels: set[str] = set()
    with closing(PostgresBroker(database_url)) as broker:

        @pgqueue.actor(broker=broker, max_retries=0, transactional=True)
        def look() -> None:
            conn = pgqueue.current_transaction().connection
            (found,) = conn.execute("SHOW transaction_isolation").fetchone() or ("",)
            levels.add(found)
            time.sleep(0.002)

        broker.enqueue_many([look.message() for _ in range(300)])
        worker = worker_for(broker, worker_threads=8)
        broker.join(look.queue_name, timeout=30_000)
        worker.join()
    assert levels == {level}
    assert value(database_url, "SELECT count(*) FROM pgqueue.outcomes WHERE status = 'd'") == 300
    assert value(database_url, "SELECT count(*) FROM pgqueue.dead_letters") == 0


def test_the_sessions_of_our_own_wait_rather_than_fail(database_url: str) -> None:
    alter(database_url, "default_transaction_isolation", "serializable")
    with closing(PostgresBroker(database_url)) as broker, broker.database.connection() as conn:
        assert conn.execute("SHOW default_transaction_isolation").fetchone() == ("read committed",)
    with broker.database.connect(application_name="test") as conn:
        assert conn.execute("SHOW default_transaction_isolation").fetchone() == ("read committed",)


@pytest.fixture(params=["SQL, DMY", "German", "Postgres, MDY"])
def url_with_style(request: pytest.FixtureRequest, database_url: str) -> str:
    alter(database_url, "DateStyle", request.param)
    return database_url


def run_delayed(broker: PostgresBroker, url: str, worker_for: WorkerFor) -> None:
    """Send with a delay and in an application's transaction, fail once, and have all of it run in time."""
    ran: list[str] = []

    @pgqueue.actor(broker=broker, queue_name="delayed", max_retries=1)
    def note(text: str) -> None:
        ran.append(text)
        if text == "fails" and ran.count(text) == 1:
            raise Retry("once more", delay=50)

    with psycopg.connect(url) as conn, pgqueue.transaction(conn):
        note.send_with_options(args=("in a transaction",), delay=100)
    note.send_with_options(args=("delayed",), delay=100)
    note.send("fails")
    worker_for(broker)

    def all_ran() -> None:
        assert sorted(ran) == ["delayed", "fails", "fails", "in a transaction"]

    eventually(all_ran, within_s=10.0)


def test_dates_in_any_style_are_read(
    url_with_style: str,
    worker_for: WorkerFor,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with closing(PostgresBroker(url_with_style)) as broker:
        run_delayed(broker, url_with_style, worker_for)
        sent = broker.get_actor("note").send_with_options(args=("later",), delay=600_000)
        for words in (["queues"], ["workers"], ["why", sent.message_id]):
            assert main([*words, "--url", url_with_style]) == 0, capsys.readouterr()
    assert "failed" not in caplog.text


def test_behind_a_pooler_too(
    url_with_style: str, pooled_url: str, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(PostgresBroker(pooled_url)) as broker:
        run_delayed(broker, url_with_style, worker_for)
        with broker.database.connection() as conn:
            assert conn.execute("SELECT now()").fetchone() is not None
    assert "failed" not in caplog.text


def test_a_pool_of_the_programs_keeps_its_style(url_with_style: str, worker_for: WorkerFor) -> None:
    with ConnectionPool(url_with_style, min_size=1, max_size=1, open=True) as pool:
        with pool.connection() as conn:
            (before,) = conn.execute("SHOW DateStyle").fetchone() or ("",)
        with closing(PostgresBroker(pool=pool)) as broker:
            run_delayed(broker, url_with_style, worker_for)
            with broker.database.transaction() as conn:
                assert conn.execute("SELECT now()").fetchone() is not None
            with pytest.raises(psycopg.errors.DivisionByZero), broker.database.transaction() as conn:
                conn.execute("SELECT 1 / 0")
            with pool.connection() as conn:
                assert conn.execute("SHOW DateStyle").fetchone() == (before,)
    assert not before.startswith("ISO")
