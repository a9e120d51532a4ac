"""A settlement: the end of one message, and everything that must commit with it or not at all.

While a worker thread calls the after-hooks of a message, what they send and store is collected here. It goes out with
the ack: through the acker, in its group's statement, or, if a hook needed an answer from the database that hangs on
the same commit (a barrier), in a transaction of the settlement's own.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from ..errors import DatabaseUnavailable, LeaseLost
from ..logging import get_logger
from ..storage import messages
from ..storage.database import Connection
from ..storage.messages import Arrival, NewMessage, StoredResult, Verdict
from .backoff import Backoff
from .intake import Intake
from .session import Session
from .verdicts import write_verdicts

T = TypeVar("T")

logger = get_logger(__name__)


class Settlement:
    """Belongs to one worker thread, from the first after-hook to the last.

    Attributes:
      decided: There was an ack or a nack.
      broken: Something that belongs to it could not be had from the database: it must not be committed without.
    """

    def __init__(self, session: Session, intake: Intake, verdict: Verdict) -> None:
        self.verdict = verdict
        self.decided = False
        self.broken = False
        self._session = session
        self._intake = intake
        self._stack = ExitStack()
        self._conn: Connection | None = None

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
            self._conn = self.insist(self._begin)
        return self._conn

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
                logger.warning("Message %s can't be settled yet: %s", self.verdict.message_id, error)

    def _begin(self) -> Connection:
        with ExitStack() as stack:
            conn = stack.enter_context(self._session.database.transaction())
            if not messages.hold(conn, self._session.database.statements, message=self.verdict.message):
                raise LeaseLost(f"Message {self.verdict.message_id} was given to another worker.")
            self._stack = stack.pop_all()
            return conn

    def commit(self) -> None:
        """Hand the verdict over, or commit it here if a hook has begun a transaction."""
        if self._conn is None:
            self._session.submit(self.verdict, self._intake.settled)
        else:
            self._commit_here(self._conn)

    def abandon(self) -> None:
        """Undo everything; the message goes back to its queue."""
        self.undo()
        self._give_back()

    def undo(self) -> None:
        """Undo everything; what becomes of the message is the caller's business."""
        error = RuntimeError("nothing was decided about the message")
        self._stack.__exit__(type(error), error, None)

    def _commit_here(self, conn: Connection) -> None:
        try:
            with self._stack:
                self._write(conn)
        except Exception:
            logger.exception("Message %s could not be settled; it runs again.", self.verdict.message_id)
            self._give_back()
        else:
            self._session.leases.count_off([self.verdict.message])
            self._session.leases.drop([self.verdict.message])
            self._intake.settled()

    def _write(self, conn: Connection) -> None:
        database = self._session.database
        accepted = write_verdicts(
            conn, database, owner=self.verdict.message.lease.owner, verdicts=[self.verdict]
        )
        if not accepted:
            raise LeaseLost(f"Message {self.verdict.message_id} was given to another worker.")

    def _give_back(self) -> None:
        try:
            self._patiently(lambda: self._intake.give_back([self.verdict.message]))
        except Exception:
            logger.exception("Message %s could not be given back; it waits for this worker's end.",
                             self.verdict.message_id)  # fmt: skip


class OpenSettlements(threading.local):
    """The settlement that is open in this thread, if any."""

    current: Settlement | None = None
