"""Gives the messages of lost workers to others."""

from ..logging import get_logger
from ..storage import messages, registers, workers
from ..storage.database import Connection
from .duty import Again, Duty

#: How long, in seconds, a worker whose connection is gone may take to connect again.
GRACE_S = 5.0

#: How long, in seconds, one may be silent whose connection the server still believes in. Long, because a C call that
#: keeps the interpreter's lock silences a healthy worker; the server itself drops dead connections by keep-alives.
SILENT_S = 60.0

#: Seconds between two looks.
INTERVAL_S = 2.0

#: A message that was running in so many lost workers goes to the dead letters.
MAX_ATTEMPTS = 3

logger = get_logger(__name__)


class Reaper(Duty):
    """Finds workers that hold messages and are dead."""

    def run_once(self, conn: Connection) -> Again:
        """Reclaim from one lost worker; come again at once if there was one."""
        with conn.transaction():
            lost = workers.find_lost(conn, self.statements, grace_s=GRACE_S, silent_s=SILENT_S)
            if lost is None:
                return Again(INTERVAL_S)
            reclaimed = self._reclaim(conn, lost)
        registers.wake(conn, self.statements)
        logger.warning(
            "Worker %s (process %d on %s) is lost; %d of its messages run elsewhere, %d went to the dead letters.",
            lost.owner, lost.pid, lost.host, reclaimed.returned, reclaimed.buried,
        )  # fmt: skip
        return Again(0.0)

    def _reclaim(self, conn: Connection, lost: workers.LostWorker) -> messages.Reclaimed:
        reclaimed = messages.reclaim(
            conn, self.statements, owner=lost.owner, threads=lost.threads, max_attempts=MAX_ATTEMPTS,
            error=f"its worker was lost {MAX_ATTEMPTS} times, the last was process {lost.pid} on {lost.host}",
        )  # fmt: skip
        workers.remove(conn, self.statements, owner=lost.owner)
        return reclaimed
