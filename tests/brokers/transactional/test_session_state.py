"""What a body makes of its session is gone before the connection serves another message."""

from __future__ import annotations

from typing import Any

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker

from ...conftest import WorkerFor

BACKEND = "SELECT pg_backend_pid()"
#: The locks of one number that it has; that of two is the run's own.
LOCKS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND pid = pg_backend_pid()
"""


def ask(sql: str) -> Any:
    row = pgqueue.current_transaction().connection.execute(sql.encode()).fetchone()
    return None if row is None else row[0]


@pytest.fixture
def seen(postgres_broker: PostgresBroker, worker_for: WorkerFor) -> list[tuple[Any, Any]]:
    """For each message of `look`, which connection it had and what that answered; one thread runs all."""
    answers: list[tuple[Any, Any]] = []

    @pgqueue.actor(transactional=True, max_retries=0)
    def look(sql: str) -> None:
        answers.append((ask(BACKEND), ask(sql)))

    @pgqueue.actor(transactional=True, max_retries=0)
    def change(sql: str, *, fails: bool = False) -> None:
        pgqueue.current_transaction().connection.execute(sql.encode())
        if fails:
            raise RuntimeError("as told")

    worker_for(postgres_broker, worker_threads=1)
    return answers


@pytest.mark.parametrize(
    ("change", "question"),
    [
        ("SET search_path TO another_tenant", "SHOW search_path"),
        ("SET statement_timeout TO '59s'", "SHOW statement_timeout"),
        ("SET default_transaction_read_only TO on", "SHOW default_transaction_read_only"),
        ("SET ROLE pg_monitor", "SELECT current_user"),
        ("SET application_name TO 'mine'", "SHOW application_name"),
        ("CREATE TEMP TABLE scratch (id int)", "SELECT to_regclass('pg_temp.scratch')::text"),
        ("DECLARE rest CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE name = 'rest'"),
        ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()"),
        ("SELECT pg_advisory_lock(42)", LOCKS),
    ],
    ids=["path", "timeout", "read-only", "role", "name", "table", "cursor", "channel", "lock"],
)
def test_the_next_message_finds_the_session_as_it_was(
    postgres_broker: PostgresBroker, seen: list[tuple[Any, Any]], change: str, question: str
) -> None:
    for actor, sql in (("look", question), ("change", change), ("look", question)):
        postgres_broker.get_actor(actor).send(sql)
    postgres_broker.join("default", timeout=10_000)
    before, after = seen
    assert before == after


def test_a_lock_of_a_run_that_failed_is_released(
    postgres_broker: PostgresBroker, seen: list[tuple[Any, Any]]
) -> None:
    change, look = postgres_broker.get_actor("change"), postgres_broker.get_actor("look")
    change.send("SELECT pg_advisory_lock(42)", fails=True)
    look.send(LOCKS)
    postgres_broker.join("default", timeout=10_000)
    assert [locks for _, locks in seen] == [0]


def test_it_is_restored_where_nothing_is_prepared_too(database_url: str, worker_for: WorkerFor) -> None:
    """As one asks for that wants no prepared statements, without a pooler on the way."""
    seen: list[tuple[Any, Any]] = []
    broker = PostgresBroker(database_url, prepare_threshold=None)

    @pgqueue.actor(broker=broker, transactional=True, max_retries=0)
    def work() -> None:
        seen.append((ask(BACKEND), ask("SHOW search_path")))
        pgqueue.current_transaction().connection.execute("SET search_path TO another_tenant")

    work.send_many([(), ()])
    worker = worker_for(broker, worker_threads=1)
    broker.join("default", timeout=10_000)
    worker.stop()
    broker.close()
    assert len(seen) == 2
    assert seen[0] == seen[1]
