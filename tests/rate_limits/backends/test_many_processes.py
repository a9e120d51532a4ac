"""Limits and barriers over many processes, under a held snapshot, and over the death of those who hold places."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgqueue.rate_limits import ConcurrentRateLimiter
from pgqueue.rate_limits.backends import PostgresBackend
from pgqueue.storage import rate_limits
from pgqueue.storage.database import Connection, Database
from pgqueue.storage.rate_limits import Interval
from tests.support.eventually import eventually
from tests.support.plans import buffers, explained
from tests.support.processes import Process
from tests.support.project import Project, wait_for_workers, worker_pids
from tests.support.queue import Queue, open_queue

LONG = 600_000


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with open_queue(database_url) as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    return Project(tmp_path, programs)


def run_in_many(number: int, source: str, *arguments: str) -> list[Any]:
    """Run a program in many processes at the same time; what each prints, as JSON."""
    started = [Process.script(source, *arguments, warm=True) for _ in range(number)]
    try:
        for process in started:
            assert process.wait(timeout_s=50) == 0, process.output
        return [json.loads(process.output.splitlines()[-1]) for process in started]
    finally:
        for process in started:
            process.close()


def most_at_a_time(stays: list[tuple[float, float]]) -> int:
    """How many stays overlap at most; one that ends when another begins does not overlap it."""
    steps = sorted([(begin, 1) for begin, _ in stays] + [(end, -1) for _, end in stays])
    inside = most = 0
    for _, step in steps:
        inside += step
        most = max(most, inside)
    return most


# -- never more than allowed


@pytest.mark.slow
def test_no_more_than_the_limit_are_inside_at_a_time(database_url: str) -> None:
    source = """
        import json, sys, threading, time
        from pgqueue.rate_limits import ConcurrentRateLimiter
        from pgqueue.rate_limits.backends import PostgresBackend

        backend = PostgresBackend(url=sys.argv[1])
        limiter = ConcurrentRateLimiter(backend, "key", limit=3)
        stays = []

        def try_for_a_while():
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                with limiter.acquire(raise_on_failure=False) as acquired:
                    if acquired:
                        begin = time.monotonic()
                        time.sleep(0.002)
                        stays.append((begin, time.monotonic()))

        threads = [threading.Thread(target=try_for_a_while) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        backend.close()
        print(json.dumps(stays))
    """
    stays = [tuple(stay) for stays in run_in_many(4, source, database_url) for stay in stays]
    assert len(stays) > 20
    # The clock is the machine's, so it can be compared.
    assert most_at_a_time(stays) <= 3


@pytest.mark.slow
def test_a_window_lets_no_more_through_than_its_limit(database_url: str) -> None:
    source = """
        import json, sys, time
        from pgqueue.rate_limits import WindowRateLimiter
        from pgqueue.rate_limits.backends import PostgresBackend

        backend = PostgresBackend(url=sys.argv[1])
        limiter = WindowRateLimiter(backend, "key", limit=5, window=60)
        passed = 0
        until = time.monotonic() + 1
        while time.monotonic() < until:
            with limiter.acquire(raise_on_failure=False) as acquired:
                passed += acquired
        backend.close()
        print(passed)
    """
    assert sum(run_in_many(4, source, database_url)) == 5


@pytest.mark.slow
def test_one_of_all_parties_is_the_last_and_all_wake_together(database_url: str) -> None:
    source = """
        import json, sys, time
        from pgqueue.rate_limits import Barrier
        from pgqueue.rate_limits.backends import PostgresBackend

        backend = PostgresBackend(url=sys.argv[1])
        last, awake = 0, []
        for number in range(20):
            barrier = Barrier(backend, f"barrier{number}")
            barrier.create(parties=4)
            assert barrier.wait(timeout=30_000)
            awake.append(time.monotonic())
            rest = Barrier(backend, f"rest{number}")
            rest.create(parties=4)
            last += rest.wait(block=False)
        backend.close()
        print(json.dumps([last, awake]))
    """
    lasts, awake = zip(*run_in_many(4, source, database_url), strict=True)
    assert sum(lasts) == 20
    # The clock is the machine's. It may be busy, but not for so long through all of twenty rounds.
    spread = [max(round_) - min(round_) for round_ in zip(*awake, strict=True)]
    assert min(spread) < 0.5, spread


# -- a held snapshot


def cost_of_a_change(conn: Connection, database: Database) -> int:
    def change() -> bool:
        return rate_limits.change(
            conn, database.statements, key="pgqueue-rate-limits:key", amount=0, maximum=9, ttl=None
        )

    with conn.transaction():
        rate_limits.lock(conn, database.statements, keys=["pgqueue-rate-limits:key"])
        changed, plan = explained(conn, change)
    assert changed
    return buffers(plan)


@pytest.mark.parametrize("acquisitions", [800, pytest.param(5000, marks=pytest.mark.long)])
def test_a_limit_costs_the_same_however_often_it_was_acquired_under_a_held_snapshot(
    queue: Queue, acquisitions: int
) -> None:
    backend = PostgresBackend(url=queue.database.url)
    limiter = ConcurrentRateLimiter(backend, "key", limit=2)
    conn = queue.connect(plan_cache_mode="force_generic_plan")
    with limiter.acquire():
        pass
    holder = queue.connect()
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT pg_current_xact_id(), count(*) FROM pg_class")
    costs = [cost_of_a_change(conn, queue.database)]
    for _ in range(4):
        for _ in range(acquisitions // 4):
            with limiter.acquire():
                pass
        costs.append(cost_of_a_change(conn, queue.database))
    holder.execute("COMMIT")
    backend.close()
    assert max(costs) <= costs[0] + 8, costs


def test_a_bucket_is_as_flat(queue: Queue) -> None:
    conn = queue.connect(plan_cache_mode="force_generic_plan")
    holder = queue.connect()
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT pg_current_xact_id(), count(*) FROM pg_class")
    ttl = timedelta(milliseconds=LONG)

    def count() -> bool:
        return rate_limits.count(
            conn, queue.statements, key="key@", interval=Interval(LONG, unit_ms=1), maximum=9999, ttl=ttl
        )

    costs = []
    for number in range(1000):
        with conn.transaction():
            rate_limits.lock(conn, queue.statements, keys=["key@"])
            if number % 250:
                assert count()
            else:
                counted, plan = explained(conn, count)
                assert counted
                costs.append(buffers(plan))
    holder.execute("COMMIT")
    assert max(costs) <= costs[0] + 8, costs


def test_a_groups_barrier_is_as_flat(queue: Queue) -> None:
    conn = queue.connect(plan_cache_mode="force_generic_plan")
    holder = queue.connect()
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT pg_current_xact_id(), count(*) FROM pg_class")
    with conn.transaction():
        rate_limits.lock(conn, queue.statements, keys=["barrier"])
        rate_limits.add(conn, queue.statements, key="barrier", value=10_000, ttl=timedelta(milliseconds=LONG))

    def arrive() -> set[str]:
        return rate_limits.arrive(conn, queue.statements, parties={"barrier": 2}, ttls_ms={"barrier": LONG})

    costs = []
    for number in range(1000):
        with conn.transaction():
            if number % 250:
                assert arrive() == set()
            else:
                through, plan = explained(conn, arrive)
                assert through == set()
                costs.append(buffers(plan))
    holder.execute("COMMIT")
    assert max(costs) <= costs[0] + 8, costs


# -- lost holders

APP = """
    import os, signal, sys, time, pgqueue
    from pgqueue.brokers.postgres import PostgresBroker
    from pgqueue.errors import RateLimitExceeded
    from pgqueue.rate_limits import ConcurrentRateLimiter
    from pgqueue.rate_limits.backends import PostgresBackend

    broker = PostgresBroker()
    pgqueue.set_broker(broker)
    broker.add_middleware(pgqueue.middleware.AsyncIO())
    limiter = ConcurrentRateLimiter(PostgresBackend(broker=broker), "mutex", limit=1)

    @pgqueue.actor(max_retries=0)
    def hold_for_ever():
        with limiter.acquire():
            print("holding", os.getpid(), flush=True)
            time.sleep(600)

    @pgqueue.actor(max_retries=0)
    async def hold_in_a_coroutine():
        with limiter.acquire():
            print("holding", os.getpid(), flush=True)
            time.sleep(600)
"""


def places(url: str) -> list[tuple[int, int]]:
    """How many places are noted, and what the limit's number says."""
    with psycopg.connect(url) as conn:
        return conn.execute(
            "SELECT (SELECT count(*) FROM pgqueue.rate_limit_places), "
            "(SELECT sum(value) FROM pgqueue.rate_limits WHERE expires_at > now())"
        ).fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hold_for_ever", "hold_in_a_coroutine"])
def test_the_place_of_a_killed_worker_is_free_when_its_messages_run_elsewhere(
    project: Project, database_url: str, name: str
) -> None:
    project.write("app.py", APP)
    environment: dict[str, str | None] = {"PGQUEUE_URL": database_url}
    workers = project.start_workers(env=environment)
    send = f"import sys; sys.path.insert(0, '.'); import app; app.{name}.send(); app.broker.close()"
    assert project.start_python("-c", send, env=environment).wait() == 0
    workers.wait_for("holding")
    assert places(database_url) == [(1, 1)]
    (pid,) = worker_pids(workers)
    os.kill(pid, signal.SIGKILL)
    wait_for_workers(workers, 2)

    # Its replacement runs the message again, which gets the only place at once.
    def held_again() -> None:
        assert workers.output.count("holding") == 2, workers.output

    eventually(held_again, within_s=10)
    assert places(database_url) == [(1, 1)]
    workers.send(signal.SIGKILL)


def test_a_lost_owners_places_are_freed_and_nobody_elses(queue: Queue) -> None:
    lost, alive = queue.owner(), queue.owner()
    backend = PostgresBackend(url=queue.database.url)
    key = "pgqueue-rate-limits:key"
    with queue.database.transaction() as conn:
        for owner in (lost, lost, alive):
            rate_limits.lock(conn, queue.statements, keys=[key])
            assert backend._change(conn, key, 1, maximum=3, ttl=LONG)
            rate_limits.take_place(conn, queue.statements, owner=owner, key=key)
    assert not backend.incr("key", 1, 3, LONG)
    with queue.database.transaction() as conn:
        assert rate_limits.free_places(conn, queue.statements, owner=lost) == 2
        assert rate_limits.free_places(conn, queue.statements, owner=lost) == 0
    assert backend.incr("key", 2, 3, LONG)
    assert not backend.incr("key", 1, 3, LONG)
    backend.close()


def test_a_place_that_was_freed_is_not_given_back_once_more(queue: Queue) -> None:
    owner = queue.owner()
    backend = PostgresBackend(url=queue.database.url)
    key = "pgqueue-rate-limits:key"
    assert backend.incr("key", 2, 2, LONG)
    with queue.database.transaction() as conn:
        place = rate_limits.take_place(conn, queue.statements, owner=owner, key=key)
    with queue.database.transaction() as conn:
        rate_limits.free_places(conn, queue.statements, owner=owner)
    backend.release("key", place, LONG)
    assert backend.incr("key", 1, 2, LONG)
    assert not backend.incr("key", 1, 2, LONG)
    backend.close()
