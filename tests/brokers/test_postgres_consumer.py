"""The view of a session that a worker draws messages from."""

import pytest

from pgqueue.brokers._postgres_consumer import ClaimedProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import SkipMessage
from pgqueue.message import Message


def test_what_was_claimed_before_the_process_was_declared_lost_is_not_started(
    postgres_broker: PostgresBroker,
) -> None:
    postgres_broker.declare_queue("default")
    postgres_broker.enqueue(Message("default", "actor", (), {}, {}))
    consumer = postgres_broker.consume("default", timeout=2_000)
    message = next(consumer)
    assert isinstance(message, ClaimedProxy)
    consumer.started(message)
    assert message.claimed is not None
    assert postgres_broker._session is not None
    postgres_broker._session.leases.forget(message.claimed.lease.owner)
    with pytest.raises(SkipMessage):
        consumer.started(message)
    consumer.close()
