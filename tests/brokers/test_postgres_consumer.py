"""The view of a session that a worker draws messages from."""

import pytest

from pgqueue.broker.worker_consumer import Withheld, for_worker
from pgqueue.brokers._postgres_consumer import ClaimedProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message


def test_what_was_claimed_before_the_process_was_declared_lost_is_not_started(
    postgres_broker: PostgresBroker,
) -> None:
    postgres_broker.declare_queue("default")
    postgres_broker.enqueue(Message("default", "actor", (), {}, {}))
    consumer = for_worker(postgres_broker.consume("default", timeout=2_000))
    message = next(consumer)
    assert isinstance(message, ClaimedProxy)
    consumer.started(message)
    assert message.claimed is not None
    assert postgres_broker._session is not None
    postgres_broker._session.leases.forget(message.claimed.lease.owner)
    with pytest.raises(Withheld):
        consumer.started(message)
    consumer.close()


def test_what_was_not_started_goes_back_and_is_not_acknowledged(postgres_broker: PostgresBroker) -> None:
    """Between its loss and the moment in which it hears of it a process may still claim, and hold, messages."""
    postgres_broker.declare_queue("default")
    sent = postgres_broker.enqueue(Message("default", "actor", (), {}, {}))
    consumer = for_worker(postgres_broker.consume("default", timeout=5_000))
    message = next(consumer)
    assert isinstance(message, ClaimedProxy)
    assert message.claimed is not None
    assert postgres_broker._session is not None
    postgres_broker._session.leases.forget(message.claimed.lease.owner)
    with pytest.raises(Withheld):
        consumer.started(message)
    with consumer.settling(message):
        consumer.ack(message)
    again = next(consumer)
    assert again is not None
    assert again.message_id == sent.message_id
    consumer.started(again)
    consumer.ack(again)
    consumer.close()
    assert postgres_broker.get_message_status(sent.message_id).value == "done"
