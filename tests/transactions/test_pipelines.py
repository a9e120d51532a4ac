"""A psycopg connection in pipeline mode, on which answers come later than statements return."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import NoTransaction

AnyActor = pgqueue.Actor[..., Any]


def sent(broker: PostgresBroker) -> int:
    return broker.get_queue_message_counts("default")[0]


def send_after_a_failure(conn: psycopg.Connection[Any], note: AnyActor) -> None:
    with conn.pipeline(), pgqueue.transaction(conn):
        conn.execute("SELECT 1 / 0")
        note.send(1)


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_message_is_part_of_the_transaction(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor, autocommit: bool
) -> None:
    with (
        psycopg.connect(database_url, autocommit=autocommit) as conn,
        conn.pipeline(),
        conn.transaction(),
        pgqueue.transaction(conn),
    ):
        note.send(1)
        assert sent(postgres_broker) == 0
    assert sent(postgres_broker) == 1


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_coroutine_sends_in_one_too(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor, autocommit: bool
) -> None:
    async def send() -> None:
        conn = await psycopg.AsyncConnection.connect(database_url, autocommit=autocommit)
        async with conn, conn.pipeline(), conn.transaction(), pgqueue.transaction(conn):
            await note.send_async(1)

    asyncio.run(send())
    assert sent(postgres_broker) == 1


def test_without_a_transaction_it_is_refused(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    with (
        psycopg.connect(database_url, autocommit=True) as conn,
        conn.pipeline(),
        pgqueue.transaction(conn),
        pytest.raises(NoTransaction, match=r"connection\.transaction\(\)"),
    ):
        note.send(1)
    assert sent(postgres_broker) == 0


def test_a_statement_before_it_that_fails_shows(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    with psycopg.connect(database_url) as conn:
        with pytest.raises(psycopg.errors.DivisionByZero):
            send_after_a_failure(conn, note)
        conn.rollback()
    assert sent(postgres_broker) == 0


@pytest.mark.parametrize("encoding", ["latin1", "sql_ascii"])
def test_the_encoding_of_the_connection_does_not_matter(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor, encoding: str
) -> None:
    with psycopg.connect(database_url, client_encoding=encoding) as conn, pgqueue.transaction(conn):
        note.send("größer ≥ 日本")
    assert sent(postgres_broker) == 1
