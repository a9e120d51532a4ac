"""So many at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier as ThreadBarrier

import pytest

from pgqueue.rate_limits import ConcurrentRateLimiter, RateLimiterBackend
from tests.support.eventually import eventually


def test_no_more_than_the_limit_are_let_in_at_a_time(backend: RateLimiterBackend) -> None:
    limiter = ConcurrentRateLimiter(backend, "key", limit=3)
    met = ThreadBarrier(8)

    def visit(_: int) -> bool:
        with limiter.acquire(raise_on_failure=False) as acquired:
            met.wait(timeout=10)
        return acquired

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(visit, range(8))) == 3


def test_a_place_is_free_again_after_its_release(backend: RateLimiterBackend) -> None:
    limiter = ConcurrentRateLimiter(backend, "key", limit=2)
    for _ in range(5):
        with limiter.acquire(), limiter.acquire():
            pass


def test_the_places_of_crashed_holders_are_free_after_the_ttl(backend: RateLimiterBackend) -> None:
    limiter = ConcurrentRateLimiter(backend, "key", ttl=40)
    crashed = ExitStack()
    crashed.enter_context(limiter.acquire())

    def free() -> None:
        with limiter.acquire(raise_on_failure=False) as acquired:
            assert acquired

    eventually(free)
    crashed.close()


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_is_at_least_one(backend: RateLimiterBackend, number: int) -> None:
    with pytest.raises(AssertionError, match=f"limit must be positive, not {number}"):
        ConcurrentRateLimiter(backend, "key", limit=number)
