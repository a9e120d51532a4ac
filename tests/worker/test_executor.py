from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import RateLimitExceeded, Retry
from pgqueue.middleware import Middleware
from pgqueue.results import Results
from pgqueue.results.backends import StubBackend

from ..conftest import WorkerFor


class Expected(Exception):
    pass


@pytest.mark.parametrize(
    ("exception", "level", "template"),
    [
        (RateLimitExceeded("slow"), logging.DEBUG, "Rate limit exceeded in message %s: %s."),
        (Expected("yes"), logging.INFO, "Failed to process message %s with expected exception %s."),
        (ValueError("oh"), logging.ERROR, "Failed to process message %s with unhandled exception."),
        (Retry("later"), None, None),
    ],
)
def test_failures_are_logged_by_their_kind(
    stub_broker: StubBroker,
    worker_for: WorkerFor,
    caplog: pytest.LogCaptureFixture,
    exception: Exception,
    level: int | None,
    template: str | None,
) -> None:
    caplog.set_level(logging.DEBUG, logger="pgqueue.worker.WorkerThread")

    @actor(max_retries=0, throws=Expected)
    def fail() -> None:
        raise exception

    worker = worker_for(stub_broker)
    fail.send()
    stub_broker.join("default", timeout=5000, fail_fast=False)
    worker.join()
    failures = [
        (record.levelno, record.msg)
        for record in caplog.records
        if record.name == "pgqueue.worker.WorkerThread" and "message" in str(record.msg)
    ]
    assert failures == ([] if level is None else [(level, template)])


def test_an_unexpected_failure_is_logged_with_its_traceback(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    @actor(max_retries=0)
    def fail() -> None:
        raise ValueError("look here")

    worker = worker_for(stub_broker)
    fail.send()
    stub_broker.join("default", timeout=5000, fail_fast=False)
    worker.join()
    assert 'raise ValueError("look here")' in caplog.text


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if "Consider adding the Results middleware" in message]


@pytest.mark.parametrize("value", [None, 0, "something"])
def test_a_result_that_nothing_stores_is_warned_of(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    @actor
    def work() -> Any:
        return value

    worker_for(stub_broker)
    work.send()
    stub_broker.join("default", timeout=5000)
    assert len(_warnings(caplog)) == (0 if value is None else 1)


def test_no_result_is_missed_once_a_results_middleware_is_there_however_late(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    class OwnResults(Results):
        pass

    @actor
    def work() -> int:
        return 1

    worker_for(stub_broker)
    work.send()
    stub_broker.join("default", timeout=5000)
    assert len(_warnings(caplog)) == 1
    stub_broker.add_middleware(OwnResults(backend=StubBackend(), store_results=True))
    work.send()
    stub_broker.join("default", timeout=5000)
    assert len(_warnings(caplog)) == 1


def test_a_step_of_a_pipeline_may_return_something(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    @actor
    def step(number: int = 0) -> int | None:
        return number + 1 if number == 1 else None

    worker_for(stub_broker)
    (step.message(1) | step.message()).run()
    stub_broker.join("default", timeout=5000)
    assert _warnings(caplog) == []


def test_the_hooks_of_threads_run_in_these_threads(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    calls: list[tuple[str, str]] = []

    class Spy(Middleware):
        def _note(self, hook: str, thread: threading.Thread | None) -> None:
            assert thread is threading.current_thread()
            calls.append((hook, thread.name))

        def after_worker_thread_boot(self, broker: Broker, thread: Any) -> None:
            self._note("worker boot", thread)

        def before_worker_thread_shutdown(self, broker: Broker, thread: Any) -> None:
            self._note("worker shutdown", thread)

        def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
            self._note("consumer boot", thread)

        def before_consumer_thread_shutdown(self, broker: Broker, thread: Any) -> None:
            self._note("consumer shutdown", thread)

    stub_broker.add_middleware(Spy())
    stub_broker.declare_queue("q")
    worker = worker_for(stub_broker, worker_threads=2)
    worker.stop()
    assert sorted(calls) == sorted(
        [
            *[("worker boot", "WorkerThread"), ("worker shutdown", "WorkerThread")] * 2,
            *[("consumer boot", f"ConsumerThread({name})") for name in ("q", "q.DQ")],
            *[("consumer shutdown", f"ConsumerThread({name})") for name in ("q", "q.DQ")],
        ]
    )


def test_messages_are_hooked_in_worker_threads(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    names: set[str] = set()

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            names.add(threading.current_thread().name)

        def after_ack(self, broker: Broker, message: MessageProxy) -> None:
            names.add(threading.current_thread().name)

    stub_broker.add_middleware(Spy())

    @actor
    def work() -> None:
        pass

    worker = worker_for(stub_broker)
    work.send()
    stub_broker.join("default", timeout=5000)
    worker.join()
    assert names == {"WorkerThread"}


def test_ten_retries_without_backoff_take_no_time(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    attempts: list[float] = []

    @actor(max_retries=10, min_backoff=0, max_backoff=0)
    def fail() -> None:
        attempts.append(1)
        raise ValueError

    worker_for(stub_broker, worker_timeout=1000)
    fail.send()
    stub_broker.join("default", timeout=2000, fail_fast=False)
    assert len(attempts) == 11


class Ending(Exception):
    """An error that would end whoever asks what it says."""

    def __str__(self) -> str:
        raise SystemExit(5)

    def __repr__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize("throws", [(), Ending])
def test_an_error_that_says_nothing_but_an_end_is_one_like_others(
    broker: Broker, worker_for: WorkerFor, throws: Any
) -> None:
    runs: list[int] = []

    @actor(broker=broker, max_retries=1, min_backoff=1, max_backoff=1, throws=throws)
    def fail() -> None:
        runs.append(1)
        raise Ending

    worker_for(broker)
    fail.send()
    broker.join(
        fail.queue_name, timeout=10_000, **({"fail_fast": False} if isinstance(broker, StubBroker) else {})
    )
    assert len(runs) == (1 if throws else 2)


class Leaving(Middleware):
    """Hooks of a worker's threads that raise what ends a thread."""

    def after_worker_thread_boot(self, *_: Any) -> None:
        raise SystemExit(1)

    def before_worker_thread_shutdown(self, *_: Any) -> None:
        raise SystemExit(2)

    def after_consumer_thread_boot(self, *_: Any) -> None:
        raise SystemExit(3)

    def before_consumer_thread_shutdown(self, *_: Any) -> None:
        raise SystemExit(4)


def test_hooks_do_not_end_the_threads_that_call_them(
    broker: Broker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    broker.add_middleware(Leaving())
    runs: list[int] = []

    @actor(broker=broker)
    def work() -> None:
        runs.append(1)

    worker = worker_for(broker, worker_threads=2)
    for _ in range(4):
        work.send()
    broker.join(work.queue_name, timeout=10_000)
    worker.stop()
    assert len(runs) == 4
    told = {record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL}
    assert told == {
        f"Unexpected failure in a hook {when} of a {thread} thread."
        for when in ("after the boot", "before the shutdown")
        for thread in ("worker", "consumer")
    }
