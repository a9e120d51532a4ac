"""What a caller says of a lease that is not his, or not any more as he knows it, changes nothing and loses nobody."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from pgqueue.storage import leases, messages
from pgqueue.storage.database import Connection

from ..support.eventually import eventually
from ..support.queue import Queue, done


def held(queue: Queue) -> list[tuple[object, ...]]:
    return queue.conn.execute("SELECT lid, owner, ids, done FROM pgqueue.leases ORDER BY lid").fetchall()


def test_a_lease_of_the_same_number_under_another_name_is_not_the_callers(queue: Queue) -> None:
    """A crash of the server undoes claims and the numbers that they drew: they are given out again."""
    queue.send("one", "two")
    one, two = queue.claimed(owner := queue.owner())
    queue.conn.execute("UPDATE pgqueue.leases SET owner = %s", (uuid4(),))
    before = held(queue)
    assert queue.settle([done(one)], closes=True) == set()
    assert queue.settle([done(one), done(two)], closes=True) == set()
    assert messages.requeue(queue.conn, queue.statements, owner=owner, messages=[one, two]) == 0
    assert not leases.hold(queue.conn, queue.statements, message=one)
    assert leases.set_apart(queue.conn, queue.statements, message=two) is None
    assert held(queue) == before
    assert queue.ready() == []
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 0


def test_what_is_settled_is_not_held_any_more(queue: Queue) -> None:
    queue.send("one", "two")
    one, two = queue.claimed(queue.owner())
    queue.settle([done(one)])
    assert not leases.hold(queue.conn, queue.statements, message=one)
    assert leases.hold(queue.conn, queue.statements, message=two)


def test_who_is_set_apart_unknown_to_a_group_takes_nobody_along(queue: Queue) -> None:
    """The answer had been lost with its connection; his end comes in one group with that of others."""
    queue.send("one", "two", "three", "four")
    one, two, three, four = queue.claimed(queue.owner())
    place = leases.set_apart(queue.conn, queue.statements, message=two)
    assert place is not None
    assert queue.settle([done(one), done(two)], closes=True) == set()
    assert queue.settle([done(one)], closes=True) == {one.id}
    assert queue.settle([done(three)], closes=True) == {three.id}
    assert queue.settle([done(four)], closes=True) == {four.id}
    two.lease.lid = place[0]
    assert queue.settle([done(two)], closes=True) == {two.id}
    assert held(queue) == []
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 4


def test_what_a_lost_connection_commits_later_is_not_written_again_with_others(queue: Queue) -> None:
    """What it sent is under way still; its messages come again in a group that begins with another."""
    queue.send("one", "two", "three", "four", "five")
    one, two, three, four, five = queue.claimed(queue.owner())
    lost = queue.connect()
    lost.execute("BEGIN")
    assert queue.settle([done(one), done(two)], closes=True, conn=lost) == {one.id, two.id}
    again = queue.connect()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(queue.settle, [done(three), done(one)], closes=True, conn=again)
        eventually(lambda: waits(queue, again), within_s=30.0)
        lost.execute("COMMIT")
        assert answer.result(30.0) == set()
    assert queue.settle([done(three)], closes=True) == {three.id}
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 1
    assert queue.settle([done(four)], closes=True) == {four.id}
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 1
    assert queue.settle([done(five)], closes=True) == {five.id}
    assert held(queue) == []
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 5


def test_what_a_lost_connection_begins_late_is_refused_if_a_part_of_it_is_settled(queue: Queue) -> None:
    """It waited for a lock, or its process stood still, while its messages were sent again one by one, the last first.

    It was noted a second time; the next ack ended the lease then, with the last message in it, which was nowhere.
    """
    queue.send("one", "two", "three", "four")
    one, two, three, four = queue.claimed(queue.owner())
    assert queue.settle([done(two)], closes=True) == {two.id}
    assert queue.settle([done(one), done(two)], closes=True) == set()
    assert queue.settle([done(one)], closes=True) == {one.id}
    assert queue.settle([done(three)], closes=True) == {three.id}
    assert queue.values("SELECT ids[4] FROM pgqueue.leases WHERE cardinality(done) = 3") == [four.id]
    assert queue.settle([done(four)], closes=True) == {four.id}
    assert held(queue) == []
    assert sorted(queue.values("SELECT id FROM pgqueue.outcomes")) == [one.id, two.id, three.id, four.id]


def test_a_lease_is_not_ended_by_what_is_settled_already(queue: Queue) -> None:
    """As many as it holds have ended, but one of them twice."""
    queue.send("one", "two", "three")
    one, two, three = queue.claimed(queue.owner())
    assert queue.settle([done(two)], closes=True) == {two.id}
    assert queue.settle([done(one), done(two)], closes=True) == set()
    assert queue.settle([done(one), done(three)], closes=True) == {one.id, three.id}
    assert held(queue) == []


def test_what_a_lease_does_not_hold_is_not_noted_on_it(queue: Queue) -> None:
    """Nor does it end the lease, which ends when as many are done as it has."""
    queue.send("one", "two")
    one, two = queue.claimed(queue.owner())
    before = held(queue)
    stranger = one._replace(id=two.id + 1)
    assert queue.settle([done(stranger)], closes=True) == set()
    assert queue.settle([done(one), done(stranger)], closes=True) == set()
    assert held(queue) == before
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 0
    assert queue.settle([done(one), done(two)], closes=True) == {one.id, two.id}


def waits(queue: Queue, conn: Connection) -> None:
    query = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    assert queue.value(query, conn.info.backend_pid) == "Lock"


def test_a_message_whose_ack_commits_meanwhile_is_not_given_back(queue: Queue) -> None:
    queue.send("one", "two")
    one, two = queue.claimed(owner := queue.owner())
    acker, giver = queue.connect(), queue.connect()
    acker.execute("BEGIN")
    queue.settle([done(one)], conn=acker)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(messages.requeue, giver, queue.statements, owner=owner, messages=[one, two])
        eventually(lambda: waits(queue, giver), within_s=30.0)
        acker.execute("COMMIT")
        assert answer.result(30.0) == 1
    assert queue.ready() == ["two"]


@pytest.mark.parametrize("acked", ["the message", "one beside it", "the last beside it"])
def test_whose_lease_changes_while_it_is_set_apart_stays_where_it_is(queue: Queue, acked: str) -> None:
    """Else it is noted as done on its old lease, which would end too early, or never."""
    queue.send("one", "two", "three")
    one, two, three = queue.claimed(owner := queue.owner())
    if acked == "the last beside it":
        queue.settle([done(one)])
    acker, other = queue.connect(), queue.connect()
    acker.execute("BEGIN")
    ended = {"the message": two, "one beside it": one, "the last beside it": three}[acked]
    assert queue.settle([done(ended)], closes=True, conn=acker) == {ended.id}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(leases.set_apart, other, queue.statements, message=two)
        eventually(lambda: waits(queue, other), within_s=30.0)
        acker.execute("COMMIT")
        place = answer.result(30.0)
    kept = {
        lid: left for lid, (_, left) in leases.find_leases(queue.conn, queue.statements, owner=owner).items()
    }
    if acked == "one beside it":
        assert place is not None
        assert kept == {two.lease.lid: {three.id}, place[0]: {two.id}}
    else:
        assert place is None
        assert kept == {two.lease.lid: {"the message": {one.id, three.id}}.get(acked, {two.id})}


def test_a_group_whose_message_is_set_apart_meanwhile_takes_nobody_along(queue: Queue) -> None:
    """It ends the lease, but not before it has looked again: what it knew of the lease has turned while it waited."""
    queue.send("one", "two")
    one, two = queue.claimed(owner := queue.owner())
    other, acker = queue.connect(), queue.connect()
    other.execute("BEGIN")
    place = leases.set_apart(other, queue.statements, message=two)
    assert place is not None
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(queue.settle, [done(one), done(two)], closes=True, conn=acker)
        eventually(lambda: waits(queue, acker), within_s=30.0)
        other.execute("COMMIT")
        assert answer.result(30.0) == set()
    assert queue.settle([done(one)], closes=True) == {one.id}
    found = leases.find_leases(queue.conn, queue.statements, owner=owner)
    assert {lid: left for lid, (_, left) in found.items()} == {place[0]: {two.id}}


def test_a_lease_of_which_the_rest_ends_meanwhile_is_not_left_behind(queue: Queue) -> None:
    """With all of it noted as done nobody would come and end it."""
    queue.send("one", "two")
    one, two = queue.claimed(queue.owner())
    other, acker = queue.connect(), queue.connect()
    other.execute("BEGIN")
    assert queue.settle([done(two)], closes=True, conn=other) == {two.id}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(queue.settle, [done(one)], closes=True, conn=acker)
        eventually(lambda: waits(queue, acker), within_s=30.0)
        other.execute("COMMIT")
        assert answer.result(30.0) == set()
    assert queue.settle([done(one)], closes=True) == {one.id}
    assert held(queue) == []


def test_a_lease_that_is_held_in_a_transaction_can_not_be_reclaimed(queue: Queue) -> None:
    queue.send("one")
    (one,) = queue.claimed(owner := queue.owner())
    holder, reaper = queue.connect(), queue.connect(lock_timeout="50ms")
    with holder.transaction():
        assert leases.hold(holder, queue.statements, message=one)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            messages.reclaim(reaper, queue.statements, owner=owner, threads=1, max_attempts=3, error="lost")
