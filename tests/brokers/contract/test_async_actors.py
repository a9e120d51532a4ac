from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from typing import Any

import pytest

import pgqueue
from pgqueue.asyncio import get_event_loop_thread
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import AsyncIO, Middleware

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import assert_equal, dead_letter_count, join


def test_each_worker_thread_waits_for_its_coroutine(broker: Broker, worker_for: WorkerFor) -> None:
    """As many coroutines run at a time as there are threads: two here, and never a third."""
    broker.add_middleware(AsyncIO())
    running, most, threads = 0, 0, set()
    both: list[asyncio.Event] = []

    @pgqueue.actor(broker=broker)
    async def work() -> None:
        nonlocal running, most
        if not both:
            both.append(asyncio.Event())
        running, most = running + 1, max(most, running + 1)
        threads.add(threading.current_thread())
        if running == 2:
            both[0].set()
        await asyncio.wait_for(both[0].wait(), 10)
        await asyncio.sleep(0.01)
        running -= 1

    for _ in range(6):
        work.send()
    worker = worker_for(broker, worker_threads=2)
    join(broker)
    assert most == 2
    assert threads == {get_event_loop_thread()}
    worker.stop()
    assert get_event_loop_thread() is None


def test_a_worker_that_stops_leaves_the_loop_to_the_others(broker: Broker, worker_for: WorkerFor) -> None:
    broker.add_middleware(AsyncIO())
    ran: list[int] = []

    @pgqueue.actor(broker=broker, max_retries=0)
    async def work() -> None:
        ran.append(1)

    first, second = worker_for(broker), worker_for(broker)
    thread = get_event_loop_thread()
    first.stop()
    work.send()
    join(broker)
    assert ran == [1]
    assert get_event_loop_thread() is thread
    second.stop()
    assert get_event_loop_thread() is None
    assert thread is not None
    assert not thread.is_alive()


def test_a_coroutine_may_fail_with_a_timeout_of_its_own(broker: Broker, worker_for: WorkerFor) -> None:
    broker.add_middleware(AsyncIO())

    @pgqueue.actor(broker=broker, max_retries=0)
    async def late() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)

    @pgqueue.actor(broker=broker, max_retries=0)
    async def claims_to_be() -> None:
        raise TimeoutError("mine")

    worker_for(broker)
    late.send()
    claims_to_be.send()
    join(broker)
    eventually(lambda: assert_equal(dead_letter_count(broker), 2))


def test_without_the_middleware_an_async_actor_fails(broker: Broker, worker_for: WorkerFor) -> None:
    errors: list[BaseException | None] = []

    class Spy(Middleware):
        def before_nack(self, broker: Broker, message: MessageProxy) -> None:
            errors.append(message._exception)

    broker.add_middleware(Spy())

    @pgqueue.actor(broker=broker, max_retries=0)
    async def work() -> None: ...

    worker_for(broker)
    work.send()
    join(broker)
    [error] = errors
    assert isinstance(error, RuntimeError)


def test_the_traceback_that_is_kept_ends_in_the_coroutine(broker: Broker, worker_for: WorkerFor) -> None:
    broker.add_middleware(AsyncIO())
    tracebacks: list[str] = []

    class Spy(Middleware):
        def before_nack(self, broker: Broker, message: MessageProxy) -> None:
            tracebacks.append(message.options["traceback"])

    broker.add_middleware(Spy())

    @pgqueue.actor(broker=broker, max_retries=0)
    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("here")

    worker_for(broker)
    work.send()
    join(broker)
    [text] = tracebacks
    frames = [line for line in text.splitlines() if line.startswith("  File")]
    assert frames[-1].endswith("in work")
    assert text.endswith("ValueError: here\n")


# ── no exception outlives its message ─────────────────────────────────────────────────────────────


class Kept(Exception):
    pass


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("retries", [0, 1])
def test_a_failure_leaves_no_exception_behind(
    broker: Broker, worker_for: WorkerFor, *, is_async: bool, retries: int
) -> None:
    broker.add_middleware(AsyncIO())
    raised: list[weakref.ref[Kept]] = []

    def fail() -> None:
        error = Kept("gone soon")
        raised.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error  # the actor's own cycle is its own affair

    async def fail_async() -> None:
        fail()

    failing: Any = pgqueue.actor(
        broker=broker, actor_name="failing", max_retries=retries, min_backoff=0, max_backoff=0
    )(fail_async if is_async else fail)
    logging.disable(logging.CRITICAL)  # what pytest captures of the log would keep it
    gc.collect()
    gc.disable()
    try:
        worker = worker_for(broker, worker_threads=1)
        failing.send()
        join(broker)
        worker.join()
        if isinstance(broker, StubBroker):
            broker.flush_all()  # dead letters keep theirs, for join
        eventually(lambda: assert_equal([ref() for ref in raised], [None] * (retries + 1)))
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
