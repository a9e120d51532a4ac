"""Transactional actors whose messages were claimed together: none of them waits for the commit of another."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine.verdicts import write_verdicts
from pgqueue.storage import leases

from ...conftest import WorkerFor
from ...support.effects import Effects
from ...support.eventually import eventually
from ...support.queue import Queue
from .test_bodies import current


def test_others_are_acknowledged_while_one_commits(
    postgres_broker: PostgresBroker,
    queue: Queue,
    effects: Effects,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first stops with its verdict written, until the other two are done: one transactional, one plain."""
    together, both_began = threading.Barrier(2), threading.Barrier(2)
    number_of: dict[str, int] = {}

    def writing(*args: Any, **kwargs: Any) -> set[int]:
        accepted = write_verdicts(*args, **kwargs)
        if number_of.get(kwargs["verdicts"][0].message_id) == 0:
            eventually(lambda: _assert_done(queue, 2), within_s=20.0)
        return accepted

    monkeypatch.setattr("pgqueue.engine.settlement.write_verdicts", writing)

    @pgqueue.actor(transactional=True)
    def work(number: int) -> None:
        together.wait(20.0)
        Effects.add(current(), f"work {number}")
        both_began.wait(20.0)  # one that is alone is not set apart

    @pgqueue.actor
    def plain() -> None: ...

    sent = postgres_broker.enqueue_many([work.message(0), work.message(1), plain.message()])
    number_of.update({message.message_id: number for number, message in enumerate(sent)})
    worker_for(postgres_broker, worker_threads=3)
    postgres_broker.join("default", timeout=30_000)
    assert effects.seen == ["work 0", "work 1"]
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_is_lost_while_one_is_set_apart_costs_a_retry(
    postgres_broker: PostgresBroker,
    queue: Queue,
    effects: Effects,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    """Also when it had been set apart, and the worker never heard of the lease that holds it."""
    set_apart, broken = leases.set_apart, threading.Event()

    def breaking(conn: psycopg.Connection[Any], *args: Any, **kwargs: Any) -> tuple[int, int] | None:
        if broken.is_set():
            return set_apart(conn, *args, **kwargs)
        broken.set()
        if when == "after":
            set_apart(conn, *args, **kwargs)
        queue.value("SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)
        return set_apart(conn, *args, **kwargs)

    monkeypatch.setattr(leases, "set_apart", breaking)
    together = threading.Barrier(3)
    runs: list[int] = []

    @pgqueue.actor(transactional=True, min_backoff=1, max_backoff=1)
    def work(number: int) -> None:
        runs.append(number)
        if len(runs) <= 3:
            together.wait(20.0)
        Effects.add(current(), f"work {number}")

    work.send_many([(number,) for number in range(3)])
    worker_for(postgres_broker, worker_threads=3)
    postgres_broker.join("default", timeout=30_000)
    assert broken.is_set()
    assert len(runs) == 4
    assert effects.seen == ["work 0", "work 1", "work 2"]
    assert queue.values("SELECT status::text FROM pgqueue.outcomes") == ["d", "d", "d"]


def test_a_lease_of_its_own_that_a_crash_of_the_server_undid_is_found_in_its_batch(
    postgres_broker: PostgresBroker,
    queue: Queue,
    effects: Effects,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's answer has come, but what it has answered is not durable."""
    monkeypatch.setattr(leases, "set_apart", lambda *_, message, **__: (-4711, message.lease.slot))
    together = threading.Barrier(2)

    @pgqueue.actor(transactional=True)
    def work(number: int) -> None:
        together.wait(20.0)
        Effects.add(current(), f"work {number}")

    work.send_many([(0,), (1,)])
    worker_for(postgres_broker, worker_threads=2)
    postgres_broker.join("default", timeout=30_000)
    assert effects.seen == ["work 0", "work 1"]
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def _assert_done(queue: Queue, number: int) -> None:
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == number
