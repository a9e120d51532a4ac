"""Single leases."""

from __future__ import annotations

from pgqueue.storage import leases, messages

from ..support.queue import Queue, done


def test_a_message_that_is_set_apart_is_held_by_a_lease_of_its_own(queue: Queue) -> None:
    queue.send("one", "two", "three")
    owner = queue.owner()
    one, two, three = queue.claimed(owner)
    place = leases.set_apart(queue.conn, queue.statements, message=two)
    assert place is not None
    lid, slot = place
    assert (slot, lid < 0) == (one.lease.slot, True)
    held = leases.find_leases(queue.conn, queue.statements, owner=owner)
    assert held == {one.lease.lid: (slot, {one.id, three.id}), lid: (slot, {two.id})}
    assert queue.settle([done(two)], closes=True) == set()
    assert queue.settle([done(one), done(three)], closes=True) == {one.id, three.id}
    two.lease.lid = lid
    assert queue.settle([done(two)], closes=True) == {two.id}
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def test_nothing_is_left_of_a_batch_whose_last_message_is_set_apart(queue: Queue) -> None:
    queue.send("one", "two")
    owner = queue.owner()
    one, two = queue.claimed(owner)
    queue.settle([done(one)])
    place = leases.set_apart(queue.conn, queue.statements, message=two)
    assert place is not None
    assert queue.values("SELECT lid FROM pgqueue.leases") == [place[0]]


def test_what_is_not_held_can_not_be_set_apart(queue: Queue) -> None:
    queue.send("one", "two")
    owner = queue.owner()
    one, two = queue.claimed(owner)
    queue.settle([done(one)])
    assert leases.set_apart(queue.conn, queue.statements, message=one) is None
    messages.reclaim(queue.conn, queue.statements, owner=owner, threads=1, max_attempts=3, error="lost")
    assert leases.set_apart(queue.conn, queue.statements, message=two) is None
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def test_what_was_set_apart_is_charged_first(queue: Queue) -> None:
    """It was running, whereas of a batch nobody knows which of its messages were."""
    queue.send("one", "two", "three")
    owner = queue.owner()
    *_, three = queue.claimed(owner)
    assert leases.set_apart(queue.conn, queue.statements, message=three) is not None
    messages.reclaim(queue.conn, queue.statements, owner=owner, threads=1, max_attempts=3, error="lost")
    again = queue.claimed(queue.owner())
    assert {message.payload: message.attempts for message in again} == {b"one": 0, b"two": 0, b"three": 1}
