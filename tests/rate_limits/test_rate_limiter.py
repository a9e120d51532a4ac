"""What all rate limiters share."""

from __future__ import annotations

import pytest

from pgqueue.errors import RateLimitExceeded
from pgqueue.rate_limits import ConcurrentRateLimiter, RateLimiter
from pgqueue.rate_limits.backends import StubBackend


@pytest.fixture
def limiter(stub_limits: StubBackend) -> ConcurrentRateLimiter:
    return ConcurrentRateLimiter(stub_limits, "key")


def test_who_is_let_through_is_told_so(limiter: RateLimiter) -> None:
    with limiter.acquire() as acquired:
        assert acquired is True


def test_who_is_not_let_through_gets_an_error(limiter: RateLimiter) -> None:
    with limiter.acquire(), pytest.raises(RateLimitExceeded, match="'key'"), limiter.acquire():
        raise AssertionError("two at a time")


def test_who_would_rather_be_told_gets_no_error(limiter: RateLimiter) -> None:
    with limiter.acquire(), limiter.acquire(raise_on_failure=False) as acquired:
        assert acquired is False


def test_only_who_was_let_through_releases(limiter: RateLimiter) -> None:
    with limiter.acquire():
        with limiter.acquire(raise_on_failure=False):
            pass
        with limiter.acquire(raise_on_failure=False) as acquired:
            assert not acquired


def test_an_error_inside_releases(limiter: RateLimiter) -> None:
    with pytest.raises(ZeroDivisionError), limiter.acquire():
        raise ZeroDivisionError
    with limiter.acquire() as acquired:
        assert acquired


def test_limiters_of_the_same_key_share_their_limit(stub_limits: StubBackend) -> None:
    with ConcurrentRateLimiter(stub_limits, "key").acquire():
        with ConcurrentRateLimiter(stub_limits, "key").acquire(raise_on_failure=False) as acquired:
            assert not acquired
        with ConcurrentRateLimiter(stub_limits, "other").acquire() as acquired:
            assert acquired


def test_the_base_class_limits_nothing(stub_limits: StubBackend) -> None:
    with pytest.raises(NotImplementedError), RateLimiter(stub_limits, "key").acquire():
        raise AssertionError
