"""Time limits, shut-downs and long waits in the bodies of transactional actors."""

from __future__ import annotations

import asyncio
import threading

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import actor_transactions
from pgqueue.middleware import AsyncIO, ShutdownNotifications, TimeLimitExceeded
from pgqueue.threading import raise_thread_exception

from ...conftest import WorkerFor
from ...support.effects import Effects
from ...support.eventually import eventually
from ...support.queue import Queue

#: Longer than any test may take.
FOR_EVER_S = 100


def current() -> pgqueue.CurrentTransaction:
    return pgqueue.current_transaction()


def assert_no_session_is_left(queue: Queue) -> None:
    def look() -> None:
        query = """SELECT state || ': ' || query FROM pg_stat_activity
            WHERE application_name = 'pgqueue actor' AND datname = current_database()"""
        assert [state for state in queue.values(query) if not state.startswith("idle:")] == []

    eventually(look)


def assert_asleep(queue: Queue) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    assert queue.value(query) == 1


def test_an_interrupt_reaches_a_body_that_waits_for_the_server(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    """psycopg waits in C code: without help the interrupt would come when the statement has ended."""
    threads: list[int] = []

    @pgqueue.actor(transactional=True, max_retries=0)
    def work() -> None:
        threads.append(threading.get_ident())
        Effects.add(current().connection, "effect")
        current().connection.execute(f"SELECT pg_sleep({FOR_EVER_S})")

    work.send()
    worker_for(postgres_broker, worker_threads=1)
    eventually(lambda: assert_asleep(queue))
    raise_thread_exception(threads[0], TimeLimitExceeded)
    postgres_broker.join("default", timeout=10_000)
    assert effects.seen == []
    (error,) = queue.values("SELECT error FROM pgqueue.dead_letters")
    assert error.startswith("TimeLimitExceeded")
    assert_no_session_is_left(queue)


def test_without_room_for_a_thread_it_comes_when_the_statement_has_ended(
    postgres_broker: PostgresBroker,
    queue: Queue,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    threads: list[int] = []
    start = threading.Thread.start

    def start_no_cancelling(self: threading.Thread) -> None:
        if self.name == "pgqueue-cancel":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_no_cancelling)

    @pgqueue.actor(transactional=True, max_retries=0)
    def work() -> None:
        threads.append(threading.get_ident())
        current().connection.execute(f"SELECT pg_sleep({FOR_EVER_S})")

    work.send()
    worker_for(postgres_broker, worker_threads=1)
    eventually(lambda: assert_asleep(queue))
    raise_thread_exception(threads[0], TimeLimitExceeded)
    assert "which could not be cancelled: can't start new thread" in caplog.text
    queue.conn.execute(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' "
        "AND datname = current_database()"
    )
    postgres_broker.join("default", timeout=10_000)
    assert len(queue.values("SELECT error FROM pgqueue.dead_letters")) == 1


def test_an_interrupt_reaches_a_coroutine(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    postgres_broker.add_middleware(AsyncIO())
    waits = threading.Event()

    @pgqueue.actor(transactional=True, max_retries=0)
    async def work() -> None:
        Effects.add(current().connection, "effect")
        waits.set()
        await asyncio.sleep(FOR_EVER_S)

    work.send()
    worker = worker_for(postgres_broker, worker_threads=1)
    assert waits.wait(10.0)
    (thread,) = worker.workers
    assert thread.ident is not None
    raise_thread_exception(thread.ident, TimeLimitExceeded)
    postgres_broker.join("default", timeout=10_000)
    assert effects.seen == []
    assert_no_session_is_left(queue)


def test_a_coroutine_that_does_not_end_keeps_its_connection_from_others(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    """It is given up after a second, and may write for as long as it likes: it writes nowhere."""
    postgres_broker.add_middleware(AsyncIO())
    waits, go_on, written = threading.Event(), threading.Event(), threading.Event()

    @pgqueue.actor(transactional=True, max_retries=0)
    async def stubborn() -> None:
        conn = current().connection
        Effects.add(conn, "stubborn")
        waits.set()
        while not go_on.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        try:
            Effects.add(conn, "much too late")
        finally:
            written.set()

    @pgqueue.actor(transactional=True)
    def next_one() -> None:
        Effects.add(current().connection, "next")
        go_on.set()
        assert written.wait(10.0)

    stubborn.send()
    worker = worker_for(postgres_broker, worker_threads=1)
    assert waits.wait(10.0)
    (thread,) = worker.workers
    assert thread.ident is not None
    raise_thread_exception(thread.ident, TimeLimitExceeded)
    next_one.send()
    postgres_broker.join("default", timeout=10_000)
    assert effects.seen == ["next"]
    (error,) = queue.values("SELECT error FROM pgqueue.dead_letters")
    assert error.startswith("RuntimeError: An interrupted coroutine did not end")


def test_a_shut_down_undoes_the_run_and_gives_the_message_to_another(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    postgres_broker.add_middleware(ShutdownNotifications())
    runs: list[int] = []

    @pgqueue.actor(transactional=True, notify_shutdown=True, max_retries=1, min_backoff=1, max_backoff=1)
    def work() -> None:
        runs.append(1)
        Effects.add(current().connection, f"run {len(runs)}")
        if len(runs) == 1:
            current().connection.execute(f"SELECT pg_sleep({FOR_EVER_S})")

    work.send()
    worker = worker_for(postgres_broker, worker_threads=1)
    eventually(lambda: assert_asleep(queue))
    worker.stop()
    assert effects.seen == []
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert effects.seen == ["run 2"]


def test_a_run_that_is_cancelled_has_had_no_effect(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(transactional=True, cancellable=True)
    def work() -> None:
        Effects.add(current().connection, "effect")
        current().connection.execute(f"SELECT pg_sleep({FOR_EVER_S})")

    message = work.send()
    worker_for(postgres_broker, worker_threads=1)
    eventually(lambda: assert_asleep(queue))
    postgres_broker.cancel(message.message_id, timeout=10_000)
    postgres_broker.join("default", timeout=10_000)
    assert effects.seen == []
    assert message.status().value == "cancelled"
    assert_no_session_is_left(queue)


class TestWarnings:
    def test_one_comes_while_a_transaction_is_open_for_too_long(
        self,
        postgres_broker: PostgresBroker,
        worker_for: WorkerFor,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(actor_transactions, "INTERVAL_S", 0.01)
        warned = threading.Event()

        @pgqueue.actor(transactional=True, transaction_warning_s=0.02)
        def work() -> None:
            conn = current().connection
            assert warned.wait(20.0)
            conn.execute("SELECT 1")

        @pgqueue.actor(transactional=True)
        def quick() -> None:
            current().connection.execute("SELECT 1")

        quick.send()
        message = work.send()
        worker_for(postgres_broker, worker_threads=1)
        eventually(lambda: _assert_warned(caplog, message.message_id), within_s=20.0)
        warned.set()
        postgres_broker.join("default", timeout=10_000)
        (line,) = _warnings(caplog)
        assert message.message_id in line
        assert "'work'" in line
        assert "more than 0.02 s" in line

    def test_one_comes_at_the_end_if_none_has_come_before(
        self,
        postgres_broker: PostgresBroker,
        worker_for: WorkerFor,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(actor_transactions, "INTERVAL_S", 100.0)
        postgres_broker.actor_transactions._warn_after_s = 0.02
        looked = threading.Event()

        @pgqueue.actor(transactional=True, max_retries=0)
        def work(*, fails: bool) -> None:
            assert looked.wait(10.0)
            current().connection.execute("SELECT pg_sleep(0.03)")
            if fails:
                raise RuntimeError

        work.send(fails=False)
        work.send(fails=True)
        worker_for(postgres_broker, worker_threads=1)
        looked.set()
        postgres_broker.join("default", timeout=10_000)
        assert len(_warnings(caplog)) == 2

    def test_time_before_the_transaction_does_not_count(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
    ) -> None:
        counts = []

        def look() -> None:
            (transaction,) = postgres_broker.actor_transactions.open()
            transaction.warn_if_long()
            counts.append(len(_warnings(caplog)))

        @pgqueue.actor(transactional=True, transaction_warning_s=-1.0)
        def work() -> None:
            look()
            current().connection.execute("SELECT 1")
            look()

        work.send()
        worker_for(postgres_broker, worker_threads=1)
        postgres_broker.join("default", timeout=10_000)
        assert counts == [0, 1]


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "transaction open for" in line]


def _assert_warned(caplog: pytest.LogCaptureFixture, message_id: str) -> None:
    assert any(message_id in line for line in _warnings(caplog))
