"""How the ring turns, and what may be in its way."""

from __future__ import annotations

import os

import pytest

from pgqueue.maintenance import rotator
from pgqueue.maintenance.duty import ROTATION
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage import registers, slots
from pgqueue.storage.database import Connection
from pgqueue.storage.slots import Slot
from pgqueue.storage.statements import Statements

from ..support.queue import Queue, done


def ring(queue: Queue) -> dict[int, str]:
    """The states of all slots."""
    return {slot.slot: slot.state for slot in slots.list_slots(queue.conn, queue.statements)}


def find(queue: Queue, number: int) -> Slot:
    return next(s for s in slots.list_slots(queue.conn, queue.statements) if s.slot == number)


def open_one(queue: Queue) -> int:
    return next(number for number, state in ring(queue).items() if state == "open")


def turn(queue: Queue, conn: Connection | None = None, *, times: int = 1, patience_s: float = 60.0) -> float:
    """Run a rotator that thinks ten messages enough."""
    duty, in_s = Rotator(queue.statements, max_messages=10, patience_s=patience_s), 0.0
    for _ in range(times):
        in_s = duty.run_once(conn or queue.conn).in_s
    return in_s


def drain(queue: Queue) -> list[str]:
    """Claim and settle everything; return the payloads."""
    owner, found = queue.owner(), []
    while claimed := queue.claimed(owner):
        queue.settle([done(message) for message in claimed], closes=True)
        found += [message.payload.decode() for message in claimed]
    return found


def fill(queue: Queue, number: int = 12, text: str = "m") -> list[str]:
    payloads = [f"{text}{n}" for n in range(number)]
    queue.send(*payloads)
    return payloads


