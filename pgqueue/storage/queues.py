"""A queue as a whole, and the fate of a message by its id: counts, flush, status."""

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


def counts(conn: Connection, statements: Statements, *, queue_name: str) -> QueueCounts:
    """Count the messages of a queue."""
    row = conn.execute(statements["queues/counts"], {"queue_name": queue_name}).fetchone()
    assert row is not None  # noqa: S101  (a row without FROM is always answered)
    return QueueCounts(*row)


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
