"""What every backend of rate limiters must do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pgqueue.rate_limits import RateLimiterBackend
from pgqueue.rate_limits.backends import StubBackend
from tests.support.eventually import eventually

#: Milliseconds that no test lasts for.
LONG = 60_000


def test_a_key_can_be_added_once(backend: RateLimiterBackend) -> None:
    assert backend.add("key", 1, LONG) is True
    assert backend.add("key", 2, LONG) is False
    assert backend.add("other", 2, LONG) is True


def test_a_key_can_be_added_again_when_its_time_is_over(backend: RateLimiterBackend) -> None:
    assert backend.add("key", 1, 30)

    def added() -> None:
        assert backend.add("key", 2, LONG)

    eventually(added)
    assert backend.incr("key", 1, 3, LONG)
    assert not backend.incr("key", 1, 3, LONG)


def test_a_missing_key_counts_as_zero(backend: RateLimiterBackend) -> None:
    assert backend.incr("up", 2, 2, LONG)
    assert not backend.incr("up", 1, 2, LONG)
    assert backend.decr("down", 2, -2, LONG)
    assert not backend.decr("down", 1, -2, LONG)


def test_what_would_be_above_the_maximum_changes_nothing(backend: RateLimiterBackend) -> None:
    assert backend.add("key", 1, LONG)
    assert not backend.incr("key", 3, 3, LONG)
    assert backend.incr("key", 2, 3, LONG)


def test_what_would_be_below_the_minimum_changes_nothing(backend: RateLimiterBackend) -> None:
    assert backend.add("key", 3, LONG)
    assert not backend.decr("key", 3, 1, LONG)
    assert backend.decr("key", 2, 1, LONG)
    assert not backend.decr("key", 1, 1, LONG)


def test_a_missing_key_stays_missing_when_it_is_refused(backend: RateLimiterBackend) -> None:
    assert not backend.incr("up", 2, 1, LONG)
    assert not backend.decr("down", 2, -1, LONG)
    assert backend.add("up", 1, LONG)
    assert backend.add("down", 1, LONG)


def test_an_amount_above_the_maximum_fits_a_key_below_zero(backend: RateLimiterBackend) -> None:
    assert backend.decr("key", 5, -5, LONG)
    assert backend.incr("key", 6, 1, LONG)
    assert not backend.incr("key", 1, 1, LONG)


def test_a_change_renews_the_time_of_its_key(backend: RateLimiterBackend) -> None:
    assert backend.add("key", 1, 30)
    assert backend.incr("key", 1, 2, LONG)
    assert backend.add("short", 1, 30)

    def short_is_over() -> None:
        assert backend.add("short", 1, LONG)

    eventually(short_is_over)
    assert not backend.add("key", 1, LONG)


def test_the_sum_over_several_keys_is_limited(backend: RateLimiterBackend) -> None:
    def keys() -> list[str]:
        return ["w@1", "w@2", "w@3"]

    assert backend.incr_and_sum("w@1", keys, 1, 3, LONG)
    assert backend.incr_and_sum("w@2", keys, 2, 3, LONG)
    assert not backend.incr_and_sum("w@3", keys, 1, 3, LONG)
    assert backend.incr_and_sum("w@3", lambda: ["w@2", "w@3"], 1, 3, LONG)


def test_the_own_value_is_limited_though_it_is_not_in_the_sum(backend: RateLimiterBackend) -> None:
    assert backend.add("own", 3, LONG)
    assert not backend.incr_and_sum("own", list, 1, 3, LONG)


def test_only_one_of_many_threads_adds_a_key(backend: RateLimiterBackend) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda _: backend.add("key", 1, LONG), range(24)))
    assert sum(added) == 1


def test_many_threads_together_stay_within_the_maximum(backend: RateLimiterBackend) -> None:
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda _: backend.incr("key", 1, 10, LONG), range(40)))
    assert sum(granted) == 10


def test_many_threads_together_stay_within_the_sum(backend: RateLimiterBackend) -> None:
    keys = [f"w@{second}" for second in range(4)]
    with ThreadPoolExecutor(8) as pool:
        granted = list(
            pool.map(lambda i: backend.incr_and_sum(f"w@{i % 4}", lambda: keys, 1, 10, LONG), range(40))
        )
    assert sum(granted) == 10


def test_an_event_that_was_published_is_not_waited_for(backend: RateLimiterBackend) -> None:
    backend.wait_notify("key", LONG)
    assert backend.wait("key", 0)
    assert backend.wait("key", None)


def test_waiting_ends_with_the_timeout(backend: RateLimiterBackend) -> None:
    backend.wait_notify("other", LONG)
    assert not backend.wait("key", 50)


def test_an_event_is_forgotten_when_its_time_is_over(backend: RateLimiterBackend) -> None:
    backend.wait_notify("key", 30)

    def forgotten() -> None:
        assert not backend.wait("key", 0)

    eventually(forgotten)


def test_an_event_does_not_take_the_place_of_a_number(backend: RateLimiterBackend) -> None:
    backend.wait_notify("key", LONG)
    assert backend.add("key", 1, LONG)


def test_all_who_wait_are_woken(backend: RateLimiterBackend) -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(backend.wait, "key", 10_000) for _ in range(4)]
        backend.wait_notify("key", LONG)
        assert all(waiter.result(timeout=5) for waiter in waiting)


def test_keys_may_be_long_and_hold_any_character(backend: RateLimiterBackend) -> None:
    for key in ("x" * 10_000, "nul\0", "ünïcode\ud800"):
        assert backend.add(key, 1, LONG)
        assert not backend.add(key, 1, LONG)
    assert backend.add("x" * 10_001, 1, LONG)


def test_a_backend_need_not_be_able_to_wait() -> None:
    class Simple(StubBackend):
        wait = RateLimiterBackend.wait
        wait_notify = RateLimiterBackend.wait_notify

    backend = Simple()
    backend.wait_notify("key", LONG)
    with pytest.raises(NotImplementedError):
        backend.wait("key", 1)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("add", ("key", 1, LONG)),
        ("incr", ("key", 1, 1, LONG)),
        ("decr", ("key", 1, 0, LONG)),
        ("incr_and_sum", ("key", list, 1, 1, LONG)),
    ],
)
def test_a_backend_that_lacks_a_method_says_which(method: str, arguments: tuple[object, ...]) -> None:
    class Half(RateLimiterBackend):
        pass

    with pytest.raises(NotImplementedError, match=rf"Half does not implement {method}\(\)"):
        getattr(Half(), method)(*arguments)
