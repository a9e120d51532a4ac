"""The state of the server and of the engine, as far as the database knows it. Reads PostgreSQL's views."""

from dataclasses import dataclass

from psycopg import errors
from psycopg.rows import class_row

from .database import Connection
from .statements import Statements


@dataclass(frozen=True, slots=True)
class Server:
    """The server in a few figures.

    Attributes:
      version: As ``server_version_num``.
      sees_all: Whether this role sees what other roles' sessions do.
      notify_usage: How full the queue of notifications is, as a share of 1.
      read_only: Whether transactions can't write: a standby, or a setting.
      clock_s: The server's clock, in seconds since 1970.
    """

    version: int
    version_text: str
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    sees_all: bool
    notify_usage: float
    connections: int
    max_connections: int
    read_only: bool
    clock_s: float

    @property
    def connections_share(self) -> float:
        """The connections in use, as a share of 1."""
        return self.connections / self.max_connections


@dataclass(frozen=True, slots=True)
class SnapshotHolder:
    """Keeps an old snapshot: a ``session`` (called by its pid), ``prepared transaction`` or ``replication slot``."""

    kind: str
    name: str
    detail: str | None
    age_s: float | None
    age_xids: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """A database session, with the seconds that it has been idle in its transaction, or writing."""

    pid: int
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Sign:
    """A worker's last sign of life; ``listens`` tells whether it has a session, in which it can be woken."""

    host: str
    pid: int
    silent_s: float
    listens: bool

    @property
    def name(self) -> str:
        """``host:pid``."""
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A worker that holds messages, has threads to spare and runs none of these; since when the first is held."""

    host: str
    pid: int
    messages: int
    held_s: float


@dataclass(frozen=True, slots=True)
class LockWait:
    """A session that waits for a lock on a table of ours, and one that holds it.

    Attributes:
      mode: The lock that it wants; ``ShareLock`` for the end of a transaction that has locked a row.
      query: What it runs; what other roles run is seen by members of pg_read_all_stats only.
      blocker_pid: 0: a prepared transaction.
      blocker_state: As pg_stat_activity has it; None: it can't be seen.
      blocker_s: For how long its transaction has been open.
    """

    pid: int
    table_name: str
    mode: str
    waited_s: float | None
    who: str
    query: str | None
    blocker_pid: int
    blocker_who: str
    blocker_state: str | None
    blocker_query: str | None
    blocker_s: float | None


@dataclass(frozen=True, slots=True)
class Locks:
    """The server's table of locks, and who has the most of them.

    Attributes:
      room: For how many there is room, about: the server's other shared memory may lend some.
      pid: The session that has the ``most``; None for a prepared transaction, or if there are none.
    """

    taken: int
    room: int
    most: int | None
    pid: int | None
    detail: str

    @property
    def share(self) -> float:
        """The locks that are taken, as a share of 1."""
        return self.taken / self.room


def server(conn: Connection, statements: Statements) -> Server:
    """The server in a few figures."""
    with conn.cursor(row_factory=class_row(Server)) as cursor:
        row = cursor.execute(statements["health/server"]).fetchone()
    assert row is not None  # noqa: S101  (a row without FROM is always answered)
    return row


def snapshot_holders(conn: Connection, statements: Statements) -> list[SnapshotHolder]:
    """Who keeps the oldest snapshots of this database, the oldest first."""
    with conn.cursor(row_factory=class_row(SnapshotHolder)) as cursor:
        return cursor.execute(statements["health/snapshots"]).fetchall()


def idle_transactions(conn: Connection, statements: Statements, *, longer_s: float) -> list[Session]:
    """Sessions that have held a transaction open for so long without doing anything."""
    return [Session(*row) for row in conn.execute(statements["health/idle"], {"longer_s": longer_s})]


def writers(conn: Connection, statements: Statements) -> list[Session]:
    """Sessions with a transaction that has written something and is open, the oldest first."""
    return [Session(*row) for row in conn.execute(statements["health/writers"])]


def overdue(
    conn: Connection, statements: Statements, *, grace_s: float, most: int
) -> tuple[int, float | None]:
    """How many scheduled messages are late by ``grace_s``, counted up to ``most``, and by how many s the first is."""
    row = conn.execute(statements["health/overdue"], {"grace_s": grace_s, "most": most}).fetchone()
    assert row is not None  # noqa: S101  (an aggregate always answers)
    return row[0], row[1]


def deaths(conn: Connection, statements: Statements, *, most: int) -> tuple[int, int]:
    """How many dead letters there are of the last day and in all, each counted up to ``most``."""
    row = conn.execute(statements["health/deaths"], {"most": most}).fetchone()
    assert row is not None  # noqa: S101  (a row without FROM is always answered)
    return row[0], row[1]


def signs_of_life(conn: Connection, statements: Statements) -> list[Sign]:
    """The registered workers."""
    with conn.cursor(row_factory=class_row(Sign)) as cursor:
        return cursor.execute(statements["health/signs"]).fetchall()


def unsettled(conn: Connection, statements: Statements, *, longer_s: float) -> list[Unsettled]:
    """Workers that are alive and have held messages for so long without running them, the worst first."""
    with conn.cursor(row_factory=class_row(Unsettled)) as cursor:
        return cursor.execute(statements["health/unsettled"], {"longer_s": longer_s}).fetchall()


def disk_is_full(conn: Connection, statements: Statements) -> str | None:
    """What the server says when it is asked to write a temporary file, if its disk is full; None if it is not."""
    try:
        with conn.transaction():
            conn.execute("SET LOCAL work_mem = '64kB'")
            conn.execute(statements["health/spill"])
    except errors.DiskFull as error:
        return str(error).splitlines()[0]
    return None


def locks(conn: Connection, statements: Statements) -> Locks:
    """How full the server's table of locks is."""
    with conn.cursor(row_factory=class_row(Locks)) as cursor:
        row = cursor.execute(statements["health/locks"]).fetchone()
    assert row is not None  # noqa: S101  (a row of VALUES is always answered)
    return row


def lock_waits(conn: Connection, statements: Statements) -> list[LockWait]:
    """Who waits for whom on our tables, the longest wait first."""
    with conn.cursor(row_factory=class_row(LockWait)) as cursor:
        return cursor.execute(statements["health/lock_waits"]).fetchall()


def wal_bytes(conn: Connection, statements: Statements) -> int | None:
    """How far the server's log has come, in bytes."""
    row = conn.execute(statements["health/wal"]).fetchone()
    return row[0] if row else None


def try_watch(conn: Connection, statements: Statements) -> bool:
    """Take the lock of the one session that watches the server, if nobody has it."""
    row = conn.execute(statements["health/try_watch"]).fetchone()
    return bool(row and row[0])
