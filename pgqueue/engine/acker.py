"""The acker: one durable commit for all that the threads of a process finish while the commit before is under way."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import NamedTuple
from uuid import UUID, uuid4

from psycopg import DataError, Error

from ..faults import Fault
from ..logging import own_logger
from ..storage import leases, messages, registers, workers
from ..storage.database import Connection, Database, is_lost, translated
from ..storage.messages import ClaimedMessage, Verdict
from ..storage.registers import channel
from .backoff import Backoff
from .leases import Leases
from .verdicts import write_verdicts

#: The most verdicts in one commit.
BATCH = 500

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
}

#: What groups of verdicts usually need of their statement: nothing but acks, results, retries and next steps.
USUAL_PARTS = (frozenset[str](), frozenset({"results"}), frozenset({"follow_ups"}))

logger = own_logger(__name__)

#: A look at the leases of an owner: which of some verdicts are still to be written.
Look = Callable[[Connection, UUID, list[Verdict]], list[Verdict]]


class Settled(NamedTuple):
    """A verdict on its way; ``released`` is called with the number of verdicts of which nothing is left to do."""

    verdict: Verdict
    released: Callable[[int], None]


class GivenUp(Exception):
    """The session is closing and the database can't be reached."""


class Acker(threading.Thread):
    """Writes verdicts in the order in which they come, many at a time.

    A lost connection is replaced and the group sent again, after a look at which of it had been committed. A verdict
    that the database refuses to write (a result that is too large, say) does not hold up the others.
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
        self.on_delayed: Callable[[float], None] = lambda _: None

    def submit(self, settled: Settled) -> None:
        """Hand over a verdict; returns at once."""
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
        item = self._queue.get()
        batch: list[Settled] = []
        while isinstance(item, Settled):
            batch.append(item)
            item = self._next_of(batch)
        self._write(batch)
        if isinstance(item, threading.Event) and item is not _NOTHING:
            item.set()
        return item is not None

    def _next_of(self, batch: list[Settled]) -> "Settled | threading.Event | None":
        if len(batch) >= BATCH:
            return _NOTHING
        try:
            return self._queue.get_nowait()
        except Empty:
            return _NOTHING

    def _write(self, batch: Sequence[Settled]) -> None:
        by_owner: dict[UUID, list[Verdict]] = defaultdict(list)
        for settled in batch:
            by_owner[settled.verdict.message.lease.owner].append(settled.verdict)
        for owner, verdicts in by_owner.items():
            try:
                self._settle_all(owner, verdicts)
            except Exception:  # the thread's top loop
                logger.exception(
                    "%d acks could not be written; their messages will run again.", len(verdicts),
                    fault=Fault.ACK_FAILED,
                )  # fmt: skip
        for released, number in Counter(settled.released for settled in batch).items():
            released(number)

    def settled(self, verdicts: Sequence[Verdict]) -> None:
        """Count off what was settled, by whomever."""
        settled = [verdict.message for verdict in verdicts]
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

    def _settle_all(self, owner: UUID, group: list[Verdict]) -> None:
        """Write verdicts; those that were not written for now are looked for before they are written again.

        What a lost connection was writing may be committed later: its server holds the leases' rows while it waits for
        a lock, its disk or a standby, and does not know that nobody listens. The next attempt waits for those rows, and
        is refused once they are committed. So after a loss a refusal says no more than the loss itself.
        """
        look: Look | None = None
        after_refusal: Look = self._moved
        refusals, failed = 0, False
        while group:
            try:
                conn = self._connected(again=failed)
                if look is not None:
                    group, look, failed = look(conn, owner, group), None, False
                    continue
                accepted = write_verdicts(conn, self._database, owner=owner, verdicts=group)
            except GivenUp:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, no ack is dropped
                if look is None and is_about_a_value(error):
                    self._settle_one_by_one(owner, group, error)
                    return
                self._report_trouble(error)
                if look is None and is_lost(error):
                    after_refusal = self._not_committed
                look, failed = look or self._not_committed, True
                continue
            refusals = 0 if accepted else refusals + 1
            group = self._refused(group, accepted)
            if refusals > MOST_REFUSALS:
                give_up(group, "the database refuses it and has its lease nevertheless")
                return
            # Once, a lease was moved while it was written to. Who is refused again waits a little longer each time.
            look, failed = after_refusal, refusals > 1
        self._backoff.reset()

    def _refused(self, group: list[Verdict], accepted: set[int]) -> list[Verdict]:
        """Count off what was accepted, and return the others."""
        if accepted:
            self._backoff.reset()
            self.settled([verdict for verdict in group if verdict.message.id in accepted])
        return [verdict for verdict in group if verdict.message.id not in accepted]

    def _settle_one_by_one(self, owner: UUID, group: list[Verdict], error: Exception) -> None:
        """Find the verdict that can't be written; its message fails with the reason, and the others go on."""
        if len(group) > 1:
            for verdict in group:
                self._settle_all(owner, [verdict])
            return
        if isinstance(group[0], Unrecordable):
            give_up(group, error)
            return
        self._settle_all(owner, [unrecordable(group[0], error)])

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
        """After a lost connection: what is still on its lease. The rest was committed, if the owner still exists."""
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


def is_about_a_value(error: Exception) -> bool:
    """Whether the same statement would fail for ever: a value is wrong or too large, not the server in trouble."""
    if isinstance(error, Error) and error.sqlstate is not None:
        return error.sqlstate[:2] in {"22", "23", "54"}
    return isinstance(error, DataError | ValueError | OverflowError | TypeError)


def give_up(group: Sequence[Verdict], why: object) -> None:
    """Log that verdicts are not written, now or later."""
    for verdict in group:
        sent = sent_as(verdict)
        logger.error(
            "The ack of message %s (%s) could not be written: %s. The message stays with this worker until that ends, "
            "and runs again then.", sent.message_id, sent.actor_name, why, fault=Fault.ACK_FAILED,
        )  # fmt: skip


def report_lost(verdict: Verdict) -> None:
    """Log that a verdict was refused, because its message was given to another worker."""
    sent = sent_as(verdict)
    logger.error(
        "LeaseLost: message %s (%s) was given to another worker before its end was recorded; its run here counts for "
        "nothing.", sent.message_id, sent.actor_name, fault=Fault.LEASE_LOST,
    )  # fmt: skip


@dataclass(slots=True)
class Unrecordable(Verdict):
    """The verdict on a message whose own can't be written: it goes to the dead letters with the reason."""

    refused: Verdict | None = None


def sent_as(verdict: Verdict) -> Verdict:
    """The verdict that has the message's name and its actor's."""
    return (isinstance(verdict, Unrecordable) and verdict.refused) or verdict


def unrecordable(verdict: Verdict, error: Exception) -> Unrecordable:
    """Log that a verdict can't be written, and return what is written in its place."""
    logger.error(
        "What became of message %s can't be recorded: %s", verdict.message_id, error, fault=Fault.UNRECORDABLE
    )
    text = str(error).replace("\0", "\N{SYMBOL FOR NULL}") if not isinstance(error, Error) else str(error)
    return Unrecordable(
        # Nothing of what was to be recorded: any of it may be what can't be.
        verdict.message, "undecodable", "", status=None, reason="unrecordable",
        error=f"What became of it can't be recorded: {text}", refused=verdict,
    )  # fmt: skip


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
