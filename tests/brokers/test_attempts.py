"""Each failed attempt of a message is kept with what it failed of; one that is done leaves nothing but its outcome."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import pgqueue
from pgqueue.brokers._failures import KEPT_IN_A_ROW, LONGEST_ERROR, LONGEST_TRACEBACK, is_kept, shortened
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import Retries
from pgqueue.storage.attempts import FailedAttempt, find_attempts
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue, open_queue


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with open_queue(database_url) as opened:
        yield opened


def attempts_of(queue: Queue, message_id: str) -> list[FailedAttempt]:
    """The oldest first."""
    found = find_attempts(queue.conn, queue.statements, message_ids=[message_id])
    return found.get(message_id, [])[::-1]


def ended(queue: Queue) -> None:
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1


def test_attempts_that_were_retried_stay_with_error_traceback_and_worker(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    words = iter(["one", "two"])

    @pgqueue.actor(min_backoff=1, max_backoff=1)
    def flaky() -> None:
        if (word := next(words, None)) is not None:
            raise ValueError(f"number {word}")

    message = flaky.send()
    worker_for(postgres_broker)
    eventually(lambda: ended(queue), within_s=30.0)

    first, second = attempts_of(queue, message.message_id)
    assert [first.error, second.error] == ["ValueError: number one", "ValueError: number two"]
    assert [(each.kind, each.retries, each.actor_name) for each in (first, second)] == [
        ("r", 0, "flaky"),
        ("r", 1, "flaky"),
    ]
    assert first.traceback is not None
    assert "in flaky" in first.traceback
    assert "number two" not in first.traceback
    assert first.worker == f"{socket.gethostname()}:{os.getpid()}"
    assert first.failed_at < second.failed_at
    assert first.run_ms is not None
    assert first.wait_ms is not None


def test_a_message_that_is_done_at_once_leaves_no_attempt(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    @pgqueue.actor
    def fine() -> None:
        assert True

    message = fine.send()
    worker_for(postgres_broker)
    eventually(lambda: ended(queue), within_s=30.0)
    assert attempts_of(queue, message.message_id) == []


def test_an_error_that_ends_it_has_its_own_traceback_not_that_of_an_earlier_attempt(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    errors: Iterator[Exception] = iter([ValueError("earlier"), KeyError("last")])

    @pgqueue.actor(min_backoff=1, max_backoff=1, throws=KeyError)
    def flaky() -> None:
        raise next(errors)

    message = flaky.send()
    worker_for(postgres_broker)
    eventually(lambda: ended(queue), within_s=30.0)

    retried, last = attempts_of(queue, message.message_id)
    assert [(retried.kind, retried.retries), (last.kind, last.retries)] == [("r", 0), ("f", 1)]
    assert last.error == "KeyError: 'last'"
    for text in (last.traceback, queue.value("SELECT traceback FROM pgqueue.dead_letters")):
        assert text is not None
        assert text.rstrip().endswith("KeyError: 'last'")
        assert "earlier" not in text


class FailsThem(pgqueue.Middleware):
    """What an application may have in the place of Retries."""

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        message.fail()


def test_without_retries_and_with_text_that_postgres_can_not_keep(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    others = [each for each in postgres_broker.middleware if not isinstance(each, Retries)]
    postgres_broker.middleware[:] = [*others, FailsThem()]

    @pgqueue.actor
    def failing() -> None:
        raise ValueError("nul \0 and surrogate \ud800" + LONGEST_TRACEBACK * "x")

    message = failing.send_with_options(retries="nonsense")
    worker_for(postgres_broker)
    eventually(lambda: ended(queue), within_s=30.0)
    (attempt,) = attempts_of(queue, message.message_id)
    assert (attempt.kind, attempt.retries) == ("f", 0)
    assert attempt.error is not None
    assert attempt.error.startswith("ValueError: nul ␀ and surrogate ?xxx")
    assert len(attempt.error) < LONGEST_ERROR + 100
    assert attempt.traceback is not None
    assert "characters are left out" in attempt.traceback
    assert LONGEST_TRACEBACK <= len(attempt.traceback) < LONGEST_TRACEBACK + 100


def test_of_a_message_that_fails_for_ever_ever_fewer_attempts_are_kept() -> None:
    kept = [number for number in range(1, 5_000) if is_kept(number - 1)]
    assert kept == [*range(1, KEPT_IN_A_ROW + 1), 64, 128, 256, 512, 1024, 2048, 4096]


def test_the_middle_of_a_long_text_is_left_out() -> None:
    assert shortened("short", 5) == "short"
    assert shortened("aab" + 10 * "x" + "cddd", 8) == "aa\n[… 9 characters are left out …]\nxxcddd"
