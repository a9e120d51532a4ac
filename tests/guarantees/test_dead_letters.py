"""Dead letters are kept with error, traceback and bytes, and found by queue and by id. (Seven days: test_pruner.)"""

from __future__ import annotations

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message
from pgqueue.storage import dead_letters

from ..conftest import WorkerFor
from ..support.queue import Queue


def letters(queue: Queue) -> list[dead_letters.DeadLetter]:
    return dead_letters.list_dead_letters(queue.conn, queue.statements, queue_name="default")


def test_a_message_that_failed_for_good_is_kept_with_everything(
    postgres_broker: PostgresBroker, queue: Queue, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(max_retries=1, min_backoff=1, max_backoff=1)
    def divide(number: int) -> float:
        return number / 0

    sent = divide.send(1)
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    (letter,) = letters(queue)
    assert letter.message_id == sent.message_id
    assert (letter.actor_name, letter.reason) == ("divide", "failed")
    assert letter.error == "ZeroDivisionError: division by zero"
    assert letter.traceback is not None
    assert "return number / 0" in letter.traceback
    assert Message.decode(letter.payload).args == (1,)
    assert postgres_broker.get_queue_message_counts("default") == (0, 0, 1)
    assert postgres_broker.get_message_status(sent.message_id).value == "failed"


def test_a_traceback_of_any_text_can_be_kept(
    postgres_broker: PostgresBroker, queue: Queue, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(max_retries=0)
    def shout(text: str) -> None:
        raise RuntimeError(text)

    for text in ("a NUL: \0", "half a pair: \ud83d", "€ and 🦆"):
        shout.send(text)
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert [letter.reason for letter in letters(queue)] == ["failed"] * 3


def test_flushing_a_queue_empties_its_dead_letters_and_no_others(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(max_retries=0)
    def fail() -> None:
        raise RuntimeError

    @pgqueue.actor(max_retries=0, queue_name="other")
    def fail_elsewhere() -> None:
        raise RuntimeError

    fail.send()
    fail_elsewhere.send()
    worker_for(postgres_broker, worker_threads=1)
    for name in ("default", "other"):
        postgres_broker.join(name, timeout=10_000)
    postgres_broker.flush("default")
    assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)
    assert postgres_broker.get_queue_message_counts("other") == (0, 0, 1)
