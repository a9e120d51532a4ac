"""At most so many messages of a queue run at once, over all threads and processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pgqueue.actor import actor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.operations import limiting, ordering
from pgqueue.storage import queue_limits
from pgqueue.worker import Worker
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.meter import Meter
from tests.support.queue import Queue

#: Waits until nobody else claims for the queue.
CLAIMING = (
    "SELECT pg_advisory_xact_lock(hashtextextended('default', 'pgqueue.queue_limits'::regclass::oid::bigint))"
)


def _assert(fact: bool) -> None:
    assert fact


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def brokers(database_url: str, postgres_broker: PostgresBroker) -> Iterator[Callable[[], PostgresBroker]]:
    """Further brokers on the same database, whose workers are as strange to the first one's as other processes are."""
    made: list[PostgresBroker] = []

    def make() -> PostgresBroker:
        broker = PostgresBroker(database_url)
        broker.actors.update(postgres_broker.actors)
        for name in postgres_broker.queues:
            broker.declare_queue(name)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()


def obeyed(broker: PostgresBroker, *names: str) -> None:
    """Wait until the broker's worker knows which queues have a limit."""

    def look() -> None:
        assert broker._session is not None
        assert broker._session.standing.orders.limited == frozenset(names)

    eventually(look, within_s=30.0)


def test_limits_are_kept_told_and_lifted(postgres_broker: PostgresBroker) -> None:
    assert postgres_broker.get_queue_limits() == {}
    assert postgres_broker.limit_queue("mail", 3)
    assert not postgres_broker.limit_queue("mail.DQ", 3)
    assert postgres_broker.limit_queue("mail", 5)
    assert postgres_broker.get_queue_limits() == {"mail": 5}
    assert postgres_broker.limit_queue("mail", None)
    assert not postgres_broker.limit_queue("mail", None)


