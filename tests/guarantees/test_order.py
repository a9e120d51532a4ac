"""Lower priority first, over the whole queue; first in, first out among equals, exact for one worker thread."""

from __future__ import annotations

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker

from ..conftest import WorkerFor


def test_one_thread_runs_a_queue_in_the_order_of_sending(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    ran: list[int] = []

    @pgqueue.actor
    def note(number: int) -> None:
        ran.append(number)

    for start in range(0, 300, 100):
        postgres_broker.enqueue_many([note.message(number) for number in range(start, start + 99)])
        note.send(start + 99)
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=20_000)
    assert ran == list(range(300))


def test_urgent_messages_overtake_all_that_wait_whoever_sent_them(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    """The priority holds in the queue, not only in a worker's memory: a thousand others were there before."""
    ran: list[str] = []

    @pgqueue.actor(priority=10)
    def bulk(number: int) -> None:
        ran.append("bulk")

    @pgqueue.actor(priority=-10, queue_name="other")
    def urgent() -> None:
        ran.append("urgent")

    postgres_broker.enqueue_many([bulk.message(number) for number in range(1_000)])
    urgent.send()
    postgres_broker.enqueue_many([bulk.message_with_options(args=(1,), priority=-20)])
    worker_for(postgres_broker, worker_threads=1)
    for name in ("default", "other"):
        postgres_broker.join(name, timeout=20_000)
    assert ran.index("urgent") <= 1
    assert len(ran) == 1_002
