"""Retry, pipeline step, callback, group completion and result commit with the ack, or not at all."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.composition import group, pipeline
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.storage import messages

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.queue import Queue


class Breaks:
    """Breaks the connection of every ``each``-th settlement, before or after its statement has been run."""

    def __init__(self, *, each: int) -> None:
        self._settle = messages.settle
        self._each = each
        self._calls = 0
        self.broken = 0

    def __call__(self, conn: Any, *args: Any, **kwargs: Any) -> set[int]:
        self._calls += 1
        if self._calls % self._each:
            return self._settle(conn, *args, **kwargs)
        self.broken += 1
        if self.broken % 2:
            self._settle(conn, *args, **kwargs)
        conn.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Breaks:
    made = Breaks(each=2)
    monkeypatch.setattr(messages, "settle", made)
    return made


@pytest.fixture
def broker(postgres_broker: PostgresBroker) -> PostgresBroker:
    postgres_broker.add_middleware(GroupCallbacks(LimiterBackend(broker=postgres_broker)))
    postgres_broker.add_middleware(
        Results(backend=PostgresBackend(broker=postgres_broker), store_results=True)
    )
    return postgres_broker


def finished(broker: PostgresBroker) -> None:
    def look() -> None:
        assert broker.get_queue_message_counts("default")[:2] == (0, 0)

    eventually(look, within_s=30.0)


def test_a_message_that_is_retried_runs_as_often_as_it_fails_and_once_more(
    broker: PostgresBroker, queue: Queue, breaks: Breaks, worker_for: WorkerFor
) -> None:
    ran: list[int] = []

    @pgqueue.actor(max_retries=5, min_backoff=1, max_backoff=1)
    def work(number: int) -> int:
        ran.append(number)
        if ran.count(number) < 4:
            raise RuntimeError("not yet")
        return number

    sent = [work.send(number) for number in range(10)]
    worker_for(broker, worker_threads=2)
    finished(broker)
    assert breaks.broken
    assert sorted(ran) == sorted(list(range(10)) * 4)
    assert [message.get_result() for message in sent] == list(range(10))
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 10


def test_every_step_of_a_pipeline_runs_once(
    broker: PostgresBroker, breaks: Breaks, worker_for: WorkerFor
) -> None:
    ran: list[tuple[str, int]] = []

    @pgqueue.actor
    def add(total: int, name: str) -> int:
        ran.append((name, total))
        return total + 1

    @pgqueue.actor
    def follow(message: dict[str, Any], result: int) -> None:
        ran.append(("callback", result))

    worker_for(broker, worker_threads=2)
    for number in range(8):
        last = add.message_with_options(kwargs={"name": f"b{number}"}, on_success="follow")
        pipeline([add.message(number, f"a{number}"), last]).run()
    finished(broker)
    assert breaks.broken
    assert sorted(ran) == sorted(
        [(f"a{number}", number) for number in range(8)]
        + [(f"b{number}", number + 1) for number in range(8)]
        + [("callback", number + 2) for number in range(8)]
    )


def test_a_group_completes_once(
    broker: PostgresBroker, queue: Queue, breaks: Breaks, worker_for: WorkerFor
) -> None:
    ran: list[int] = []
    completed: list[str] = []

    @pgqueue.actor
    def work(number: int) -> int:
        ran.append(number)
        return number

    @pgqueue.actor
    def complete(name: str) -> None:
        completed.append(name)

    worker_for(broker, worker_threads=2)
    for number in range(4):
        members = group([work.message(10 * number + n) for n in range(5)])
        members.add_completion_callback(complete.message(f"group {number}"))
        members.run()
    finished(broker)
    assert breaks.broken
    assert sorted(completed) == [f"group {number}" for number in range(4)]
    assert set(ran) == {10 * number + n for number in range(4) for n in range(5)}
    assert queue.value("SELECT count(DISTINCT id) = count(*) FROM pgqueue.outcomes")


def test_nothing_of_a_message_that_was_lost_is_left(
    broker: PostgresBroker, queue: Queue, worker_for: WorkerFor
) -> None:
    """Its lease is taken away between its run and its ack."""

    @pgqueue.actor(on_success="follow")
    def work() -> str:
        (owner,) = queue.values("SELECT owner FROM pgqueue.leases")
        if not queue.value("SELECT max(attempts) FROM pgqueue.messages"):
            messages.reclaim(
                queue.conn, queue.statements, owner=owner, threads=1, max_attempts=3, error="lost"
            )
            return "of nobody"
        return "of the holder"

    @pgqueue.actor
    def follow(message: dict[str, Any], result: str) -> None:
        results.append(result)

    results: list[str] = []
    message = work.send()
    worker_for(broker, worker_threads=1)
    finished(broker)
    assert results == ["of the holder"]
    assert message.get_result() == "of the holder"
    assert queue.values("SELECT count(*) FROM pgqueue.results WHERE value LIKE '%%nobody%%'::bytea") == [0]
