"""What bodies of transactional actors may do with their transaction, and what becomes of those that do otherwise."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import NoCurrentTransaction
from pgqueue.middleware import AsyncIO

from ...conftest import WorkerFor
from ...support.effects import Effects
from ...support.eventually import eventually
from ...support.queue import Queue

Connection = psycopg.Connection[Any]


def current() -> Connection:
    return pgqueue.current_transaction().connection


def run(broker: PostgresBroker, worker_for: WorkerFor, body: Callable[[], Any], **options: Any) -> None:
    """Run ``body`` as an actor, once, until there is an end to its message."""
    actor = pgqueue.actor(body, actor_name="work", transactional=True, max_retries=0, **options)  # type: ignore[call-overload]
    actor.send()
    worker_for(broker, worker_threads=1)
    broker.join("default", timeout=10_000)


# ── Ending it ─────────────────────────────────────────────────────────────────────────────────────


def commit(conn: Connection) -> None:
    conn.commit()


def roll_back(conn: Connection) -> None:
    conn.rollback()


def leave_the_block(conn: Connection) -> None:
    with conn:
        pass


def commit_in_sql(conn: Connection) -> None:
    conn.execute("COMMIT")


def roll_back_in_sql(conn: Connection) -> None:
    conn.execute("ROLLBACK")


def commit_and_begin(conn: Connection) -> None:
    conn.execute("COMMIT AND CHAIN")


def close(conn: Connection) -> None:
    conn.close()


def swallow_an_error(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        conn.execute("SELECT 1 / 0")


def make_it_read_only(conn: Connection) -> None:
    conn.execute("SET TRANSACTION READ ONLY")


@pytest.mark.parametrize(
    ("end", "effect", "error"),
    [
        (commit, [], "Explicit commit() forbidden"),
        (roll_back, [], "Explicit rollback() forbidden"),
        (leave_the_block, [], "Explicit commit() forbidden"),
        (commit_in_sql, ["effect"], "has committed or rolled back its transaction by itself"),
        (roll_back_in_sql, [], "has committed or rolled back its transaction by itself"),
        (commit_and_begin, ["effect"], "has committed or rolled back its transaction by itself"),
        (close, [], "has closed its connection, or lost it"),
        (swallow_an_error, [], "has gone on after a failed statement"),
        (make_it_read_only, [], "has made its transaction read only"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_body_that_ends_its_transaction_fails_and_is_told_so(
    postgres_broker: PostgresBroker,
    queue: Queue,
    effects: Effects,
    worker_for: WorkerFor,
    end: Callable[[Connection], None],
    effect: list[str],
    error: str,
) -> None:
    def body() -> None:
        conn = current()
        Effects.add(conn, "effect")
        end(conn)

    run(postgres_broker, worker_for, body)
    assert effects.seen == effect
    (recorded,) = queue.values("SELECT error FROM pgqueue.dead_letters")
    assert error in recorded
    if recorded.startswith("TransactionEnded"):
        assert "'work'" in recorded


def test_the_connection_of_a_body_that_failed_can_be_used_by_the_next(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    pids = []

    @pgqueue.actor(transactional=True, max_retries=1, min_backoff=1, max_backoff=1)
    def work() -> None:
        conn = current()
        pids.append(conn.info.backend_pid)
        row = conn.execute("SELECT 'effect'").fetchone()
        assert isinstance(row, tuple)
        Effects.add(conn, row[0])
        conn.row_factory = dict_row
        if len(pids) == 1:
            conn.execute("SELECT 1 / 0")

    work.send()
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert effects.seen == ["effect"]
    assert len(set(pids)) == 1


# ── What it may do ────────────────────────────────────────────────────────────────────────────────


def test_savepoints_undo_writes_and_sends(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    @pgqueue.actor
    def follow(what: str) -> None:
        followed.append(what)

    def body() -> None:
        conn = current()
        for what, fault in (("kept", None), ("undone", psycopg.Rollback())):
            with conn.transaction():
                Effects.add(conn, what)
                follow.send(what)
                follow.send_many([(f"{what} {number}",) for number in range(2)])
                if fault is not None:
                    raise fault

    followed: list[str] = []
    run(postgres_broker, worker_for, body)
    assert effects.seen == ["kept"]
    assert sorted(followed) == ["kept", "kept 0", "kept 1"]


def test_the_role_of_the_body_does_not_reach_its_acknowledgement(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    def body() -> None:
        conn = current()
        Effects.add(conn, "effect")
        conn.execute("SET LOCAL ROLE pg_monitor")

    run(postgres_broker, worker_for, body)
    assert effects.seen == ["effect"]
    assert queue.values("SELECT reason FROM pgqueue.dead_letters") == []


def test_a_body_that_asks_for_nothing_holds_no_connection(
    postgres_broker: PostgresBroker, queue: Queue, worker_for: WorkerFor
) -> None:
    connections = []

    def body() -> None:
        connections.append(
            queue.value(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE application_name = 'pgqueue actor' AND datname = current_database()"
            )
        )

    run(postgres_broker, worker_for, body)
    assert connections == [0]
    assert queue.value("SELECT status::text FROM pgqueue.outcomes") == "d"


def test_triggers_can_read_which_message_writes(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    def body() -> None:
        conn = current()
        conn.execute("INSERT INTO effects (what) VALUES (current_setting('pgqueue.message_id'))")

    run(postgres_broker, worker_for, body)
    assert effects.seen == queue.values("SELECT message_id::text FROM pgqueue.outcomes")


def test_all_threads_at_once_hold_their_transactions_and_use_the_broker_besides(
    database_url: str,
    as_global_broker: Callable[[pgqueue.Broker], None],
    running_workers: list[pgqueue.Worker],
    worker_for: WorkerFor,
) -> None:
    """Twelve bodies, and a pool of one connection for everything else."""
    broker = PostgresBroker(database_url, max_connections=1)
    as_global_broker(broker)
    together = threading.Barrier(12)

    @pgqueue.actor(transactional=True, max_retries=0)
    def work(number: int) -> None:
        current().execute("SELECT 1")
        together.wait(20.0)
        assert broker.get_message_status("00000000-0000-0000-0000-000000000000").value == "unknown"
        follow.send_with_options(args=(number,), priority=number)

    @pgqueue.actor
    def follow(number: int) -> None:
        pass

    work.send_many([(number,) for number in range(12)])
    worker_for(broker, worker_threads=12)
    broker.join("default", timeout=30_000)
    assert broker.get_queue_message_counts("default") == (0, 0, 0)
    while running_workers:
        running_workers.pop().stop()
    broker.close()


def test_what_surrounds_bodies_is_entered_and_left_on_their_thread(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    seen: list[object] = []

    @contextmanager
    def surrounding(transaction: pgqueue.CurrentTransaction) -> Iterator[None]:
        assert transaction is pgqueue.current_transaction()
        seen.append(threading.get_ident())
        try:
            yield
        except ValueError as error:
            seen.append(str(error))
            raise
        seen.append(transaction.connection.info.transaction_status.name)

    @pgqueue.actor(transactional=True, max_retries=0)
    def work(*, fails: bool) -> None:
        current()
        seen.append(threading.get_ident())
        if fails:
            raise ValueError("it fails")

    postgres_broker.actor_transactions.surround(surrounding)
    work.send(fails=False)
    work.send(fails=True)
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    thread = seen[0]
    assert seen == [thread, thread, "INTRANS", thread, thread, "it fails"]


# ── Outside ───────────────────────────────────────────────────────────────────────────────────────


def test_outside_of_a_transactional_actor_there_is_none(
    postgres_broker: PostgresBroker, queue: Queue, worker_for: WorkerFor
) -> None:
    with pytest.raises(NoCurrentTransaction, match="transactional=True"):
        pgqueue.current_transaction()

    @pgqueue.actor(max_retries=0)
    def work() -> None:
        pgqueue.current_transaction()

    work.send()
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    (error,) = queue.values("SELECT error FROM pgqueue.dead_letters")
    assert error.startswith("NoCurrentTransaction")


def test_what_outlives_its_body_can_not_use_the_transaction(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    kept: list[Any] = []

    @pgqueue.actor
    def follow() -> None:
        Effects.add(effects_connection, "sent later")

    def body() -> None:
        kept.extend([pgqueue.current_transaction(), contextvars.copy_context()])
        Effects.add(current(), "body")

    with psycopg.connect(postgres_broker.database.url, autocommit=True) as effects_connection:
        run(postgres_broker, worker_for, body)
        transaction, context = kept
        eventually(lambda: _assert_over(transaction))
        with pytest.raises(NoCurrentTransaction, match="its body has ended"):
            transaction.session()
        context.run(follow.send)
        postgres_broker.join("default", timeout=10_000)
    assert effects.seen == ["body", "sent later"]


def _assert_over(transaction: pgqueue.CurrentTransaction) -> None:
    with pytest.raises(NoCurrentTransaction, match="its body has ended"):
        assert transaction.connection is None


def test_a_broker_without_transactions_refuses_such_actors(stub_broker: StubBroker) -> None:
    with pytest.raises(ValueError, match=r"'work' can't be transactional on a StubBroker.*PostgresBroker"):

        @pgqueue.actor(transactional=True)
        def work() -> None: ...

    assert stub_broker.actors == {}

    @pgqueue.actor(transactional=False)
    def plain() -> None: ...

    assert plain.options == {}


# ── Coroutines ────────────────────────────────────────────────────────────────────────────────────


def test_coroutines_have_it_too(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    postgres_broker.add_middleware(AsyncIO())
    runs: list[int] = []

    @pgqueue.actor
    def follow(number: int) -> None:
        runs.append(-number)

    @pgqueue.actor(transactional=True, max_retries=1, min_backoff=1, max_backoff=1)
    async def work() -> None:
        runs.append(len(runs) + 1)
        number = runs[-1]
        await asyncio.to_thread(Effects.add, current(), f"thread {number}")
        await asyncio.sleep(0)
        Effects.add(current(), f"loop {number}")
        follow.send(number)
        if number == 1:
            raise RuntimeError("the first time")

    work.send()
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert effects.seen == ["loop 2", "thread 2"]
    assert runs == [1, 2, -2]
