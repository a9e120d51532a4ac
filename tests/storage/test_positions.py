"""Positions against a model of what PostgreSQL lets a claim see.

The model knows transactions that begin, write and end in any order, snapshots that list no transaction above the
youngest that has ended, claims that skip what others have locked, and slots that are opened and emptied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pgqueue.storage.positions import INFINITY, Positions, Span
from pgqueue.storage.snapshot import Snapshot

LANES, SLOTS = [1, 2], range(3)

fetchers = st.integers(0, 2)
limits = st.integers(1, 5)


@dataclass(eq=False)
class Row:
    """A row of the table ready."""

    xid: int
    id: int
    lane: int
    slot: int
    claimed: bool = False
    locked: bool = False

    @property
    def place(self) -> tuple[int, int]:
        return self.xid, self.id


@dataclass
class Answer:
    """What a claim brought, on its way to the fetcher."""

    spans: list[Span]
    snapshot: Snapshot
    rows: list[Row]
    stopped_at: tuple[int, tuple[int, int]] | None
    #: The claim's own transaction; one that takes nothing needs none.
    xid: int | None


@dataclass
class Server:
    """Transactions and rows."""

    next_xid: int = 100
    latest_ended: int = 99
    next_id: int = 1
    open: set[int] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)

    def begin(self) -> int:
        xid, self.next_xid = self.next_xid, self.next_xid + 1
        self.open.add(xid)
        return xid

    def end(self, xid: int | None, *, commit: bool = True) -> None:
        if xid is None:
            return
        self.open.discard(xid)
        self.latest_ended = max(self.latest_ended, xid)
        if not commit:
            self.rows = [row for row in self.rows if row.xid != xid]

    def snapshot(self) -> Snapshot:
        xmax = self.latest_ended + 1
        return Snapshot(xmax, frozenset(xid for xid in self.open if xid < xmax))

    def insert(self, xid: int, lane: int, slot: int) -> None:
        self.rows.append(Row(xid, self.next_id, lane, slot))
        self.next_id += 1

    def available(self) -> list[Row]:
        """What a claim has to find: committed, and neither claimed nor locked."""
        return [row for row in self.rows if row.xid not in self.open and not row.claimed and not row.locked]

    def in_use(self, slot: int) -> bool:
        return any(row.slot == slot for row in self.rows)


class Claims(RuleBasedStateMachine):
    """Three fetchers on one server."""

    max_undecided: ClassVar[int] = 1_000

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.positions = [self.new_positions() for _ in range(3)]
        self.dead_seen: list[dict[Row, int]] = [{} for _ in range(3)]
        self.under_way: dict[int, Answer] = {}
        self.ring = [0]

    def new_positions(self) -> Positions:
        return Positions(max_undecided=self.max_undecided)

    # -- what others do

    @rule()
    def begin(self) -> None:
        self.server.begin()

    @precondition(lambda self: self.server.open)
    @rule(data=st.data(), lane=st.sampled_from(LANES), number=st.integers(1, 3))
    def insert(self, data: st.DataObject, lane: int, number: int) -> None:
        xid = data.draw(st.sampled_from(sorted(self.server.open)))
        for _ in range(number):
            self.server.insert(xid, lane, self.ring[-1])

    @precondition(lambda self: self.server.open)
    @rule(data=st.data(), lane=st.sampled_from(LANES), slot=st.sampled_from(SLOTS))
    def insert_into_a_stale_slot(self, data: st.DataObject, lane: int, slot: int) -> None:
        self.server.insert(data.draw(st.sampled_from(sorted(self.server.open))), lane, slot)
        if slot not in self.ring:
            self.ring.insert(0, slot)

    @precondition(lambda self: self.server.open - {answer.xid for answer in self.under_way.values()})
    @rule(data=st.data(), commit=st.sampled_from([True, True, False]))
    def end(self, data: st.DataObject, commit: bool) -> None:
        claims = {answer.xid for answer in self.under_way.values()}
        self.server.end(data.draw(st.sampled_from(sorted(self.server.open - claims))), commit=commit)

    @rule(lane=st.sampled_from(LANES), number=st.integers(0, 4))
    def send_at_once(self, lane: int, number: int) -> None:
        xid = self.server.begin()
        for _ in range(number):
            self.server.insert(xid, lane, self.ring[-1])
        self.server.end(xid)

    # -- the ring

    @precondition(lambda self: len(self.ring) < len(SLOTS))
    @rule()
    def open_next_slot(self) -> None:
        self.ring.append(next(slot for slot in SLOTS if slot not in self.ring))

    @precondition(lambda self: len(self.ring) > 1)
    @rule()
    def empty_slot(self) -> None:
        slot = self.ring[0]
        alive = [row for row in self.server.rows if row.slot == slot and not row.claimed]
        if not alive and not any(row.slot == slot for a in self.under_way.values() for row in a.rows):
            self.server.rows = [row for row in self.server.rows if row.slot != slot]
            self.ring.remove(slot)

    # -- claims

    def start(self, number: int, limit: int) -> Answer:
        """What the statement does on the server."""
        snapshot, taken, stopped_at = self.server.snapshot(), list[Row](), None
        self.positions[number].keep(self.ring)
        spans = self.positions[number].plan(LANES, self.ring)
        for index, span in enumerate(spans):
            for row in self.scan(number, span, snapshot):
                taken.append(row)
                stopped_at = (index, row.place)
                if len(taken) == limit:
                    break
            if len(taken) == limit:
                break
        for row in taken:
            row.locked = True
        xid = self.server.begin() if taken else None
        return Answer(spans, snapshot, taken, stopped_at if len(taken) == limit else None, xid)

    def scan(self, number: int, span: Span, snapshot: Snapshot) -> Iterator[Row]:
        rows = [row for row in self.server.rows if (row.slot, row.lane) == (span.slot, span.lane)]
        for row in sorted(rows, key=lambda row: row.place):
            if not (row.place > span.after and row.xid <= span.upto_xid):
                continue
            if row.claimed:
                self.dead_seen[number][row] = self.dead_seen[number].get(row, 0) + 1
            elif snapshot.decided(row.xid) and not row.locked:
                yield row

    def finish(self, number: int, answer: Answer) -> list[Row]:
        self.server.end(answer.xid)
        for row in answer.rows:
            assert not row.claimed
            row.claimed, row.locked = True, False
        self.positions[number].advance(answer.spans, answer.snapshot, stopped_at=answer.stopped_at)
        return answer.rows

    @rule(number=fetchers, limit=limits)
    def claim(self, number: int, limit: int) -> None:
        if number not in self.under_way:
            self.finish(number, self.start(number, limit))

    @rule(number=fetchers, limit=limits)
    def start_claim(self, number: int, limit: int) -> None:
        if number not in self.under_way:
            self.under_way[number] = self.start(number, limit)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def finish_claim(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.under_way)))
        self.finish(number, self.under_way.pop(number))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def abort_claim(self, data: st.DataObject) -> None:
        """The one case in which all have to begin anew."""
        number = data.draw(st.sampled_from(sorted(self.under_way)))
        answer = self.under_way.pop(number)
        self.server.end(answer.xid)
        for row in answer.rows:
            row.locked = False
        for other, positions in enumerate(self.positions):
            positions.forget()
            self.dead_seen[other].clear()
        for other in self.under_way:
            # Their answers come from before: the rows lie behind what they are going to learn.
            self.under_way[other].spans.clear()
            self.under_way[other].stopped_at = None

    @rule(number=fetchers)
    def reconnect(self, number: int) -> None:
        if number not in self.under_way:
            self.positions[number] = self.new_positions()
            self.dead_seen[number].clear()

    @rule(number=fetchers, limit=limits)
    def drain(self, number: int, limit: int) -> None:
        """After a fetcher has seen no reason to look again, there is nothing left."""
        if number in self.under_way:
            return
        more = True
        while more:
            answer = self.start(number, limit)
            rows, snapshot = self.finish(number, answer), self.server.snapshot()
            late = any(snapshot.decided(xid) for xid in self.positions[number].waiting_for())
            more = bool(rows) or late or snapshot.xmax != answer.snapshot.xmax
        assert self.server.available() == []

    # -- what holds at any time

    @invariant()
    def few_transactions_are_remembered(self) -> None:
        for positions in self.positions:
            for track in positions._tracks.values():
                assert len(track.undecided) <= self.max_undecided
                assert all(0 < xid < INFINITY for xid in track.undecided)

    def teardown(self) -> None:
        for number in list(self.under_way):
            self.finish(number, self.under_way.pop(number))
        for xid in list(self.server.open):
            self.server.end(xid)
        for number in range(3):
            self.drain(number, 3)


class FlatClaims(Claims):
    """While nothing is folded, no dead row is read twice."""

    @invariant()
    def no_dead_row_is_read_twice(self) -> None:
        for seen in self.dead_seen:
            assert max(seen.values(), default=0) <= 1


class FoldingClaims(Claims):
    """With a memory for two undecided transactions, claims read more, but miss nothing."""

    max_undecided = 2


@pytest.mark.parametrize("machine", [FlatClaims, FoldingClaims])
def test_every_committed_row_is_claimed_once(machine: type[Claims]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=80, stateful_step_count=40, deadline=None)
    )


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", [FlatClaims, FoldingClaims])
def test_every_committed_row_is_claimed_once_in_long_histories(machine: type[Claims]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=1_000, stateful_step_count=80, deadline=None)
    )


class TestSnapshots:
    def test_the_servers_text_is_understood(self) -> None:
        assert Snapshot.parse("10:20:12,15") == Snapshot(20, frozenset({12, 15}))
        assert Snapshot.parse("10:10:") == Snapshot(10, frozenset())

    def test_a_transaction_is_decided_if_it_is_neither_listed_nor_younger(self) -> None:
        snapshot = Snapshot.parse("10:20:12,15")
        assert [xid for xid in (9, 12, 13, 19, 20, 21) if snapshot.decided(xid)] == [9, 13, 19]


class TestPlans:
    def test_a_new_lane_is_read_from_its_beginning(self) -> None:
        assert Positions().plan([7], [0, 1]) == [Span(0, 7, (0, 0)), Span(1, 7, (0, 0))]

    def test_lanes_come_before_slots_and_undecided_transactions_before_the_rest(self) -> None:
        positions = Positions()
        positions.advance(positions.plan([7], [0]), Snapshot(20, frozenset({12, 15})), stopped_at=None)
        assert positions.plan([7, 8], [0]) == [
            Span(0, 7, (12, 0), 12), Span(0, 7, (15, 0), 15), Span(0, 7, (19, INFINITY)), Span(0, 8, (0, 0)),
        ]  # fmt: skip
        assert positions.waiting_for() == {12, 15}

    def test_many_undecided_transactions_are_not_probed_until_they_are_decided(self) -> None:
        positions, many = Positions(), frozenset(range(10, 20))
        positions.advance(positions.plan([7], [0]), Snapshot(30, many), stopped_at=None)
        assert len(positions.plan([7], [0])) == 1
        positions.advance(positions.plan([7], [0]), Snapshot(31, many - {13}), stopped_at=None)
        assert [span.upto_xid for span in positions.plan([7], [0])] == [13, INFINITY]

    def test_what_is_kept_of_a_slot_goes_when_the_slot_does(self) -> None:
        positions = Positions()
        positions.advance(positions.plan([7], [0, 1]), Snapshot(20, frozenset({12})), stopped_at=None)
        positions.keep([1])
        assert positions.waiting_for() == {12}
        positions.keep([])
        assert positions.waiting_for() == set()
