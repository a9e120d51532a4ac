from __future__ import annotations

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker
from pgqueue.errors import QueueJoinTimeout
from pgqueue.message import Message

from ...conftest import WorkerFor
from .support import Consume, dead_letter_count, join, message_for, next_message


def test_flush_drops_waiting_and_delayed_messages(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    broker.enqueue(message_for(broker), delay=60_000)
    broker.flush("default")
    join(broker)
    assert next(consume("default", timeout=50)) is None


def test_flush_all_drops_the_messages_and_dead_letters_of_every_queue(
    broker: Broker, consume: Consume
) -> None:
    for name in ("one", "two"):
        broker.declare_queue(name)
        broker.enqueue(Message(name, "work", (), {}, {}))
        consumer = consume(name, timeout=50)
        consumer.nack(next_message(consumer))
        broker.enqueue(Message(name, "work", (), {}, {}))
    broker.flush_all()
    for name in ("one", "two"):
        join(broker, name)
        assert dead_letter_count(broker, name) == 0


@pytest.mark.parametrize("delay", [None, 60_000])
def test_join_gives_up_after_its_timeout(broker: Broker, delay: int | None) -> None:
    broker.enqueue(message_for(broker), delay=delay)
    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=50)


def test_join_waits_for_messages_in_progress(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    consumer = consume("default", timeout=50)
    message = next_message(consumer)
    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=50)
    consumer.ack(message)
    join(broker)


def test_join_never_misses_a_message_that_is_being_retried(broker: Broker, worker_for: WorkerFor) -> None:
    attempts: list[int] = []

    @actor(broker=broker, max_retries=20, min_backoff=0, max_backoff=0)
    def stubborn() -> None:
        attempts.append(1)
        if len(attempts) % 10:
            raise RuntimeError("again")

    worker_for(broker)
    for expected in (10, 20, 30):
        stubborn.send()
        join(broker)
        assert len(attempts) == expected
