"""The event loop runs for as long as the worker."""

from __future__ import annotations

import asyncio

import pgqueue
from pgqueue.asyncio import get_event_loop_thread
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import AsyncIO
from tests.conftest import WorkerFor


def test_an_async_actor_runs_in_the_event_loop_of_the_worker(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    stub_broker.add_middleware(AsyncIO())
    sums = []

    @pgqueue.actor
    async def add(x: int, y: int) -> None:
        await asyncio.sleep(0)
        sums.append(x + y)

    worker = worker_for(stub_broker)
    thread = get_event_loop_thread()
    assert thread is not None
    add.send(1, 2)
    stub_broker.join("default")
    assert sums == [3]
    worker.stop()
    assert get_event_loop_thread() is None
    assert not thread.is_alive()


def test_a_worker_may_be_stopped_twice(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    stub_broker.add_middleware(AsyncIO())
    worker = worker_for(stub_broker)
    worker.stop()
    worker.stop()
    assert get_event_loop_thread() is None
