"""Which message is being processed."""

from __future__ import annotations

import pytest

import pgqueue
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import AsyncIO, CurrentMessage
from tests.conftest import WorkerFor


@pytest.fixture
def broker(stub_broker: StubBroker) -> StubBroker:
    stub_broker.add_middleware(CurrentMessage())
    return stub_broker


def current_id() -> str | None:
    message = CurrentMessage.get_current_message()
    return None if message is None else message.message_id


def test_an_actor_can_ask_for_its_message(broker: StubBroker, worker_for: WorkerFor) -> None:
    seen = []

    @pgqueue.actor
    def look() -> None:
        seen.append(current_id())

    sent = [look.send().message_id for _ in range(20)]
    worker_for(broker)
    broker.join("default")
    assert sorted(map(str, seen)) == sorted(sent)


def test_a_coroutine_can_ask_for_its_message(broker: StubBroker, worker_for: WorkerFor) -> None:
    broker.add_middleware(AsyncIO())
    seen = []

    @pgqueue.actor
    async def look() -> None:
        seen.append(current_id())

    sent = [look.send().message_id for _ in range(5)]
    worker_for(broker)
    broker.join("default")
    assert sorted(map(str, seen)) == sorted(sent)


def test_outside_of_actors_there_is_none(broker: StubBroker) -> None:
    assert CurrentMessage.get_current_message() is None


def test_a_message_is_forgotten_when_it_is_done_or_skipped(broker: StubBroker) -> None:
    @pgqueue.actor
    def nothing() -> None:
        pass

    middleware, message = CurrentMessage(), pgqueue.MessageProxy(nothing.message())
    middleware.before_process_message(broker, message)
    assert CurrentMessage.get_current_message() is message
    middleware.after_process_message(broker, message)
    assert CurrentMessage.get_current_message() is None
    middleware.before_process_message(broker, message)
    middleware.after_skip_message(broker, message)
    assert CurrentMessage.get_current_message() is None
