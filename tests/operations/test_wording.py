"""Spans and numbers in words."""

from datetime import timedelta

import pytest

from pgqueue.operations.wording import ago, more, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"), (0.0124, "12 ms"), (1, "1 s"), (1.26, "1.3 s"), (59, "59 s"), (60, "1 min"), (125, "2 min 5 s"),
        (3_600, "1 h"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h"), (-5, "-5 s"),
    ],
)  # fmt: skip
def test_a_span_has_its_two_greatest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_clock_that_is_ahead_is_now() -> None:
    assert ago(timedelta(seconds=-2)) == "0 ms ago"
    assert ago(timedelta(seconds=61)) == "1 min 1 s ago"


def test_numbers_say_where_counting_has_stopped() -> None:
    assert [more(1, "worker"), more(1_234, "message"), more(0, "slot")] == [
        "1 worker",
        "1,234 messages",
        "0 slots",
    ]
    assert more(10_000, "message", most=10_000) == "10,000 or more messages"
