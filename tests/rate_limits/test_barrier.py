"""A point that all must reach."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, strategies as st

from pgqueue.rate_limits import Barrier, RateLimiterBackend
from pgqueue.rate_limits.backends import StubBackend


def test_a_barrier_can_be_created_once(backend: RateLimiterBackend) -> None:
    barrier = Barrier(backend, "key")
    assert barrier.create(parties=2)
    assert not barrier.create(parties=10)


def test_only_the_last_party_is_let_through_without_waiting(backend: RateLimiterBackend) -> None:
    barrier = Barrier(backend, "key")
    assert barrier.create(parties=3)
    assert [barrier.wait(block=False) for _ in range(3)] == [False, False, True]


@given(parties=st.integers(min_value=1, max_value=50))
def test_exactly_the_last_of_any_number_is_let_through(parties: int) -> None:
    barrier = Barrier(StubBackend(), "key")
    barrier.create(parties)
    assert [barrier.wait(block=False) for _ in range(parties)] == [False] * (parties - 1) + [True]


def test_one_of_many_threads_is_the_last(backend: RateLimiterBackend) -> None:
    barrier = Barrier(backend, "key")
    barrier.create(parties=24)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: barrier.wait(block=False), range(24))) == 1


def test_nobody_waits_at_a_barrier_that_was_never_created(backend: RateLimiterBackend) -> None:
    assert Barrier(backend, "key").wait(timeout=10_000)


def test_waiting_ends_with_the_timeout(backend: RateLimiterBackend) -> None:
    barrier = Barrier(backend, "key")
    barrier.create(parties=2)
    assert not barrier.wait(timeout=50)


def test_those_who_wait_wake_within_ten_milliseconds_of_each_other(backend: RateLimiterBackend) -> None:
    def waits_apart(key: str) -> float:
        barrier = Barrier(backend, key)
        barrier.create(parties=3)

        def wait(_: int) -> float:
            assert barrier.wait(timeout=10_000)
            return time.monotonic()

        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(wait, i) for i in range(2)]
            last = pool.submit(barrier.wait)
            assert last.result(timeout=10)
            first, second = (waiter.result(timeout=10) for waiter in waiting)
        return abs(first - second)

    # The best of a few, as the machine may be busy with other things.
    assert any(waits_apart(f"key{i}") < 0.01 for i in range(30))
