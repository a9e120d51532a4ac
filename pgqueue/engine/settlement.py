"""A settlement: the end of one message, and everything that must commit with it or not at all.

While a worker thread calls the after-hooks of a message, what they send and store is collected here. It goes out with
the ack: through the acker, in its group's statement, or, if a hook needed an answer from the database that hangs on
the same commit (a barrier), in a transaction of the settlement's own, or in that of a transactional actor's body.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from .. import _forks
from ..errors import DatabaseUnavailable, LeaseLost
from ..faults import Fault
from ..logging import own_logger
from ..storage import leases
from ..storage.database import Connection, translated
from ..storage.messages import Arrival, NewMessage, StoredResult, Verdict
from .actor_transaction import ActorTransaction
from .backoff import Backoff
from .intake import Intake
from .refused import is_about_a_value, report_lost, unrecordable
from .session import Session
from .verdicts import write_verdicts

T = TypeVar("T")

logger = own_logger(__name__)


class Settlement:
    """Belongs to one worker thread, from the first after-hook to the last.

    Parameters:
      transaction: What the actor's body wrote and shall commit with the verdict, if it wrote in a transaction.

    Attributes:
      decided: There was an ack or a nack.
      broken: Something that belongs to it could not be had from the database: it must not be committed without.
    """

    def __init__(
        self,
        session: Session,
        intake: Intake,
        verdict: Verdict,
        *,
        transaction: ActorTransaction | None = None,
    ) -> None:
        self.verdict = verdict
        self.decided = False
        self.broken = False
        self._session = session
        self._intake = intake
        #: Ends the transaction of `_conn`, where a hook needed one: for few messages.
        self._stack: ExitStack | None = None
        self._conn: Connection | None = None
        self._transaction = transaction if transaction is not None and transaction.has_begun else None

    def add_message(self, message: NewMessage) -> None:
        """Send ``message`` with the ack."""
        self.verdict.follow_ups.append(message)

    def add_result(self, result: StoredResult) -> None:
        """Store ``result`` with the ack."""
        self.verdict.results.append(result)

    def add_arrival(self, arrival: Arrival) -> None:
        """Count a barrier down with the ack, unless the message fails."""
        self.verdict.arrivals.append(arrival)

    def connection(self) -> Connection:
        """A connection inside the transaction in which this settlement will commit.

        Raises:
          LeaseLost: The message has been given to another worker.
        """
        if self._conn is None:
            self._conn = (
                self.insist(self._begin) if self._transaction is None else self._join(self._transaction)
            )
        return self._conn

    def _join(self, transaction: ActorTransaction) -> Connection:
        conn = transaction.begun_connection()
        try:
            with translated(self._session.database):
                self._hold(conn)
        except BaseException:
            self.broken = True
            raise
        return conn

    def insist(self, ask: Callable[[], T]) -> T:
        """Ask the database something on which the settlement hangs, again and again until it can be reached.

        Raises:
          DatabaseUnavailable: The session ends before that; the settlement can't be committed any more.
        """
        try:
            return self._patiently(ask)
        except (DatabaseUnavailable, LeaseLost):
            self.broken = True
            raise

    def _patiently(self, ask: Callable[[], T]) -> T:
        backoff = Backoff(first_s=0.1)
        while True:
            try:
                return ask()
            except DatabaseUnavailable as error:
                if self._session.closing.wait(backoff.next_s()):
                    raise
                logger.warning(
                    "Message %s can't be settled yet: %s", self.verdict.message_id, error,
                    fault=Fault.ACK_DELAYED,
                )  # fmt: skip

    def _begin(self) -> Connection:
        with ExitStack() as stack:
            conn = stack.enter_context(self._session.database.transaction())
            self._hold(conn)
            self._stack = stack.pop_all()
            return conn

    def _hold(self, conn: Connection) -> None:
        if not leases.hold(conn, self._session.database.statements, message=self.verdict.message):
            raise LeaseLost(f"Message {self.verdict.message_id} was given to another worker.")

    def commit(self) -> None:
        """Hand the verdict over, or commit it here if there is a transaction of the body's or of a hook's."""
        if self._transaction is not None:
            self._commit_with_body(self._transaction)
        elif self._conn is None or self._stack is None:
            self._submit(self.verdict)
        else:
            self._commit_here(self._conn, self._stack)

    def _submit(self, verdict: Verdict) -> None:
        self._session.submit(verdict, self._intake.released(verdict.message))

    def abandon(self) -> None:
        """Undo everything; the message goes back to its queue."""
        error = RuntimeError("nothing was decided about the message")
        if self._stack is not None:
            self._stack.__exit__(type(error), error, None)
        if self._transaction is not None:
            self._transaction.rollback()
        self._give_back()

    def _commit_with_body(self, transaction: ActorTransaction) -> None:
        if self.verdict.reason is not None:
            # A hook has failed the message after all: what is among the dead letters has had no effect.
            transaction.rollback()
            self._submit(self.verdict)
            return
        try:
            transaction.commit(self._write_with_body)
        except LeaseLost:
            report_lost(self.verdict)
            self._give_back()
        except Exception as error:
            if is_about_a_value(error):
                self._submit(unrecordable(self.verdict, error))
                return
            logger.exception(
                "Message %s could not be settled; it runs again.", self.verdict.message_id,
                fault=Fault.ACK_FAILED,
            )  # fmt: skip
            self._give_back()
        else:
            self._settled()

    def _write_with_body(self, conn: Connection) -> None:
        assert self._transaction is not None  # noqa: S101  # it calls this
        if not self._accepted(conn):
            # Its lease may lie in another slot by now, or be another; held, it stays where it is.
            owner = self.verdict.message.lease.owner
            held = leases.find_leases(conn, self._session.database.statements, owner=owner)
            self._session.leases.locate(self.verdict, held)
            self._hold(conn)
            self._write(conn)

    def _commit_here(self, conn: Connection, stack: ExitStack) -> None:
        try:
            with stack:
                self._write(conn)
        except Exception:
            logger.exception(
                "Message %s could not be settled; it runs again.", self.verdict.message_id,
                fault=Fault.ACK_FAILED,
            )  # fmt: skip
            self._give_back()
        else:
            self._settled()

    def _settled(self) -> None:
        self._session.settled([self.verdict])
        self._intake.released(self.verdict.message)(1)

    def _write(self, conn: Connection) -> None:
        if not self._accepted(conn):
            raise LeaseLost(f"Message {self.verdict.message_id} was given to another worker.")

    def _accepted(self, conn: Connection) -> bool:
        sent_to = () if self._transaction is None else self._transaction.queue_names
        owner = self.verdict.message.lease.owner
        return bool(
            write_verdicts(
                conn, self._session.database, owner=owner, verdicts=[self.verdict], sent_to=sent_to
            )
        )

    def _give_back(self) -> None:
        try:
            self._patiently(lambda: self._intake.give_back([self.verdict.message]))
        except Exception:
            logger.exception("Message %s could not be given back; it waits for this worker's end.",
                             self.verdict.message_id, fault=Fault.ACK_FAILED)  # fmt: skip


class OpenSettlements(threading.local):
    """The settlement that is open in this thread, if any."""

    current: Settlement | None = None

    def __init__(self) -> None:
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Have none open in a forked process: what it sends is sent at once."""
        _forks.keep(self.current)
        self.current = None
