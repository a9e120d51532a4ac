"""What the tests of all brokers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgqueue.broker import Broker, Consumer, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.message import Message

from ...support.eventually import eventually

#: Milliseconds that nothing here takes unless it is broken.
PATIENCE = 10_000


def join(broker: Broker, queue_name: str = "default", *, timeout: int = PATIENCE) -> None:
    """Wait for a queue without minding failures."""
    if isinstance(broker, StubBroker):
        broker.join(queue_name, timeout=timeout, fail_fast=False)
    else:
        broker.join(queue_name, timeout=timeout)


def dead_letter_count(broker: Broker, queue_name: str = "default") -> int:
    """How many messages of a queue have been rejected."""
    if isinstance(broker, StubBroker):
        return len(broker.dead_letters_by_queue[queue_name])
    counts: tuple[int, int, int] = broker.get_queue_message_counts(queue_name)  # type: ignore[attr-defined]
    return counts[2]


Consume = Callable[..., Consumer]


def next_message(consumer: Consumer) -> MessageProxy:
    """The next message, skipping the Nones of idle moments."""

    def fetched() -> MessageProxy:
        message = next(consumer)
        assert message is not None
        return message

    return eventually(fetched)


def message_for(broker: Broker, *args: Any, **options: Any) -> Message[Any]:
    broker.declare_queue("default")
    return Message("default", "work", args, {}, options)


def assert_equal(actual: object, expected: object) -> None:
    """For `eventually`."""
    assert actual == expected
