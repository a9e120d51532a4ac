"""What programs know from the brokers for RabbitMQ and Redis."""

from __future__ import annotations

from typing import Any

import pytest

import pgqueue
from pgqueue.broker import Consumer, MessageProxy
from pgqueue.brokers._postgres_consumer import PostgresConsumer
from pgqueue.brokers.postgres import PostgresBroker

from ..conftest import WorkerFor
from ..support.eventually import eventually


def fetch(consumer: Consumer) -> MessageProxy:
    """The next message, after any number of idle moments."""

    def look() -> MessageProxy:
        message = next(consumer)
        assert message is not None
        return message

    return eventually(look, within_s=15.0)


@pytest.fixture
def work(postgres_broker: PostgresBroker) -> pgqueue.Actor[..., None]:
    @pgqueue.actor
    def work(*_: Any) -> None: ...

    return work


def test_messages_are_counted_as_ready_delayed_and_dead(
    postgres_broker: PostgresBroker, work: pgqueue.Actor[..., None]
) -> None:
    for _ in range(4):
        work.send()
    for _ in range(2):
        work.send_with_options(delay=60_000)
    assert postgres_broker.get_queue_message_counts("default") == (4, 2, 0)
    consumer = postgres_broker.consume("default", prefetch=2)
    first, second = fetch(consumer), fetch(consumer)
    assert postgres_broker.get_queue_message_counts("default") == (4, 2, 0)
    consumer.nack(first)
    consumer.ack(second)
    assert postgres_broker.get_queue_message_counts("default.DQ") == (2, 2, 1)
    consumer.close()
    assert postgres_broker.get_queue_message_counts("never.used") == (0, 0, 0)


def test_ten_messages_run_by_broker_priority_the_highest_number_first(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.worker.QUEUE_PREFETCH", 1)
    ran: list[int] = []
    note = pgqueue.actor(actor_name="note")(ran.append)
    for priority in (3, 9, 0, 5, 7, 1, 8, 2, 6, 4):
        note.send_with_options(args=(priority,), broker_priority=priority)
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=15_000)
    assert ran == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_a_middleware_may_set_the_broker_priority_before_a_message_is_sent(
    postgres_broker: PostgresBroker, work: pgqueue.Actor[..., None]
) -> None:
    class Urgent(pgqueue.Middleware):
        def before_enqueue(self, broker: pgqueue.Broker, message: Any, delay: int | None) -> None:
            message.options["broker_priority"] = message.args[0]

    postgres_broker.add_middleware(Urgent())
    work.send(1)
    work.send(2)
    consumer = postgres_broker.consume("default", prefetch=1)
    message = fetch(consumer)
    assert message.args == (2,)
    consumer.ack(message)
    consumer.close()


def test_the_arguments_of_either_brokers_join_are_understood(
    postgres_broker: PostgresBroker, work: pgqueue.Actor[..., None]
) -> None:
    postgres_broker.join("default", 10, 100, timeout=5_000)
    postgres_broker.join("default", min_successes=10, idle_time=100, timeout=5_000)
    postgres_broker.join("default", interval=10, timeout=5_000)
    work.send()
    with pytest.raises(pgqueue.QueueJoinTimeout):
        postgres_broker.join("default", interval=10, timeout=50)


def test_a_subclass_may_have_consumers_of_its_own(database_url: str, worker_for: WorkerFor) -> None:
    acked: list[str] = []

    class Loud(PostgresConsumer):
        def ack(self, message: MessageProxy) -> None:
            acked.append(message.message_id)
            super().ack(message)

    class LoudBroker(PostgresBroker):
        @property
        def consumer_class(self) -> type[PostgresConsumer]:
            return Loud

    broker = LoudBroker(database_url)

    @pgqueue.actor(broker=broker)
    def work() -> None: ...

    sent = work.send()
    worker = worker_for(broker)
    broker.join("default", timeout=15_000)
    worker.stop()
    assert acked == [sent.message_id]
    broker.close()


def test_a_message_tells_whether_a_worker_was_lost_with_it(
    postgres_broker: PostgresBroker, work: pgqueue.Actor[..., None]
) -> None:
    work.send()
    work.send()
    with postgres_broker.database.connection() as conn:
        conn.execute(
            "UPDATE pgqueue.messages SET attempts = 1 WHERE id = (SELECT max(id) FROM pgqueue.ready)"
        )
    consumer = postgres_broker.consume("default", prefetch=2)
    told = [fetch(consumer), fetch(consumer)]
    assert [message.redelivered for message in told] == [False, True]
    for message in told:
        consumer.ack(message)
    consumer.close()
