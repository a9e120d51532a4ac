from __future__ import annotations

import threading
from typing import Any

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.message import Message
from pgqueue.middleware import Middleware

from ...conftest import WorkerFor
from .support import Consume, join, message_for, next_message


def test_a_broker_shows_what_is_declared(broker: Broker) -> None:
    @pgqueue.actor(broker=broker, queue_name="letters", priority=7)
    def work() -> None: ...

    assert broker.actors == {"work": work}
    assert broker.delay_queues == {"letters.DQ"}
    if isinstance(broker, StubBroker):
        assert set(broker.queues) == {"letters", "letters.DQ"}
    else:
        assert broker.queues == {"letters"}
    assert {"max_retries", "time_limit"} <= broker.actor_options
    assert broker.logger.name.startswith("pgqueue.")


def test_the_options_that_a_broker_lists_are_its_middlewares(broker: Broker) -> None:
    assert broker.actor_options == set().union(*(each.actor_options for each in broker.middleware))
    assert len(broker.actor_options) == 13
    actor = pgqueue.actor(broker=broker, cancellable=True)(print)
    assert actor.options == {"cancellable": True}


def test_names_are_handed_out_as_copies(broker: Broker) -> None:
    @pgqueue.actor(broker=broker, queue_name="letters")
    def work() -> None: ...

    for names in (
        broker.get_declared_actors(),
        broker.get_declared_queues(),
        broker.get_declared_delay_queues(),
    ):
        assert isinstance(names, set)
        names.clear()
    assert broker.get_declared_actors() == {"work"}
    assert "letters" in broker.get_declared_queues()
    assert broker.get_declared_delay_queues() == {"letters.DQ"}


def test_late_middleware_is_told_what_is_declared(broker: Broker) -> None:
    told: list[str] = []

    class Late(Middleware):
        @property
        def actor_options(self) -> set[str]:
            return {"colour"}

        def after_declare_actor(self, broker: Broker, actor: pgqueue.Actor[..., Any]) -> None:
            told.append(f"actor {actor.actor_name}")

        def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
            told.append(f"queue {queue_name}")

        def after_declare_delay_queue(self, broker: Broker, queue_name: str) -> None:
            told.append(f"delay queue {queue_name}")

    @pgqueue.actor(broker=broker)
    def work() -> None: ...

    broker.add_middleware(Late())
    assert told == ["actor work", "queue default", "delay queue default.DQ"]
    assert "colour" in broker.actor_options


def test_what_a_consumer_hands_out_may_be_enqueued_again(broker: Broker, consume: Consume) -> None:
    sent = broker.enqueue(message_for(broker, 1, mark="kept"))
    consumer = consume("default", prefetch=2, timeout=50)
    proxy = next_message(consumer)
    assert isinstance(proxy, MessageProxy)
    again = broker.enqueue(proxy)
    assert again == sent
    delayed = broker.enqueue(proxy, delay=60_000)
    assert isinstance(delayed, Message)
    assert (delayed.message_id, delayed.queue_name) == (sent.message_id, "default.DQ")
    assert delayed.options == {"mark": "kept", "eta": delayed.options["eta"]}
    consumer.ack(proxy)
    assert next_message(consumer) == sent


def test_a_broker_may_be_used_from_many_threads(broker: Broker, worker_for: WorkerFor) -> None:
    ran: list[tuple[int, int]] = []
    together = threading.Barrier(8)

    def work(thread: int, number: int) -> None:
        ran.append((thread, number))

    def use(thread: int) -> None:
        together.wait(10)
        sender: Any = pgqueue.actor(  # type: ignore[call-overload]
            work, broker=broker, actor_name=f"work{thread}", queue_name=f"queue{thread % 3}"
        )
        for number in range(20):
            sender.send_with_options(args=(thread, number), delay=None if number % 2 else 1)

    worker_for(broker)
    threads = [threading.Thread(target=use, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for number in range(3):
        join(broker, f"queue{number}")
    assert sorted(ran) == [(thread, number) for thread in range(8) for number in range(20)]
    assert len(broker.get_declared_actors()) == 8
