"""Limits of queues and rate limits where workers and producers go through PgBouncer in transaction mode."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import GroupCallbacks
from pgqueue.operations import explaining
from pgqueue.rate_limits import BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from pgqueue.rate_limits.backends import PostgresBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.meter import Meter

pytestmark = pytest.mark.slow

#: Ten years in milliseconds: no interval ends while a test runs.
LONG = 10 * 365 * 86_400_000


@pytest.fixture
def pooled(pooled_url: str) -> Iterator[PostgresBroker]:
    """A broker that has no other way than the pooler."""
    broker = PostgresBroker(pooled_url)
    yield broker
    broker.close()


@pytest.fixture
def like(pooled_url: str, pooled: PostgresBroker) -> Iterator[Callable[[str | None], PostgresBroker]]:
    """Make further brokers with the same actors, whose workers have this URL of their own, or none."""
    made: list[PostgresBroker] = []

    def make(worker_url: str | None) -> PostgresBroker:
        made.append(PostgresBroker(pooled_url, worker_url=worker_url))
        made[-1].actors.update(pooled.actors)
        for name in pooled.queues:
            made[-1].declare_queue(name)
        return made[-1]

    yield make
    for broker in made:
        broker.close()


def test_no_more_of_a_queue_run_at_once_over_workers_behind_it_and_past_it(
    pooled: PostgresBroker,
    like: Callable[[str | None], PostgresBroker],
    database_url: str,
    worker_for: WorkerFor,
) -> None:
    meter = Meter()

    @pgqueue.actor(broker=pooled, queue_name="mail", max_retries=0)
    def letter() -> None:
        with meter.running():
            threading.Event().wait(0.002)

    assert pooled.limit_queue("mail", 3)
    letter.send_many([()] * 60)
    for broker in (pooled, like(None), like(database_url)):
        worker_for(broker, worker_threads=4)
    letter.send_many([()] * 60)
    pooled.join("mail", timeout=60_000)
    assert meter.ended == 120
    assert 1 < meter.most <= 3


def test_a_limit_is_changed_and_explained_behind_it(pooled: PostgresBroker, worker_for: WorkerFor) -> None:
    meter, gate = Meter(), threading.Event()

    @pgqueue.actor(broker=pooled, max_retries=0)
    def work() -> None:
        with meter.running():
            assert gate.wait(60.0)

    pooled.limit_queue("default", 1)
    messages = work.send_many([(), ()])
    worker_for(pooled, worker_threads=4)
    eventually(lambda: _assert(meter.now == 1), within_s=30.0)

    def look() -> None:
        told = [explaining.explain(explaining.find(pooled.database, one.message_id)) for one in messages]
        (waiting,) = (each for each in told if each.status == "queued")
        held = f"runs at most 1 at once, and 1 is held now: 1 by {socket.gethostname()}:{os.getpid()}."
        assert held in " ".join(waiting.because)

    eventually(look, within_s=30.0)
    assert meter.most == 1
    pooled.limit_queue("default", 2)
    eventually(lambda: _assert(meter.now == 2), within_s=30.0)
    gate.set()
    pooled.join("default", timeout=30_000)


def test_rate_limits_of_actors_hold_behind_it(
    pooled: PostgresBroker, like: Callable[[str | None], PostgresBroker], worker_for: WorkerFor
) -> None:
    backend, meter, granted = PostgresBackend(broker=pooled), Meter(), []
    at_once = ConcurrentRateLimiter(backend, "at-once", limit=2)
    limits = {
        "window": WindowRateLimiter(backend, "window", limit=3, window=3_600),
        "bucket": BucketRateLimiter(backend, "bucket", limit=3, bucket=LONG),
    }

    @pgqueue.actor(broker=pooled, max_retries=None, min_backoff=10, max_backoff=20)
    def work() -> None:
        with at_once.acquire(), meter.running():
            threading.Event().wait(0.002)

    @pgqueue.actor(broker=pooled, throws=pgqueue.RateLimitExceeded)
    def count(name: str) -> None:
        with limits[name].acquire():
            granted.append(name)

    work.send_many([()] * 20)
    count.send_many([(name,) for name in limits for _ in range(10)])
    for broker in (pooled, like(None)):
        worker_for(broker, worker_threads=4)
    pooled.join("default", timeout=60_000)
    assert meter.ended == 20
    assert meter.most <= 2
    assert sorted(granted) == ["bucket"] * 3 + ["window"] * 3
    # Every place was given back.
    with at_once.acquire(), at_once.acquire(), at_once.acquire(raise_on_failure=False) as third:
        assert not third


def test_a_groups_callback_is_sent_once_behind_it(pooled: PostgresBroker, worker_for: WorkerFor) -> None:
    ran: list[str] = []
    pooled.add_middleware(GroupCallbacks(PostgresBackend(broker=pooled)))
    note = pgqueue.actor(broker=pooled, actor_name="note")(ran.append)
    group = pgqueue.group([note.message("member") for _ in range(8)], broker=pooled)
    group.add_completion_callback(note.message("all are there"))
    group.run()
    worker_for(pooled, worker_threads=4)
    eventually(lambda: _assert("all are there" in ran), within_s=30.0)
    pooled.join("default", timeout=30_000)
    assert sorted(ran) == ["all are there"] + ["member"] * 8


def _assert(fact: object) -> None:
    assert fact
