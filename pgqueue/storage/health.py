"""The state of the server and of the engine, as far as the database knows it. Reads PostgreSQL's views."""

from dataclasses import dataclass

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
