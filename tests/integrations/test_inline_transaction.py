"""A transactional actor that runs where it was sent leaves the sender's session as it is."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.integrations._inline import Runner

QUESTIONS = {
    "role": "SELECT current_user",
    "path": "SHOW search_path",
    "table": "SELECT to_regclass('pg_temp.scratch')::text",
    "locks": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "cursors": "SELECT count(*) FROM pg_cursors WHERE name = 'rest'",
}


def session(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    """What a session of the application's has been made."""
    rows = {name: conn.execute(question.encode()).fetchone() for name, question in QUESTIONS.items()}
    return {name: row and row[0] for name, row in rows.items()}


def test_the_session_of_the_sender_stays_as_it_was(
    postgres_broker: PostgresBroker, database_url: str
) -> None:
    @pgqueue.actor(transactional=True, max_retries=0)
    def work(*, fails: bool) -> None:
        pgqueue.current_transaction().connection.execute("SELECT 1")
        if fails:
            raise RuntimeError("as told")

    with psycopg.connect(database_url) as conn:
        conn.execute("SET search_path TO another, pg_catalog")
        conn.execute("CREATE TEMP TABLE scratch (id int)")
        conn.execute("DECLARE rest CURSOR FOR SELECT 1")
        conn.execute("SELECT pg_advisory_lock(42)")
        before = session(conn)
        with pgqueue.transaction(conn):
            work.send(fails=False)
            work.send(fails=True)
            with pytest.raises(RuntimeError, match="as told"):
                Runner(postgres_broker).run()
        assert session(conn) == before
