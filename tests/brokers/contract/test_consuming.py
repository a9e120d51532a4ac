from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pgqueue.broker import Broker, MessageProxy
from pgqueue.encoder import Encoder, get_encoder, set_encoder
from pgqueue.errors import QueueJoinTimeout

from ...support.eventually import eventually
from .support import Consume, assert_equal, dead_letter_count, join, message_for, next_message


def test_a_consumer_yields_none_when_there_is_nothing(broker: Broker, consume: Consume) -> None:
    broker.declare_queue("default")
    consumer = consume("default", timeout=50)
    assert iter(consumer) is consumer
    for _ in range(2):  # it is never at its end
        started = time.monotonic()
        assert next(consumer) is None
        assert time.monotonic() - started < 5


def test_a_consumer_yields_what_was_sent(broker: Broker, consume: Consume) -> None:
    sent = broker.enqueue(message_for(broker, 1, "two"))
    message = next_message(consume("default", timeout=100))
    assert message == sent
    assert not message.failed


def test_no_more_than_the_prefetch_is_handed_out(broker: Broker, consume: Consume) -> None:
    for _ in range(3):
        broker.enqueue(message_for(broker))
    consumer = consume("default", prefetch=2, timeout=50)
    held = [next_message(consumer), next_message(consumer)]
    assert next(consumer) is None
    consumer.ack(held[0])
    assert next_message(consumer) not in held


def test_an_acknowledged_message_is_gone(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    consumer = consume("default", timeout=50)
    consumer.ack(next_message(consumer))
    join(broker)
    assert dead_letter_count(broker) == 0


def test_a_rejected_message_waits_in_the_dead_letter_queue(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    consumer = consume("default", timeout=50)
    message = next_message(consumer)
    message.fail()
    consumer.nack(message)
    join(broker)
    assert dead_letter_count(broker) == 1


def test_acknowledging_a_message_that_is_not_held_changes_nothing(broker: Broker, consume: Consume) -> None:
    stranger = MessageProxy(message_for(broker))
    consumer = consume("default", timeout=50)
    consumer.ack(stranger)
    consumer.nack(stranger)
    assert dead_letter_count(broker) == 0


@pytest.mark.parametrize("of", [lambda message: message, MessageProxy])
def test_whatever_is_like_a_message_may_be_settled(broker: Broker, consume: Consume, of: Any) -> None:
    stranger = of(message_for(broker))
    held = broker.enqueue(message_for(broker))
    consumer = consume("default", timeout=50)
    for settle in (consumer.ack, consumer.nack):
        settle(stranger)
    consumer.requeue([stranger])
    assert next_message(consumer) == held
    assert next(consumer) is None
    assert dead_letter_count(broker) == 0


def test_acknowledging_a_message_twice_is_like_once(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    broker.enqueue(message_for(broker))
    consumer = consume("default", prefetch=2, timeout=50)
    first, second = next_message(consumer), next_message(consumer)
    consumer.ack(first)
    consumer.ack(first)
    with pytest.raises(QueueJoinTimeout):
        join(broker, timeout=50)
    consumer.ack(second)
    join(broker)


def test_other_threads_than_the_consumers_settle(broker: Broker, consume: Consume) -> None:
    for number in range(10):
        broker.enqueue(message_for(broker, number))
    consumer = consume("default", prefetch=10, timeout=50)
    held = [next_message(consumer) for _ in range(10)]
    threads = [
        threading.Thread(target=consumer.nack if message.args[0] % 2 else consumer.ack, args=(message,))
        for message in held
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    join(broker)
    assert dead_letter_count(broker) == 5


def test_a_message_that_was_handed_back_is_there_for_others_at_once(broker: Broker, consume: Consume) -> None:
    sent = [broker.enqueue(message_for(broker, n)) for n in range(3)]
    first = consume("default", prefetch=3, timeout=50)
    held = [next_message(first) for _ in range(3)]
    first.requeue(iter(held))
    first.close()
    second = consume("default", prefetch=3, timeout=50)
    assert [next_message(second) for _ in range(3)] == sent


def test_handing_back_nothing_is_allowed(broker: Broker, consume: Consume) -> None:
    broker.declare_queue("default")
    consume("default", timeout=50).requeue([])


class Garbler(Encoder):
    """Writes what nobody can read."""

    def encode(self, data: dict[str, Any]) -> bytes:
        return b"\xff\x00 no message"

    def decode(self, data: bytes) -> dict[str, Any]:
        raise AssertionError("not for reading")


def test_what_cannot_be_decoded_is_rejected_and_stops_nobody(broker: Broker, consume: Consume) -> None:
    usual = get_encoder()
    set_encoder(Garbler())
    try:
        broker.enqueue(message_for(broker))
    finally:
        set_encoder(usual)
    sent = broker.enqueue(message_for(broker, "readable"))
    consumer = consume("default", timeout=50)
    message = next_message(consumer)
    assert message == sent
    consumer.ack(message)
    eventually(lambda: assert_equal(dead_letter_count(broker), 1))
    join(broker)
