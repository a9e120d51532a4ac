"""So many per interval of the clock."""

from __future__ import annotations

import pytest

from pgqueue.rate_limits import (
    BucketRateLimiter,
    RateLimiter,
    RateLimiterBackend,
    WindowRateLimiter,
    backend as backends,
)
from pgqueue.rate_limits.backends import StubBackend
from pgqueue.rate_limits.backends.postgres import PostgresBackend
from tests.support.eventually import eventually

#: Milliseconds of ten days, in which no test gets into the next interval.
LONG = 864_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock in milliseconds, to be set by the test."""
    now = [1_700_000_000_000]
    monkeypatch.setattr(backends, "current_millis", lambda: now[0])
    return now


def acquired(limiter: RateLimiter) -> bool:
    with limiter.acquire(raise_on_failure=False) as was_acquired:
        return was_acquired


def test_no_more_than_the_limit_pass_in_an_interval(stub_limits: StubBackend, clock: list[int]) -> None:
    limiter = BucketRateLimiter(stub_limits, "key", limit=2, bucket=500)
    assert [acquired(limiter) for _ in range(3)] == [True, True, False]
    clock[0] += 499
    assert not acquired(limiter)
    clock[0] += 1
    assert [acquired(limiter) for _ in range(3)] == [True, True, False]


def test_after_the_limit_nobody_passes_until_the_interval_is_over(backend: RateLimiterBackend) -> None:
    long, short = (BucketRateLimiter(backend, "key", limit=2, bucket=width) for width in (LONG, 300))
    assert [acquired(long) for _ in range(3)] == [True, True, False]
    passed = [acquired(short) for _ in range(3)]
    assert passed == [True, True, False] or passed[-1]  # or the next interval had begun

    def one_more_passes() -> None:
        assert acquired(short)

    eventually(one_more_passes)
    assert not acquired(long)


def test_limits_of_different_keys_and_kinds_are_each_their_own(backend: RateLimiterBackend) -> None:
    for key in ("key", "other", "x" * 600):
        assert acquired(BucketRateLimiter(backend, key, bucket=LONG))
        assert acquired(WindowRateLimiter(backend, key, window=600))
        assert not acquired(BucketRateLimiter(backend, key, bucket=LONG))
        assert not acquired(WindowRateLimiter(backend, key, window=600))


def test_on_the_server_its_clock_decides_and_no_worker_s(
    postgres_limits: PostgresBackend, clock: list[int]
) -> None:
    limiter = BucketRateLimiter(postgres_limits, "key", limit=2, bucket=LONG)
    assert [acquired(limiter) for _ in range(3)] == [True, True, False]
    clock[0] += 3 * LONG
    assert not acquired(limiter)


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_is_at_least_one(backend: RateLimiterBackend, number: int) -> None:
    with pytest.raises(AssertionError, match=f"limit must be positive, not {number}"):
        BucketRateLimiter(backend, "key", limit=number)
    with pytest.raises(AssertionError, match=f"bucket must be positive, not {number}"):
        BucketRateLimiter(backend, "key", bucket=number)
