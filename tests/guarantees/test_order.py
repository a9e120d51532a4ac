"""Lower priority first, over the whole queue; first in, first out among equals, exact for one worker thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.worker import Worker

from ..conftest import WorkerFor
from ..support.eventually import eventually


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


@pytest.mark.parametrize("options", [{"priority": -1}, {"broker_priority": 1}])
def test_a_message_of_its_own_priority_overtakes_what_its_worker_has_fetched_already(
    postgres_broker: PostgresBroker,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    ran: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    @pgqueue.actor
    def note(name: str) -> None:
        if name == "first":
            begun.set()
            go_on.wait(20)
        ran.append(name)

    note.send("first")
    postgres_broker.enqueue_many([note.message("bulk") for _ in range(5)])
    monkeypatch.setattr("pgqueue.worker.QUEUE_PREFETCH", 20)
    worker = worker_for(postgres_broker, worker_threads=1)
    assert begun.wait(20)
    note.send_with_options(args=("urgent",), **options)
    eventually(lambda: _assert_fetched(worker, 6))
    go_on.set()
    postgres_broker.join("default", timeout=20_000)
    assert ran[:2] == ["first", "urgent"]
    assert len(ran) == 7


def _assert_fetched(worker: Worker, number: int) -> None:
    assert worker.work_queue.qsize() == number
