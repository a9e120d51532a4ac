"""The lanes that a sender knows: made when they are first used, then remembered."""

import threading
from collections.abc import Collection

from ..storage import lanes
from ..storage.database import Database

#: More priorities than this in one queue are a mistake: each is a lane that every claim looks into.
MAX_PRIORITIES = 1_000


class Catalog:
    """Queue and priority to lane, for one database. Safe to use from all threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    def lanes_of(self, wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The lanes of (queue name, priority) pairs; missing ones are made, in a transaction of their own.

        Raises:
          ValueError: A queue would have too many priorities.
        """
        if any(pair not in self._ids for pair in wanted):
            self._learn(wanted)
        return self._ids

    def forget(self) -> None:
        """Ask the database again: the schema was made anew, perhaps."""
        with self._lock:
            self._ids = {}

    def _learn(self, wanted: Collection[tuple[str, int]]) -> None:
        with self._lock, self._database.connection() as conn:
            statements = self._database.statements
            known = {(lane.queue_name, lane.priority): lane.id for lane in lanes.list_lanes(conn, statements)}
            missing = [pair for pair in dict.fromkeys(wanted) if pair not in known]
            for queue_name, _ in missing:
                if sum(name == queue_name for name, _ in known) >= MAX_PRIORITIES:
                    raise ValueError(
                        f"Queue {queue_name!r} has {MAX_PRIORITIES} different priorities already. "
                        "Priorities are classes of urgency: use a few."
                    )
            lanes.add_lanes(conn, statements, lanes=missing)
            self._ids = {
                (lane.queue_name, lane.priority): lane.id for lane in lanes.list_lanes(conn, statements)
            }
