"""An interrupt hits the actor or nothing: upstream's #445, in which one in an after-hook kills the thread."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from typing import Any

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import AsyncIO, Middleware, Retries
from pgqueue.middleware.shutdown import Shutdown
from pgqueue.middleware.time_limit import TimeLimitExceeded
from pgqueue.threading import Interrupt, InterruptShield, raise_thread_exception
from pgqueue.worker import Worker

from ..conftest import WorkerFor
from ..support.eventually import eventually


def assert_alive(worker: Worker) -> None:
    assert all(thread.is_alive() for thread in worker.workers)


class InterruptInHook(Middleware):
    """Has an interrupt raised, by another thread, in the worker thread while that is in one of our hooks."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.interrupted = 0

    def _interrupt(self, where: str) -> None:
        if where != self.where:
            return
        self.interrupted += 1
        target = threading.get_ident()
        other = threading.Thread(target=raise_thread_exception, args=(target, TimeLimitExceeded))
        other.start()
        other.join()
        for _ in range(1000):  # Python code, in which the exception would be raised
            pass

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self._interrupt("before_process_message")

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self._interrupt("after_process_message")

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        self._interrupt("before_ack")

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        self._interrupt("after_ack")


@pytest.mark.parametrize("where", ["after_process_message", "before_ack", "after_ack"])
@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_that_comes_after_the_actor_changes_nothing(
    stub_broker: StubBroker, worker_for: WorkerFor, where: str, fails: bool
) -> None:
    interrupts = InterruptInHook(where)
    stub_broker.add_middleware(interrupts)
    attempts: list[int] = []

    @actor(min_backoff=0, max_backoff=0, max_retries=5)
    def work() -> None:
        attempts.append(1)
        if fails and len(attempts) < 3:
            raise RuntimeError("again")

    worker = worker_for(stub_broker, worker_threads=1)
    work.send()
    stub_broker.join("default", timeout=5000)
    worker.join()
    assert len(attempts) == (3 if fails else 1)
    assert interrupts.interrupted >= len(attempts)
    assert_alive(worker)


