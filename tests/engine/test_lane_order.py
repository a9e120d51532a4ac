"""In which order a claim goes through lanes."""

from hypothesis import given, strategies as st

from pgqueue.engine.lane_order import in_order
from pgqueue.storage.lanes import Lane


@given(
    priorities=st.lists(st.integers(-2, 2), max_size=12),
    turn=st.integers(0, 50),
    last=st.sets(st.integers(0, 11)),
)
def test_priority_comes_first_then_those_that_have_little_then_the_turn(
    priorities: list[int], turn: int, last: set[int]
) -> None:
    lanes = [Lane(number, f"queue-{number}", priority) for number, priority in enumerate(priorities)]
    ordered = in_order(lanes, turn, last=last)
    assert sorted(ordered) == list(range(len(lanes)))
    ranks = [(priorities[number], number in last) for number in ordered]
    assert ranks == sorted(ranks)
    for priority in set(priorities):
        ids = [number for number, each in enumerate(priorities) if each == priority]
        first = ids[turn % len(ids)]
        assert (
            next(number for number in ordered if (number in last) == (first in last) and number in ids)
            == first
        )


def test_each_of_equals_is_first_in_its_turn() -> None:
    lanes = [Lane(number, f"queue-{number}", 0) for number in range(5)]
    assert [in_order(lanes, turn, last=())[0] for turn in range(5)] == [0, 1, 2, 3, 4]
