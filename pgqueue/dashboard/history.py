"""How deep the queues have been: looks taken while somebody watches, kept in memory, an hour at most."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from ..errors import PgQueueError
from ..logging import own_logger
from ..operations import overview
from ..operations.overview import Overview
from ..storage import health, queues
from ..storage.database import Database

__all__ = ["History", "Look"]

#: Seconds between two looks, how many are kept, and for how long nobody must have asked for them to end.
INTERVAL_S, KEPT, UNWATCHED_S = 5.0, 720, 900.0


@dataclass(frozen=True, slots=True)
class Look:
    """All queues at one moment.

    Attributes:
      at_s: By this machine's clock, since 1970.
      sent: How many messages had been made ready until then, retries and due ones included.
      wal: How far the server's log had come, in bytes.
    """

    at_s: float
    sent: int
    state: Overview
    wal: int | None = None

    def depth(self, kind: str, queue_name: str | None = None) -> int:
        """How many messages were ``ready``, ``running``, ``scheduled``, ``parked`` or ``dead``."""
        return sum(getattr(queue, kind) for queue in self.state.queues if queue_name in {None, queue.name})


class History:
    """Looks at the queues from the first request on, in a thread that ends when nobody asks any more.

    Safe to share between threads; a forked child begins its own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looks: deque[Look] = deque(maxlen=KEPT)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked_at = 0.0
        self._stopping = threading.Event()
        self._logger = own_logger(__name__, type(self))

    def look(self) -> Look:
        """Look now, and see that somebody goes on looking."""
        self._asked_at = time.monotonic()
        look = self._take()
        with self._lock:
            # A thread does not survive a fork; is_alive() knows.
            if self._thread is None or not self._thread.is_alive():
                self._stopping.clear()
                self._thread = threading.Thread(target=self._run, name="pgqueue dashboard", daemon=True)
                self._thread.start()
        return look

    def looks(self, *, since_s: float = 0.0) -> list[Look]:
        """What was seen, the oldest first."""
        with self._lock:
            return [look for look in self._looks if look.at_s >= since_s]

    def rate_in(self, *, window_s: float = 60.0) -> float | None:
        """Messages a second that were made ready lately; None before the second look."""
        looks = self.looks(since_s=time.time() - window_s)
        if len(looks) < 2 or looks[-1].at_s - looks[0].at_s < 1.0:
            return None
        return max(0.0, (looks[-1].sent - looks[0].sent) / (looks[-1].at_s - looks[0].at_s))

    def close(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _take(self) -> Look:
        state = overview.look(self._database)
        with self._database.bounded() as conn:
            sent = queues.sent(conn, self._database.statements)
            wal = health.wal_bytes(conn, self._database.statements)
        look = Look(time.time(), sent, state, wal)
        with self._lock:
            if not self._looks or look.at_s - self._looks[-1].at_s >= INTERVAL_S / 2:
                self._looks.append(look)
        return look

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_S):
            if time.monotonic() - self._asked_at > UNWATCHED_S:
                return
            try:
                self._take()
            except PgQueueError as error:
                self._logger.warning("Can't look at the queues: %s", error)
            except Exception:
                self._logger.exception("Can't look at the queues.")
