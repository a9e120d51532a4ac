"""Many messages in one call: one statement, all or none of them, with every hook."""

from __future__ import annotations

import asyncio
import resource
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers import _sending
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.storage.statements import Compiled, Statements

AnyActor = pgqueue.Actor[..., Any]


class Hooks(pgqueue.Middleware):
    """Counts what is sent."""

    def __init__(self) -> None:
        self.before = self.after = 0

    def before_enqueue(self, broker: pgqueue.Broker, message: Any, delay: int | None) -> None:
        self.before += 1

    def after_enqueue(self, broker: pgqueue.Broker, message: Any, delay: int | None) -> None:
        self.after += 1


@pytest.fixture
def hooks(postgres_broker: PostgresBroker) -> Hooks:
    hooks = Hooks()
    postgres_broker.add_middleware(hooks)
    return hooks


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that are run through calls."""
    names: list[str] = []
    compiled = Statements.compiled

    def note(self: Statements, name: str, slots: tuple[int, ...] = (0,)) -> Compiled:
        names.append(name)
        return compiled(self, name, slots)

    monkeypatch.setattr(Statements, "compiled", note)
    return names


def count(broker: PostgresBroker) -> int:
    return broker.get_queue_message_counts("default")[0]


@pytest.mark.slow
@pytest.mark.timeout(300)  # to count every allocation takes long, on a busy machine a minute
@pytest.mark.parametrize("many", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_hundred_thousand_messages_are_one_statement(
    postgres_broker: PostgresBroker, note: AnyActor, hooks: Hooks, statements: list[str], many: int
) -> None:
    note.send()
    statements.clear()
    sent = note.send_many((number,) for number in range(many))
    assert statements == ["messages/enqueue"]
    assert count(postgres_broker) == many + 1
    assert (len(sent), hooks.before, hooks.after) == (many, many + 1, many + 1)


def test_many_messages_take_little_memory(note: AnyActor) -> None:
    note.send()
    tracemalloc.start()
    try:
        sent = note.send_many((number,) for number in range(10_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Some 700 bytes are a message itself; no more than twice that is needed to write it.
    assert peak < len(sent) * 3_000, f"{peak / 2**20:.0f} MB, {resource.getrusage(resource.RUSAGE_SELF)}"


def test_messages_of_a_call_in_a_transaction_are_one_statement(
    postgres_broker: PostgresBroker,
    note: AnyActor,
    hooks: Hooks,
    conn: psycopg.Connection[Any],
    statements: list[str],
) -> None:
    with pgqueue.transaction(conn):
        note.send()
        statements.clear()
        note.send_many([(number,) for number in range(1_000)])
    assert statements == ["messages/enqueue"]
    conn.commit()
    assert (count(postgres_broker), hooks.before, hooks.after) == (1_001, 1_001, 1_001)


@pytest.mark.parametrize(("messages", "most_bytes"), [(3, sys.maxsize), (100, 1_000)])
@pytest.mark.parametrize("way", ["own", "own-async", "transaction"])
def test_more_than_fits_one_statement_is_sent_in_one_transaction(
    postgres_broker: PostgresBroker,
    note: AnyActor,
    conn: psycopg.Connection[Any],
    statements: list[str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    messages: int,
    most_bytes: int,
) -> None:
    note.send()
    statements.clear()
    monkeypatch.setattr(_sending, "MOST_MESSAGES", messages)
    monkeypatch.setattr(_sending, "MOST_BYTES", most_bytes)
    sends: list[tuple[Any, ...]] = [(number,) for number in range(20)]

    async def send() -> None:
        await note.send_many_async(sends)
        await postgres_broker.close_async()

    if way == "own":
        note.send_many(sends)
    elif way == "own-async":
        asyncio.run(send())
    else:
        with pgqueue.transaction(conn):
            note.send_many(sends)
        assert count(postgres_broker) == 1
        conn.commit()
    assert statements.count("messages/enqueue") > 1
    assert count(postgres_broker) == 21
    with psycopg.connect(conn.info.dsn, password=conn.info.password) as look:
        rows = look.execute("SELECT count(DISTINCT xid) FROM pgqueue.ready").fetchall()
    assert rows == [(2,)]


def test_nothing_is_sent_if_one_message_of_many_can_not_be(
    postgres_broker: PostgresBroker, note: AnyActor, conn: psycopg.Connection[Any]
) -> None:
    bad = note.message_with_options(priority="high")
    for target in (conn, None):
        with pytest.raises(ValueError, match="priority"):  # noqa: SIM117
            with pgqueue.transaction(target) if target else pgqueue.outside_transaction():
                postgres_broker.enqueue_many([note.message(1), bad])
    conn.commit()
    assert count(postgres_broker) == 0


def test_no_messages_are_no_statement(
    postgres_broker: PostgresBroker, note: AnyActor, conn: psycopg.Connection[Any], statements: list[str]
) -> None:
    assert note.send_many([]) == []
    with pgqueue.transaction(conn):
        assert note.send_many([]) == []
        pgqueue.group([]).run()
    assert "messages/enqueue" not in statements
