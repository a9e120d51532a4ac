"""Messages that were given up. Owns the table dead_letters."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from .database import Connection
from .statements import Statements


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up, with the bytes it was sent as.

    Attributes:
      foreign_id: The message id where it is not a UUID.
      reason: ``failed``, ``undecodable``, ``poison`` or ``unrecordable``.
    """

    id: int
    died_at: datetime
    message_id: str
    foreign_id: str | None
    actor_name: str
    reason: str
    error: str | None
    traceback: str | None
    payload: bytes


def list_dead_letters(
    conn: Connection, statements: Statements, *, queue_name: str, limit: int = 100
) -> list[DeadLetter]:
    """The youngest dead letters of a queue."""
    with conn.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(
            statements["dead_letters/list"], {"queue_name": queue_name, "limit": limit}
        ).fetchall()
