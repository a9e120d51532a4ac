from __future__ import annotations

from typing import Any

import pytest

from pgqueue.broker import Broker
from pgqueue.common import current_millis
from pgqueue.encoder import PickleEncoder, get_encoder, set_encoder
from pgqueue.middleware import Middleware

from .support import Consume, message_for, next_message


def test_a_message_without_delay_is_returned_as_it_was_sent(broker: Broker) -> None:
    message = message_for(broker, 1)
    assert broker.enqueue(message) == message


@pytest.mark.parametrize("delay", [0, 60_000])
def test_a_delayed_message_is_returned_as_a_copy_on_the_delay_queue(broker: Broker, delay: int) -> None:
    message = message_for(broker, 1)
    before = current_millis()
    sent = broker.enqueue(message, delay=delay)
    assert sent.queue_name == "default.DQ"
    assert before + delay <= sent.options["eta"] <= current_millis() + delay
    assert sent.message_id == message.message_id
    assert message.queue_name == "default"
    assert "eta" not in message.options


def test_the_enqueue_hooks_are_told_of_the_message_and_its_delay(broker: Broker) -> None:
    calls: list[tuple[str, str, int | None]] = []

    class Spy(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            calls.append(("before", message.queue_name, delay))

        def after_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            calls.append(("after", message.queue_name, delay))

    broker.add_middleware(Spy())
    broker.enqueue(message_for(broker))
    broker.enqueue(message_for(broker), delay=60_000)
    assert calls == [
        ("before", "default", None),
        ("after", "default", None),
        ("before", "default.DQ", 60_000),
        ("after", "default.DQ", 60_000),
    ]


def test_what_before_enqueue_puts_into_the_options_is_sent(broker: Broker, consume: Consume) -> None:
    class Marker(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            message.options["mark"] = "put here"

    broker.add_middleware(Marker())
    broker.enqueue(message_for(broker))
    message = next_message(consume("default", timeout=100))
    assert message.options["mark"] == "put here"


def test_an_argument_that_cannot_be_encoded_is_refused_and_nothing_is_sent(
    broker: Broker, consume: Consume
) -> None:
    with pytest.raises(TypeError):
        broker.enqueue(message_for(broker, object()))
    assert next(consume("default", timeout=50)) is None


def test_messages_of_any_encoder_arrive_as_they_were(broker: Broker, consume: Consume) -> None:
    usual = get_encoder()
    set_encoder(PickleEncoder())
    try:
        sent = broker.enqueue(message_for(broker, {1, 2}, b"\x00\xff"))
        assert next_message(consume("default", timeout=100)) == sent
    finally:
        set_encoder(usual)


def test_a_queue_is_declared_once_and_its_delay_queue_after_it(broker: Broker) -> None:
    calls: list[tuple[str, str]] = []

    class Spy(Middleware):
        def before_declare_queue(self, broker: Broker, queue_name: str) -> None:
            calls.append(("before", queue_name))

        def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
            calls.append(("after", queue_name))

        def after_declare_delay_queue(self, broker: Broker, queue_name: str) -> None:
            calls.append(("delay", queue_name))

    broker.add_middleware(Spy())
    broker.declare_queue("letters")
    broker.declare_queue("letters")
    assert calls == [("before", "letters"), ("after", "letters"), ("delay", "letters.DQ")]
    assert broker.get_declared_delay_queues() == {"letters.DQ"}
