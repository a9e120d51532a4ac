"""Messages that are too old are rejected."""

from __future__ import annotations

from typing import Any

import pytest

import pgqueue
from pgqueue.broker import MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.common import current_millis
from pgqueue.middleware import AgeLimit, SkipMessage
from tests.conftest import WorkerFor


def aged(actor: pgqueue.Actor[Any, Any], age_ms: int, **options: Any) -> MessageProxy:
    message = actor.message_with_options(**options).copy(message_timestamp=current_millis() - age_ms)
    return MessageProxy(message)


def is_too_old(limit: AgeLimit, broker: StubBroker, message: MessageProxy) -> bool:
    try:
        limit.before_process_message(broker, message)
    except SkipMessage:
        return message.failed
    return False


@pytest.mark.parametrize(
    ("default", "actors", "own", "too_old"),
    [
        (None, {}, {}, False),
        (1000, {}, {}, True),
        (None, {"max_age": 1000}, {}, True),
        (None, {}, {"max_age": 1000}, True),
        (1000, {"max_age": 9000}, {}, False),
        (None, {"max_age": 1000}, {"max_age": 9000}, False),
        (None, {"max_age": 1000}, {"max_age": 0}, True),
        (None, {"max_age": 0}, {}, False),
    ],
)
def test_the_nearest_limit_that_is_set_decides(
    stub_broker: StubBroker, default: int | None, actors: dict[str, Any], own: dict[str, Any], too_old: bool
) -> None:
    def nothing() -> None:
        pass

    message = aged(pgqueue.actor(**actors)(nothing), 5000, **own)
    assert is_too_old(AgeLimit(max_age=default), stub_broker, message) == too_old


def test_a_message_as_old_as_the_limit_is_too_old(
    stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    @pgqueue.actor
    def nothing() -> None:
        pass

    monkeypatch.setattr("pgqueue.middleware.age_limit.server_millis", lambda: 1500)
    message = nothing.message()
    assert is_too_old(AgeLimit(max_age=500), stub_broker, MessageProxy(message.copy(message_timestamp=1000)))
    assert not is_too_old(
        AgeLimit(max_age=501), stub_broker, MessageProxy(message.copy(message_timestamp=1000))
    )


def test_a_message_that_is_too_old_goes_to_the_dead_letters(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    runs = []

    @pgqueue.actor(max_age=100)
    def run() -> None:
        runs.append(1)

    stub_broker.enqueue(aged(run, 5000)._message)
    worker_for(stub_broker)
    with pytest.raises(SkipMessage, match="Message age limit exceeded"):
        stub_broker.join("default")
    assert not runs
    assert len(stub_broker.dead_letters) == 1
