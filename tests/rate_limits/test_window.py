"""So many in any stretch of seconds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st

from pgqueue.rate_limits import RateLimiterBackend, WindowRateLimiter, backend as backends
from pgqueue.rate_limits.backends import StubBackend
from pgqueue.rate_limits.backends.postgres import PostgresBackend


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock in milliseconds, to be set by the test."""
    now = [1_700_000_000_000]
    monkeypatch.setattr(backends, "current_millis", lambda: now[0])
    return now


def acquired(limiter: WindowRateLimiter) -> bool:
    with limiter.acquire(raise_on_failure=False) as was_acquired:
        return was_acquired


def test_no_more_than_the_limit_pass_in_a_window(stub_limits: StubBackend, clock: list[int]) -> None:
    limiter = WindowRateLimiter(stub_limits, "key", limit=2, window=3)
    passed = []
    for _ in range(8):
        passed.append(acquired(limiter))
        clock[0] += 1000
    assert passed == [True, True, False, True, True, False, True, True]


def test_on_the_server_its_clock_decides_and_no_worker_s(
    postgres_limits: PostgresBackend, clock: list[int]
) -> None:
    limiter = WindowRateLimiter(postgres_limits, "key", limit=2, window=600)
    assert [acquired(limiter) for _ in range(3)] == [True, True, False]
    clock[0] += 3_600_000
    assert not acquired(limiter)


@given(
    steps=st.lists(st.integers(min_value=0, max_value=2500), max_size=40),
    limit=st.integers(min_value=1, max_value=3),
    length=st.integers(min_value=1, max_value=4),
)
def test_whenever_they_come_no_window_has_more_than_the_limit(
    steps: list[int], limit: int, length: int
) -> None:
    now = 1_700_000_000_000
    limiter = WindowRateLimiter(StubBackend(clock=lambda: now), "key", limit=limit, window=length)
    passed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "current_millis", lambda: now)
        for step in steps:
            now += step
            if acquired(limiter):
                passed.append(now // 1000)
    for second in passed:
        assert sum(second <= other < second + length for other in passed) <= limit


@pytest.mark.slow
def test_eight_threads_get_the_limit_of_each_window(backend: RateLimiterBackend) -> None:
    limiter = WindowRateLimiter(backend, "key", limit=2, window=1)
    began = time.monotonic()

    def hammer(_: int) -> int:
        passed = 0
        while time.monotonic() < began + 3:
            passed += acquired(limiter)
            time.sleep(0.001)  # more would only keep others from the processor
        return passed

    with ThreadPoolExecutor(8) as pool:
        passed = sum(pool.map(hammer, range(8)))
    # Windows are whole seconds of the clock: three seconds, or what they became on a busy machine, touch one more.
    assert 6 <= passed <= 2 * (int(time.monotonic() - began) + 2)


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_is_at_least_one(backend: RateLimiterBackend, number: int) -> None:
    with pytest.raises(AssertionError, match=f"limit must be positive, not {number}"):
        WindowRateLimiter(backend, "key", limit=number)
    with pytest.raises(AssertionError, match=f"window must be positive, not {number}"):
        WindowRateLimiter(backend, "key", window=number)
