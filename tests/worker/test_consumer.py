from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.common import current_millis
from pgqueue.errors import ConnectionClosed
from pgqueue.message import Message
from pgqueue.middleware import Middleware

from ..conftest import WorkerFor
from ..support.eventually import eventually
from .brokers import FlakyBroker


@pytest.fixture
def flaky_broker() -> FlakyBroker:
    return FlakyBroker(middleware=[])


@pytest.mark.parametrize(
    ("constant", "delay"), [("CONSUMER_RESTART_DELAY", 10), ("CONSUMER_RESTART_DELAY_SECS", 0.01)]
)
def test_a_consumer_that_loses_its_connection_starts_again(
    flaky_broker: FlakyBroker,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    constant: str,
    delay: float,
) -> None:
    monkeypatch.setattr(f"pgqueue.worker.{constant}", delay)
    calls: list[int] = []

    @actor(broker=flaky_broker)
    def work() -> None:
        calls.append(1)

    flaky_broker.next_failures = [
        ConnectionClosed("gone"),
        RuntimeError("a bug"),
        ConnectionClosed("gone again"),
    ]
    worker_for(flaky_broker)
    work.send()
    flaky_broker.join("default", timeout=5000)
    assert calls == [1]

    def reopened() -> None:
        # Two queues and three failures; that of the delay queue may still be at it.
        assert flaky_broker.consumers_opened == 5

    eventually(reopened)
    assert {record.levelno for record in caplog.records if "onsumer" in record.message} >= {logging.CRITICAL}


def test_the_wait_before_a_restart_does_not_hold_up_a_stop(
    flaky_broker: FlakyBroker, worker_for: WorkerFor
) -> None:
    flaky_broker.declare_queue("default")
    flaky_broker.next_failures = [ConnectionClosed("gone"), ConnectionClosed("gone")]
    worker = worker_for(flaky_broker)
    eventually(lambda: _assert_equal(flaky_broker.next_failures, []))
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < 2


def test_pausing_does_not_wait_for_a_restart(flaky_broker: FlakyBroker, worker_for: WorkerFor) -> None:
    flaky_broker.declare_queue("default")
    flaky_broker.next_failures = [ConnectionClosed("gone"), ConnectionClosed("gone")]
    worker = worker_for(flaky_broker)
    eventually(lambda: _assert_equal(flaky_broker.next_failures, []))
    started = time.monotonic()
    worker.pause()
    assert time.monotonic() - started < 2


def test_resuming_reopens_nothing(flaky_broker: FlakyBroker, worker_for: WorkerFor) -> None:
    flaky_broker.declare_queue("default")
    worker = worker_for(flaky_broker)
    eventually(lambda: _assert_equal(flaky_broker.consumers_opened, 2))
    worker.pause()
    worker.resume()
    worker.pause()
    worker.resume()
    assert flaky_broker.consumers_opened == 2


