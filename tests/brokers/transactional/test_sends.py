"""What bodies of transactional actors send, and in which transaction."""

from __future__ import annotations

import asyncio
import threading

import psycopg

import pgqueue
from pgqueue import transactions
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import NoCurrentTransaction
from pgqueue.middleware import AsyncIO

from ...conftest import WorkerFor
from ...support.effects import Effects
from .test_bodies import Connection, current, run


def test_what_coroutines_send_is_part_of_it(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    postgres_broker.add_middleware(AsyncIO())
    followed: list[tuple[int, str]] = []

    @pgqueue.actor
    def follow(run: int, how: str) -> None:
        followed.append((run, how))

    @pgqueue.actor(transactional=True, max_retries=1, min_backoff=1, max_backoff=1)
    async def work() -> None:
        runs.append(1)
        await postgres_broker.enqueue_many_async([follow.message(len(runs), "awaited")])
        follow.send(len(runs), "not awaited")
        if len(runs) == 1:
            raise RuntimeError("the first time")

    runs: list[int] = []
    work.send()
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert sorted(followed) == [(2, "awaited"), (2, "not awaited")]


# ── Other transactions ────────────────────────────────────────────────────────────────────────────


def test_blocks_for_its_own_connection_or_session_are_part_of_it(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    followed: list[tuple[int, str]] = []

    @pgqueue.actor
    def follow(run: int, how: str) -> None:
        followed.append((run, how))

    @pgqueue.actor(transactional=True, max_retries=1, min_backoff=1, max_backoff=1)
    def work() -> None:
        runs.append(1)
        with pgqueue.transaction(current()):
            follow.send(len(runs), "connection")
        with pgqueue.transaction(pgqueue.current_transaction().session()):
            follow.send(len(runs), "session")
        if len(runs) == 1:
            raise RuntimeError("the first time")

    runs: list[int] = []
    work.send()
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert sorted(followed) == [(2, "connection"), (2, "session")]


def test_a_thread_of_the_body_is_in_it_only_with_the_bodys_context(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    followed: list[str] = []
    refused: list[Exception] = []

    @pgqueue.actor
    def follow(how: str) -> None:
        followed.append(how)

    def send_plainly() -> None:
        try:
            pgqueue.current_transaction()
        except NoCurrentTransaction as error:
            refused.append(error)
        follow.send("plain")

    @pgqueue.actor(transactional=True, max_retries=0)
    def work() -> None:
        current().execute("SELECT 1")
        thread = threading.Thread(target=send_plainly)
        thread.start()
        thread.join()
        asyncio.run(asyncio.to_thread(follow.send, "with the context"))
        raise RuntimeError("it is rolled back")

    work.send()
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert followed == ["plain"]
    assert len(refused) == 1


def test_what_is_sent_outside_of_it_or_in_another_is_no_part_of_it(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    followed: list[str] = []

    @pgqueue.actor
    def follow(how: str) -> None:
        followed.append(how)

    def body() -> None:
        follow.send("in the body")
        with pgqueue.outside_transaction():
            follow.send("outside")
        with psycopg.connect(postgres_broker.database.url) as other, pgqueue.transaction(other):
            follow.send("in another")
        with pgqueue.transaction(current()):
            follow.send("in the same, by a block")
        raise RuntimeError("it fails")

    run(postgres_broker, worker_for, body)
    assert sorted(followed) == ["in another", "outside"]


def test_its_own_transaction_comes_before_an_ambient_one(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    followed: list[str] = []

    @pgqueue.actor
    def follow(how: str) -> None:
        followed.append(how)

    def body() -> None:
        follow.send("in the body")

    with psycopg.connect(postgres_broker.database.url) as ambient:

        def provide(_: pgqueue.Broker) -> Connection | None:
            return ambient if running() else None

        transactions.register_ambient(provide)
        try:
            run(postgres_broker, worker_for, body)
        finally:
            transactions.unregister_ambient(provide)
        assert ambient.info.transaction_status.name == "IDLE"
        ambient.rollback()
    assert followed == ["in the body"]


def running() -> bool:
    """Whether this is called in a transactional actor."""
    try:
        pgqueue.current_transaction()
    except NoCurrentTransaction:
        return False
    return True
