"""Which results are stored, and when."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import Retry
from pgqueue.middleware import Middleware, SkipMessage
from pgqueue.results import ResultFailure, ResultMissing, Results
from pgqueue.results.backends import StubBackend
from tests.conftest import WorkerFor


def test_a_result_is_stored(broker: Broker, worker_for: WorkerFor) -> None:
    @pgqueue.actor(store_results=True)
    def add(x: int, y: int) -> int:
        return x + y

    worker_for(broker)
    assert add.send(1, 2).get_result(block=True) == 3


@pytest.mark.parametrize(
    ("own", "actors", "default", "stored"),
    [
        ({}, {}, False, False),
        ({}, {}, True, True),
        ({}, {"store_results": False}, True, False),
        ({"store_results": True}, {"store_results": False}, False, True),
        ({"store_results": False}, {"store_results": True}, True, False),
    ],
)
def test_the_nearest_option_decides(
    stub_broker: StubBroker,
    stub_results: StubBackend,
    own: dict[str, Any],
    actors: dict[str, Any],
    default: bool,
    stored: bool,
    worker_for: WorkerFor,
) -> None:
    stub_broker.add_middleware(Results(backend=stub_results, store_results=default))

    def one() -> int:
        return 1

    message = pgqueue.actor(**actors)(one).send_with_options(**own)
    worker_for(stub_broker)
    stub_broker.join("default")
    assert bool(StubBackend.results) == stored
    if stored:
        assert message.get_result() == 1


def test_a_failure_is_stored_when_all_retries_are_over(broker: Broker, worker_for: WorkerFor) -> None:
    attempts = []

    @pgqueue.actor(store_results=True, max_retries=2, min_backoff=1, max_backoff=1)
    def fail() -> None:
        attempts.append(1)
        raise ValueError("no")

    worker_for(broker)
    with pytest.raises(ResultFailure, match="actor raised ValueError: no"):
        fail.send().get_result(block=True)
    assert len(attempts) == 3


def test_a_success_after_a_failure_is_a_success(broker: Broker, worker_for: WorkerFor) -> None:
    attempts: list[int] = []

    @pgqueue.actor(store_results=True)
    def second_time() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise Retry(delay=1)
        return len(attempts)

    worker_for(broker)
    assert second_time.send().get_result(block=True) == 2


def test_a_result_that_can_not_be_encoded_becomes_a_failure_and_the_message_is_done(
    broker: Broker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    runs = []

    @pgqueue.actor(store_results=True)
    def odd() -> object:
        runs.append(1)
        return object()

    message = odd.send()
    worker_for(broker)
    with pytest.raises(ResultFailure, match=r"TypeError: .*object.*not JSON serializable"):
        message.get_result(block=True)
    broker.join("default")
    assert runs == [1]
    assert "could not be stored" in caplog.text


def test_a_store_that_is_away_is_no_mistake_of_the_result(stub_broker: StubBroker) -> None:
    stored = []

    class Away(StubBackend):
        def store_result(self, message: Any, result: Any, ttl: int) -> None:
            raise pgqueue.ConnectionFailed("away")

        def store_exception(self, message: Any, exception: BaseException, ttl: int) -> None:
            stored.append(exception)

    @pgqueue.actor(broker=stub_broker)
    def one() -> None:
        pass

    results = Results(backend=Away(), store_results=True)
    with pytest.raises(pgqueue.ConnectionFailed):
        results.after_process_message(stub_broker, MessageProxy(one.message()), result=1)
    assert stored == []


def test_a_message_that_was_too_old_has_failed(broker: Broker, worker_for: WorkerFor) -> None:
    @pgqueue.actor(store_results=True, max_age=1)
    def late() -> None:
        raise AssertionError

    message = late.message().copy(message_timestamp=1)
    broker.enqueue(message)
    worker_for(broker)
    with pytest.raises(ResultFailure, match="SkipMessage: Message age limit exceeded"):
        message.get_result(block=True)


def test_a_message_that_was_skipped_has_no_result_but_one(broker: Broker, worker_for: WorkerFor) -> None:
    class Skip(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            raise SkipMessage("not today")

    broker.add_middleware(Skip())

    @pgqueue.actor(store_results=True)
    def skipped() -> int:
        return 1

    worker_for(broker)
    assert skipped.send().get_result(block=True) is None


def test_a_hook_that_fails_a_message_leaves_a_failure(broker: Broker, worker_for: WorkerFor) -> None:
    class Fail(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            message.fail()

    broker.add_middleware(Fail())

    @pgqueue.actor(store_results=True)
    def never() -> int:
        return 1

    worker_for(broker)
    with pytest.raises(ResultFailure, match="unknown"):
        never.send().get_result(block=True)


def test_a_message_for_an_unknown_actor_has_no_result(broker: Broker, worker_for: WorkerFor) -> None:
    broker.declare_queue("default")
    message: pgqueue.Message[Any] = pgqueue.Message("default", "unknown", (), {}, {"store_results": True})
    broker.enqueue(message)
    worker_for(broker)
    if isinstance(broker, StubBroker):
        with pytest.raises(pgqueue.ActorNotFound):
            broker.join("default")
    else:
        broker.join("default")
    with pytest.raises(ResultMissing):
        message.get_result()


def test_results_are_kept_for_their_time(broker: Broker) -> None:
    stored: list[int] = []

    class Backend(StubBackend):
        def _store(self, message_key: str, result: Any, ttl: int) -> None:
            stored.append(ttl)

    results = Results(backend=Backend(), store_results=True)

    @pgqueue.actor(broker=broker, result_ttl=5)
    def one() -> int:
        return 1

    @pgqueue.actor(broker=broker)
    def two() -> int:
        return 2

    for message in (
        one.message(),
        one.message_with_options(result_ttl=7),
        two.message(),
    ):
        results.after_process_message(broker, MessageProxy(message), result=1)
    assert stored == [5, 7, 600_000]


@pytest.mark.parametrize(
    ("options", "warned"), [({}, True), ({"pipe_target": {}}, False), ({"store_results": True}, False)]
)
def test_a_result_that_nobody_wants_is_discarded_with_a_warning(
    broker: Broker,
    stub_results: StubBackend,
    options: dict[str, Any],
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @pgqueue.actor(broker=broker)
    def one() -> int:
        return 1

    message = MessageProxy(one.message_with_options(**options))
    with caplog.at_level(logging.WARNING):
        Results(backend=stub_results).after_process_message(broker, message, result=1)
    assert ("the value has been discarded" in caplog.text) == warned


def test_a_backend_must_be_given() -> None:
    with pytest.raises(TypeError):
        Results()  # type: ignore[call-arg]
