"""The life of a message, statement by statement, where two of them meet."""

import threading

import pytest

from pgqueue.engine.acker import give_back
from pgqueue.engine.leases import Leases
from pgqueue.storage import leases, messages
from pgqueue.storage.database import Connection

from ..support.eventually import eventually
from ..support.queue import Queue, done


def waits(queue: Queue, conn: Connection) -> None:
    """Wait until a connection's statement waits for a lock."""

    def look() -> None:
        event = queue.value(
            "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", conn.info.backend_pid
        )
        assert event == "Lock"

    eventually(look)


class TestSettling:
    def test_a_verdict_is_recorded_once_even_if_the_first_attempt_is_still_under_way(
        self, queue: Queue
    ) -> None:
        """As after a lost connection: the server may go on with what its client has given up."""
        queue.send("one", "two")
        first, _second = queue.claimed(queue.owner())
        retry = done(first, status=None)
        retry.follow_ups.append(queue.new("again"))
        slow, impatient = queue.connect(), queue.connect()
        accepted: list[set[int]] = []
        with slow.transaction():
            assert queue.settle([retry], conn=slow) == {first.id}
            thread = threading.Thread(target=lambda: accepted.append(queue.settle([retry], conn=impatient)))
            thread.start()
            waits(queue, impatient)
        thread.join()
        assert accepted == [set()]
        assert queue.ready() == ["again"]

    def test_a_lease_is_not_closed_while_it_holds_what_another_has_not_settled(self, queue: Queue) -> None:
        """The caller may believe that the rest is settled, and be wrong: what was under way was rolled back."""
        queue.send("one", "two")
        first, second = queue.claimed(owner := queue.owner())
        assert queue.settle([done(first)], closes=True) == {first.id}
        held = leases.find_leases(queue.conn, queue.statements, owner=owner)
        assert held == {second.lease.lid: (0, {second.id})}
        assert queue.settle([done(second)], closes=True) == {second.id}
        assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0

    def test_a_lease_closes_when_its_last_two_messages_are_settled_at_once(self, queue: Queue) -> None:
        queue.send("one", "two")
        first, second = queue.claimed(queue.owner())
        with queue.connect() as slow, queue.connect() as other:
            accepted: list[set[int]] = []
            with slow.transaction():
                assert queue.settle([done(first)], conn=slow) == {first.id}
                thread = threading.Thread(
                    target=lambda: accepted.append(queue.settle([done(second)], closes=True, conn=other))
                )
                thread.start()
                waits(queue, other)
            thread.join()
            if accepted == [set()]:  # refused, to be tried again
                accepted.append(queue.settle([done(second)], closes=True, conn=other))
        assert accepted[-1] == {second.id}
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 2

    def test_settling_a_message_twice_changes_nothing(self, queue: Queue) -> None:
        queue.send("one", "two")
        first, _ = queue.claimed(queue.owner())
        assert queue.settle([done(first)]) == {first.id}
        assert queue.settle([done(first)]) == set()
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1


class TestGivingBack:
    def test_a_message_that_is_settled_already_does_not_come_back(self, queue: Queue) -> None:
        queue.send("one", "two")
        claimed = queue.claimed(owner := queue.owner())
        queue.settle([done(claimed[0])])
        returned = messages.requeue(queue.conn, queue.statements, owner=owner, messages=claimed)
        assert returned == 1
        assert queue.ready() == ["two"]

    def test_a_message_is_not_lost_if_the_rest_of_its_lease_is_settled_meanwhile(self, queue: Queue) -> None:
        """At a worker's stop: the acker writes the last acks while the rest is handed back."""
        queue.send("kept", "settled")
        owner, leases = queue.owner(), Leases()
        leases.adopt(owner)
        kept, settled = claimed = queue.claimed(owner)
        leases.add(claimed)
        leases.count_off([kept])  # give_back begins …
        queue.settle([done(settled)], closes=leases.count_off([settled]))  # … and the acker is faster
        messages.requeue(queue.conn, queue.statements, owner=owner, messages=[kept])
        assert queue.ready() == ["kept"]

    def test_messages_come_back_to_their_old_places_uncharged(self, queue: Queue) -> None:
        queue.send("one", "two", "three")
        owner, leases = queue.owner(), Leases()
        leases.adopt(owner)
        claimed = queue.claimed(owner, limit=2)
        leases.add(claimed)
        give_back(queue.database, leases, owner, claimed)
        again = queue.claimed(owner)
        assert [message.payload for message in again] == [b"one", b"two", b"three"]
        assert [message.attempts for message in again] == [0, 0, 0]
        assert queue.value("SELECT count(*) FROM pgqueue.leases") == 1


class TestClaiming:
    def test_a_message_that_waited_for_months_can_be_claimed_and_settled(self, queue: Queue) -> None:
        queue.send("old")
        queue.conn.execute("UPDATE pgqueue.messages SET enqueued_at = now() - interval '100 days'")
        (message,) = queue.claimed(queue.owner())
        assert message.wait_ms == 2**31 - 1
        assert queue.settle([done(message, wait_ms=message.wait_ms)], closes=True) == {message.id}


class TestReclaiming:
    def test_only_what_may_have_been_running_is_charged(self, queue: Queue) -> None:
        """Two threads can't have run more than the first two messages that are open, however many leases there are."""
        for part in range(3):
            queue.send(*(f"{part}.{number}" for number in range(3)))
        owner = queue.owner(threads=2)
        batches = [queue.claimed(owner, limit=3) for _ in range(3)]
        queue.settle([done(batches[0][0])])
        messages.reclaim(queue.conn, queue.statements, owner=owner, threads=2, max_attempts=3, error="")
        again = queue.claimed(queue.owner())
        assert [(m.payload, m.attempts) for m in again] == [
            (b"0.1", 1), (b"0.2", 1), *((f"{part}.{number}".encode(), 0) for part in (1, 2) for number in range(3)),
        ]  # fmt: skip

    def test_messages_of_the_same_batch_keep_their_order(self, queue: Queue) -> None:
        queue.send(*map(str, range(20)))
        queue.claimed(owner := queue.owner())
        messages.reclaim(queue.conn, queue.statements, owner=owner, threads=0, max_attempts=3, error="")
        assert queue.ready() == [str(number) for number in range(20)]

    @pytest.mark.parametrize("known", [True, False], ids=["what ran is known", "what ran is guessed"])
    def test_a_message_that_was_charged_too_often_goes_to_the_dead_letters(
        self, queue: Queue, known: bool
    ) -> None:
        queue.send("poison")
        reclaimed = messages.Reclaimed(0, 0, 0)
        for attempt in range(3):
            (message,) = queue.claimed(owner := queue.owner())
            assert message.attempts == attempt
            reclaimed = messages.reclaim(
                queue.conn, queue.statements, owner=owner, threads=1, max_attempts=3, error="it killed three",
                charged=[message.id] if known else None,
            )  # fmt: skip
        assert (reclaimed.returned, reclaimed.buried) == (0, 1)
        assert queue.ready() == []
        letter = queue.conn.execute(
            "SELECT reason, error, attempts, payload FROM pgqueue.dead_letters"
        ).fetchone()
        assert letter == ("poison", "it killed three", 3, b"poison")
        assert queue.value("SELECT status::text FROM pgqueue.outcomes") == "f"
