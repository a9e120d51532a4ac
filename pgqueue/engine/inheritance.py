"""The inheritance: what a dead process held goes on at once, and only what it was running is charged.

The supervisor leaves a dead process's running board behind, in the directory of all its boards. Its other processes
look there, the replacement as soon as it is up: whoever comes first gives the messages back. Without a supervisor, or
with nobody left to look, the reaper does it later and has to guess what was running.
"""

from contextlib import suppress
from pathlib import Path
from uuid import UUID

from ..faults import Fault
from ..logging import own_logger
from ..maintenance.duty import Again, Duty
from ..maintenance.reaper import MAX_ATTEMPTS, end_transactions, report_poison
from ..storage import messages, rate_limits, registers, workers
from ..storage.database import Connection
from ..storage.statements import Statements
from .board import Noted, dead_boards

#: Seconds between two looks at the directory.
INTERVAL_S = 0.5

#: Seconds until another look at an owner whose connections the server has not seen the end of yet.
STILL_CONNECTED_S = 0.05

logger = own_logger(__name__)


class Inheritance(Duty):
    """Reclaims what dead processes of the same supervisor held.

    Parameters:
      directory: Where the boards are.
    """

    def __init__(self, statements: Statements, directory: Path) -> None:
        super().__init__(statements)
        self._directory = directory

    def run_once(self, conn: Connection) -> Again:
        """Take over from all the dead; come again soon while the server still believes in one of them."""
        waiting = False
        for path, noted in dead_boards(self._directory):
            undecided = [owner for owner in noted.owners if not self._take_over(conn, owner, noted)]
            waiting = waiting or bool(undecided)
            if not undecided:
                with suppress(OSError):
                    path.unlink()
        return Again(STILL_CONNECTED_S if waiting else INTERVAL_S)

    def _take_over(self, conn: Connection, owner: UUID, noted: Noted) -> bool:
        """Give back what ``owner`` held; False if his session has not ended yet."""
        with conn.transaction():
            dead = workers.find_dead(conn, self.statements, owner=owner)
            if dead is None:
                # It gave its messages back by itself, or the reaper did.
                end_transactions(conn, self.statements, owner=owner)
                return True
            if not dead.gone:
                # Its connections may outlive it for long: whatever it has forked has them, too.
                workers.end_old_session(conn, self.statements, owner=owner, pids={noted.session} - {0})
                return False
            reclaimed = messages.reclaim(
                conn, self.statements, owner=owner, threads=0, charged=noted.running, max_attempts=MAX_ATTEMPTS,
                error=f"it was running in {MAX_ATTEMPTS} processes when they died; the last was process {dead.pid} "
                f"on {dead.host}, which {noted.end}",
                lost=f"it was running in process {dead.pid} on {dead.host}, which {noted.end}",
            )  # fmt: skip
            rate_limits.free_places(conn, self.statements, owner=owner)
            workers.remove(conn, self.statements, owner=owner)
        registers.bump_rewind(conn, self.statements)
        registers.wake(conn, self.statements)
        logger.warning(
            "Process %d %s; %d of its messages run elsewhere, %d went to the dead letters.",
            dead.pid, noted.end, reclaimed.returned, reclaimed.buried, fault=Fault.PROCESS_DIED,
        )  # fmt: skip
        report_poison(reclaimed.buried, end=noted.end)
        end_transactions(conn, self.statements, owner=owner)
        return True
