"""Takes away what has outlived its time: outcomes, attempts, results, dead letters."""

import time
from contextlib import suppress

from psycopg import errors

from ..faults import Fault
from ..logging import own_logger
from ..storage import rate_limits, retention, waits, worker_orders
from ..storage.database import Connection
from ..storage.slots import try_lock
from ..storage.statements import Statements
from .duty import PRUNING, Again, Alarm, Duty

#: Seconds between two looks.
INTERVAL_S = 60.0

#: Seconds within which it looks for the first time.
FIRST_WITHIN_S = 5.0

#: Rows deleted in one statement where TRUNCATE does not do.
BATCH = 5_000

#: How long to wait for a slice's lock, in ms.
LOCK_TIMEOUT_MS = 50

#: When the table waits is emptied: word of processes that were killed, and dead rows under a held snapshot.
MOST_WAITS_BYTES = 8 * 1024**2

#: How long dead letters are kept unless told otherwise, in seconds.
DEAD_LETTER_TTL_S = 7 * 24 * 3600

#: Seconds for which orders to a worker that is gone are kept: it may only be cut off, and come back.
ORDERS_KEPT_S = 3600.0

#: For so many seconds somebody may keep a slice from being emptied without a word about it.
BEHIND_S = 300.0

logger = own_logger(__name__)


class Pruner(Duty):
    """Empties slices whose time is over by TRUNCATE; deletes old dead letters in batches."""

    first_within_s = FIRST_WITHIN_S

    def __init__(self, statements: Statements, *, dead_letter_ttl_s: float = DEAD_LETTER_TTL_S) -> None:
        super().__init__(statements)
        self._dead_letter_ttl_s = dead_letter_ttl_s
        self._refused_since: dict[tuple[str, int], float] = {}
        self._alarm = Alarm()

    def run_once(self, conn: Connection) -> Again:
        """Prune; come again at once while a batch was full."""
        now_s = retention.now_s(conn, self.statements)
        attempts = retention.expired_attempts(now_s, ttl_s=self._dead_letter_ttl_s)
        for table, slice_ in (*retention.expired_slices(now_s), *attempts):
            self._note(table, slice_, refused=self._truncate(conn, table, slice_))
        deleted = retention.purge_dead_letters(
            conn, self.statements, ttl_s=self._dead_letter_ttl_s, limit=BATCH
        )
        deleted += retention.purge_long_results(conn, self.statements, limit=BATCH)
        purged = rate_limits.purge_expired(conn, self.statements)
        self._clear_waits(conn)
        worker_orders.prune(conn, self.statements, older_s=ORDERS_KEPT_S)
        return Again(0.0 if deleted >= BATCH or purged >= rate_limits.PURGED_AT_ONCE else INTERVAL_S)

    def _clear_waits(self, conn: Connection) -> None:
        if waits.size(conn, self.statements) > MOST_WAITS_BYTES:
            with suppress(errors.LockNotAvailable), conn.transaction():
                conn.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                waits.clear(conn, self.statements)

    def _note(self, table: str, slice_: int, *, refused: bool) -> None:
        if not refused:
            self._refused_since.pop((table, slice_), None)
        since = self._refused_since.setdefault((table, slice_), time.monotonic()) if refused else None
        late = since is not None and time.monotonic() - since > BEHIND_S
        if self._alarm.begins((table, slice_), present=late):
            logger.warning(
                "Slice %d of %s has outlived its time and can't be emptied: somebody has been reading it for %.0f s.",
                slice_, table, BEHIND_S, fault=Fault.RETENTION_BEHIND,
            )  # fmt: skip

    def _truncate(self, conn: Connection, table: str, slice_: int) -> bool:
        """Empty a slice; answer whether somebody reads it, so that this can't be."""
        if not retention.holds_rows(conn, self.statements, table=table, slice_=slice_):
            return False
        try:
            with conn.transaction():
                conn.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
                if try_lock(conn, self.statements, duty=PRUNING):
                    retention.truncate_slice(conn, self.statements, table=table, slice_=slice_)
        except errors.LockNotAvailable:
            return True  # a dump perhaps: at the next look
        return False
