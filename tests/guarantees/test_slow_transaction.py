"""An open transaction that has enqueued delays nobody else's messages."""

from __future__ import annotations

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.maintenance.rotator import Rotator

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.queue import Queue


def test_messages_of_others_run_while_it_is_open_and_its_own_after_its_commit(
    postgres_broker: PostgresBroker, queue: Queue, worker_for: WorkerFor
) -> None:
    ran: list[str] = []

    @pgqueue.actor
    def note(text: str) -> None:
        ran.append(text)

    slow, reader = queue.connect(), queue.connect()
    slow.execute("BEGIN")
    queue.send_all([queue.new(note.message("slow").encode())], conn=slow)
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    reader.execute("SELECT count(*) FROM pgqueue.messages")
    worker_for(postgres_broker, worker_threads=2)
    rotator = Rotator(queue.statements, max_messages=50, patience_s=0.0)
    for part in range(10):
        postgres_broker.enqueue_many([note.message(f"{part}.{number}") for number in range(30)])
        rotator.run_once(queue.conn)

        def others_ran(number: int = 30 * (part + 1)) -> None:
            assert len(ran) == number

        eventually(others_ran)
    assert "slow" not in ran
    slow.execute("COMMIT")

    def it_ran() -> None:
        assert ran[-1] == "slow"

    eventually(it_ran, within_s=3.0)
    assert len(ran) == len(set(ran)) == 301
