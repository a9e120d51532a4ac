"""Makes scheduled messages ready when they are due."""

import time
from datetime import UTC, datetime

from ..faults import Fault
from ..logging import own_logger
from ..storage import registers, scheduled
from ..storage.database import Connection
from ..storage.statements import Statements
from .duty import Again, Alarm, Duty

#: Messages promoted in one statement: about five milliseconds of work.
BATCH = 500

#: The longest nap, in seconds: a shorter delay than this is announced by its sender.
NAP_S = 1.0

#: Seconds until the next look if somebody else is promoting what is due.
CONTENDED_S = 0.05

#: Every so many seconds the promoter looks at everything again: a promotion of another keeper that was rolled back may
#: have left rows behind the position.
FORGET_S = 60.0

#: A message that becomes ready so many milliseconds after it was due is late.
LATE_MS = 5_000

_START = (datetime(1970, 1, 1, tzinfo=UTC), 0)

logger = own_logger(__name__)


class Promoter(Duty):
    """Remembers how far it looked, so that promoted rows that can't be cleaned away yet cost nothing.

    A row that is due at ``t`` was written before ``t``; so what a run at ``t`` did not see can only come from the
    transactions that were undecided then. They are remembered and looked up by their number.
    """

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements)
        self._alarm = Alarm()
        self._after = _START
        self._undecided: set[int] = set()
        self._forget_at = time.monotonic() + FORGET_S

    def reconnected(self) -> None:
        """Begin anew."""
        self._after, self._undecided = _START, set()
        self._forget_at = time.monotonic() + FORGET_S

    def run_once(self, conn: Connection) -> Again:
        """Promote a batch; come again at once if it was full, else when the next message is due."""
        if time.monotonic() > self._forget_at:
            self.reconnected()
        snapshot, wait_ms = scheduled.next_due_in(conn, self.statements, after=self._after)
        due = wait_ms is not None and wait_ms <= 0
        self._tell_if_late(-(wait_ms or 0.0))
        if due or any(snapshot.decided(xid) for xid in self._undecided):
            return self._promote(conn)
        return Again(NAP_S if wait_ms is None else min(wait_ms / 1000, NAP_S))

    def _tell_if_late(self, late_ms: float) -> None:
        if self._alarm.begins("late", present=late_ms > LATE_MS):
            logger.warning(
                "Messages become ready late: the next one has been due for %.0f s.", late_ms / 1000,
                fault=Fault.PROMOTION_LATE,
            )  # fmt: skip

    def _promote(self, conn: Connection) -> Again:
        answer = scheduled.promote(
            conn, self.statements, after=self._after, xids=self._undecided, limit=BATCH
        )
        if answer.last is None:
            # What was looked up by its number just now stays only if it is undecided still. The position stays, too:
            # behind it, others that are undecided now can bring nothing.
            self._undecided = {xid for xid in self._undecided if not answer.snapshot.decided(xid)}
        else:
            self._undecided = set(answer.undecided)
            self._after = answer.last if answer.due >= BATCH else (answer.instant, 2**63 - 1)
        if not answer.promoted:
            return Again(CONTENDED_S)
        registers.wake(conn, self.statements)
        return Again(0.0)