@pytest.mark.parametrize(
    ("constant", "delay"), [("ACK_RETRY_DELAY", 10), ("POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.01)]
)
@pytest.mark.parametrize("failures", [1, 3])
def test_an_ack_is_tried_until_the_broker_can_be_reached(
    flaky_broker: FlakyBroker,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    constant: str,
    delay: float,
) -> None:
    monkeypatch.setattr(f"pgqueue.worker.{constant}", delay)
    hooks: list[str] = []

    class Spy(Middleware):
        def before_ack(self, broker: Broker, message: MessageProxy) -> None:
            hooks.append("before")

        def after_ack(self, broker: Broker, message: MessageProxy) -> None:
            hooks.append("after")

    flaky_broker.add_middleware(Spy())

    @actor(broker=flaky_broker)
    def work() -> None:
        pass

    flaky_broker.ack_failures = [ConnectionClosed("gone")] * failures
    worker = worker_for(flaky_broker)
    work.send()
    flaky_broker.join("default", timeout=5000)
    worker.join()
    assert flaky_broker.ack_failures == []
    assert hooks == ["before", "after"]


def test_an_ack_that_fails_otherwise_is_logged_and_given_up(
    flaky_broker: FlakyBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    @actor(broker=flaky_broker)
    def work() -> None:
        pass

    flaky_broker.ack_failures = [RuntimeError("a bug")]
    worker = worker_for(flaky_broker)
    work.send()
    eventually(lambda: _assert_equal(flaky_broker.ack_failures, []))
    worker.join()
    assert "Could not ack message work()." in caplog.messages
    assert flaky_broker.queues["default"].unfinished_tasks == 1


# ── delayed messages in memory ────────────────────────────────────────────────────────────────────


def test_a_delayed_message_goes_through_memory_with_its_hooks(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    hooks: list[tuple[str, str, Any]] = []

    class Spy(Middleware):
        def before_delay_message(self, broker: Broker, message: MessageProxy) -> None:
            hooks.append(("before_delay_message", message.queue_name, threading.current_thread().name))

        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            hooks.append(("before_enqueue", message.queue_name, delay))

        def after_ack(self, broker: Broker, message: MessageProxy) -> None:
            hooks.append(("after_ack", message.queue_name, None))

    stub_broker.add_middleware(Spy())

    @actor
    def work() -> None:
        pass

    worker = worker_for(stub_broker)
    work.send_with_options(delay=20)
    stub_broker.join("default", timeout=5000)
    worker.join()
    assert hooks[:3] == [
        ("before_enqueue", "default.DQ", 20),
        ("before_delay_message", "default.DQ", "ConsumerThread(default.DQ)"),
        ("before_enqueue", "default", None),
    ]
    assert sorted(hooks[3:]) == [("after_ack", "default", None), ("after_ack", "default.DQ", None)]


def test_a_delay_shorter_than_the_idle_tick_is_kept_to(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    ran: list[float] = []

    @actor
    def work() -> None:
        ran.append(time.time() * 1000)

    worker_for(stub_broker, worker_timeout=2000)
    sent = work.send_with_options(delay=50)
    stub_broker.join("default", timeout=5000)
    assert 0 <= ran[0] - sent.options["eta"] < 1900


@pytest.mark.parametrize("eta", ["soon", [1], float("nan")])
def test_an_eta_that_is_no_number_is_warned_of_and_due(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture, eta: Any
) -> None:
    calls: list[int] = []

    @actor
    def work() -> None:
        calls.append(1)

    worker_for(stub_broker)
    stub_broker.enqueue(work.message_with_options(eta=eta))
    stub_broker.join("default", timeout=5000)
    assert calls == [1]
    assert any("Invalid eta value for message" in message for message in caplog.messages)


def test_an_eta_of_none_is_no_eta(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    seen: list[dict[str, Any]] = []

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            seen.append(dict(message.options))

        def before_delay_message(self, broker: Broker, message: MessageProxy) -> None:
            raise AssertionError("not delayed")

    stub_broker.add_middleware(Spy())

    @actor
    def work() -> None:
        pass

    worker_for(stub_broker)
    stub_broker.enqueue(work.message_with_options(eta=None))
    stub_broker.join("default", timeout=5000)
    assert seen == [{}]


def test_delayed_messages_in_memory_are_handed_back_at_the_end(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    stub_broker.declare_queue("default")
    worker = worker_for(stub_broker)
    sent = [
        stub_broker.enqueue(Message("default", "work", (number,), {}, {}), delay=60_000 - number * 1000)
        for number in range(5)
    ]
    eventually(lambda: _assert_equal(worker.consumers["default.DQ"].delay_queue.qsize(), 5))
    worker.stop()
    queue = stub_broker.queues["default.DQ"]
    assert [Message.decode(queue.get_nowait()) for _ in range(5)] == sent


def test_worker_join_waits_for_delayed_messages_in_memory(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    calls: list[int] = []

    @actor
    def work() -> None:
        calls.append(1)

    worker = worker_for(stub_broker)
    due = current_millis() + 100
    work.send_with_options(delay=100)
    eventually(lambda: _assert_equal(worker.consumers["default.DQ"].delay_queue.unfinished_tasks, 1))
    worker.join()
    assert current_millis() >= due


def test_loggers_are_named_as_in_dramatiq(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    stub_broker.declare_queue("default")
    worker = worker_for(stub_broker)
    assert worker.consumers["default"].logger.name == "pgqueue.worker.ConsumerThread(default)"
    assert worker.workers[0].logger.name == "pgqueue.worker.WorkerThread"
    assert worker.logger.name == "pgqueue.worker.Worker"


def _assert_equal(actual: object, expected: object) -> None:
    assert actual == expected
