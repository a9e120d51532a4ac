"""Gives the messages of lost workers to others."""

import time
from collections.abc import Callable, Collection
from itertools import count
from math import isfinite
from uuid import UUID

from ..faults import Fault
from ..logging import own_logger
from ..storage import messages, rate_limits, registers, retention, transactions, workers
from ..storage.database import Connection
from ..storage.statements import Statements
from .duty import Again, Duty

#: How long, in seconds, a worker whose connection is gone may take to connect again.
GRACE_S = 5.0

#: How long, in seconds, one may be silent whose connection the server still believes in. Long, because a C call that
#: keeps the interpreter's lock silences a healthy worker; the server itself drops dead connections by keep-alives.
SILENT_S = 60.0

#: Seconds between two looks.
INTERVAL_S = 2.0

#: How long, in seconds, nobody is taken for lost after we were cut off ourselves or the server's clock has jumped: the
#: others need a moment, too, to connect and to renew their heartbeats. Nor after our start, which may be the end of an
#: outage; unless some worker or other has been heard all along. (Where workers are killed faster than that, none would
#: look.)
CALM_S = 5.0

#: The longest silence of all workers together, in seconds, after which a new one looks at once: enough for one that is
#: killed and started again and again. Whether it was an outage nobody knows, so he lets others be gone for as much
#: longer, and what the dead held runs again within fifteen seconds nevertheless.
SILENCE_S = 8.0

#: How far, in seconds, the server's clock may run from ours between two looks without having jumped.
JUMP_S = 1.0

#: Every so many runs, and at the first, leases are searched for such as nobody holds who could be found dead. With the
#: grace that is within 13 seconds.
UNOWNED_EVERY = 3

#: A message that was running in so many lost workers goes to the dead letters.
MAX_ATTEMPTS = 3

logger = own_logger(__name__)


def report_poison(number: int, *, end: str) -> None:
    """Log messages that went to the dead letters because processes died with them, if there are any."""
    if number:
        logger.error(
            "%d messages went to the dead letters: %d processes died while they ran, the last of which %s.",
            number, MAX_ATTEMPTS, end, fault=Fault.POISON,
        )  # fmt: skip


def end_transactions(conn: Connection, statements: Statements, *, owner: UUID) -> None:
    """End what transactional actors of a worker that was given up have left open, with the locks that it holds."""
    if ended := transactions.end_those_of(conn, statements, owner=owner):
        logger.info("Ended %d transactions that worker %s had left open.", ended, owner)


class Reaper(Duty):
    """Finds workers that hold messages and are dead.

    Parameters:
      own: The names of this very process. It holds their locks, which it could take once more, and its heartbeat is old
        if it was stopped for a while and has just been continued.
    """

    def __init__(self, statements: Statements, *, own: Callable[[], Collection[UUID]] = tuple) -> None:
        super().__init__(statements)
        self._own = own
        self._runs = count()
        self._ahead_s = float("inf")
        self._calm_at = 0.0
        self._is_new, self._silence_s = True, float("inf")

    def reconnected(self) -> None:
        """Wait until the others had time to connect again, too."""
        self._ahead_s = float("inf")

    def run_once(self, conn: Connection) -> Again:
        """Reclaim from one lost worker; come again at once if there was one."""
        calm_s = self._calm_in_s(conn)
        too_early = calm_s > 0.0 and self._silence_s > SILENCE_S
        if too_early or not self._reclaim_one(conn, late_s=self._silence_s if calm_s > 0.0 else 0.0):
            return Again(min(calm_s, INTERVAL_S) if calm_s > 0.0 else INTERVAL_S)
        # A claim of theirs may have been rolled back after others had skipped its rows.
        registers.bump_rewind(conn, self.statements)
        registers.wake(conn, self.statements)
        return Again(0.0)

    def _calm_in_s(self, conn: Connection) -> float:
        now_s = time.monotonic()
        ahead_s = retention.now_s(conn, self.statements) - now_s
        jump_s = ahead_s - self._ahead_s
        is_new, self._is_new = self._is_new, False
        if abs(jump_s) > JUMP_S:
            self._calm_at = now_s + CALM_S
            self._silence_s = (
                workers.longest_silence(conn, self.statements, within_s=CALM_S) if is_new else float("inf")
            )
            if isfinite(jump_s):
                logger.warning(
                    "The server's clock has jumped by %+.0f s; nobody is taken for lost for %.0f s.", jump_s, CALM_S,
                    fault=Fault.CLOCK_JUMPED,
                )  # fmt: skip
        self._ahead_s = ahead_s
        return self._calm_at - now_s

    def _reclaim_one(self, conn: Connection, *, late_s: float) -> bool:
        return self._reclaim_lost(conn, grace_s=GRACE_S + late_s) or self._reclaim_unowned(conn)

    def _reclaim_lost(self, conn: Connection, *, grace_s: float) -> bool:
        with conn.transaction():
            lost = workers.find_lost(
                conn, self.statements, grace_s=grace_s, silent_s=SILENT_S, spare=self._own()
            )
            if lost is None:
                return False
            reclaimed = messages.reclaim(
                conn, self.statements, owner=lost.owner, threads=lost.threads, max_attempts=MAX_ATTEMPTS,
                error=f"its worker was lost {MAX_ATTEMPTS} times, the last was process {lost.pid} on {lost.host}",
                lost=f"its worker was lost, process {lost.pid} on {lost.host}, which was probably running it",
            )  # fmt: skip
            rate_limits.free_places(conn, self.statements, owner=lost.owner)
            workers.remove(conn, self.statements, owner=lost.owner)
        logger.warning(
            "Worker %s (process %d on %s) is lost; %d of its messages run elsewhere, %d went to the dead letters.",
            lost.owner, lost.pid, lost.host, reclaimed.returned, reclaimed.buried, fault=Fault.WORKER_LOST,
        )  # fmt: skip
        report_poison(reclaimed.buried, end="was lost")
        end_transactions(conn, self.statements, owner=lost.owner)
        return True

    def _reclaim_unowned(self, conn: Connection) -> bool:
        """Reclaim from somebody who was given up before; what he ran since then can't be told, nothing is charged."""
        if next(self._runs) % UNOWNED_EVERY:
            return False
        owner = workers.find_unowned(conn, self.statements, grace_s=GRACE_S)
        if owner is None:
            return False
        with conn.transaction():
            reclaimed = messages.reclaim(
                conn, self.statements, owner=owner, threads=0, charged=[], max_attempts=MAX_ATTEMPTS, error=""
            )
            rate_limits.free_places(conn, self.statements, owner=owner)
        logger.warning(
            "Worker %s is not registered and held messages; %d run elsewhere.", owner, reclaimed.returned,
            fault=Fault.WORKER_LOST,
        )  # fmt: skip
        end_transactions(conn, self.statements, owner=owner)
        return True
