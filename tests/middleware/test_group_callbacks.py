"""The callbacks of a group are run when all of its messages have succeeded."""

from __future__ import annotations

from typing import Any

import pytest

import pgqueue
from pgqueue import Broker, Worker, group
from pgqueue.broker import MessageProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import GroupCallbacks, Middleware, MiddlewareError
from pgqueue.rate_limits import Barrier, RateLimiterBackend
from pgqueue.rate_limits.backends import PostgresBackend, StubBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually


@pytest.fixture
def backend(broker: Broker) -> RateLimiterBackend:
    return PostgresBackend(broker=broker) if isinstance(broker, PostgresBroker) else StubBackend()


def test_the_callbacks_run_once_after_the_last_success(
    broker: Broker, worker: Worker, backend: RateLimiterBackend
) -> None:
    broker.add_middleware(GroupCallbacks(backend))
    done: list[int] = []
    called: list[Any] = []

    @pgqueue.actor(max_retries=3, min_backoff=1, max_backoff=1)
    def work(number: int) -> None:
        if number % 3 == 0 and number not in done:
            done.append(number)
            raise ValueError("again")
        done.append(-number)

    @pgqueue.actor
    def finish(what: str) -> None:
        called.append((what, sum(number < 0 for number in done)))

    many = group(work.message(number) for number in range(1, 9))
    many.add_completion_callback(finish.message("one"))
    many.add_completion_callback(finish.message("two"))
    many.run()

    def both_called() -> None:
        assert sorted(called) == [("one", 8), ("two", 8)]

    eventually(both_called, within_s=20)
    broker.join("default")
    both_called()


@pytest.mark.slow
def test_the_callback_of_a_large_group_runs_once(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    postgres_broker.add_middleware(GroupCallbacks(PostgresBackend(broker=postgres_broker)))
    sent: list[Any] = []

    class Spy(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            if message.actor_name == "finish":
                message.options["mark"] = "put here"
                sent.append(message)

    postgres_broker.add_middleware(Spy())
    called: list[Any] = []

    @pgqueue.actor
    def work() -> None:
        pass

    @pgqueue.actor(queue_name="after")
    def finish() -> None:
        called.append(1)

    many = group([work.message() for _ in range(500)])
    many.add_completion_callback(finish.message())
    many.run()
    worker_for(postgres_broker)
    postgres_broker.join("default", timeout=20_000)
    postgres_broker.join("after", timeout=10_000)
    assert called == [1]
    # Its hooks were called once, too, by whoever let the last message through.
    assert [message.options["mark"] for message in sent] == ["put here"]


def test_a_callback_that_can_not_be_sent_loses_no_ack(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    postgres_broker.add_middleware(GroupCallbacks(PostgresBackend(broker=postgres_broker)))

    class Refuse(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            if message.actor_name == "refused":
                raise MiddlewareError("not this one")

    postgres_broker.add_middleware(Refuse())
    called: list[Any] = []

    @pgqueue.actor(max_retries=0)
    def work() -> None:
        pass

    @pgqueue.actor
    def refused() -> None:
        pass

    @pgqueue.actor
    def finish() -> None:
        called.append(1)

    two = group([work.message(), work.message()])
    two.add_completion_callback(refused.message())
    two.add_completion_callback(finish.message())
    two.run()
    worker_for(postgres_broker)

    def was_called() -> None:
        assert called == [1]

    eventually(was_called, within_s=10)
    postgres_broker.join("default", timeout=10_000)
    assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)
    assert "could not be sent" in caplog.text


def test_a_failed_message_does_not_count(stub_broker: StubBroker) -> None:
    backend = StubBackend()
    Barrier(backend, "uuid").create(1)

    @pgqueue.actor
    def finish() -> None:
        pass

    options: dict[str, Any] = {
        "group_completion_uuid": "uuid",
        "group_completion_callbacks": [finish.message().asdict()],
    }
    message = MessageProxy(finish.message_with_options(**options))
    callbacks = GroupCallbacks(backend)
    callbacks.after_process_message(stub_broker, message, exception=ValueError())
    assert stub_broker.queues["default"].qsize() == 0
    callbacks.after_process_message(stub_broker, message, result=1)
    assert stub_broker.queues["default"].qsize() == 1


def test_a_message_of_no_group_is_left_alone(stub_broker: StubBroker) -> None:
    @pgqueue.actor
    def nothing() -> None:
        pass

    GroupCallbacks(StubBackend()).after_process_message(stub_broker, MessageProxy(nothing.message()))
    assert stub_broker.queues["default"].qsize() == 0


def test_the_barrier_lives_for_a_day_or_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GroupCallbacks(StubBackend()).barrier_ttl == 86_400_000
    assert GroupCallbacks(StubBackend(), barrier_ttl=5).barrier_ttl == 5
    monkeypatch.setenv("dramatiq_group_callback_barrier_ttl", "7")
    with pytest.warns(FutureWarning, match="barrier_ttl="):
        assert GroupCallbacks(StubBackend()).barrier_ttl == 7
