"""Actors that are told how messages went."""

from __future__ import annotations

from typing import Any

import pytest

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import Callbacks, Middleware
from tests.conftest import WorkerFor


@pytest.fixture
def told(stub_broker: StubBroker) -> list[tuple[dict[str, Any], Any]]:
    """What the actor `tell` has been told."""
    calls: list[tuple[dict[str, Any], Any]] = []

    @pgqueue.actor
    def tell(message: dict[str, Any], what: Any) -> None:
        calls.append((message, what))

    return calls


def test_a_success_is_told_with_its_result(
    stub_broker: StubBroker, worker_for: WorkerFor, told: list[tuple[dict[str, Any], Any]]
) -> None:
    @pgqueue.actor(on_success="tell", on_failure="tell")
    def add(x: int, y: int) -> int:
        return x + y

    message = add.send(1, 2)
    worker_for(stub_broker)
    stub_broker.join("default")
    [(about, result)] = told
    assert about["message_id"] == message.message_id
    assert about["args"] == [1, 2]
    assert result == 3


def test_every_failed_attempt_is_told_with_its_number(
    stub_broker: StubBroker, worker_for: WorkerFor, told: list[tuple[dict[str, Any], Any]]
) -> None:
    @pgqueue.actor(max_retries=3, min_backoff=1, max_backoff=1, on_failure="tell")
    def fail() -> None:
        raise ValueError("no")

    fail.send()
    worker_for(stub_broker)
    stub_broker.join("default", fail_fast=False)
    assert sorted(about["options"]["retries"] for about, _ in told) == [1, 2, 3, 4]
    assert all(failure == {"type": "ValueError", "message": "no"} for _, failure in told)


def test_a_message_may_name_its_own_callback(
    stub_broker: StubBroker, worker_for: WorkerFor, told: list[tuple[dict[str, Any], Any]]
) -> None:
    @pgqueue.actor(on_success="unknown")
    def one() -> int:
        return 1

    one.send_with_options(on_success="tell")
    worker_for(stub_broker)
    stub_broker.join("default")
    assert [result for _, result in told] == [1]


def test_a_message_may_name_its_own_callback_of_failures(
    stub_broker: StubBroker, worker_for: WorkerFor, told: list[tuple[dict[str, Any], Any]]
) -> None:
    @pgqueue.actor(max_retries=0, on_failure="unknown")
    def fail() -> None:
        raise ValueError("no")

    fail.send_with_options(on_failure="tell")
    worker_for(stub_broker)
    stub_broker.join("default", fail_fast=False)
    assert [failure for _, failure in told] == [{"type": "ValueError", "message": "no"}]


def test_nobody_is_told_of_what_is_nobodys_business(stub_broker: StubBroker) -> None:
    @pgqueue.actor
    def one() -> int:
        return 1

    callbacks, message = Callbacks(), MessageProxy(one.message())
    callbacks.after_process_message(stub_broker, message, result=1)
    callbacks.after_process_message(stub_broker, message, exception=ValueError())
    assert stub_broker.queues["default"].qsize() == 0


def test_a_message_that_a_hook_has_failed_is_no_success(
    stub_broker: StubBroker, worker_for: WorkerFor, told: list[tuple[dict[str, Any], Any]]
) -> None:
    class Fail(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            if message.actor_name != "tell":
                message.fail()

    stub_broker.add_middleware(Fail())

    @pgqueue.actor(on_success="tell")
    def never() -> None:
        raise AssertionError

    never.send()
    worker_for(stub_broker)
    stub_broker.join("default", fail_fast=False)
    assert not told
    assert len(stub_broker.dead_letters) == 1
