"""What is sent in a transaction, for each kind of target: it is there after the commit, and never without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.storage.calls import Call
from pgqueue.storage.statements import Statements
from pgqueue.transactions.target import adapt
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.postgres import Databases

from .apps import App, AsyncApp
from .async_apps import ASYNC_APPS

AnyActor = pgqueue.Actor[..., Any]


@pytest.fixture(scope="module")
def database_url(databases: Databases) -> Iterator[str]:
    """One database for all: whatever a test sends has run, or is taken back, when it ends."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture(autouse=True)
def live_worker(postgres_broker: PostgresBroker, worker_for: WorkerFor, note: AnyActor) -> None:
    """A worker that runs whatever it sees."""
    worker_for(postgres_broker, worker_threads=2)


def has_run(ran: list[Any], *expected: Any) -> None:
    """Wait until these have run, in any order, and nothing else."""

    def look() -> None:
        assert sorted(ran, key=str) == sorted(expected, key=str)

    eventually(look, within_s=10.0)


def others_see_nothing(broker: PostgresBroker, note: AnyActor, ran: list[Any]) -> None:
    """Others count no message, and the worker runs a later one, but none before it."""
    broker.join("default", timeout=10_000)
    before = list(ran)
    note.send(0)
    has_run(ran, *before, 0)
    ran.remove(0)


def test_a_message_is_there_after_the_commit_and_not_before(
    app: App, postgres_broker: PostgresBroker, note: AnyActor, ran: list[Any]
) -> None:
    app.begin()
    app.send_within(note, 1)
    others_see_nothing(postgres_broker, note, ran)
    app.commit()
    has_run(ran, 1)
    app.begin()
    app.enter()
    app.send_many(note, [("",), ('" and \\ and é',), ("NULL",)])
    app.leave()
    app.commit()
    has_run(ran, 1, "", '" and \\ and é', "NULL")


def test_a_message_is_never_there_after_a_rollback(
    app: App, postgres_broker: PostgresBroker, note: AnyActor, ran: list[Any]
) -> None:
    app.begin()
    app.send_within(note, 1)
    app.rollback()
    others_see_nothing(postgres_broker, note, ran)
    app.begin()
    app.send_within(note, 2)
    app.commit()
    has_run(ran, 2)


def test_a_savepoint_takes_back_what_was_sent_after_it(
    app: App, postgres_broker: PostgresBroker, note: AnyActor, ran: list[Any]
) -> None:
    app.begin()
    app.send_within(note, 1)
    app.savepoint()
    app.send_within(note, 2)
    app.rollback_to_savepoint()
    app.savepoint()
    app.send_within(note, 3)
    app.release_savepoint()
    others_see_nothing(postgres_broker, note, ran)
    app.commit()
    has_run(ran, 1, 3)
    others_see_nothing(postgres_broker, note, ran)


def test_two_transactions_at_once_do_not_see_each_other(
    kind: type[App], database_url: str, postgres_broker: PostgresBroker, note: AnyActor, ran: list[Any]
) -> None:
    kind.at_once(database_url, note)
    has_run(ran, 1)
    others_see_nothing(postgres_broker, note, ran)


@pytest.mark.parametrize("kind", [*ASYNC_APPS.values()], ids=[*ASYNC_APPS])
def test_coroutines_that_send_in_one_transaction_at_once_take_turns(
    app: AsyncApp, note: AnyActor, ran: list[Any]
) -> None:
    async def send() -> None:
        async with pgqueue.transaction(app.target):
            await asyncio.gather(
                *(note.send_async(number) for number in range(8)),
                note.send_many_async([(8,), (9,)]),
                pgqueue.group([note.message(10), note.message(11)]).run_async(),
            )

    async def send_in_own_block(number: int) -> None:
        async with pgqueue.transaction(app.target):
            await note.send_async(number)

    async def send_in_own_blocks() -> None:
        await asyncio.gather(*(send_in_own_block(number) for number in (12, 13)))

    app.begin()
    app._run(send())
    app._run(send_in_own_blocks())
    app.commit()
    has_run(ran, *range(14))
    app.begin()
    app._run(send())
    app.rollback()
    note.send(14)
    has_run(ran, *range(15))


def test_a_send_is_one_statement(
    app: App, postgres_broker: PostgresBroker, note: AnyActor, ran: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the first, which asks where the connection is."""
    statements: list[str] = []
    kind = type(adapt(app.target))
    run = kind.run

    def count(target: Any, known: Statements, call: Call) -> Any:
        statements.append(call.name)
        return run(target, known, call)

    monkeypatch.setattr(kind, "run", count)
    app.begin()
    app.send_within(note, 1)
    assert statements == ["schema/place", "messages/enqueue"]
    app.commit()
    app.begin()
    app.enter()
    app.send(note, 2)
    app.send_many(note, [(3,), (4,)])
    app.leave()
    app.commit()
    assert statements[2:] == ["messages/enqueue", "messages/enqueue"]
    has_run(ran, 1, 2, 3, 4)
