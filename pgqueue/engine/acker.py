"""The acker: one durable commit for all that the threads of a process finish while the commit before is under way."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NamedTuple
from uuid import UUID, uuid4

from ..faults import Fault
from ..logging import own_logger
from ..storage import leases, messages, registers, workers
from ..storage.database import Connection, Database, is_lost, translated
from ..storage.messages import ClaimedMessage, Verdict
from ..storage.registers import channel
from .backoff import Backoff
from .group import BATCH, Group
from .leases import Leases
from .refused import Unrecordable, give_up, is_about_a_value, report_lost, took_its_time, unrecordable
from .verdicts import write_verdicts

#: How often in a row a verdict may be refused whose lease is there. The waits in between add up to some seconds.
MOST_REFUSALS = 7

#: Seconds that giving messages back, or putting them aside, may take.
GIVE_BACK_S = 30.0

#: Plans must not hang on statistics that a TRUNCATE has just emptied, nor on the values of the first calls.
SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "jit": "off",
    "statement_timeout": "10s",
    # One lease that somebody else has locked must not hold up the others for long.
    "lock_timeout": "1s",
}

#: What groups of verdicts usually need of their statement: nothing but acks, results, retries and next steps.
USUAL_PARTS = (frozenset[str](), frozenset({"results"}), frozenset({"follow_ups"}))

logger = own_logger(__name__)


class Settled(NamedTuple):
    """A verdict on its way; ``released`` is called with the number of verdicts of which nothing is left to do."""

    verdict: Verdict
    released: Callable[[int], None]


class GivenUp(Exception):
    """The session is closing and the database can't be reached."""


