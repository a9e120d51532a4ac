"""What a sender knows of its database: the lanes, made when they are first used, and where it is."""

import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass

from .. import _forks
from ..storage import lanes
from ..storage.async_database import AsyncConnection, AsyncDatabase
from ..storage.calls import Procedure, perform, perform_async
from ..storage.database import Connection, Database, translated
from ..storage.revision import check_revision, find_place, find_revision

#: More priorities than this in one queue are a mistake: each is a lane that every claim looks into.
MAX_PRIORITIES = 1_000

#: A queue and a priority.
Pair = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Lanes:
    """Lanes by queue and priority, as a server knows them: one that took over from it may never have heard of some.

    Attributes:
      origin: The server and the table in which they have these numbers, as `lanes.find_here` says.
    """

    ids: Mapping[Pair, int]
    origin: str


class Catalog:
    """Queue and priority to lane, for one database. Safe to use from all threads and event loops.

    Lanes are learned and made on connections of our own, in autocommit mode, also while an application's transaction
    is open: so nobody waits for its end, and its rollback takes away none that is remembered here.
    """

    def __init__(self, database: Database, async_database: AsyncDatabase) -> None:
        self._database = database
        self._async_database = async_database
        self._lanes = Lanes({}, "")
        self._place: str | None = None
        # A signal handler that sends may have interrupted a first send, which holds it.
        self._lock = threading.RLock()
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Have a lock in a forked process that nobody holds."""
        self._lock = threading.RLock()

    def lanes_of(self, wanted: Collection[Pair]) -> Lanes:
        """The lanes of (queue name, priority) pairs; missing ones are made, in a transaction of their own.

        Raises:
          ValueError: A queue would have too many priorities.
        """
        if (lanes := self._known(wanted)) is not None:
            return lanes
        with self._lock, self._database.connection() as conn:
            return self.learn(conn, wanted)

    async def lanes_of_async(self, wanted: Collection[Pair]) -> Lanes:
        """The same, for a coroutine."""
        if (lanes := self._known(wanted)) is not None:
            return lanes
        async with self._async_database.connection() as conn:
            return await self.learn_async(conn, wanted)

    def learn(self, conn: Connection, wanted: Collection[Pair]) -> Lanes:
        """The lanes as `lanes_of` gives them, read on a connection in autocommit mode."""
        found = self._lanes = perform(conn, self._database.statements, learn_lanes(wanted))
        return found

    async def learn_async(self, conn: AsyncConnection, wanted: Collection[Pair]) -> Lanes:
        """The same, for a coroutine."""
        found = self._lanes = await perform_async(conn, self._database.statements, learn_lanes(wanted))
        return found

    def learn_anew(self, wanted: Collection[Pair]) -> Lanes:
        """The same, of the server that the URL leads to now: those of the pool may still lead to the one before.

        Raises:
          DatabaseUnavailable: It can't be reached.
        """
        with translated(self._database):
            conn = self._database.connect(application_name="pgqueue")
            with closing(conn):
                return self.learn(conn, wanted)

    def _known(self, wanted: Collection[Pair]) -> Lanes | None:
        lanes = self._lanes
        return lanes if all(pair in lanes.ids for pair in wanted) else None

    def place(self) -> str:
        """The name of the place where the messages are, as `find_place` tells it of any connection.

        Raises:
          SchemaOutdated: ``pgqueue migrate`` has to be run first.
          ReleaseOutdated: A later release has migrated it to what this one can't work with.
        """
        if self._place is None:
            with self._database.connection() as conn:
                self._place = perform(conn, self._database.statements, _own_place(self._database.schema))
        return self._place

    async def place_async(self) -> str:
        """The same, for a coroutine."""
        if self._place is None:
            async with self._async_database.connection() as conn:
                found = _own_place(self._database.schema)
                self._place = await perform_async(conn, self._database.statements, found)
        return self._place

    def forget(self) -> None:
        """Ask the database again: the schema was made anew, perhaps."""
        with self._lock:
            self._lanes = Lanes({}, "")
            self._place = None


def learn_lanes(wanted: Collection[Pair]) -> Procedure[Lanes]:
    """Read all lanes, and make those of the (queue name, priority) pairs that are missing."""
    known, origin = yield from lanes.find_here()
    missing = _missing([(lane.queue_name, lane.priority) for lane in known], wanted)
    if missing:
        yield from lanes.add(missing)
        known, origin = yield from lanes.find_here()
    return Lanes({(lane.queue_name, lane.priority): lane.id for lane in known}, origin)


def _missing(known: Collection[Pair], wanted: Collection[Pair]) -> list[Pair]:
    missing = [pair for pair in dict.fromkeys(wanted) if pair not in set(known)]
    for queue_name, _ in missing:
        if sum(name == queue_name for name, _ in known) >= MAX_PRIORITIES:
            raise ValueError(
                f"Queue {queue_name!r} has {MAX_PRIORITIES} different priorities already. "
                "Priorities are classes of urgency: use a few."
            )
    return missing


def _own_place(schema: str) -> Procedure[str]:
    place = yield from find_place(schema)
    if place.is_migrated and not place.may_read_revision:
        return place.name  # a producer's role: that the schema is too old shows when it sends
    found = yield from find_revision(schema)
    check_revision(found)
    return place.name