class TestOpening:
    def test_nothing_turns_while_little_has_come(self, queue: Queue) -> None:
        fill(queue, 5)
        assert turn(queue) == rotator.QUIET_S
        assert ring(queue) == {0: "open", **dict.fromkeys(range(1, 8), "free")}

    def test_a_slot_that_has_taken_enough_makes_room_for_the_next(self, queue: Queue) -> None:
        fill(queue)
        assert turn(queue) == rotator.BUSY_S
        assert (ring(queue)[0], ring(queue)[1]) == ("closing", "open")
        queue.send("new")
        assert queue.value("SELECT slot FROM pgqueue.messages ORDER BY id DESC LIMIT 1") == 1

    def test_large_messages_turn_it_as_well_as_many(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rotator, "MAX_BYTES", 200_000)
        queue.send(*(os.urandom(100_000) for _ in range(3)))
        turn(queue)
        assert open_one(queue) == 1

    def test_of_two_keepers_one_opens_the_next(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(queue)
        other = queue.connect()
        duty = Rotator(queue.statements, max_messages=10)
        before = slots.list_slots(queue.conn, queue.statements)
        assert duty._open_next(queue.conn, before)
        assert not duty._open_next(other, before)
        # So too for one who had found that it was enough, and came by the lock only now.
        monkeypatch.setattr(Rotator, "_has_enough", lambda *_: True)
        turns = queue.values("SELECT turn FROM pgqueue.slots ORDER BY slot")
        assert not duty._open_next(other, before)
        assert queue.values("SELECT turn FROM pgqueue.slots ORDER BY slot") == turns
        assert open_one(queue) == 1

    def test_a_turn_that_failed_half_way_is_made_good(self, queue: Queue) -> None:
        """The register is set at once, the table at the commit, which never came. Nothing may be lost in between."""
        with queue.connect() as dying, dying.transaction(force_rollback=True):
            slots.open_slot(dying, queue.statements, slot=3)
        sent = fill(queue, 5)
        assert queue.values("SELECT DISTINCT slot FROM pgqueue.ready") == [3]
        turn(queue, times=2 * rotator.STALE_EVERY, patience_s=0.0)
        assert queue.value("SELECT last_value FROM pgqueue.open_slot") == open_one(queue)
        assert sorted(drain(queue)) == sent


class TestEmptying:
    def test_an_emptied_slot_is_truncated_and_free(self, queue: Queue) -> None:
        sent = fill(queue)
        turn(queue)
        assert drain(queue) == sent
        turn(queue)
        assert (ring(queue)[0], ring(queue)[1]) == ("free", "open")
        assert queue.value("SELECT pg_relation_size('pgqueue.messages_0')") == 0

    def test_a_slot_with_ready_messages_stays(self, queue: Queue) -> None:
        sent = fill(queue)
        turn(queue, times=3)
        assert ring(queue)[0] == "closing"
        assert drain(queue) == sent

    def test_a_slot_with_a_lease_stays(self, queue: Queue) -> None:
        fill(queue)
        claimed = queue.claimed(queue.owner())
        turn(queue, times=3)
        assert ring(queue)[0] == "closing"
        assert len(queue.settle([done(message) for message in claimed], closes=True)) == 12

    def test_stragglers_are_moved_forward(self, queue: Queue) -> None:
        sent = fill(queue)
        owner = queue.owner()
        (held,) = queue.claimed(owner, limit=1)
        places = queue.conn.execute("SELECT xid, id FROM pgqueue.ready ORDER BY xid, id").fetchall()
        listener = queue.connect()
        listener.execute(f'LISTEN "{registers.channel(queue.database.schema)}"'.encode())
        rewind = queue.value("SELECT last_value FROM pgqueue.rewind_seq")
        turn(queue, times=3, patience_s=0.0)
        assert ring(queue)[0] == "free"
        assert queue.value("SELECT last_value FROM pgqueue.rewind_seq") > rewind
        assert queue.conn.execute("SELECT xid, id FROM pgqueue.ready ORDER BY xid, id").fetchall() == places
        assert [call.payload for call in listener.notifies(timeout=30.0, stop_after=1)] == [""]
        assert queue.settle([done(held)]) == set()  # it lies in another slot now
        held.lease.slot = 1
        assert queue.settle([done(held)]) == {held.id}
        assert drain(queue) == sent[1:]

    def test_many_stragglers_stay_where_they_are(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rotator, "FEW", 5)
        sent = fill(queue)
        turn(queue, times=3, patience_s=0.0)
        assert ring(queue)[0] == "closing"
        assert drain(queue) == sent

    def test_a_keeper_who_slept_does_not_empty_a_slot_that_is_in_use_again(self, queue: Queue) -> None:
        """He read the states before the slot was emptied and opened anew."""
        fill(queue)
        turn(queue)
        drain(queue)
        asleep, seen = Rotator(queue.statements, patience_s=0.0), find(queue, 0)
        assert seen.state == "closing"
        turn(queue)
        slots.open_slot(queue.conn, queue.statements, slot=0)
        sent = fill(queue, 3, "new")
        asleep._empty(queue.connect(), seen, hurry=True)
        assert ring(queue)[0] == "open"
        assert drain(queue) == sent

    def test_the_slot_that_takes_inserts_is_never_emptied(self, queue: Queue) -> None:
        queue.conn.execute("UPDATE pgqueue.slots SET state = 'closing' WHERE slot = 0")
        sent = fill(queue, 3)
        Rotator(queue.statements)._empty(queue.connect(), find(queue, 0), hurry=True)
        assert queue.ready() == sent


class TestLocks:
    def emptied(self, queue: Queue) -> None:
        """A slot that is empty, but for what somebody does with it."""
        fill(queue)
        turn(queue)
        drain(queue)

    def test_an_open_transaction_that_sent_into_the_slot_is_waited_for(self, queue: Queue) -> None:
        queue.lane()
        late = queue.connect()
        late.execute("BEGIN")
        queue.send("late", conn=late)
        fill(queue)
        turn(queue)
        drain(queue)
        turn(queue, times=2, patience_s=0.0)
        assert ring(queue)[0] == "closing"
        late.execute("COMMIT")
        assert drain(queue) == ["late"]
        turn(queue)
        assert ring(queue)[0] == "free"

    def test_a_transaction_that_only_holds_a_snapshot_is_not(self, queue: Queue) -> None:
        holder = queue.connect()
        holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT pg_current_xact_id()")
        self.emptied(queue)
        turn(queue)
        assert ring(queue)[0] == "free"

    def test_a_reader_keeps_the_slot_and_hinders_nobody(self, queue: Queue) -> None:
        """A dump, for example. The ring goes on over the other slots, and claims and sends go on."""
        reader = queue.connect()
        self.emptied(queue)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM pgqueue.messages_0")
        for number in range(20):
            sent = fill(queue, text=f"{number}.")
            turn(queue, patience_s=0.0)
            assert drain(queue) == sent
        assert ring(queue)[0] == "closing"
        reader.execute("COMMIT")
        turn(queue)
        assert ring(queue)[0] == "free"

    def test_what_is_sent_while_the_lock_is_waited_for_is_not_truncated(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A sender had read the register before the slot was closed; it commits before the lock is there."""
        self.emptied(queue)
        lock = slots.lock

        def late(conn: Connection, statements: Statements, *, slot: int) -> None:
            queue.conn.execute("SELECT setval('pgqueue.open_slot', %s)", (slot,))
            queue.send("late")
            queue.conn.execute("SELECT setval('pgqueue.open_slot', 1)")
            lock(conn, statements, slot=slot)

        monkeypatch.setattr(slots, "lock", late)
        turn(queue, queue.connect())
        assert ring(queue)[0] == "free"
        assert drain(queue) == ["late"]

    def test_while_another_turns_the_ring_nobody_else_does(self, queue: Queue) -> None:
        self.emptied(queue)
        sent = fill(queue)
        with queue.connect() as other, other.transaction():
            assert slots.try_lock(other, queue.statements, duty=ROTATION)
            turn(queue, times=2)
            assert (ring(queue)[0], ring(queue)[1]) == ("closing", "open")
        turn(queue)
        assert (ring(queue)[0], ring(queue)[1]) == ("free", "closing")
        assert drain(queue) == sent

    def test_the_lock_is_given_up_soon(self, queue: Queue) -> None:
        """Whoever wants the slot queues behind the rotator's request for as long as that waits."""
        assert rotator.LOCK_TIMEOUT_MS <= 50
        reader = queue.connect()
        self.emptied(queue)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM pgqueue.messages_0")
        before = queue.value("SELECT clock_timestamp()")
        turn(queue)
        took = queue.value("SELECT clock_timestamp()") - before
        assert took.total_seconds() < 3.0


class TestStaleSlots:
    def test_what_a_slow_producer_wrote_into_a_free_slot_is_found(self, queue: Queue) -> None:
        """It had read the register before the rotation, and wrote after the slot had been emptied."""
        queue.conn.execute("SELECT setval('pgqueue.open_slot', 5)")
        queue.send("stale")
        queue.conn.execute("SELECT setval('pgqueue.open_slot', 0)")
        catalog = queue.value("SELECT last_value FROM pgqueue.catalog_seq")
        assert drain(queue) == []
        turn(queue)
        assert ring(queue)[5] == "closing"
        assert queue.value("SELECT last_value FROM pgqueue.catalog_seq") > catalog
        assert drain(queue) == ["stale"]
        turn(queue)
        assert ring(queue)[5] == "free"

    def test_they_are_also_found_if_nobody_claims(self, queue: Queue) -> None:
        queue.conn.execute("SELECT setval('pgqueue.open_slot', 5)")
        queue.send("stale")
        queue.conn.execute("SELECT setval('pgqueue.open_slot', 0)")
        turn(queue, times=3, patience_s=0.0)
        assert ring(queue)[5] == "free"
        assert drain(queue) == ["stale"]


class TestGrowing:
    def test_the_ring_grows_when_free_slots_run_short(self, queue: Queue) -> None:
        sent = []
        for number in range(12):
            sent += fill(queue, text=f"{number}.")
            turn(queue)
        assert len(ring(queue)) > 8
        assert list(ring(queue).values()).count("open") == 1
        assert sorted(drain(queue)) == sorted(sent)

    def test_it_grows_beside_an_open_transaction_and_a_reader(self, queue: Queue) -> None:
        queue.lane()
        writer, reader = queue.connect(), queue.connect()
        writer.execute("BEGIN")
        queue.send("open", conn=writer)
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM pgqueue.messages")
        for number in range(12):
            fill(queue, text=f"{number}.")
            turn(queue)
        assert len(ring(queue)) > 8

    def test_there_is_a_limit(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rotator, "MAX_SLOTS", 9)
        sent = []
        for number in range(12):
            sent += fill(queue, text=f"{number}.")
            turn(queue)
        assert len(ring(queue)) == 9
        assert sorted(drain(queue)) == sorted(sent)
        turn(queue, times=2)
        assert list(ring(queue).values()).count("free") >= 7
