"""How soon things happen, and in which order, where programs and their tests rely on it."""

from __future__ import annotations

import threading
import time

import pytest

import pgqueue
from pgqueue import Retry
from pgqueue.broker import Broker
from pgqueue.brokers.stub import StubBroker
from pgqueue.worker import Worker

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import PATIENCE, assert_equal, join


def test_a_retry_comes_back_after_the_delay_that_it_asked_for(broker: Broker, worker_for: WorkerFor) -> None:
    started: list[float] = []

    @pgqueue.actor(broker=broker)
    def again() -> None:
        started.append(time.monotonic())
        if len(started) % 2:
            raise Retry(delay=100)

    worker_for(broker, worker_threads=2)
    for _ in range(3):
        again.send()
        join(broker)
    delays = [(second - first) * 1000 for first, second in zip(started[::2], started[1::2], strict=True)]
    assert min(delays) >= 99  # the clock of the server may not be ours to the millisecond
    assert min(delays) < 1000  # the best of three, on a machine that has other things to do


def test_ten_retries_without_backoff_take_no_time(broker: Broker, worker_for: WorkerFor) -> None:
    attempts: list[int] = []
    times: list[float] = []

    @pgqueue.actor(broker=broker, min_backoff=0, max_backoff=0)
    def stubborn() -> None:
        attempts.append(1)
        if len(attempts) % 11:
            raise RuntimeError("again")

    worker = worker_for(broker, worker_threads=2)
    for _ in range(3):
        started = time.monotonic()
        stubborn.send()
        join(broker)
        worker.join()
        times.append(time.monotonic() - started)
    assert len(attempts) == 33
    assert min(times) < 2  # with the least backoff that is not zero, one retry alone takes longer


def test_a_prefetch_of_five_leaves_ten_of_fifteen(
    broker: Broker, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.worker.QUEUE_PREFETCH", 5)

    @pgqueue.actor(broker=broker)
    def work() -> None: ...

    for _ in range(15):
        work.send()
    worker = worker_for(broker, worker_threads=0)
    assert worker.queue_prefetch == 5
    eventually(lambda: assert_equal(worker.work_queue.qsize(), 5))
    worker.pause()
    assert worker.work_queue.qsize() == 5


def test_a_prefetch_set_before_the_start_counts(broker: Broker, worker_for: WorkerFor) -> None:
    order: list[str] = []

    @pgqueue.actor(broker=broker, priority=10)
    def late() -> None:
        order.append("late")

    @pgqueue.actor(broker=broker, priority=1)
    def soon() -> None:
        order.append("soon")

    for _ in range(5):
        late.send()
        soon.send()
    worker = Worker(broker, worker_timeout=100, worker_threads=1)
    worker.queue_prefetch = 10
    worker.pause()
    worker.start()
    try:
        join(broker, timeout=PATIENCE)
    finally:
        worker.stop()
    if not isinstance(broker, StubBroker):
        assert order == ["soon"] * 5 + ["late"] * 5
    assert sorted(order) == ["late"] * 5 + ["soon"] * 5


def test_an_idle_worker_stops_at_once(broker: Broker, worker_for: WorkerFor) -> None:
    @pgqueue.actor(broker=broker)
    def work() -> None: ...

    worker = worker_for(broker, worker_timeout=20_000)
    work.send()
    join(broker)
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < 3


def test_a_worker_outlives_the_close_of_its_broker(broker: Broker, worker_for: WorkerFor) -> None:
    ran = threading.Event()

    @pgqueue.actor(broker=broker)
    def work() -> None:
        ran.set()

    worker = worker_for(broker)
    work.send()
    assert ran.wait(10)
    join(broker)
    broker.close()
    worker.stop()
