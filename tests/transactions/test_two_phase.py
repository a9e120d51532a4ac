"""Transactions that are prepared before they commit: what was sent in them neither keeps them from it nor is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import orm

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue

from .sync_apps import engine_options
from .test_wake_up import becomes

AnyActor = pgqueue.Actor[..., Any]


@pytest.fixture(autouse=True)
def server_that_prepares(queue: Queue) -> None:
    """Idle workers have left word, so that any other transaction would notify them."""
    if queue.value("SHOW max_prepared_transactions") == "0":
        pytest.skip("The server's max_prepared_transactions is 0.")
    becomes(queue, idle=True)


@pytest.fixture
def engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(**engine_options(database_url, "psycopg2"))
    yield made
    made.dispose()


def sent(broker: PostgresBroker) -> int:
    return broker.get_queue_message_counts("default")[0]


@pytest.mark.parametrize("commits", [True, False])
def test_of_psycopg(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor, commits: bool
) -> None:
    with closing(psycopg.connect(database_url)) as conn:
        conn.tpc_begin("mine")
        with pgqueue.transaction(conn):
            note.send(1)
            note.send_with_options(args=(2,), delay=10)
        conn.tpc_prepare()
        assert sent(postgres_broker) == 0
        conn.tpc_commit() if commits else conn.tpc_rollback()
    assert sum(postgres_broker.get_queue_message_counts("default")) == (2 if commits else 0)


def test_of_psycopg_async(database_url: str, postgres_broker: PostgresBroker, note: AnyActor) -> None:
    async def send() -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as conn:
            await conn.tpc_begin("mine")
            async with pgqueue.transaction(conn):
                await note.send_async(1)
            await conn.tpc_prepare()
            await conn.tpc_commit()
        await postgres_broker.close_async()

    asyncio.run(send())
    assert sent(postgres_broker) == 1


def test_of_sqlalchemy(engine: sqlalchemy.Engine, postgres_broker: PostgresBroker, note: AnyActor) -> None:
    with engine.connect() as conn, conn.begin_twophase() as transaction:
        with pgqueue.transaction(conn):
            note.send(1)
        transaction.prepare()
        assert sent(postgres_broker) == 0
        transaction.commit()
    with orm.Session(engine, twophase=True) as session, pgqueue.transaction(session):
        note.send(2)
        session.prepare()
        session.commit()
    with orm.Session(engine, twophase=True) as session, pgqueue.transaction(session):
        note.send(3)
        session.commit()
    assert sent(postgres_broker) == 3


def test_idle_workers_find_it_by_themselves(
    database_url: str,
    postgres_broker: PostgresBroker,
    worker_for: WorkerFor,
    note: AnyActor,
    ran: list[Any],
) -> None:
    worker_for(postgres_broker)
    with closing(psycopg.connect(database_url)) as conn:
        conn.tpc_begin("mine")
        with pgqueue.transaction(conn):
            note.send(1)
        conn.tpc_prepare()
        conn.tpc_commit()

    def look() -> None:
        assert ran == [1]

    eventually(look, within_s=30.0)
