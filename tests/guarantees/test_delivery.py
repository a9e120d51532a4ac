"""At least once; a second run only after a worker was lost, and it carries the number of earlier claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import pgqueue
from pgqueue.broker import Consumer, MessageProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.maintenance import reaper
from pgqueue.maintenance.reaper import Reaper

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.queue import Queue


@pytest.fixture(autouse=True)
def _hasty_reapers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "CALM_S", 0.0)


@pytest.fixture
def another_process(database_url: str) -> Iterator[Callable[[], Consumer]]:
    """Make consumers, each with a session of its own, as in another process."""
    brokers: list[PostgresBroker] = []
    consumers: list[Consumer] = []

    def make() -> Consumer:
        brokers.append(PostgresBroker(database_url))
        consumers.append(brokers[-1].consume("default", prefetch=1, timeout=5_000))
        return consumers[-1]

    yield make
    for consumer in consumers:
        consumer.close()
    for broker in brokers:
        broker.close()


def declare_lost(queue: Queue) -> None:
    """Let all workers look as if they had been silent for a minute, and reclaim what they hold."""
    queue.conn.execute(
        "UPDATE pgqueue.workers SET seen_at = now() - %s * interval '1 s'", (reaper.SILENT_S + 1,)
    )
    duty = Reaper(queue.statements)
    while duty.run_once(queue.conn).in_s == 0.0:
        pass


def next_of(consumer: Consumer) -> MessageProxy:
    message = next(consumer)
    assert message is not None
    return message


def test_every_message_runs_once_while_nothing_happens(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    ran: list[int] = []

    @pgqueue.actor
    def note(number: int) -> None:
        ran.append(number)

    for _ in range(2):
        worker_for(postgres_broker, worker_threads=4)
    postgres_broker.enqueue_many([note.message(number) for number in range(1_000)])
    postgres_broker.join("default", timeout=20_000)
    assert sorted(ran) == list(range(1_000))


def test_a_second_delivery_carries_the_number_of_lost_claims(
    postgres_broker: PostgresBroker, queue: Queue, another_process: Callable[[], Consumer]
) -> None:
    @pgqueue.actor
    def note() -> None:
        pass

    note.send()
    first = another_process()
    assert next_of(first).attempts == 0
    declare_lost(queue)
    second = another_process()
    message = next_of(second)
    assert message.attempts == 1
    second.ack(message)
    assert note.message().message_id != message.message_id
    assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)


def test_what_a_worker_hands_back_at_its_stop_is_claimable_at_once_and_uncharged(
    postgres_broker: PostgresBroker, another_process: Callable[[], Consumer]
) -> None:
    @pgqueue.actor
    def note(number: int) -> None:
        pass

    postgres_broker.enqueue_many([note.message(number) for number in range(20)])
    stopping = postgres_broker.consume("default", prefetch=20, timeout=5_000)
    drawn = [next_of(stopping) for _ in range(5)]
    waiting = another_process()
    stopping.requeue(drawn)
    stopping.close()
    seen: list[int] = []

    def all_came() -> None:
        message = next(waiting)
        if message is not None:
            assert message.attempts == 0
            seen.append(message.args[0])
            waiting.ack(message)
        assert len(seen) == 20

    eventually(all_came, within_s=10.0)
    assert sorted(seen) == list(range(20))
