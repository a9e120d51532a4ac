"""NOTIFY is a hint: a lost one costs at most the poll interval; a dead LISTEN connection is replaced and reported."""

from __future__ import annotations

import logging
import time

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine.intake import POLLS_S
from pgqueue.storage import messages

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.queue import Queue


@pytest.fixture
def ran(postgres_broker: PostgresBroker, worker_for: WorkerFor) -> list[float]:
    """When the actor ``note`` was run, in a worker that has become idle."""
    times: list[float] = []

    @pgqueue.actor
    def note() -> None:
        times.append(time.monotonic())

    worker_for(postgres_broker, worker_threads=2)
    note.send()

    def first_ran() -> None:
        assert times

    eventually(first_ran)
    times.clear()
    return times


def becomes_idle(queue: Queue) -> None:
    """Wait until the worker has left word that it is idle."""

    def look() -> None:
        idle = queue.values(
            "SELECT last_value FROM pg_sequences WHERE sequencename LIKE 'idle%%' AND last_value > 0"
        )
        now = queue.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        assert any(value > now for value in idle)

    eventually(look)


def listener_pid(queue: Queue) -> int | None:
    # The server may have databases of other tests, too.
    pid = queue.value(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgqueue listener' AND datname = current_database()"
    )
    return None if pid is None else int(pid)


def came(ran: list[float], within_s: float) -> None:
    def look() -> None:
        assert len(ran) == 1

    eventually(look, within_s=within_s)


@pytest.mark.parametrize("number", range(3))
def test_a_lost_notification_costs_at_most_the_poll_interval(
    postgres_broker: PostgresBroker, queue: Queue, ran: list[float], number: int
) -> None:
    becomes_idle(queue)
    new = queue.new(postgres_broker.get_actor("note").message().encode())
    sent = time.monotonic()
    messages.enqueue(queue.conn, queue.statements, messages=[new], channel="nobody:listens", registers=[])
    came(ran, POLLS_S[-1] + 2.0)
    assert ran[0] - sent < POLLS_S[-1] + 2.0


def test_a_notification_wakes_an_idle_worker_long_before_its_next_poll(
    postgres_broker: PostgresBroker, queue: Queue, ran: list[float]
) -> None:
    note = postgres_broker.get_actor("note")
    waits = []
    for _ in range(5):
        becomes_idle(queue)
        ran.clear()
        sent = time.monotonic()
        note.send()
        came(ran, 5.0)
        waits.append(ran[0] - sent)
    assert sorted(waits)[2] < POLLS_S[-1] / 2


def test_a_dead_listen_connection_is_noticed_replaced_and_reported(
    postgres_broker: PostgresBroker, queue: Queue, ran: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    dead = listener_pid(queue)
    with caplog.at_level(logging.WARNING, "pgqueue.engine.listener"):
        queue.value("SELECT pg_terminate_backend(%s)", dead)

        def replaced() -> None:
            assert listener_pid(queue) not in {dead, None}

        eventually(replaced)

    def reported() -> None:
        assert any("lost its connection" in text for text in caplog.messages)

    eventually(reported)

    def locked_again() -> None:
        locks = queue.value(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
        )
        assert locks >= queue.value("SELECT count(*) FROM pgqueue.workers")

    eventually(locked_again)
    assert queue.value("SELECT count(*) FROM pgqueue.workers") == 1
    postgres_broker.get_actor("note").send()
    came(ran, 5.0)


def test_nobody_is_notified_while_nobody_is_idle(postgres_broker: PostgresBroker, queue: Queue) -> None:
    listener = queue.connect()
    listener.execute('LISTEN "pgqueue:ready"')

    @pgqueue.actor
    def note() -> None:
        pass

    note.send()
    assert list(listener.notifies(timeout=0.1)) == []