class Acker(threading.Thread):
    """Writes verdicts in the order in which they come, many at a time.

    A lost connection is replaced and the group sent again, after a look at which of it had been committed. A verdict
    that the database refuses to write (a result that is too large, say) does not hold up the others: see `Group`.
    """

    def __init__(self, database: Database, leases: Leases) -> None:
        super().__init__(name="pgqueue-acker", daemon=True)
        self._database = database
        self._leases = leases
        self._queue: SimpleQueue[Settled | threading.Event | None] = SimpleQueue()
        self._conn: Connection | None = None
        self._backoff = Backoff()
        self._giving_up = threading.Event()
        self._ended = threading.Event()
        self._stopping = False
        self._times_written = 0
        # The messages of what was handed over and is not known to be written: they have run.
        self.unwritten: set[int] = set()
        # What was put off, who waits for a place of it, and who for all to be written.
        self._later: dict[UUID, Group] = {}
        self._waiting: list[Settled] = []
        self._flushed: list[threading.Event] = []
        self.on_delayed: Callable[[float], None] = lambda _: None

    def submit(self, settled: Settled) -> None:
        """Hand over a verdict; returns at once."""
        self.unwritten.add(settled.verdict.message.id)
        self._queue.put(settled)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until everything handed over so far is durable; at once, if the thread has ended."""
        reached = threading.Event()
        self._queue.put(reached)
        if self._ended.is_set():
            self._let_go()
        return reached.wait(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """End the thread once everything is written, or when the time is up."""
        self._queue.put(None)
        self.join(timeout_s)
        if self.is_alive():
            self._giving_up.set()
            logger.error(
                "Acks could not be written within %.0f s; their messages will run again.", timeout_s,
                fault=Fault.ACK_FAILED,
            )  # fmt: skip
            self.join(1.0)

    def run(self) -> None:
        """Write until told to stop."""
        self._warm_up()
        more = True
        while more:
            more = self._write_next()
        if self._conn is not None:
            self._conn.close()
        self._later.clear()
        self._release(self._waiting)
        self._tell_flushed()
        self._ended.set()
        self._let_go()

    def _let_go(self) -> None:
        """Wake those who wait for what nobody writes any more; verdicts that come so late run again."""
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, threading.Event):
                    item.set()

    def _warm_up(self) -> None:
        """Connect and let the server make its plan.

        That takes 40 ms, by which the first message would be acknowledged, retried or answered late.
        """
        try:
            conn = self._connected(again=False)
            _, seen = registers.read(conn, self._database.statements)
            for parts in USUAL_PARTS:
                messages.settle(
                    conn, self._database.statements, owner=uuid4(), verdicts=[], closes=[], slots=[seen.open_slot],
                    channel=channel(self._database.schema), registers=[], parts=parts,
                )  # fmt: skip
        except Exception as error:  # noqa: BLE001  # the first verdict will meet it again
            logger.debug("The acker could not be warmed up: %s", error)

    def _write_next(self) -> bool:
        item = self._next()
        batch: list[Settled] = []
        while isinstance(item, Settled):
            batch.append(item)
            item = self._next_of(batch)
        self._write(batch)
        if isinstance(item, threading.Event) and item is not _NOTHING:
            self._flushed.append(item)
        self._stopping = self._stopping or item is None
        if self._later:
            self._write_later()
        if not self._later:
            self._tell_flushed()
        return not self._stopping or (bool(self._later) and not self._giving_up.is_set())

    def _next(self) -> "Settled | threading.Event | None":
        """What was handed over, or nothing once it is time for what was put off."""
        if not self._later:
            return None if self._stopping else self._queue.get()
        due_at = min(group.due_at for group in self._later.values())
        try:
            return self._queue.get(timeout=0.0 if self._stopping else max(0.0, due_at - monotonic()))
        except Empty:
            return _NOTHING

    def _next_of(self, batch: list[Settled]) -> "Settled | threading.Event | None":
        if len(batch) >= BATCH:
            return _NOTHING
        try:
            return self._queue.get_nowait()
        except Empty:
            return _NOTHING

    def _tell_flushed(self) -> None:
        while self._flushed:
            self._flushed.pop().set()

    def _write(self, batch: Sequence[Settled]) -> None:
        by_owner: dict[UUID, list[Verdict]] = defaultdict(list)
        for settled in batch:
            by_owner[settled.verdict.message.lease.owner].append(settled.verdict)
        self._settle_each([Group(owner, verdicts, self._moved) for owner, verdicts in by_owner.items()])
        self._release(batch)

    def _settle_each(self, groups: Sequence[Group]) -> None:
        for group in groups:
            try:
                self._settle(group)
            except Exception:  # the thread's top loop
                logger.exception(
                    "%d acks could not be written; their messages will run again.", len(group.left),
                    fault=Fault.ACK_FAILED,
                )  # fmt: skip

    def _release(self, batch: Sequence[Settled]) -> None:
        """Tell of those of a batch of which nothing is left to do."""
        if self._later:
            left = {verdict.message.id for group in self._later.values() for verdict in group.left}
            self._waiting += [settled for settled in batch if settled.verdict.message.id in left]
            batch = [settled for settled in batch if settled.verdict.message.id not in left]
        for released, number in Counter(settled.released for settled in batch).items():
            released(number)

    def settled(self, verdicts: Sequence[Verdict]) -> None:
        """Count off what was settled, by whomever."""
        settled = [verdict.message for verdict in verdicts]
        self.unwritten.difference_update(message.id for message in settled)
        self._leases.count_off(settled)
        self._leases.drop(settled)
        delays = [
            left
            for verdict in verdicts
            for new in verdict.follow_ups
            if (left := new.delay_left_ms()) is not None
        ]
        if delays:
            self.on_delayed(min(delays) / 1000)

    def _settle(self, group: Group) -> None:
        """Write verdicts; those that were not written for now are looked for before they are written again.

        What a lost connection was writing may be committed later: its server holds the leases' rows while it waits for
        a lock, its disk or a standby, and does not know that nobody listens. The next attempt waits for those rows, and
        is refused once they are committed. So after a loss a refusal says no more than the loss itself.
        """
        while group.left:
            part: list[Verdict] = []
            try:
                conn = self._connected(again=group.failed)
                if group.look is not None:
                    group.left = group.look(conn, group.owner, group.left)
                    group.look, group.failed = None, False
                    continue
                part = group.part()
                accepted = write_verdicts(conn, self._database, owner=group.owner, verdicts=part)
            except GivenUp:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, no ack is dropped
                if self._hindered(group, part, error):
                    return
                continue
            self._written(group, part, accepted)
        self._backoff.reset()

    def _written(self, group: Group, part: list[Verdict], accepted: set[int]) -> None:
        """Count off what was accepted of a part; the rest is looked for, and given up after so many times."""
        group.accepted(accepted)
        if accepted:
            self._backoff.reset()
            self._times_written += 1
            self.settled([verdict for verdict in part if verdict.message.id in accepted])
        if len(accepted) == len(part):
            return
        if group.refusals > MOST_REFUSALS:
            give_up(part, "the database refuses it and has its lease nevertheless")
            group.left, group.refusals = group.left[len(part) :], 0
            return
        # Once, a lease was moved while it was written to. Who is refused again waits a little longer each time.
        group.look, group.failed = group.after_refusal, group.refusals > 1

    def _hindered(self, group: Group, part: list[Verdict], error: Exception) -> bool:
        """Take in that a part, or what comes before it, failed; answer whether the group was put off."""
        about_a_value, has_waited = bool(part) and is_about_a_value(error), took_its_time(error)
        if not about_a_value:
            self._report_trouble(error)
            if part and is_lost(error):
                group.after_refusal, group.has_lost = self._not_committed, True
            group.look, group.failed = group.look or self._not_committed, not (part and has_waited)
        if len(part) > 1:
            group.shrink(part, at_once=about_a_value or has_waited)
        elif part and (about_a_value or group.blames(part[0], error, written=self._times_written)):
            self._blame(group, error)
        elif part and group.turn(at_once=has_waited):
            self._put_off(group)
            return True
        return False

    @staticmethod
    def _blame(group: Group, error: Exception) -> None:
        """The first one can't be written; its message fails with the reason, or it is given up."""
        first, *others = group.left
        if isinstance(first, Unrecordable):
            give_up([first], error)
            group.left = others
        else:
            group.blamed.pop(first.message.id, None)
            group.left = [unrecordable(first, error), *others]

    def _put_off(self, group: Group) -> None:
        """Let others come first: they are written if it is not the server that is in trouble."""
        group.put_off(monotonic(), written=self._times_written)
        before = self._later.setdefault(group.owner, group)
        if before is not group:
            before.join(group)

    def _write_later(self) -> None:
        """Try again what was put off and is due."""
        due = [group for group in self._later.values() if group.due_at <= monotonic() or self._stopping]
        for group in due:
            del self._later[group.owner]
        self._settle_each(due)
        waiting, self._waiting = self._waiting, []
        self._release(waiting)

    def _moved(self, conn: Connection, owner: UUID, refused: list[Verdict]) -> list[Verdict]:
        """Of the verdicts that were refused, those whose lease only lies in another slot now, or is another."""
        held = leases.find_leases(conn, self._database.statements, owner=owner)
        moved = []
        for verdict in refused:
            if self._leases.locate(verdict, held):
                moved.append(verdict)
            else:
                report_lost(verdict)
                self.settled([verdict])
        return moved

    def _not_committed(self, conn: Connection, owner: UUID, group: list[Verdict]) -> list[Verdict]:
        """After a lost connection: what is still on its lease. The rest was committed, if the owner still exists.

        If it does not, all of the rest are told as LeaseLost, though some may have been committed before. It is a line
        in the log and no more: nothing is undone. Nor could they be told apart: a retry leaves no outcome, the message
        that it has sent may have run since, and its lease is gone in either case.
        """
        held = leases.find_leases(conn, self._database.statements, owner=owner)
        open_: list[Verdict] = []
        gone: list[Verdict] = []
        for verdict in group:
            (open_ if self._leases.locate(verdict, held) else gone).append(verdict)
        if gone and not workers.beat(conn, self._database.statements, owners=[owner]):
            for verdict in gone:
                report_lost(verdict)
        self.settled(gone)
        return open_

    def _connected(self, *, again: bool) -> Connection:
        if again and self._giving_up.wait(self._backoff.next_s()):
            raise GivenUp
        if self._conn is None or self._conn.closed:
            with translated(self._database):
                self._conn = self._database.connect(application_name="pgqueue acker", settings=SETTINGS)
        else:
            self._database.check(self._conn)
        return self._conn

    def _report_trouble(self, error: Exception) -> None:
        logger.warning(
            "Acks can't be written at the moment, they are kept and tried again: %s", error,
            fault=Fault.ACK_DELAYED,
        )  # fmt: skip
        if self._conn is not None and is_lost(error):
            self._conn.close()


_NOTHING = threading.Event()


def give_back(database: Database, leases: Leases, owner: UUID, claimed: Sequence[ClaimedMessage]) -> None:
    """Make claimed messages ready again at once, uncharged."""
    # By the indexes: a plan by statistics reads all messages that wait, half a second for a million of them.
    with database.bounded(GIVE_BACK_S) as conn:
        messages.requeue(conn, database.statements, owner=owner, messages=claimed)
    with database.connection() as conn:
        registers.bump_rewind(conn, database.statements)
        registers.wake(conn, database.statements)
    leases.count_off(claimed)
    leases.drop(claimed)
