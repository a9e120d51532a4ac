"""What becomes of messages that fail or grow too old: the verdicts of the built-in middleware, to the letter."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.errors import RateLimitExceeded, SkipMessage
from pgqueue.middleware import Interrupt, Middleware, Retries, TimeLimit

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import assert_equal, dead_letter_count, join


class Settlements(Middleware):
    """Notes how each delivery to a worker thread ends, and with which number of retries in the options."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.messages: list[tuple[str, int]] = []

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self.messages.append((message.message_id, message.message_timestamp))

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append(("skip", message.failed))

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        # The stub's consumer threads acknowledge delayed messages that are due.
        if threading.current_thread().name == "WorkerThread":
            self.calls.append(("ack", message.options.get("retries")))

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append(("nack", message.options.get("retries")))


@pytest.fixture
def settlements(broker: Broker) -> Settlements:
    middleware = Settlements()
    broker.add_middleware(middleware)
    return middleware


def test_a_retry_is_the_same_message_and_its_original_is_acknowledged(
    broker: Broker, worker_for: WorkerFor, settlements: Settlements
) -> None:
    @pgqueue.actor(broker=broker, max_retries=3, min_backoff=0, max_backoff=0)
    def fail() -> None:
        raise ValueError("always")

    sent = fail.send()
    worker_for(broker, worker_threads=1)
    join(broker)
    assert settlements.messages == [(sent.message_id, sent.message_timestamp)] * 4
    assert settlements.calls == [("ack", 1), ("ack", 2), ("ack", 3), ("nack", 4)]
    assert dead_letter_count(broker) == 1


def test_what_the_callbacks_of_failures_are_told(broker: Broker, worker_for: WorkerFor) -> None:
    failures: list[tuple[int, dict[str, str]]] = []
    exhausted: list[tuple[int, dict[str, int]]] = []

    @pgqueue.actor(broker=broker)
    def failed(message: dict[str, Any], what: dict[str, str]) -> None:
        failures.append((message["options"]["retries"], what))

    @pgqueue.actor(broker=broker)
    def gave_up(message: dict[str, Any], what: dict[str, int]) -> None:
        exhausted.append((message["options"]["retries"], what))

    @pgqueue.actor(broker=broker, min_backoff=0, max_backoff=0, on_failure="failed")
    def fail() -> None:
        raise ValueError("always")

    fail.send_with_options(max_retries=3, on_retry_exhausted="gave_up")
    worker_for(broker)
    join(broker)
    error = {"type": "ValueError", "message": "always"}
    assert sorted(number for number, _ in failures) == [1, 2, 3, 4]
    assert [what for _, what in failures] == [error] * 4
    assert exhausted == [(4, {"retries": 3, "max_retries": 3})]


def test_a_success_is_told_with_its_result(broker: Broker, worker_for: WorkerFor) -> None:
    told: list[tuple[str, Any]] = []

    @pgqueue.actor(broker=broker)
    def succeeded(message: dict[str, Any], result: Any) -> None:
        told.append((message["message_id"], result))

    @pgqueue.actor(broker=broker, on_success="succeeded", on_failure="nobody")
    def add(x: int, y: int) -> int:
        return x + y

    sent = add.send(1, 2)
    worker_for(broker)
    join(broker)
    assert told == [(sent.message_id, 3)]


class Mute(Exception):
    """Fails to say what went wrong, as classes do whose __str__ relies on what was never set."""

    def __str__(self) -> str:
        raise AttributeError("nothing to say")


@pytest.mark.parametrize("options", [{}, {"throws": Mute}])
def test_an_error_without_a_text_is_one_like_any_other(
    broker: Broker, worker_for: WorkerFor, settlements: Settlements, options: dict[str, Any]
) -> None:
    told: list[dict[str, str]] = []

    @pgqueue.actor(broker=broker, queue_name="told")
    def failed(message: dict[str, Any], what: dict[str, str]) -> None:
        told.append(what)

    @pgqueue.actor(broker=broker, max_retries=0, on_failure="failed", **options)
    def fail() -> None:
        raise Mute

    fail.send()
    worker = worker_for(broker, worker_threads=1)
    join(broker)
    join(broker, "told")
    assert [what["type"] for what in told] == ["Mute"]
    assert dead_letter_count(broker) == 1
    assert [call[0] for call in settlements.calls] == ["nack", "ack"]
    assert worker.workers[0].is_alive()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, Interrupt, GeneratorExit])
