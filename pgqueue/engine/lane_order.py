"""The order in which a claim goes through lanes."""

from collections.abc import Collection, Iterable
from itertools import groupby

from ..storage.lanes import Lane

__all__ = ["in_order", "urgency"]


def in_order(lanes: Iterable[Lane], turn: int, *, last: Collection[int]) -> list[int]:
    """The ids of lanes by priority; those of equal priority take turns at being first, so that none starves another.

    Parameters:
      turn: Which turn it is: any number, one more each time.
      last: Lanes that come after the others of their priority, those of which the claim before did not see the end.
        The others have little, and it is in each claim so; a flood in another queue has the rest of that.
    """
    ordered: list[int] = []
    for _, equals in groupby(sorted(lanes, key=urgency), key=urgency):
        ids = [lane.id for lane in equals]
        start = turn % len(ids)
        ordered += sorted(ids[start:] + ids[:start], key=last.__contains__)
    return ordered


def urgency(lane: Lane) -> int:
    """What lanes are sorted by, most urgent first."""
    return lane.priority
