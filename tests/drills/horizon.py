"""How far what was confirmed is safe, by the server's own account, where durability is lowered; and what was lost."""

import threading
import time
from types import TracebackType
from typing import Self

import psycopg

from .ledger import Ledger

__all__ = ["Horizon", "give_up"]

#: How far the log has come, and how much of it is where no crash takes it from: on this server's disk.
WRITTEN = "SELECT pg_current_wal_insert_lsn() - '0/0'"
FLUSHED = "SELECT pg_current_wal_flush_lsn() - '0/0'"

#: And on that of a server that follows.
RECEIVED = "SELECT coalesce(pg_last_wal_receive_lsn() - '0/0', 0)"

#: Every message that is anywhere, or has ended.
PRESENT = """
SELECT message_id::text FROM pgqueue.messages
UNION ALL SELECT message_id::text FROM pgqueue.scheduled
UNION ALL SELECT message_id::text FROM pgqueue.outcomes
UNION ALL SELECT message_id::text FROM pgqueue.dead_letters
"""

#: Seconds between two looks.
PAUSE_S = 0.01


class Horizon:
    """Watches, while it is entered, until when all that was committed is safe; looks on in vain after a crash.

    Parameters:
      url: The server that takes messages.
      standby_url: The one that follows, whose copy is what counts; None: the server's own disk.

    Attributes:
      safe_until: All that was confirmed before this time survives what befalls the server from now on.
    """

    def __init__(self, url: str, standby_url: str | None = None) -> None:
        self.safe_until = 0.0
        self._url = url
        self._asks = (standby_url or url, RECEIVED if standby_url else FLUSHED)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        try:
            with (
                psycopg.connect(self._url, autocommit=True) as leader,
                psycopg.connect(self._asks[0], autocommit=True) as keeper,
            ):
                while not self._ended.is_set():
                    self._look(leader, keeper)
        except psycopg.OperationalError:
            return  # the crash

    def _look(self, leader: "psycopg.Connection[object]", keeper: "psycopg.Connection[object]") -> None:
        began, written = time.time(), _position(leader, WRITTEN)
        while not self._ended.wait(PAUSE_S):
            if _position(keeper, self._asks[1]) >= written:
                self.safe_until = began
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()


def give_up(url: str, ledger: Ledger) -> dict[str, float]:
    """Write into the ledger what was confirmed and is nowhere any more; return when each of it was confirmed."""
    sent: dict[str, float] = {}
    for entry in ledger.read():
        if entry.kind == "sent":
            sent[entry.subject] = entry.at
        elif entry.kind == "forgone":
            del sent[entry.subject]
    with psycopg.connect(url) as conn:
        present = {row[0] for row in conn.execute(PRESENT)}
    gone = {id_: at for id_, at in sent.items() if id_ not in present}
    if gone:
        ledger.write("forgone", *gone)
    return gone


def _position(conn: "psycopg.Connection[object]", asked: str) -> int:
    row = conn.execute(asked.encode()).fetchone()
    assert isinstance(row, tuple)
    return int(row[0])