def test_whatever_an_actor_raises_is_tried_again(
    broker: Broker, worker_for: WorkerFor, settlements: Settlements, kind: type[BaseException]
) -> None:
    @pgqueue.actor(broker=broker, max_retries=1, min_backoff=0, max_backoff=0)
    def fail() -> None:
        raise kind

    fail.send()
    worker = worker_for(broker, worker_threads=1)
    join(broker)
    assert settlements.calls == [("ack", 1), ("nack", 2)]
    assert worker.workers[0].is_alive()


def test_without_retries_a_failed_message_is_acknowledged(
    broker: Broker, worker_for: WorkerFor, settlements: Settlements
) -> None:
    broker.middleware = [each for each in broker.middleware if not isinstance(each, Retries)]

    @pgqueue.actor(broker=broker)
    def fail() -> None:
        raise ValueError("once")

    fail.send()
    worker_for(broker)
    join(broker)
    eventually(lambda: assert_equal(settlements.calls, [("ack", None)]))
    assert dead_letter_count(broker) == 0


def test_an_expected_exception_is_final(
    broker: Broker, worker_for: WorkerFor, settlements: Settlements, caplog: pytest.LogCaptureFixture
) -> None:
    @pgqueue.actor(broker=broker, throws=(ValueError, KeyError))
    def fail() -> None:
        raise KeyError("expected")

    fail.send()
    with caplog.at_level(logging.INFO):
        worker_for(broker)
        join(broker)
    eventually(lambda: assert_equal(settlements.calls, [("nack", None)]))
    assert "Aborting message %r." in [record.msg for record in caplog.records]


@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 1), (1, 2), (None, 23)])
def test_retries_are_counted_from_the_second_attempt(
    broker: Broker, worker_for: WorkerFor, max_retries: int | None, attempts: int
) -> None:
    """None is for ever: also past the 20 that are the default."""
    ran: list[int] = []

    @pgqueue.actor(broker=broker, max_retries=max_retries, min_backoff=0, max_backoff=0)
    def fail() -> None:
        ran.append(1)
        if len(ran) < 23:
            raise ValueError("again")

    fail.send()
    worker_for(broker)
    join(broker)
    assert len(ran) == attempts
    assert dead_letter_count(broker) == (0 if max_retries is None else 1)


def test_a_rate_limit_costs_a_retry(broker: Broker, worker_for: WorkerFor, settlements: Settlements) -> None:
    @pgqueue.actor(broker=broker, max_retries=1, min_backoff=0, max_backoff=0)
    def limited() -> None:
        raise RateLimitExceeded("slow down")

    limited.send()
    worker_for(broker, worker_threads=1)
    join(broker)
    assert settlements.calls == [("ack", 1), ("nack", 2)]


def test_a_message_that_is_too_old_is_failed_and_skipped(
    broker: Broker, worker_for: WorkerFor, settlements: Settlements
) -> None:
    """Its age is that of the first attempt, however often it was retried."""
    stuffed: list[BaseException | None] = []

    class Spy(Middleware):
        def before_nack(self, broker: Broker, message: MessageProxy) -> None:
            stuffed.append(message._exception)

    broker.add_middleware(Spy())
    ran: list[int] = []

    @pgqueue.actor(broker=broker, max_age=200, max_retries=None, min_backoff=0, max_backoff=0)
    def work() -> None:
        ran.append(1)
        time.sleep(0.02)
        raise ValueError("again")

    work.send()
    worker_for(broker)
    join(broker)
    assert settlements.calls[-2:] == [("skip", True), ("nack", len(ran) or None)]
    [error] = stuffed
    assert isinstance(error, SkipMessage)
    assert str(error) == "Message age limit exceeded"
    assert dead_letter_count(broker) == 1


def test_without_the_boot_of_a_process_there_are_no_time_limits(
    broker: Broker, worker_for: WorkerFor
) -> None:
    broker.middleware = [each for each in broker.middleware if not isinstance(each, TimeLimit)]
    broker.add_middleware(TimeLimit(interval=1))
    done = threading.Event()

    @pgqueue.actor(broker=broker, time_limit=1, max_retries=0)
    def work() -> None:
        for _ in range(50):
            time.sleep(0.001)
        done.set()

    worker_for(broker)
    work.send()
    assert done.wait(10)
    join(broker)
    assert dead_letter_count(broker) == 0
