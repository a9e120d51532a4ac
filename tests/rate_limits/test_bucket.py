"""So many per interval of the clock."""

from __future__ import annotations

import pytest

from pgqueue.rate_limits import BucketRateLimiter, RateLimiterBackend, bucket


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock in milliseconds, to be set by the test."""
    now = [1_700_000_000_000]
    monkeypatch.setattr(bucket, "current_millis", lambda: now[0])
    return now


def acquired(limiter: BucketRateLimiter) -> bool:
    with limiter.acquire(raise_on_failure=False) as was_acquired:
        return was_acquired


def test_no_more_than_the_limit_pass_in_an_interval(backend: RateLimiterBackend, clock: list[int]) -> None:
    limiter = BucketRateLimiter(backend, "key", limit=2, bucket=500)
    assert [acquired(limiter) for _ in range(3)] == [True, True, False]
    clock[0] += 499
    assert not acquired(limiter)
    clock[0] += 1
    assert [acquired(limiter) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_is_at_least_one(backend: RateLimiterBackend, number: int) -> None:
    with pytest.raises(AssertionError, match=f"limit must be positive, not {number}"):
        BucketRateLimiter(backend, "key", limit=number)
    with pytest.raises(AssertionError, match=f"bucket must be positive, not {number}"):
        BucketRateLimiter(backend, "key", bucket=number)