def test_an_interrupt_that_comes_before_the_actor_waits_for_it(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    stub_broker.add_middleware(InterruptInHook("before_process_message"))
    calls: list[int] = []

    @actor(max_retries=0)
    def work() -> None:
        calls.append(1)

    worker = worker_for(stub_broker, worker_threads=1)
    work.send()
    with pytest.raises(TimeLimitExceeded):
        stub_broker.join("default", timeout=5000)
    assert calls == []
    assert_alive(worker)


class RaisingHook(Middleware):
    def __init__(self, exception: type[BaseException]) -> None:
        self.exception = exception

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        raise self.exception

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        raise self.exception


@pytest.mark.parametrize("exception", [RuntimeError, Interrupt, SystemExit, KeyboardInterrupt])
def test_whatever_a_hook_raises_the_message_is_retried_and_settled(
    stub_broker: StubBroker, worker_for: WorkerFor, exception: type[BaseException]
) -> None:
    stub_broker.add_middleware(
        RaisingHook(exception)
    )  # added last: its after-hooks run before those of Retries
    attempts: list[int] = []

    @actor(min_backoff=0, max_backoff=0, max_retries=5)
    def work() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("again")

    worker = worker_for(stub_broker, worker_threads=1)
    work.send()
    stub_broker.join("default", timeout=5000)
    worker.join()
    assert len(attempts) == 3
    assert_alive(worker)


@pytest.mark.parametrize("exception", [RuntimeError, TimeLimitExceeded, SystemExit, KeyboardInterrupt])
def test_whatever_an_actor_raises_is_a_failure_of_its_message(
    stub_broker: StubBroker, worker_for: WorkerFor, exception: type[BaseException]
) -> None:
    @actor(max_retries=0)
    def work() -> None:
        raise exception

    worker = worker_for(stub_broker, worker_threads=1)
    work.send()
    with pytest.raises(exception):
        stub_broker.join("default", timeout=5000)
    assert_alive(worker)


def test_an_interrupt_between_messages_is_forgotten(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    calls: list[int] = []

    @actor
    def work() -> None:
        calls.append(1)

    worker = worker_for(stub_broker, worker_threads=1)
    [thread] = worker.workers
    eventually(lambda: _assert(thread.ident))
    assert thread.ident is not None
    raise_thread_exception(thread.ident, Interrupt)
    work.send()
    stub_broker.join("default", timeout=5000)
    assert calls == [1]
    assert_alive(worker)


def _assert(fact: object) -> None:
    assert fact


def test_a_storm_of_interrupts_loses_no_message_and_kills_no_thread(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    done: set[int] = set()

    @actor(min_backoff=0, max_backoff=0, max_retries=None)
    def work(number: int) -> None:
        for _ in range(200):
            pass
        done.add(number)

    worker = worker_for(stub_broker, worker_threads=2)
    eventually(lambda: _assert(all(isinstance(it._shield, InterruptShield) for it in worker.workers)))
    for number in range(1000):
        work.send(number)
    deadline = time.monotonic() + 10
    while stub_broker.queues["default"].unfinished_tasks and time.monotonic() < deadline:
        for thread in worker.workers:
            assert thread.ident is not None
            raise_thread_exception(thread.ident, TimeLimitExceeded)
        time.sleep(0.0005)
    stub_broker.join("default", timeout=5000)
    worker.join()
    assert done == set(range(1000))
    assert_alive(worker)


def test_running_actors_are_told_of_the_shutdown_before_it_waits_for_them(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    running, seen = threading.Event(), []

    @actor(notify_shutdown=True, max_retries=0)
    def work() -> None:
        running.set()
        try:
            for _ in range(10_000):
                time.sleep(0.001)
        except Shutdown:
            seen.append("told")
            raise

    worker = worker_for(stub_broker, worker_threads=1)
    work.send()
    assert running.wait(5)
    worker.stop(timeout=5000)
    assert seen == ["told"]
    assert isinstance(stub_broker.dead_letters[0]._exception, Shutdown)


# ── the shield itself ─────────────────────────────────────────────────────────────────────────────


def test_a_raised_shield_keeps_the_interrupt_until_it_is_lowered() -> None:
    shield = InterruptShield()
    try:
        raise_thread_exception(threading.get_ident(), Interrupt)
        with pytest.raises(Interrupt):
            shield.lower()
        shield.raise_()
        shield.lower()
        shield.raise_()
    finally:
        shield.remove()


def test_a_forgotten_interrupt_is_not_raised() -> None:
    shield = InterruptShield()
    try:
        raise_thread_exception(threading.get_ident(), Interrupt)
        shield.forget()
        shield.lower()
    finally:
        shield.remove()


def test_a_lowered_shield_lets_the_interrupt_through() -> None:
    shield = InterruptShield()
    try:
        with pytest.raises(Interrupt):  # noqa: PT012  # where it lands is up to the interpreter
            shield.lower()
            raise_thread_exception(threading.get_ident(), Interrupt)
            for _ in range(1000):
                pass
    finally:
        shield.remove()


# ── no exception outlives its message ─────────────────────────────────────────────────────────────


class Kept(Exception):
    pass


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("retried", [False, True])
def test_a_failure_leaves_no_exception_behind(
    worker_for: WorkerFor, *, is_async: bool, retried: bool
) -> None:
    broker = StubBroker(middleware=[Retries()] if retried else [])
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

    options: dict[str, Any] = {"max_retries": 1, "min_backoff": 0, "max_backoff": 0} if retried else {}
    failing = actor(fail_async if is_async else fail, broker=broker, actor_name="failing", **options)  # type: ignore[call-overload]
    logging.disable(logging.CRITICAL)  # what pytest captures of the log would keep it
    gc.collect()
    gc.disable()
    try:
        worker = worker_for(broker, worker_threads=1)
        failing.send()
        broker.join("default", timeout=5000, fail_fast=False)
        worker.join()
        for letters in broker.dead_letters_by_queue.values():
            letters.clear()  # these keep theirs, for join
        eventually(lambda: _assert([ref() for ref in raised] == [None] * (2 if retried else 1)))
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
