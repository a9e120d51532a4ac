"""Pauses before a lost connection is tried again grow, within bounds, and are not those of the process beside."""

import pytest

from pgqueue.brokers._asking import ATTEMPTS, RETRY_S, pause_after
from pgqueue.engine.backoff import Backoff
from pgqueue.errors import ConnectionClosed

FIRST_S, MOST_S = 0.05, 2.0

#: The longest that each pause may be; half of it is the shortest.
LONGEST_S = [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]

ASKERS_LONGEST_S = [RETRY_S * attempt for attempt in range(ATTEMPTS - 1)]


def pauses() -> list[float]:
    backoff = Backoff(first_s=FIRST_S, most_s=MOST_S)
    return [backoff.next_s() for _ in LONGEST_S]


def askers_pauses() -> list[float]:
    error = ConnectionClosed("gone")
    return [pause_after(error, attempt, what="nothing was done") for attempt in range(ATTEMPTS - 1)]


def assert_within(found: list[float], longest: list[float]) -> None:
    assert len(found) == len(longest)
    for pause_s, most_s in zip(found, longest, strict=True):
        assert most_s / 2 <= pause_s <= most_s


def spread(sequences: list[list[float]], index: int, longest_s: float) -> float:
    """Which part of the span from half to whole a pause takes in, over many sequences."""
    found = [sequence[index] for sequence in sequences]
    return (max(found) - min(found)) / (longest_s / 2)


class TestReconnecting:
    def test_pauses_double_and_are_shortened_by_half_at_most(self) -> None:
        for _ in range(200):
            assert_within(pauses(), LONGEST_S)

    def test_no_two_processes_come_at_the_same_time(self) -> None:
        first, second = pauses(), pauses()
        assert first[0] == second[0] == 0.0  # a lost connection is tried again at once
        assert all(one != other for one, other in zip(first[1:], second[1:], strict=True))

    def test_a_fleet_spreads_over_the_whole_span(self) -> None:
        sequences = [pauses() for _ in range(200)]
        assert min(spread(sequences, n, most) for n, most in enumerate(LONGEST_S) if most) > 0.8

    def test_a_success_begins_anew(self) -> None:
        backoff = Backoff(first_s=FIRST_S, most_s=MOST_S)
        for _ in range(6):
            backoff.next_s()
        backoff.reset()
        assert_within([backoff.next_s() for _ in range(3)], LONGEST_S[:3])


class TestAsking:
    def test_pauses_grow_and_are_shortened_by_half_at_most(self) -> None:
        for _ in range(200):
            assert_within(askers_pauses(), ASKERS_LONGEST_S)

    def test_no_two_askers_come_at_the_same_time(self) -> None:
        first, second = askers_pauses(), askers_pauses()
        assert all(one != other for one, other in zip(first[1:], second[1:], strict=True))
        sequences = [askers_pauses() for _ in range(200)]
        assert min(spread(sequences, n, most) for n, most in enumerate(ASKERS_LONGEST_S) if most) > 0.8

    def test_after_the_last_attempt_there_is_no_pause(self) -> None:
        with pytest.raises(ConnectionClosed, match="nothing was done, after 6 attempts: gone"):
            pause_after(ConnectionClosed("gone"), ATTEMPTS - 1, what="nothing was done")
