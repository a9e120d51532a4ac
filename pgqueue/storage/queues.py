"""A queue as a whole, and the fate of a message by its id: counts, figures, flush, status."""

from collections.abc import Mapping
from dataclasses import dataclass

from .database import Connection
from .messages import keys_of
from .statements import Statements


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many messages of a queue are ready, held by workers, scheduled and dead, in one snapshot."""

    ready: int
    leased: int
    scheduled: int
    dead: int


#: The settings of a session that measures: the limits of `figures` hold while indexes are read in order only, and a
#: server that has no time for us is left alone after so many ms.
MEASURING: Mapping[str, str] = {
    "enable_bitmapscan": "off",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "jit": "off",
    "statement_timeout": "5000",
}


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """A queue as monitoring sees it.

    Attributes:
      oldest_age_s: For how long the oldest ready message could have been run; None if none is ready.
      parked: Messages of paused actors that workers have put aside.
    """

    queue_name: str
    ready: int
    leased: int
    scheduled: int
    dead: int
    oldest_age_s: float | None
    parked: int


def counts(conn: Connection, statements: Statements, *, queue_name: str) -> QueueCounts:
    """Count the messages of a queue."""
    row = conn.execute(statements["queues/counts"], {"queue_name": queue_name}).fetchone()
    assert row is not None  # noqa: S101  (a row without FROM is always answered)
    return QueueCounts(*row)


def figures(conn: Connection, statements: Statements, *, most: int) -> list[QueueFigures]:
    """Measure all queues; a count stops at ``most``. The session should have the settings `MEASURING`."""
    rows = conn.execute(statements["queues/figures"], {"most": most}).fetchall()
    return [QueueFigures(*row) for row in rows]


def sent(conn: Connection, statements: Statements) -> int:
    """How many messages were ever sent, retries included; two looks tell how many come in."""
    row = conn.execute(statements["queues/sent"]).fetchone()
    return int(row[0]) if row else 0


def try_measure(conn: Connection, statements: Statements) -> bool:
    """Become the one session that measures for its deployment, until its connection ends; False if another is it."""
    row = conn.execute(statements["queues/try_measure"]).fetchone()
    return bool(row and row[0])


def busy(conn: Connection, statements: Statements, *, queue_name: str) -> bool:
    """Whether anything of a queue is ready, held by a worker or scheduled."""
    row = conn.execute(statements["queues/busy"], {"queue_name": queue_name}).fetchone()
    return bool(row and row[0])


def flush(conn: Connection, statements: Statements, *, queue_name: str) -> None:
    """Drop the ready, scheduled and dead messages of a queue."""
    conn.execute(statements["queues/flush"], {"queue_name": queue_name})


def status(conn: Connection, statements: Statements, *, message_id: str) -> str:
    """Where a message is: scheduled, queued, running, done, failed, cancelled or unknown."""
    row = conn.execute(statements["outcomes/status"], {"key": keys_of(message_id)[0]}).fetchone()
    return str(row[0]) if row else "unknown"
