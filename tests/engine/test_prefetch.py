"""How far ahead is claimed."""

import pytest
from hypothesis import given, strategies as st

from pgqueue.engine import prefetch
from pgqueue.engine.prefetch import AHEAD_S, MAX_AHEAD, MAX_CLAIM, AdaptivePrefetch, FixedPrefetch


class Clock:
    """Stands for the module time."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@given(most=st.integers(-1, 5000), in_flight=st.integers(0, 6000))
def test_a_fixed_prefetch_is_never_exceeded_and_always_used(most: int, in_flight: int) -> None:
    room = FixedPrefetch(most).room(in_flight)
    assert in_flight + max(room, 0) <= max(most, 1, in_flight)
    assert room > 0 or in_flight >= max(most, 1)
    assert room <= MAX_CLAIM


@given(
    threads=st.integers(1, 64),
    history=st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(1, 5000)), max_size=30),
    in_flight=st.integers(0, 5000),
)
def test_an_adaptive_prefetch_keeps_its_bounds(
    threads: int, history: list[tuple[float, int]], in_flight: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(prefetch, "time", clock)
        policy = AdaptivePrefetch(threads)
        for elapsed, number in history:
            clock.now += elapsed
            policy.settled(number)
        room = policy.room(in_flight)
    assert room <= MAX_CLAIM
    assert in_flight + max(room, 0) <= max(MAX_AHEAD, in_flight)
    # No thread goes idle while there is work: below one message a thread there is always room.
    assert room > 0 or in_flight >= threads
    # Beside a flood a message of a quiet queue for each thread, but not without an end.
    assert 0 <= policy.more(in_flight) <= threads
    assert policy.more(MAX_AHEAD + MAX_CLAIM) == 0


@given(rate=st.integers(1, 10_000), threads=st.integers(1, 16))
def test_at_a_steady_rate_about_a_tenth_of_a_second_is_claimed_ahead(rate: int, threads: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(prefetch, "time", clock)
        policy = AdaptivePrefetch(threads)
        for _ in range(50):
            clock.now += AHEAD_S
            policy.settled(max(1, int(rate * AHEAD_S)))
        most = policy.room(0)
    expected = min(max(int(rate * AHEAD_S), 2 * threads), MAX_AHEAD)
    assert most == pytest.approx(min(expected, MAX_CLAIM), abs=1)


@pytest.mark.parametrize(
    ("rate", "full", "claimed"),
    [(1_000, 75, 25), (2_000, 168, 32), (5_000, 450, 50), (40_000, 2_700, MAX_CLAIM)],
)
def test_claims_are_a_hundredth_of_a_second_apart_unless_they_were_small(
    rate: int, full: int, claimed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(prefetch, "time", clock)
        policy = AdaptivePrefetch(threads=2)
        for _ in range(5):
            clock.now += AHEAD_S
            policy.settled(int(rate * AHEAD_S))
    assert (policy.room(full + 1), policy.room(full)) == (0, claimed)