@pytest.mark.parametrize("nonsense", [0, -1, 1.5, "3", True, 2**31])
def test_what_is_no_limit_is_refused(postgres_broker: PostgresBroker, nonsense: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 1 to 2,147,483,647, not"):
        postgres_broker.limit_queue("mail", nonsense)
    with pytest.raises(ValueError, match="whole number"):
        limiting.limit(postgres_broker.database, "mail", nonsense)
    assert postgres_broker.get_queue_limits() == {}


@pytest.mark.slow
def test_no_more_run_at_once_over_all_workers_and_all_end(
    postgres_broker: PostgresBroker,
    brokers: Callable[[], PostgresBroker],
    worker_for: WorkerFor,
    meter: Meter,
) -> None:
    others: list[int] = []

    @actor(queue_name="mail", max_retries=0)
    def letter() -> None:
        with meter.running():
            threading.Event().wait(0.002)

    @actor
    def other() -> None:
        others.append(1)

    postgres_broker.limit_queue("mail", 3)
    letter.send_many([()] * 100)
    other.send_many([()] * 300)
    for broker in (postgres_broker, brokers(), brokers()):
        worker_for(broker, worker_threads=4)
    letter.send_many([()] * 100)
    postgres_broker.join("mail", timeout=60_000)
    postgres_broker.join("default", timeout=60_000)
    assert (meter.ended, len(others)) == (200, 300)
    assert meter.most <= 3
    assert meter.most > 1


def test_a_worker_takes_only_what_its_threads_can_begin(
    postgres_broker: PostgresBroker,
    brokers: Callable[[], PostgresBroker],
    worker_for: WorkerFor,
    meter: Meter,
) -> None:
    gate = threading.Event()

    @actor(max_retries=0)
    def work() -> None:
        with meter.running():
            assert gate.wait(60.0)

    postgres_broker.limit_queue("default", 6)
    work.send_many([()] * 20)
    worker_for(postgres_broker, worker_threads=2)
    eventually(lambda: _assert(meter.now == 2), within_s=30.0)
    other = brokers()
    worker_for(other, worker_threads=8)
    eventually(lambda: _assert(meter.now == 6), within_s=30.0)
    gate.set()
    postgres_broker.join("default", timeout=60_000)
    assert (meter.most, meter.ended) == (6, 20)


def test_a_place_that_becomes_free_is_taken_at_once_by_whoever_can(
    postgres_broker: PostgresBroker,
    brokers: Callable[[], PostgresBroker],
    worker_for: WorkerFor,
    meter: Meter,
) -> None:
    """The worker that has finished is quiet: another must hear of it."""
    gates = [threading.Event(), threading.Event()]

    @actor(max_retries=0)
    def work(number: int) -> None:
        with meter.running():
            assert gates[number].wait(60.0)

    postgres_broker.limit_queue("default", 1)
    worker_for(postgres_broker, worker_threads=1)
    work.send(0)
    eventually(lambda: _assert(meter.now == 1), within_s=30.0)
    assert postgres_broker._session is not None
    ordering.order(postgres_broker.database, "quiet", postgres_broker._session.process)
    worker_for(brokers(), worker_threads=1)
    work.send(1)
    gates[0].set()
    eventually(lambda: _assert((meter.ended, meter.now) == (1, 1)), within_s=30.0)
    gates[1].set()
    postgres_broker.join("default", timeout=30_000)
    assert meter.most == 1


def test_it_holds_for_what_was_claimed_ahead_of_it(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, meter: Meter, queue: Queue
) -> None:
    gate, first = threading.Event(), threading.Event()

    @actor(max_retries=0)
    def work(number: int) -> None:
        with meter.running():
            assert (gate if number else first).wait(60.0)

    worker_for(postgres_broker, worker_threads=2)
    work.send_many([(0,), (0,), *[(1,)] * 4])
    eventually(lambda: _assert(meter.now == 2), within_s=30.0)
    postgres_broker.limit_queue("default", 1)
    obeyed(postgres_broker, "default")
    # Four were claimed ahead, which go back; the two that run count, so that none begins with the first that ends.
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 4), within_s=30.0)
    meter.most = 0
    first.set()
    eventually(lambda: _assert((meter.ended, meter.now) == (2, 1)), within_s=30.0)
    gate.set()
    postgres_broker.join("default", timeout=30_000)
    assert (meter.most, meter.ended) == (1, 6)


@pytest.mark.slow
def test_it_is_changed_under_load(
    postgres_broker: PostgresBroker,
    brokers: Callable[[], PostgresBroker],
    worker_for: WorkerFor,
    meter: Meter,
) -> None:
    @actor(max_retries=0)
    def work() -> None:
        with meter.running():
            threading.Event().wait(0.005)

    postgres_broker.limit_queue("default", 2)
    work.send_many([()] * 1_000)
    workers: list[Worker] = [
        worker_for(broker, worker_threads=6) for broker in (postgres_broker, brokers(), brokers())
    ]
    assert len(workers) == 3

    def held() -> int:
        """What is held when nobody is claiming, who may go by the limit before."""
        with postgres_broker.database.connection() as conn, conn.transaction():
            conn.execute(CLAIMING)
            return queue_limits.held(conn, postgres_broker.database.statements, queue_name="default")

    def passes(most: int) -> None:
        """From now on, with what was claimed before at an end, never more; and so many are reached."""
        eventually(lambda: _assert(held() <= most), within_s=30.0)
        begun, meter.most = meter.ended, 0
        eventually(lambda: _assert(meter.ended >= begun + 30 and meter.most == most), within_s=30.0)

    passes(2)
    postgres_broker.limit_queue("default", 5)
    passes(5)
    postgres_broker.limit_queue("default", 1)
    passes(1)
    postgres_broker.limit_queue("default", None)
    postgres_broker.join("default", timeout=60_000)
    assert meter.ended == 1_000
    assert meter.most > 5
