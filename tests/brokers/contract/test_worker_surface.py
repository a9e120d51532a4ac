"""What programs and their tests look at in a worker, and what it logs and interrupts."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any
from unittest.mock import patch

import pytest

import pgqueue
from pgqueue.broker import Broker
from pgqueue.errors import RateLimitExceeded
from pgqueue.message import Message
from pgqueue.middleware import AsyncIO, CurrentMessage, Shutdown, TimeLimit, TimeLimitExceeded
from pgqueue.worker import ConsumerThread, Worker, WorkerThread

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import assert_equal, dead_letter_count, join


def test_a_worker_shows_its_threads_and_settings(broker: Broker, worker_for: WorkerFor) -> None:
    for name in ("wanted", "other"):
        broker.declare_queue(name)
    worker = worker_for(broker, queues={"wanted"}, worker_threads=4)
    assert set(worker.consumers) == {"wanted", "wanted.DQ"}
    assert all(isinstance(thread, ConsumerThread) for thread in worker.consumers.values())
    assert len(worker.workers) == worker.worker_threads == 4
    assert all(isinstance(thread, WorkerThread) and thread.daemon for thread in worker.workers)
    assert (worker.queue_prefetch, worker.delay_prefetch) == (8, 4000)
    assert (worker.broker, worker.worker_timeout) == (broker, 100)
    assert (worker.consumer_whitelist, Worker(broker).consumer_whitelist) == ({"wanted"}, None)
    assert worker.work_queue.qsize() == 0


def test_a_delay_queue_may_be_named_in_the_whitelist(broker: Broker, worker_for: WorkerFor) -> None:
    ran = threading.Event()

    @pgqueue.actor(broker=broker, queue_name="wanted")
    def work() -> None:
        ran.set()

    worker_for(broker, queues=["wanted.DQ"])
    work.send_with_options(delay=1)
    assert ran.wait(10)


def test_both_kinds_of_actors_are_interrupted_by_their_time_limits(
    broker: Broker, worker_for: WorkerFor
) -> None:
    broker.middleware = [each for each in broker.middleware if not isinstance(each, TimeLimit)]
    broker.add_middleware(TimeLimit(interval=50))
    broker.add_middleware(AsyncIO())
    broker.emit_after("process_boot")
    interrupted: list[str] = []

    @pgqueue.actor(broker=broker, max_retries=0, time_limit=200)
    def busy() -> None:
        try:
            while True:
                time.sleep(0.01)
        except TimeLimitExceeded:
            interrupted.append("sync")
            raise

    @pgqueue.actor(broker=broker, max_retries=0, time_limit=200)
    async def waiting() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            interrupted.append("async")
            raise

    worker_for(broker)
    busy.send()
    waiting.send()
    join(broker)
    assert sorted(interrupted) == ["async", "sync"]
    eventually(lambda: assert_equal(dead_letter_count(broker), 2))


def test_actors_that_want_to_know_it_are_told_of_the_shutdown(broker: Broker, worker_for: WorkerFor) -> None:
    started, told = threading.Event(), threading.Event()

    @pgqueue.actor(broker=broker, notify_shutdown=True, max_retries=0)
    def work() -> None:
        started.set()
        try:
            while True:
                time.sleep(0.01)
        except Shutdown:
            told.set()
            raise

    worker = worker_for(broker)
    work.send()
    assert started.wait(10)
    worker.stop()
    assert told.is_set()
    assert dead_letter_count(broker) == 1


def test_a_coroutine_can_ask_for_its_message(broker: Broker, worker_for: WorkerFor) -> None:
    broker.add_middleware(AsyncIO())
    broker.add_middleware(CurrentMessage())
    seen: list[Any] = []

    @pgqueue.actor(broker=broker)
    async def work() -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        seen.append(message.message_id)

    worker_for(broker)
    sent = work.send()
    join(broker)
    assert seen == [sent.message_id]
    assert CurrentMessage.get_current_message() is None


@pytest.mark.parametrize(
    ("error", "options", "level", "text"),
    [
        (RateLimitExceeded("x"), {}, "debug", "Rate limit exceeded in message %s: %s."),
        (
            ValueError("x"),
            {"throws": ValueError},
            "info",
            "Failed to process message %s with expected exception %s.",
        ),
        (ValueError("x"), {}, "error", "Failed to process message %s with unhandled exception."),
    ],
)
def test_a_failure_is_logged_by_its_kind(
    broker: Broker, worker_for: WorkerFor, error: Exception, options: dict[str, Any], level: str, text: str
) -> None:
    @pgqueue.actor(broker=broker, max_retries=0, **options)
    def fail() -> None:
        raise error

    worker = worker_for(broker)
    with patch("logging.Logger.error") as errors, patch(f"logging.Logger.{level}") as log:
        fail.send()
        join(broker)
        worker.join()
    assert text in [call.args[0] for call in log.mock_calls]
    if level != "error":
        assert errors.mock_calls == []


def test_a_message_may_be_processed_without_a_running_thread(
    broker: Broker, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.worker.QUEUE_PREFETCH", 1)
    ran: list[threading.Thread] = []

    @pgqueue.actor(broker=broker)
    def work() -> None:
        ran.append(threading.current_thread())

    work.send()
    worker = worker_for(broker, worker_threads=0)
    message = worker.work_queue.get(timeout=10)[2]
    thread = WorkerThread(
        broker=broker, consumers=worker.consumers, work_queue=worker.work_queue, worker_timeout=100
    )
    thread.process_message(message)
    assert ran == [threading.current_thread()]
    join(broker)


def test_an_eta_that_is_no_number_is_due_now(
    broker: Broker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    @pgqueue.actor(broker=broker)
    def work(word: str) -> None:
        ran.append(word)

    worker_for(broker)
    with caplog.at_level(logging.WARNING):
        for eta in (None, "soon", float(1), 1):
            broker.enqueue(Message("default", "work", (str(eta),), {}, {"eta": eta}))
        join(broker)
    assert sorted(ran) == ["1", "1.0", "None", "soon"]
    assert caplog.text.count("Invalid eta value for message") == 1
