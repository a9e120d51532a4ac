"""What comes into a queue is derived from its depth and from what ended; where that tells nothing, nothing is said."""

from __future__ import annotations

from pgqueue.dashboard.arrivals import Arrivals, arrivals
from pgqueue.dashboard.drawing import spark
from pgqueue.dashboard.history import Look
from pgqueue.operations.overview import MOST_COUNTED, Overview, QueueState
from pgqueue.operations.pace import Pace
from tests.support.eventually import eventually
from tests.support.queue import Queue

from .conftest import Visitor


def look(at_s: float, sent: int = 0, **ready: int) -> Look:
    queues = [
        QueueState(name, depth, 0, 0, 0, 0, None, paused=False, workers=1) for name, depth in ready.items()
    ]
    return Look(at_s, sent, Overview(queues, [], []))


def scheduled(at_s: float, number: int, ready: int) -> Look:
    return Look(
        at_s, 0, Overview([QueueState("a", ready, 0, number, 0, 0, None, paused=False, workers=1)], [], [])
    )


def ended(*numbers: float, width_s: float = 30.0) -> Pace:
    """What ended of queue ``a``: half of it well, half of it not."""
    half = [number / 2 for number in numbers]
    window_s = width_s * len(numbers)
    return Pace(1_000.0, window_s, width_s, exact=True, ended={"a": {"done": half, "failed": half}})


def test_nothing_is_known_of_what_nobody_has_seen() -> None:
    assert arrivals([], ended(1, 2)) == {}
    assert arrivals([look(100, a=5)], ended(1, 2)) == {"a": Arrivals(None, [None, None])}


def test_what_ended_while_the_depth_stayed_has_come_in() -> None:
    came = arrivals([look(100, a=5), look(130, a=5), look(160, a=5)], ended(60, 60))["a"]
    assert came == Arrivals(2.0, [60.0, 60.0])


def test_what_the_depth_grew_by_has_come_in() -> None:
    looks = [look(100 + second, a=second) for second in range(0, 61, 5)]
    assert arrivals(looks, ended(0, 0))["a"] == Arrivals(1.0, [30.0, 30.0])
    assert arrivals([look(100, a=90), look(160, a=0)], ended(0, 90))["a"].rate == 0.0


def test_a_queue_that_has_just_appeared_was_empty() -> None:
    came = arrivals([look(100, b=0), look(160, b=0, a=6)], ended(0, 0))
    assert came["a"].rate == 0.1


def test_gaps_between_looks_are_gaps() -> None:
    looks = [look(100, a=0), look(105, a=0), look(190, a=0)]
    assert arrivals(looks, ended(0, 0, 0))["a"].numbers == [None, None, None]


def test_of_what_is_too_deep_to_be_counted_the_rest_of_all_is_known() -> None:
    looks = [look(100, a=0, b=MOST_COUNTED), look(110, 500, a=100, b=MOST_COUNTED)]
    came = arrivals(looks, ended(0, 0))
    assert (came["a"].rate, came["b"].rate) == (10.0, 40.0)
    looks = [look(100, a=MOST_COUNTED, b=MOST_COUNTED), look(110, 500, a=MOST_COUNTED, b=MOST_COUNTED)]
    assert {name: each.rate for name, each in arrivals(looks, ended(0, 0)).items()} == {"a": None, "b": None}


def test_a_retry_that_waits_is_no_new_message() -> None:
    assert arrivals([scheduled(100, 0, 60), scheduled(160, 60, 0)], ended(0, 0))["a"].rate == 0.0
    most = MOST_COUNTED
    assert arrivals([scheduled(100, most, 0), scheduled(160, most, 60)], ended(0, 0))["a"].rate == 1.0


def test_a_line_leaves_out_what_is_not_known() -> None:
    assert spark([None, None]) == ""
    assert spark([]) == ""
    drawn = spark([None, 0.0, 2.0], width=20, height=10)
    assert 'polyline points="10.0,8.5 20.0,1.5"' in drawn
    assert '<polygon points="10.0,10 10.0,8.5 20.0,1.5 20.0,10"/>' in drawn
    assert "polyline" in spark([1.0])


def test_the_page_shows_the_rate_in(visitor: Visitor, queue: Queue) -> None:
    queue.send("before")
    assert visitor.json("/queues")["queues"][0]["rate_in"] is None
    queue.send(*["x"] * 50)

    def seen() -> None:
        (shown,) = visitor.json("/queues")["queues"]
        assert shown["rate_in"]
        assert len(shown["arrived"]) == len(shown["ended"]) == 30

    eventually(seen, within_s=30.0)
    assert "is derived" in visitor.get("/queues").text
