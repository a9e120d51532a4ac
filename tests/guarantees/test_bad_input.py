"""An undecodable message is dead-lettered with its bytes; what can't be sent is refused, and nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest

import pgqueue
from pgqueue.actor import Actor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import PgQueueError
from pgqueue.storage import dead_letters

from ..conftest import WorkerFor
from ..support.queue import Queue

GARBAGE = [b"", b"\0\xff", b"{", b"[1, 2]", b'{"queue_name": "default"}', b"null", b'{"a": 1}', b'"text"']


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def note(postgres_broker: PostgresBroker, ran: list[str]) -> Actor[[Any], None]:
    @pgqueue.actor
    def note(text: Any) -> None:
        ran.append(text)

    return note


def test_garbage_is_kept_and_stops_nobody(
    postgres_broker: PostgresBroker,
    queue: Queue,
    note: Actor[[Any], None],
    ran: list[str],
    worker_for: WorkerFor,
) -> None:
    worker_for(postgres_broker, worker_threads=1)
    for number, payload in enumerate(GARBAGE):
        queue.send(payload)
        note.send(str(number))
    postgres_broker.join("default", timeout=10_000)
    assert ran == [str(number) for number in range(len(GARBAGE))]
    letters = dead_letters.list_dead_letters(queue.conn, queue.statements, queue_name="default")
    assert sorted(bytes(letter.payload) for letter in letters) == sorted(GARBAGE)
    assert {letter.reason for letter in letters} == {"undecodable"}
    assert all(letter.error for letter in letters)


@pytest.mark.parametrize(
    "options",
    [
        {"args": (object(),)},
        {"args": ("x",), "priority": "high"},
        {"args": ("x",), "priority": True},
        {"args": ("x",), "priority": 2**40},
        {"args": ("x",), "delay": 10**18},
        {"args": ("x",), "eta": 1e300},
        {"args": ("x",), "delay": float("nan")},
        {"args": ("x",), "eta": float("inf")},
    ],
    ids=[
        "argument",
        "priority",
        "priority that is no number",
        "large priority",
        "delay",
        "eta",
        "delay that is no number",
        "endless eta",
    ],
)
def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(
    postgres_broker: PostgresBroker, queue: Queue, note: Actor[[Any], None], options: dict[str, Any]
) -> None:
    with pytest.raises((PgQueueError, ValueError, TypeError)):
        note.send_with_options(**options)
    delay = options.get("delay")
    bad = note.message_with_options(**{name: value for name, value in options.items() if name != "delay"})
    with pytest.raises((PgQueueError, ValueError, TypeError)):
        postgres_broker.enqueue_many([note.message("good"), bad], delay=delay)
    assert queue.value("SELECT count(*) FROM pgqueue.messages") == 0
    assert queue.value("SELECT count(*) FROM pgqueue.scheduled") == 0
    note.send("good")
    assert queue.value("SELECT count(*) FROM pgqueue.messages") == 1


@pytest.mark.parametrize(
    "text", ["a NUL: \0", "half a pair: \ud83d", "🦆" * 10_000], ids=["NUL", "surrogate", "long"]
)
def test_any_argument_that_can_be_encoded_arrives_as_it_was(
    postgres_broker: PostgresBroker,
    note: Actor[[Any], None],
    ran: list[str],
    worker_for: WorkerFor,
    text: str,
) -> None:
    note.send(text)
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert ran == [text]


def test_a_name_that_cannot_be_stored_is_refused(
    postgres_broker: PostgresBroker, note: Actor[[Any], None]
) -> None:
    for change in ({"message_id": "a\0b"}, {"actor_name": "a\0b"}, {"message_id": "\ud800"}):
        with pytest.raises((PgQueueError, ValueError)):
            postgres_broker.enqueue(note.message("x").copy(**change))
    assert postgres_broker.get_queue_message_counts("default")[0] == 0


@pytest.mark.parametrize("eta", [None, "soon", True, float("nan"), -(10**12), 0])
def test_an_eta_that_is_no_instant_to_wait_for_is_now(
    postgres_broker: PostgresBroker, queue: Queue, note: Actor[[Any], None], eta: Any
) -> None:
    postgres_broker.enqueue(note.message_with_options(args=("x",), eta=eta))
    assert queue.value("SELECT count(*) FROM pgqueue.ready") == 1
