"""A message of an open transaction wakes an idle worker at the commit; nobody is notified for busy workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.storage import slots
from pgqueue.storage.registers import channel, idle_cell, idle_register
from tests.support.postgres import Databases
from tests.support.queue import Queue

AnyActor = pgqueue.Actor[..., Any]


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The application's connection."""
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
def told(queue: Queue) -> Callable[[], int]:
    """Count the notifications since the last call."""
    listener = queue.connect()
    listener.execute('LISTEN "pgqueue:ready"')

    def count() -> int:
        # A notification of this connection's own comes behind all that were sent before it.
        listener.execute("SELECT pg_notify('pgqueue:ready', 'end')")
        found = [notification.payload for notification in listener.notifies(timeout=5.0, stop_after=1)]
        while "end" not in found:
            found += [notification.payload for notification in listener.notifies(timeout=5.0, stop_after=1)]
        return len(found) - 1

    return count


def becomes(queue: Queue, *, idle: bool, queue_name: str = "default") -> None:
    """Let a worker of a queue leave word that it is idle for an hour, or be busy."""
    register = idle_register(queue_name, schema="pgqueue")
    until = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 3600000" if idle else "1"
    queue.value(f"SELECT setval('{register}', {until})")


def test_a_worker_that_has_become_idle_is_told_at_the_commit(
    queue: Queue, conn: psycopg.Connection[Any], note: AnyActor, told: Callable[[], int]
) -> None:
    with pgqueue.transaction(conn):
        note.send(1)
    becomes(queue, idle=True)
    assert told() == 0
    conn.commit()
    assert told() == 1


def test_nobody_is_told_if_all_workers_are_busy_by_then(
    queue: Queue, conn: psycopg.Connection[Any], note: AnyActor, told: Callable[[], int]
) -> None:
    becomes(queue, idle=True)
    with pgqueue.transaction(conn):
        note.send(1)
        note.send_many([(2,), (3,)])
    becomes(queue, idle=False)
    conn.commit()
    assert told() == 0


def test_nobody_is_told_of_what_was_rolled_back(
    queue: Queue, conn: psycopg.Connection[Any], note: AnyActor, told: Callable[[], int]
) -> None:
    becomes(queue, idle=True)
    with pgqueue.transaction(conn):
        note.send(1)
        conn.rollback()
        conn.execute("SAVEPOINT here")
        note.send(2)
        conn.execute("ROLLBACK TO SAVEPOINT here")
    conn.commit()
    assert told() == 0


def test_many_messages_of_a_transaction_are_one_call(
    queue: Queue,
    postgres_broker: PostgresBroker,
    conn: psycopg.Connection[Any],
    note: AnyActor,
    told: Callable[[], int],
) -> None:
    @pgqueue.actor(queue_name="others")
    def other() -> None:
        pass

    becomes(queue, idle=True, queue_name="others")
    with pgqueue.transaction(conn):
        postgres_broker.enqueue_many(
            [note.message(1), *[other.message() for _ in range(50)], note.message(2)]
        )
    conn.commit()
    assert told() == 1


def test_a_message_with_an_eta_wakes_a_worker_only_if_that_is_over(
    queue: Queue,
    postgres_broker: PostgresBroker,
    conn: psycopg.Connection[Any],
    note: AnyActor,
    told: Callable[[], int],
) -> None:
    becomes(queue, idle=True)
    over = note.message_with_options(args=(1,), eta=1)
    later = note.message_with_options(args=(2,), eta=2**42)
    for messages, calls in [([later], 0), ([over], 1), ([note.message(3), later], 1)]:
        with pgqueue.transaction(conn):
            postgres_broker.enqueue_many(messages)
        conn.commit()
        assert told() == calls


def test_a_slot_that_was_added_has_the_trigger_too(
    queue: Queue, conn: psycopg.Connection[Any], note: AnyActor, told: Callable[[], int]
) -> None:
    slots.attach(queue.conn, queue.statements, slot=8)
    queue.value("SELECT setval('pgqueue.open_slot', 8)")
    becomes(queue, idle=True)
    with pgqueue.transaction(conn):
        note.send(1)
    conn.commit()
    assert told() == 1
    assert queue.value("SELECT count(*) FROM pgqueue.ready_8") == 1


@pytest.mark.parametrize("length", [57, 58, 63])
def test_workers_of_schemas_with_long_names_are_told(databases: Databases, length: int) -> None:
    from pgqueue import schema  # noqa: PLC0415  # Alembic takes a while, and other tests do without

    name = "s" * length
    url = databases.create(migrated=False)
    try:
        schema.upgrade(url, schema=name)
        broker = PostgresBroker(url, schema=name)
        with psycopg.connect(url, autocommit=True) as listener, psycopg.connect(url) as conn:
            listener.execute(f'LISTEN "{channel(name)}"'.encode())
            register = idle_register("default", schema=name)
            listener.execute(f"SELECT setval('{register}', 9999999999999)".encode())
            with pgqueue.transaction(conn):
                broker.enqueue(pgqueue.Message("default", "note", (), {}, {}))
            conn.commit()
            calls = [one.payload for one in listener.notifies(timeout=5.0, stop_after=1)]
            assert calls == [f"idle_{idle_cell('default')}"]
        broker.close()
    finally:
        databases.drop(url)
