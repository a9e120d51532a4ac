"""How many messages of a queue may run at once, over all workers. Owns the table queue_limits."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from .database import Connection
from .statements import Statements

#: For so many seconds after there came to be a limit, claims may be of workers that do not know of it.
SETTLING_S = 60.0


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """A queue of which at most ``at_once`` messages run at once."""

    queue_name: str
    at_once: int
    limited_since: datetime


@dataclass(frozen=True, slots=True)
class LockedLimit:
    """The same, while nobody else claims for that queue.

    Attributes:
      limited_s: For how many seconds there has been a limit.
    """

    queue_name: str
    at_once: int
    limited_s: float

    @property
    def settled(self) -> bool:
        """Whether every worker has long known of it."""
        return self.limited_s > SETTLING_S


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker that holds messages of a queue; one that is not registered has neither host nor process."""

    host: str | None
    pid: int | None
    held: int

    @property
    def name(self) -> str:
        """``host:pid``."""
        return "a worker that is lost" if self.host is None else f"{self.host}:{self.pid}"


def set_limit(conn: Connection, statements: Statements, *, queue_name: str, at_once: int) -> bool:
    """Have at most so many messages of a queue run at once; False if it is so already."""
    parameters = {"queue_name": queue_name, "at_once": at_once}
    return conn.execute(statements["queue_limits/set"], parameters).rowcount > 0


def lift(conn: Connection, statements: Statements, *, queue_name: str) -> bool:
    """Let any number of messages of a queue run; False if it is so already."""
    return conn.execute(statements["queue_limits/lift"], {"queue_name": queue_name}).rowcount > 0


def list_limits(conn: Connection, statements: Statements) -> list[QueueLimit]:
    """All limits."""
    with conn.cursor(row_factory=class_row(QueueLimit)) as cursor:
        return cursor.execute(statements["queue_limits/list"]).fetchall()


def lock(conn: Connection, statements: Statements, *, queue_names: Collection[str]) -> list[LockedLimit]:
    """Be the only one to claim for some queues until the end of the transaction, but where somebody is already."""
    rows = conn.execute(statements["queue_limits/lock"], {"queue_names": list(queue_names)})
    return [LockedLimit(*row) for row in rows]


def held(conn: Connection, statements: Statements, *, queue_name: str) -> int:
    """How many messages are held that were claimed under the queue's limit."""
    row = conn.execute(statements["queue_limits/held"], {"queue_name": queue_name}).fetchone()
    return int(row[0]) if row else 0


def strays(conn: Connection, statements: Statements, *, queue_name: str) -> int:
    """How many messages are held that were claimed before every worker knew of the limit."""
    parameters = {"queue_name": queue_name, "settling_s": SETTLING_S}
    row = conn.execute(statements["queue_limits/strays"], parameters).fetchone()
    return int(row[0]) if row else 0


def holders(conn: Connection, statements: Statements, *, queue_name: str) -> list[Holder]:
    """Who holds messages of a queue, the most first."""
    with conn.cursor(row_factory=class_row(Holder)) as cursor:
        return cursor.execute(statements["queue_limits/holders"], {"queue_name": queue_name}).fetchall()
