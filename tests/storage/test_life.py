"""The life of messages on a real server against a model, with every hindrance between any two statements.

Senders hold transactions open and end them in any order; fetchers claim, reconnect and are lost; slots are rotated,
evacuated and written to too late; connections are killed. Whatever happens: no message is lost, none is claimed before
its commit or its time, or twice at once; only its holder settles it, and what follows from it comes with that.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.leases import Leases
from pgqueue.errors import DatabaseUnavailable
from pgqueue.maintenance.promoter import Promoter
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage import leases, messages, registers, results, workers
from pgqueue.storage.database import Connection
from pgqueue.storage.messages import ClaimedMessage, NewMessage, StoredResult, Verdict

from ..support.eventually import eventually
from ..support.postgres import Databases
from ..support.queue import Queue
from .life import Expected, Holder

PRIORITIES = [0, 5]

#: A message goes to the dead letters when it was charged so often.
MAX_ATTEMPTS = 3

numbers = st.integers(0, 2)
priorities = st.sampled_from(PRIORITIES)
#: None: ready at once; a millisecond: due before long; a minute: not before the end.
delays = st.sampled_from([None, None, None, 1.0, 60_000.0])


class Life(RuleBasedStateMachine):
    """Two workers, three senders, two keepers."""

    databases: ClassVar[Databases]

    def __init__(self) -> None:
        super().__init__()
        self.url = self.databases.create()
        self.queue = Queue(self.url)
        for priority in PRIORITIES:
            self.queue.lane(priority=priority)
        self.expected: dict[str, Expected] = {}
        self.senders = [self.queue.connect() for _ in range(3)]
        self.sent: list[list[str]] = [[], [], []]
        self.acker = self.queue.connect()
        self.promoters = [Promoter(self.queue.statements) for _ in range(2)]
        self.rotator = Rotator(self.queue.statements, max_messages=3, patience_s=0.0)
        self.holders = [self.new_holder() for _ in range(2)]

    def new_holder(self) -> Holder:
        leases = Leases()

        def take_name() -> None:
            leases.adopt(self.queue.owner())

        return Holder(Fetcher(self.queue.database, leases, ["default"], need_name=take_name), leases)

    # -- sending

    def label(self, priority: int, state: str) -> str:
        name = f"m{len(self.expected)}"
        self.expected[name] = Expected(priority, state)
        return name

    def note_due(self, names: list[str]) -> None:
        """Learn from the database when a message is due, by its clock."""
        rows = self.queue.conn.execute("SELECT payload, due_at FROM pgqueue.scheduled")
        due = {bytes(payload).decode(): due_at for payload, due_at in rows}
        for name in names:
            self.expected[name].due_at = due.get(name, self.expected[name].due_at)

    @rule(priority=priorities, number=st.integers(1, 4), delay=delays)
    def send(self, priority: int, number: int, delay: float | None) -> None:
        names = [self.label(priority, "waiting") for _ in range(number)]
        self.queue.send(*names, priority=priority, delay_ms=delay)
        self.note_due(names)

    @rule(number=numbers, priority=priorities, delay=delays)
    def send_in_a_transaction(self, number: int, priority: int, delay: float | None) -> None:
        sender = self.senders[number]
        if not self.sent[number]:
            sender.execute("BEGIN")
        self.sent[number].append(name := self.label(priority, "open"))
        self.queue.send(name, conn=sender, priority=priority, delay_ms=delay)

    @rule(number=numbers, commit=st.booleans())
    def end_transaction(self, number: int, commit: bool) -> None:
        names, self.sent[number] = self.sent[number], []
        if names:
            self.senders[number].execute("COMMIT" if commit else "ROLLBACK")
        for name in names:
            self.expected[name].state = "waiting" if commit else "gone"
        self.note_due(names)

    @rule(number=numbers)
    def kill_a_sender(self, number: int) -> None:
        self.kill(self.senders[number])
        self.senders[number] = self.queue.connect()
        names, self.sent[number] = self.sent[number], []
        for name in names:
            self.expected[name].state = "gone"

    @rule(slot=st.integers(1, 7), priority=priorities)
    def send_into_a_stale_slot(self, slot: int, priority: int) -> None:
        """The sender had read the register a while ago."""
        register = self.queue.value("SELECT last_value FROM pgqueue.open_slot")
        self.queue.conn.execute("SELECT setval('pgqueue.open_slot', %s)", (slot,))
        self.queue.send(self.label(priority, "waiting"), priority=priority)
        self.queue.conn.execute("SELECT setval('pgqueue.open_slot', %s)", (register,))

    # -- claiming

    @rule(number=st.integers(0, 1), limit=st.integers(1, 6))
    def fetch(self, number: int, limit: int) -> None:
        self.claim(self.holders[number], limit)

    def claim(self, holder: Holder, limit: int) -> list[str]:
        try:
            holder.fetcher.worth_fetching(idle=True)
            claimed = holder.fetcher.fetch(limit)
        except DatabaseUnavailable:  # its connection was killed: the next one is a new one
            return self.claim(holder, limit)
        assert len(claimed) <= limit
        names = [message.payload.decode() for message in claimed]
        self.check_order(claimed, full=len(claimed) == limit)
        for name, message in zip(names, claimed, strict=True):
            self.take(holder, name, message)
        return names

    def take(self, holder: Holder, name: str, message: ClaimedMessage) -> None:
        expected = self.expected[name]
        assert expected.state == "waiting", f"{name} was claimed although it is {expected.state}"
        assert message.attempts == expected.attempts
        if expected.due_at is not None:
            assert self.queue.value("SELECT clock_timestamp()") >= expected.due_at
        expected.state = "held"
        holder.held[name] = message

    def check_order(self, claimed: list[ClaimedMessage], *, full: bool) -> None:
        """Lower priorities first, and among equals by place; nothing more urgent stays behind."""
        order = [
            (self.expected[message.payload.decode()].priority, *self.place(message)) for message in claimed
        ]
        assert order == sorted(order)
        left = self.queue.conn.execute(
            """SELECT lane.priority, ready.xid, ready.id, ready.slot FROM pgqueue.ready
            JOIN pgqueue.lanes AS lane ON lane.id = ready.lane
            JOIN pgqueue.slots ON slots.slot = ready.slot WHERE slots.state <> 'free'"""
        ).fetchall()
        assert full or not left
        if not claimed:
            return
        last, slot = order[-1], claimed[-1].lease.slot
        assert all(row[0] >= last[0] for row in left)
        assert all(row[:3] > last for row in left if row[0] == last[0] and row[3] == slot)

    def place(self, message: ClaimedMessage) -> tuple[int, int]:
        query = "SELECT xid FROM pgqueue.messages WHERE slot = %s AND id = %s"
        return self.queue.value(query, message.lease.slot, message.id), message.id

    @rule(number=st.integers(0, 1))
    def reconnect(self, number: int) -> None:
        """It goes on under another name; what it held under the old one stays its own."""
        self.holders[number].fetcher.close()

    @rule(number=st.integers(0, 1))
    def kill_a_fetcher(self, number: int) -> None:
        conn = self.holders[number].fetcher._conn
        if conn is not None:
            self.kill(conn)

    # -- settling

    @precondition(lambda self: any(holder.held for holder in self.holders))
    @rule(data=st.data(), kind=st.sampled_from(["done", "dead", "retried", "chained"]), delay=delays)
    def settle(self, data: st.DataObject, kind: str, delay: float | None) -> None:
        holder = data.draw(st.sampled_from([holder for holder in self.holders if holder.held]))
        names = data.draw(st.lists(st.sampled_from(sorted(holder.held)), min_size=1, unique=True))
        self.settle_held(holder, names, kind, delay)

    def settle_held(self, holder: Holder, names: list[str], kind: str, delay: float | None = None) -> None:
        by_owner: dict[UUID, list[tuple[str, Verdict]]] = {}
        for name in names:
            verdict = self.verdict(holder.held[name], name, kind, delay)
            by_owner.setdefault(verdict.message.lease.owner, []).append((name, verdict))
        for owner, pairs in by_owner.items():
            self.settle_owned(owner, pairs)
            for name, verdict in pairs:
                del holder.held[name]
                self.settled(name, verdict, kind)

    def settle_owned(self, owner: UUID, pairs: list[tuple[str, Verdict]]) -> None:
        """As the acker does it: what is refused is looked for, and sent again if its lease has only moved."""
        left = [verdict for _, verdict in pairs]
        for _ in range(3):
            accepted = self.queue.settle(left, closes=True, conn=self.acker)
            left = [verdict for verdict in left if verdict.message.id not in accepted]
            if not left:
                return
            held = leases.find_leases(self.acker, self.queue.statements, owner=owner)
            for verdict in left:
                slot, ids = held[verdict.message.lease.lid]
                assert verdict.message.id in ids
                verdict.message.lease.slot = slot
        raise AssertionError(f"{left} are refused although they are held")

    def verdict(self, message: ClaimedMessage, name: str, kind: str, delay: float | None) -> Verdict:
        verdict = Verdict(message, str(uuid4()), "actor", status="d")
        if kind == "dead":
            verdict.status, verdict.reason, verdict.error = "f", "failed", f"of {name}"
        if kind == "retried":
            verdict.status = None
        if kind in {"retried", "chained"}:
            verdict.follow_ups = [self.follow_up(name, kind, delay)]
            verdict.results = [StoredResult(name, kind.encode(), 60_000)]
        return verdict

    def follow_up(self, name: str, kind: str, delay: float | None) -> NewMessage:
        return self.queue.new(
            f"{kind} {name}", priority=self.expected[name].priority, delay_ms=delay, message_id=str(uuid4())
        )

    def settled(self, name: str, verdict: Verdict, kind: str) -> None:
        states = {"done": "done", "chained": "done", "dead": "dead", "retried": "carried on"}
        self.expected[name].state = states[kind]
        for new in verdict.follow_ups:
            follow_up = new.payload.decode()
            self.expected[follow_up] = Expected(self.expected[name].priority, "waiting")
            self.note_due([follow_up])
            assert results.find(self.queue.conn, self.queue.statements, key=name) == kind.encode()

    @precondition(lambda self: any(holder.lost for holder in self.holders))
    @rule(data=st.data(), kind=st.sampled_from(["done", "dead", "retried", "chained"]))
    def settle_under_a_lost_lease(self, data: st.DataObject, kind: str) -> None:
        holder = data.draw(st.sampled_from([holder for holder in self.holders if holder.lost]))
        name = data.draw(st.sampled_from(sorted(holder.lost)))
        verdict = self.verdict(holder.lost[name], name, kind, None)
        before = self.written()
        assert self.queue.settle([verdict], closes=True) == set()
        assert self.written() == before

    def written(self) -> list[Any]:
        """The numbers of everything that a settlement can write."""
        tables = ["messages", "ready", "scheduled", "outcomes", "results", "dead_letters", "leases"]
        return [self.queue.value(f"SELECT count(*) FROM pgqueue.{table}") for table in tables]

    @precondition(lambda self: any(holder.held for holder in self.holders))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from([holder for holder in self.holders if holder.held]))
        names = data.draw(st.lists(st.sampled_from(sorted(holder.held)), min_size=1, unique=True))
        for name in names:
            message = holder.held.pop(name)
            owner = message.lease.owner
            returned = messages.requeue(self.acker, self.queue.statements, owner=owner, messages=[message])
            assert returned == 1
            self.expected[name].state = "waiting"
        registers.bump_rewind(self.acker, self.queue.statements)

    @rule()
    def kill_the_acker(self) -> None:
        self.kill(self.acker)
        self.acker = self.queue.connect()

    # -- keeping

    @rule(number=st.integers(0, 1), data=st.data())
    def lose_a_worker(self, number: int, data: st.DataObject) -> None:
        """All its names are declared lost; some of what it held was running."""
        holder = self.holders[number]
        held = sorted(holder.held)
        running = data.draw(st.lists(st.sampled_from(held), unique=True, max_size=2)) if held else []
        charged = [holder.held[name].id for name in running]
        for owner in holder.leases.names():
            messages.reclaim(
                self.queue.conn, self.queue.statements, owner=owner, threads=0, charged=charged,
                max_attempts=MAX_ATTEMPTS, error="lost",
            )  # fmt: skip
            workers.remove(self.queue.conn, self.queue.statements, owner=owner)
            holder.leases.forget(owner)
        for name in held:
            self.expected[name].attempts += name in running
            dead = self.expected[name].attempts >= MAX_ATTEMPTS
            self.expected[name].state = "dead" if dead else "waiting"
        holder.lost.update(holder.held)
        holder.held = {}

    @rule(times=st.integers(1, 3))
    def rotate(self, times: int) -> None:
        for _ in range(times):
            self.rotator.run_once(self.queue.conn)

    @rule(number=st.integers(0, 1))
    def promote(self, number: int) -> None:
        self.promoters[number].run_once(self.queue.conn)
        self.check_due()

    def check_due(self) -> None:
        """Nothing is ready before its time."""
        now = self.queue.value("SELECT clock_timestamp()")
        assert all((self.expected[name].due_at or now) <= now for name in self.queue.ready())

    def kill(self, conn: Connection) -> None:
        pid = conn.info.backend_pid
        self.queue.conn.execute("SELECT pg_terminate_backend(%s)", (pid,))

        def gone() -> None:
            assert self.queue.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid) == 0

        eventually(gone)

    # -- the end

    def teardown(self) -> None:
        try:
            for number in range(3):
                self.end_transaction(number, commit=True)
            self.finish()
            self.check_the_rest()
        finally:
            for holder in self.holders:
                holder.fetcher.close()
            self.queue.close()
            self.databases.drop(self.url)

    def finish(self) -> None:
        """Let everything that is left become due, be found, and be done."""
        for expected in self.expected.values():
            expected.due_at = None
        self.queue.conn.execute("UPDATE pgqueue.scheduled SET due_at = now() - interval '1 hour'")
        while Promoter(self.queue.statements).run_once(self.queue.conn).in_s == 0.0:
            pass
        for _ in range(5):
            Rotator(self.queue.statements, patience_s=0.0).run_once(self.queue.conn)
            for holder in self.holders:
                while self.claim(holder, 50) or holder.fetcher.worth_fetching(idle=False):
                    pass
                self.settle_held(holder, list(holder.held), "done")

    def check_the_rest(self) -> None:
        states = {name: expected.state for name, expected in self.expected.items()}
        assert not {name: state for name, state in states.items() if state in {"waiting", "held", "open"}}
        dead = sorted(name for name, state in states.items() if state == "dead")
        assert (
            sorted(bytes(p).decode() for p in self.queue.values("SELECT payload FROM pgqueue.dead_letters"))
            == dead
        )
        outcomes = self.queue.conn.execute("SELECT status::text, count(*) FROM pgqueue.outcomes GROUP BY 1")
        finals = [state for state in states.values() if state in {"done", "dead"}]
        assert dict(outcomes.fetchall()) == {
            letter: finals.count(state) for letter, state in (("d", "done"), ("f", "dead")) if state in finals
        }
        for table in ("ready", "scheduled", "leases"):
            assert self.queue.value(f"SELECT count(*) FROM pgqueue.{table}") == 0


def run(databases: Databases, *, examples: int, steps: int) -> None:
    class OnThisServer(Life):
        pass

    OnThisServer.databases = databases
    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.timeout(180)
def test_no_message_is_lost_or_doubled_whatever_happens(databases: Databases) -> None:
    run(databases, examples=12, steps=30)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_message_is_lost_or_doubled_in_long_histories(databases: Databases) -> None:
    run(databases, examples=300, steps=60)
