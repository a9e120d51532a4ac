from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker, MessageProxy
from pgqueue.errors import ActorNotFound
from pgqueue.middleware import Middleware

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import assert_equal, dead_letter_count, join, message_for


def test_a_worker_runs_what_was_sent(broker: Broker, worker_for: WorkerFor) -> None:
    calls: list[tuple[int, str]] = []

    @actor(broker=broker)
    def work(number: int, *, word: str) -> None:
        calls.append((number, word))

    worker_for(broker)
    work.send(1, word="x")
    join(broker)
    assert calls == [(1, "x")]


def test_one_thread_runs_equal_messages_in_the_order_of_sending(
    broker: Broker, worker_for: WorkerFor
) -> None:
    calls: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        calls.append(number)

    for number in range(200):
        work.send(number)
    worker_for(broker, worker_threads=1)
    join(broker)
    assert calls == list(range(200))


def test_fetched_messages_run_by_their_actors_priority(
    broker: Broker, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lower numbers first, whichever was sent first."""
    monkeypatch.setattr("pgqueue.worker.QUEUE_PREFETCH", 30)
    running, go_on = threading.Event(), threading.Event()
    calls: list[str] = []

    @actor(broker=broker)
    def block() -> None:
        running.set()
        go_on.wait(10)

    @actor(broker=broker, priority=10)
    def late() -> None:
        calls.append("late")

    @actor(broker=broker, priority=5)
    def soon() -> None:
        calls.append("soon")

    worker = worker_for(broker, worker_threads=1)
    block.send()
    assert running.wait(10)
    for _ in range(5):
        late.send()
        soon.send()
    eventually(lambda: assert_equal(worker.work_queue.qsize(), 10))
    go_on.set()
    join(broker)
    assert calls == ["soon"] * 5 + ["late"] * 5


def test_a_delayed_message_arrives_when_due_as_if_it_had_not_been_delayed(
    broker: Broker, worker_for: WorkerFor
) -> None:
    arrivals: list[tuple[float, str, dict[str, Any]]] = []

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            arrivals.append((time.time() * 1000, message.queue_name, dict(message.options)))

    broker.add_middleware(Spy())

    @actor(broker=broker)
    def work() -> None:
        pass

    worker_for(broker)
    sent = work.send_with_options(delay=150)
    join(broker)
    [(moment, queue_name, options)] = arrivals
    assert sent.options["eta"] <= moment + 5  # the clock of the server may not be ours to the millisecond
    assert queue_name == "default"
    assert "eta" not in options


def test_a_failing_message_is_retried_as_itself_and_then_rejected(
    broker: Broker, worker_for: WorkerFor
) -> None:
    seen: list[tuple[str, int]] = []

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            seen.append((message.message_id, message.options.get("retries", 0)))

    broker.add_middleware(Spy())

    @actor(broker=broker, max_retries=3, min_backoff=0, max_backoff=0)
    def fail() -> None:
        raise RuntimeError("always")

    worker_for(broker)
    sent = fail.send()
    join(broker)
    assert seen == [(sent.message_id, retries) for retries in range(4)]
    assert dead_letter_count(broker) == 1


def test_a_message_for_an_unknown_actor_is_rejected(
    broker: Broker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[tuple[str, type]] = []

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            calls.append(("process", type(None)))

        def before_nack(self, broker: Broker, message: MessageProxy) -> None:
            calls.append(("nack", type(message._exception)))

    broker.add_middleware(Spy())
    broker.enqueue(message_for(broker))
    worker_for(broker)
    eventually(lambda: assert_equal(dead_letter_count(broker), 1))
    join(broker)
    assert calls == [("nack", ActorNotFound)]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "'work'" in record.getMessage()
