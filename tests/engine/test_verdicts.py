"""Messages that arrive at a barrier with their end: counted once, and what follows is sent in the same commit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from pgqueue.engine.verdicts import write_verdicts
from pgqueue.storage import rate_limits
from pgqueue.storage.messages import Arrival, ClaimedMessage, NewMessage, Verdict

from ..support.queue import Queue, done

Arriving = Callable[..., Verdict]


@pytest.fixture
def arriving(queue: Queue) -> Arriving:
    """Make verdicts on messages that arrive at the barrier ``key``; its last party sends the message ``through``."""

    def make(message: ClaimedMessage, **fields: object) -> Verdict:
        verdict = done(message, **fields)
        verdict.arrivals = [Arrival("key", 60_000, lambda: [queue.new("through")])]
        return verdict

    return make


def create(queue: Queue, parties: int) -> None:
    with queue.conn.transaction():
        rate_limits.lock(queue.conn, queue.statements, keys=["key"])
        rate_limits.add(queue.conn, queue.statements, key="key", value=parties, ttl=timedelta(minutes=1))


def write(queue: Queue, *verdicts: Verdict) -> set[int]:
    owner = verdicts[0].message.lease.owner
    return write_verdicts(queue.conn, queue.database, owner=owner, verdicts=verdicts)


def claimed(queue: Queue, number: int) -> list[ClaimedMessage]:
    queue.send(*["child"] * number)
    return queue.claimed(queue.owner(), limit=number)


@pytest.mark.parametrize("groups", [[5], [2, 3], [1, 1, 1, 1, 1], [4, 1]])
def test_the_last_of_a_group_sends_what_follows_once(
    queue: Queue, arriving: Arriving, groups: list[int]
) -> None:
    create(queue, 5)
    children = iter(claimed(queue, 5))
    for number, size in enumerate(groups):
        assert queue.ready() == []
        write(queue, *[arriving(next(children)) for _ in range(size)])
        assert queue.ready() == (["through"] if number == len(groups) - 1 else [])


def test_a_message_that_is_settled_twice_counts_once(queue: Queue, arriving: Arriving) -> None:
    create(queue, 2)
    first, second = claimed(queue, 2)
    assert write(queue, arriving(first)) == {first.id}
    assert write(queue, arriving(first)) == set()
    assert queue.ready() == []
    write(queue, arriving(second))
    assert queue.ready() == ["through"]


def test_a_message_that_failed_does_not_count(queue: Queue, arriving: Arriving) -> None:
    create(queue, 1)
    failed, well = claimed(queue, 2)
    write(queue, arriving(failed, status="f", reason="failed"))
    assert queue.ready() == []
    write(queue, arriving(well))
    assert queue.ready() == ["through"]


def test_whoever_comes_too_late_sends_nothing_more(queue: Queue, arriving: Arriving) -> None:
    create(queue, 1)
    for child in claimed(queue, 3):
        write(queue, arriving(child))
    assert queue.ready() == ["through"]


def test_a_barrier_that_was_never_made_lets_the_first_through_and_nobody_else(
    queue: Queue, arriving: Arriving
) -> None:
    for child in claimed(queue, 3):
        write(queue, arriving(child))
    assert queue.ready() == ["through"]


def test_all_is_undone_if_what_follows_can_not_be_had(queue: Queue, arriving: Arriving) -> None:
    create(queue, 1)
    (child,) = claimed(queue, 1)
    verdict = arriving(child)

    def fail() -> list[NewMessage]:
        raise RuntimeError("the database went away")

    verdict.arrivals = [Arrival("key", 60_000, fail)]
    with pytest.raises(RuntimeError):
        write(queue, verdict)
    assert write(queue, arriving(child)) == {child.id}
    assert queue.ready() == ["through"]


def test_two_processes_that_arrive_at_the_same_barriers_do_not_block_each_other(queue: Queue) -> None:
    """Each locks them in the same order, whatever the order of its messages."""
    keys = [f"key{number}" for number in range(20)]
    first, second = claimed(queue, 2)
    for message, order in ((first, keys), (second, keys[::-1])):
        verdict = done(message)
        verdict.arrivals = [Arrival(key, 60_000, list) for key in order]
        assert write(queue, verdict) == {message.id}
