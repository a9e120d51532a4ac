"""Waits for locks on our tables are told with their holders; what a message costs in the log, where it can be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgqueue.operations.checking import Check, check
from pgqueue.operations.waiting import LONG_S, told
from pgqueue.operations.wal import LEAST_ENDED, log_cost
from pgqueue.storage import health
from pgqueue.storage.database import Database
from pgqueue.storage.health import LockWait
from tests.support.eventually import eventually
from tests.support.queue import Queue


@contextmanager
def waiting(url: str, hold: str, want: str) -> Iterator[tuple[int, int]]:
    """One session holds a lock in an open transaction, another waits for it meanwhile; give their pids."""
    with (
        psycopg.connect(url, application_name="holder") as holder,
        psycopg.connect(url, application_name="waiter", autocommit=True) as waiter,
    ):
        holder.execute(hold.encode())
        thread = threading.Thread(target=lambda: waiter.execute(want.encode()))
        thread.start()
        try:
            yield holder.info.backend_pid, waiter.info.backend_pid
        finally:
            holder.rollback()
            thread.join()


def waits_of(database: Database) -> list[LockWait]:
    with database.bounded() as conn:
        return health.lock_waits(conn, database.statements)


def lock_check(database: Database) -> Check:
    return next(each for each in check(database) if each.name == "lock waits")


def test_a_wait_for_a_table_names_both_and_the_queries(
    queue: Queue, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lock_check(queue.database).verdict == "ok"
    monkeypatch.setattr("pgqueue.storage.database.STATEMENT_TIMEOUT_S", 0.5)
    lock = "LOCK TABLE pgqueue.dead_letters IN ACCESS EXCLUSIVE MODE"
    with waiting(database_url, lock, "SELECT count(*) FROM pgqueue.dead_letters") as (holder, waiter):
        wait = eventually(lambda: _one(waits_of(queue.database)), within_s=30.0)
        assert (wait.pid, wait.blocker_pid, wait.table_name) == (waiter, holder, "dead_letters")
        assert wait.query == "SELECT count(*) FROM pgqueue.dead_letters"
        assert (wait.blocker_query, wait.blocker_state) == (lock, "idle in transaction")
        assert "waiter" in wait.who
        monkeypatch.setattr("pgqueue.operations.waiting.LONG_S", 0.0)
        warned = lock_check(queue.database)
        assert warned.verdict == "warning"
        assert f"session {waiter}" in warned.found
        assert "dead_letters" in warned.found
        assert f"pg_terminate_backend({holder})" in (warned.remedy or "")
        unanswered = [each for each in check(queue.database) if each.name == "unanswered"]
        assert {each.verdict for each in unanswered} == {"failure"}
        assert any(each.found.startswith("dead: ") for each in unanswered)
        monkeypatch.setattr("pgqueue.operations.waiting.LONG_S", 3_600.0)
        assert "no session waits for more than a moment" in lock_check(queue.database).found


def test_a_wait_for_a_row_names_its_table(queue: Queue, database_url: str) -> None:
    update = "UPDATE pgqueue.slots SET changed_at = now() WHERE slot = 0"
    with waiting(database_url, update, update) as (holder, _):
        wait = eventually(lambda: _one(waits_of(queue.database)), within_s=30.0)
        assert (wait.table_name, wait.blocker_pid) == ("slots", holder)
        assert "for a row of slots" in told(wait).found


def test_waits_for_others_tables_are_none_of_ours(queue: Queue, database_url: str) -> None:
    queue.conn.execute("CREATE TABLE public.own (n integer)")
    lock = "LOCK TABLE public.own IN ACCESS EXCLUSIVE MODE"
    with waiting(database_url, lock, "SELECT count(*) FROM public.own") as (_, waiter):

        def waits() -> None:
            assert queue.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s", waiter)

        eventually(waits, within_s=30.0)
        assert waits_of(queue.database) == []


def test_an_ordinary_role_sees_that_others_wait_and_is_told_what_it_can_not_see(
    queue: Queue, database_url: str
) -> None:
    role = "looks_" + queue.value("SELECT current_database()")
    queue.conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
    queue.conn.execute(f"GRANT USAGE ON SCHEMA pgqueue TO {role}".encode())
    queue.conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA pgqueue TO {role}".encode())
    database = Database(make_conninfo(database_url, user=role, password="secret"))
    lock = "LOCK TABLE pgqueue.dead_letters IN ACCESS EXCLUSIVE MODE"
    try:
        with waiting(database_url, lock, "SELECT count(*) FROM pgqueue.dead_letters") as (holder, _):
            wait = eventually(lambda: _one(waits_of(database)), within_s=30.0)
            assert (wait.blocker_pid, wait.blocker_state) == (holder, None)
            assert "can't be seen by this role" in told(wait).found
            assert "pg_read_all_stats" in told(wait).remedy
        with database.bounded() as conn:
            assert (health.wal_bytes(conn, database.statements) or 0) > 0
    finally:
        database.close()
        queue.conn.execute(f"DROP OWNED BY {role}".encode())
        queue.conn.execute(f"DROP ROLE {role}".encode())


def test_each_kind_of_holder_has_its_way_out() -> None:
    wait = LockWait(
        7, "ready_0", "AccessExclusiveLock", LONG_S, "", None, 8, "app", "active", "SELECT 1", 3.0
    )
    assert told(wait).remedy == 'let it end, or psql -c "SELECT pg_cancel_backend(8)"'
    assert told(wait).long
    assert told(wait).found == (
        "session 7 has been waiting for 5 s for the AccessExclusiveLock of ready_0, which session 8 (app) holds "
        "(active, its transaction open for 3 s): SELECT 1"
    )
    prepared = LockWait(7, "ready_0", "RowShareLock", None, "", None, 0, "", None, None, None)
    assert "ROLLBACK PREPARED" in told(prepared).remedy
    assert "a prepared transaction holds" in told(prepared).found
    assert not told(prepared).long


def test_a_message_costs_what_was_written_while_enough_ended() -> None:
    cost = log_cost(seconds=10.0, written=1_000_000, ended=2_000)
    assert (cost.each, cost.rate) == (500.0, 100_000.0)
    few = log_cost(seconds=10.0, written=1_000_000, ended=LEAST_ENDED - 1)
    assert (few.each, few.written) == (None, 1_000_000)
    for unknown in (
        log_cost(seconds=1.0, written=5, ended=500),
        log_cost(seconds=10.0, written=None, ended=500),
        log_cost(seconds=10.0, written=-5, ended=500),  # another server, after a failover
    ):
        assert (unknown.each, unknown.written, unknown.rate) == (None, None, None)


def _one(waits: list[LockWait]) -> LockWait:
    assert len(waits) == 1
    return waits[0]
