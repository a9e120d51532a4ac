"""Blocks and ambient providers: which transaction a sender is in."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import NestedTransactions, NotATarget, TargetMismatch
from pgqueue.transactions import register_ambient, unregister_ambient
from pgqueue.transactions.scope import block_target

Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
def note(postgres_broker: PostgresBroker) -> pgqueue.Actor[..., Any]:
    @pgqueue.actor
    def note(*args: Any) -> None:
        pass

    return note


def sent(broker: PostgresBroker) -> int:
    """How many messages others see."""
    return broker.get_queue_message_counts("default")[0]


@pytest.fixture
def ambient(conn: Connection) -> Iterator[list[Any]]:
    """What the provider answers, the last first; nothing at first."""
    answers: list[Any] = []

    def provider(broker: pgqueue.Broker) -> Any:
        return answers[-1] if answers else None

    register_ambient(provider)
    yield answers
    unregister_ambient(provider)


def test_what_is_sent_in_a_block_commits_with_it(
    postgres_broker: PostgresBroker, conn: Connection, note: pgqueue.Actor[..., Any]
) -> None:
    with pgqueue.transaction(conn):
        note.send(1)
        assert sent(postgres_broker) == 0
    note.send(2)
    assert sent(postgres_broker) == 1
    conn.commit()
    assert sent(postgres_broker) == 2


def test_every_way_to_send_joins(
    postgres_broker: PostgresBroker, conn: Connection, note: pgqueue.Actor[..., Any]
) -> None:
    with pgqueue.transaction(conn):
        note.send(1)
        note.send_with_options(args=(2,), priority=3)
        note.send_many([(3,), (4,)])
        pgqueue.group([note.message(5), note.message(6)]).run()
        pgqueue.pipeline([note.message(7), note.message(8)]).run()
        postgres_broker.enqueue_many([note.message(9)])
    assert sent(postgres_broker) == 0
    conn.commit()
    assert sent(postgres_broker) == 8


def test_blocks_for_one_transaction_nest(
    postgres_broker: PostgresBroker, conn: Connection, note: pgqueue.Actor[..., Any]
) -> None:
    with pgqueue.transaction(conn):
        with pgqueue.transaction(conn):
            note.send()
        note.send()
    conn.rollback()
    assert sent(postgres_broker) == 0


def test_blocks_for_two_transactions_do_not_nest(conn: Connection, other: Connection) -> None:
    with pgqueue.transaction(conn), pytest.raises(NestedTransactions, match="outside_transaction"):  # noqa: SIM117
        with pgqueue.transaction(other):
            pass
    with pgqueue.transaction(other):
        assert block_target() is not None
    assert block_target() is None


def test_a_block_outside_of_transactions_sends_at_once(
    postgres_broker: PostgresBroker, conn: Connection, other: Connection, note: pgqueue.Actor[..., Any]
) -> None:
    with pgqueue.transaction(conn):
        with pgqueue.outside_transaction():
            note.send()
            assert sent(postgres_broker) == 1
            with pgqueue.transaction(other):
                note.send()
        note.send()
    conn.rollback()
    other.commit()
    assert sent(postgres_broker) == 2


@pytest.mark.parametrize("target", [None, 3, object(), "no_such_alias", psycopg])
def test_what_is_no_connection_is_refused(target: object) -> None:
    with pytest.raises(NotATarget, match="expected a connection or session"):
        pgqueue.transaction(target)


def test_a_connection_that_blocks_is_not_entered_with_async(conn: Connection) -> None:
    async def enter() -> None:
        async with pgqueue.transaction(conn):
            pass

    with pytest.raises(TargetMismatch, match="enter its block with `with"):
        asyncio.run(enter())


class TestContexts:
    def test_threads_have_blocks_of_their_own(self, conn: Connection) -> None:
        seen: list[Any] = []
        with pgqueue.transaction(conn):
            thread = threading.Thread(target=lambda: seen.append(block_target()))
            thread.start()
            thread.join()
        assert seen == [None]

    def test_tasks_do_not_see_each_others_blocks(self, conn: Connection, other: Connection) -> None:
        async def see(connection: Connection, barrier: asyncio.Barrier) -> bool:
            with pgqueue.transaction(connection):
                await barrier.wait()
                target = block_target()
                await barrier.wait()
                return target is not None and target.connection is connection

        async def both() -> list[bool]:
            barrier = asyncio.Barrier(2)
            return list(await asyncio.gather(see(conn, barrier), see(other, barrier)))

        assert asyncio.run(both()) == [True, True]

    def test_a_task_that_outlives_its_block_is_in_none(self, conn: Connection) -> None:
        async def outlive() -> list[bool]:
            ended = asyncio.Event()
            seen = []

            async def look() -> None:
                seen.append(block_target() is not None)
                started.set()
                await ended.wait()
                seen.append(block_target() is not None)

            started = asyncio.Event()
            with pgqueue.transaction(conn):
                task = asyncio.create_task(look())
                await started.wait()
            ended.set()
            await task
            return seen

        assert asyncio.run(outlive()) == [True, False]

    def test_a_block_may_be_left_in_another_context(self, conn: Connection) -> None:
        block = pgqueue.transaction(conn)
        there = contextvars.copy_context()
        there.run(block.__enter__)
        assert there.run(block_target) is not None
        block.__exit__(None, None, None)
        assert there.run(block_target) is None


class TestAmbient:
    def test_a_send_joins_the_ambient_transaction(
        self,
        postgres_broker: PostgresBroker,
        conn: Connection,
        note: pgqueue.Actor[..., Any],
        ambient: list[Any],
    ) -> None:
        note.send()
        assert sent(postgres_broker) == 1
        ambient.append(conn)
        note.send()
        assert sent(postgres_broker) == 1
        conn.commit()
        assert sent(postgres_broker) == 2

    def test_a_block_goes_before_it(
        self,
        postgres_broker: PostgresBroker,
        conn: Connection,
        other: Connection,
        note: pgqueue.Actor[..., Any],
        ambient: list[Any],
    ) -> None:
        ambient.append(conn)
        with pgqueue.transaction(other):
            note.send()
        conn.commit()
        assert sent(postgres_broker) == 0
        with pgqueue.outside_transaction():
            note.send()
        assert sent(postgres_broker) == 1
        other.commit()
        assert sent(postgres_broker) == 2

    def test_the_youngest_provider_that_answers_counts(
        self,
        postgres_broker: PostgresBroker,
        conn: Connection,
        other: Connection,
        note: pgqueue.Actor[..., Any],
        ambient: list[Any],
    ) -> None:
        ambient.append(conn)
        answers = [other, None]

        def younger(broker: pgqueue.Broker) -> Any:
            assert broker is postgres_broker
            return answers.pop()

        register_ambient(younger)
        register_ambient(younger)
        try:
            note.send()
            conn.commit()
            assert sent(postgres_broker) == 1
            note.send()
            other.rollback()
            conn.commit()
            assert sent(postgres_broker) == 1
        finally:
            unregister_ambient(younger)

    def test_what_a_message_sends_as_it_ends_goes_with_its_ack(
        self,
        postgres_broker: PostgresBroker,
        conn: Connection,
        ambient: list[Any],
        worker_for: Any,
    ) -> None:
        ran: list[str] = []

        @pgqueue.actor(queue_name="others")
        def follow(*args: Any) -> None:
            ran.append("follow")

        @pgqueue.actor(queue_name="others")
        def begin() -> None:
            ran.append("begin")

        begin.send_with_options(on_success=follow)
        ambient.append(conn)
        worker_for(postgres_broker)
        postgres_broker.join("others", timeout=10_000)
        assert ran == ["begin", "follow"]
