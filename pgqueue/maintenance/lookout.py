"""Watches the server for what sooner or later stands in everybody's way, and says so in the log when it begins."""

from collections.abc import Callable

from ..faults import Fault
from ..logging import own_logger
from ..storage import health
from ..storage.database import Connection, has_session, is_lost
from ..storage.health import SnapshotHolder
from ..storage.statements import Statements
from .duty import Again, Alarm, Duty

#: Seconds between two looks.
INTERVAL_S = 60.0

#: Seconds within which it looks for the first time.
FIRST_WITHIN_S = 5.0

#: Seconds from which a transaction or snapshot is old, and from which an idle transaction is.
OLD_SNAPSHOT_S, OLD_IDLE_S = 300.0, 60.0

#: Transactions from which a snapshot without an age in seconds (that of a replication slot) is old.
OLD_SNAPSHOT_XIDS = 1_000_000

#: Shares from which the queue of notifications, the connections and the table of locks are nearly full.
FULL_NOTIFY, FULL_CONNECTIONS, FULL_LOCKS = 0.5, 0.8, 0.8

logger = own_logger(__name__)


class Lookout(Duty):
    """One session of a deployment looks; it keeps its lock as long as its connection, and another follows."""

    first_within_s = FIRST_WITHIN_S

    def __init__(self, statements: Statements) -> None:
        super().__init__(statements)
        self._alarm = Alarm()
        self._chosen = False

    def reconnected(self) -> None:
        """Compete for the lock again."""
        self._chosen = False

    def run_once(self, conn: Connection) -> Again:
        """Look, if it is this session that does."""
        # A pooler would keep the lock for somebody else. Without a session of its own a worker tells what it sees.
        if has_session(conn):
            self._chosen = self._chosen or health.try_watch(conn, self.statements)
            if not self._chosen:
                return Again(INTERVAL_S)
        looks = {
            "notifications and connections": self._look_at_shares,
            "locks": self._look_at_locks,
            "snapshots": self._look_at_snapshots,
            "idle transactions": self._look_at_idle,
        }
        for name, look in looks.items():
            self._try(name, look, conn)
        return Again(INTERVAL_S)

    def _try(self, name: str, look: Callable[[Connection], None], conn: Connection) -> None:
        """Look at one thing; if that fails, nothing is known of it, and the others are looked at nevertheless."""
        failed: Exception | None = None
        try:
            look(conn)
        except Exception as error:
            if is_lost(error):
                raise
            failed = error
        if self._alarm.begins(("failed", name), present=failed is not None):
            logger.error(
                "The lookout can't see the server's %s, next try in %.0f s: %s", name, INTERVAL_S, failed,
                fault=Fault.DUTY_FAILED,
            )  # fmt: skip

    def _look_at_shares(self, conn: Connection) -> None:
        server = health.server(conn, self.statements)
        if self._alarm.begins("notifications", present=server.notify_usage > FULL_NOTIFY):
            logger.error(
                "The server's queue of notifications is %.0f%% full; once full, commits fail. A session that listens "
                "sleeps in a transaction.", server.notify_usage * 100, fault=Fault.NOTIFICATIONS_FULL,
            )  # fmt: skip
        if self._alarm.begins("connections", present=server.connections_share > FULL_CONNECTIONS):
            logger.warning(
                "%d of the server's %d connections are in use.", server.connections, server.max_connections,
                fault=Fault.CONNECTIONS_SHORT,
            )  # fmt: skip

    def _look_at_locks(self, conn: Connection) -> None:
        locks = health.locks(conn, self.statements)
        if self._alarm.begins("locks", present=locks.share > FULL_LOCKS):
            logger.warning(
                "%d locks are taken of about %d that the server has room for; once there is none left, statements "
                "fail. See `pgqueue doctor`.", locks.taken, locks.room, fault=Fault.LOCKS_SHORT,
            )  # fmt: skip

    def _look_at_snapshots(self, conn: Connection) -> None:
        oldest = next((each for each in health.snapshot_holders(conn, self.statements) if is_old(each)), None)
        if self._alarm.begins("snapshots", present=oldest is not None) and oldest is not None:
            logger.warning(
                "An old snapshot keeps dead rows of all tables from being cleaned away: %s %s. See `pgqueue doctor`.",
                oldest.kind, oldest.name, fault=Fault.OLD_SNAPSHOT,
            )  # fmt: skip

    def _look_at_idle(self, conn: Connection) -> None:
        idle = health.idle_transactions(conn, self.statements, longer_s=OLD_IDLE_S)
        if self._alarm.begins("idle", present=bool(idle)):
            logger.warning(
                "Session %d has been idle in a transaction for %.0f s. See `pgqueue doctor`.", idle[0].pid,
                idle[0].seconds, fault=Fault.IDLE_TRANSACTION,
            )  # fmt: skip


def is_old(holder: SnapshotHolder) -> bool:
    """Whether a snapshot goes back so far that it is worth a word."""
    if holder.age_s is None:
        return (holder.age_xids or 0) > OLD_SNAPSHOT_XIDS
    return holder.age_s > OLD_SNAPSHOT_S
