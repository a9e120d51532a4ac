"""A group with completion callbacks in a transaction: its barrier is there after the commit, and never without one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue

from .apps import App, AsyncApp

AnyActor = pgqueue.Actor[..., Any]


@pytest.fixture
def callbacks(postgres_broker: PostgresBroker) -> GroupCallbacks:
    """What makes barriers for groups."""
    middleware = GroupCallbacks(PostgresBackend(broker=postgres_broker))
    postgres_broker.add_middleware(middleware)
    return middleware


def group_of(note: AnyActor) -> pgqueue.group:
    """A group of two, and what is sent when both are done."""
    made = pgqueue.group([note.message("one"), note.message("two")])
    made.add_completion_callback(note.message("both"))
    return made


def run_within(app: App, note: AnyActor) -> None:
    """Run a group in the application's transaction."""
    app.enter()
    if isinstance(app, AsyncApp):
        app._run(_run_async(group_of(note)))
    else:
        group_of(note).run()
    app.leave()


async def _run_async(group: pgqueue.group) -> None:
    await group.run_async()


def barriers(queue: Queue) -> Any:
    return queue.value("SELECT count(*) FROM pgqueue.rate_limits")


@pytest.mark.usefixtures("callbacks")
def test_a_group_in_a_transaction_is_there_as_a_whole_or_not_at_all(
    app: App, queue: Queue, note: AnyActor
) -> None:
    app.begin()
    run_within(app, note)
    assert barriers(queue) == 0
    app.rollback()
    assert (barriers(queue), queue.ready()) == (0, [])
    app.begin()
    run_within(app, note)
    app.commit()
    assert (barriers(queue), len(queue.ready())) == (1, 2)


@pytest.mark.usefixtures("callbacks")
def test_a_group_that_was_sent_in_a_transaction_calls_back(
    app: App, postgres_broker: PostgresBroker, worker_for: WorkerFor, note: AnyActor, ran: list[Any]
) -> None:
    app.begin()
    run_within(app, note)
    app.commit()
    worker_for(postgres_broker)

    def look() -> None:
        assert sorted(ran) == ["both", "one", "two"]

    eventually(look, within_s=10.0)


@pytest.mark.usefixtures("callbacks")
def test_without_a_transaction_the_barrier_is_made_at_once(queue: Queue, note: AnyActor) -> None:
    group_of(note).run()
    asyncio.run(_run_async(group_of(note)))
    assert barriers(queue) == 2


@pytest.mark.usefixtures("callbacks")
def test_a_transactional_actor_that_fails_leaves_no_barrier(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue, note: AnyActor
) -> None:
    @pgqueue.actor(transactional=True, max_retries=0)
    def start(fails: bool) -> None:
        group_of(note).run()
        if fails:
            raise ValueError("no")

    start.send(True)
    worker_for(postgres_broker, queues={"default"})
    postgres_broker.join("default", timeout=10_000)
    assert barriers(queue) == 0
    start.send(False)
    postgres_broker.join("default", timeout=10_000)
    assert barriers(queue) == 1
