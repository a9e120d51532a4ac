"""How far ahead is claimed."""

import pytest
from hypothesis import given, strategies as st

from pgqueue.engine import prefetch
from pgqueue.engine.prefetch import AHEAD_S, MAX_AHEAD, MAX_CLAIM, PARTS, AdaptivePrefetch, FixedPrefetch


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
            policy.claimed(min(in_flight, MAX_AHEAD))
        room = policy.room(in_flight)
    assert room <= MAX_CLAIM
    assert in_flight + max(room, 0) <= max(MAX_AHEAD, in_flight)
    # No thread goes idle while there is work: below one message a thread there is always room.
    assert room > 0 or in_flight >= threads
    # Beside a flood a message of a quiet queue for each thread, but not without an end.
    assert 0 <= policy.more(in_flight) <= threads
    assert policy.more(MAX_AHEAD + MAX_CLAIM) == 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(prefetch, "time", made)
    return made


def at_rates(clock: Clock, *rates: int, threads: int = 2) -> AdaptivePrefetch:
    """A policy that has seen so many messages a second, each for a part of the time that is claimed ahead."""
    policy = AdaptivePrefetch(threads)
    for rate in rates:
        clock.now += AHEAD_S / PARTS * 1.001
        policy.settled(round(rate * AHEAD_S / PARTS))
    return policy


STEADY = (2_000,) * PARTS


def test_a_moment_of_few_messages_halves_nothing(clock: Clock) -> None:
    """Or else it would take as long as half of them do until anything is claimed, however urgent."""
    assert at_rates(clock, *STEADY).room(0) == pytest.approx(200, abs=1)
    assert at_rates(clock, *STEADY, 0).room(0) == pytest.approx(150, abs=1)
    assert at_rates(clock, *STEADY, 0, 0, 0, 0).room(0) == pytest.approx(25, abs=1)


def test_it_rises_at_once(clock: Clock) -> None:
    assert at_rates(clock, 200, 200, 200, 200, 2_000).room(0) == pytest.approx(200, abs=1)


def test_one_long_job_counts_for_the_time_that_it_takes(clock: Clock) -> None:
    policy = at_rates(clock, *STEADY)
    for expected in (100, 50):
        clock.now += 10.0
        policy.settled(1)
        assert policy.room(0) == pytest.approx(expected, abs=1)


def test_for_quiet_queues_what_was_claimed_is_right_whatever_the_rate_has_become(clock: Clock) -> None:
    """Or else none of their messages would be claimed until half of the flood's are done that are ahead."""
    policy = at_rates(clock, *STEADY, threads=8)
    policy.claimed(200)
    for _ in range(8):
        clock.now += 1.0
        policy.settled(1)
    assert policy.room(200) <= 0
    assert [policy.more(in_flight) for in_flight in (190, 200, 204, 208, 250)] == [8, 8, 4, 0, 0]
    policy.claimed(20)
    assert [policy.more(in_flight) for in_flight in (20, 25, 28, 200)] == [8, 3, 0, 0]


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
