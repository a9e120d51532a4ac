"""Messages that were given up. Owns the table dead_letters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from .arrays import blobs, integers
from .database import Connection
from .statements import Statements


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up, with the bytes it was sent as.

    Attributes:
      id: The letter's own number.
      foreign_id: The message id where it is not a UUID.
      attempts: How many workers were lost while they ran it.
      size: How many bytes it has, where somebody has asked for those of small ones only: ``payload`` may be empty.
      reason: ``failed``, ``undecodable``, ``poison``, ``unknown actor``, ``unrecordable`` or ``too old``.
    """

    id: int
    died_at: datetime
    enqueued_at: datetime | None
    message_id: str
    foreign_id: str | None
    queue_name: str
    priority: int
    actor_name: str
    attempts: int
    reason: str
    error: str | None
    traceback: str | None
    payload: bytes
    size: int | None = None

    @property
    def name(self) -> str:
        """The message id as its sender knows it."""
        return self.foreign_id or self.message_id


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant: all those that fit everything that is given.

    Attributes:
      error: Part of the error's text, in upper or lower case.
    """

    queue_name: str | None = None
    actor_name: str | None = None
    reason: str | None = None
    error: str | None = None

    def parameters(self) -> dict[str, str | None]:
        """As the statements want them."""
        return {
            "queue_name": self.queue_name,
            "actor_name": self.actor_name,
            "reason": self.reason,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Dead letters of one actor with one kind of error; ``groups`` is how many groups there are in all."""

    queue_name: str
    actor_name: str
    reason: str
    kind: str
    count: int
    first_at: datetime
    last_at: datetime
    last_error: str | None
    groups: int


def list_dead_letters(
    conn: Connection, statements: Statements, *, queue_name: str, limit: int = 100
) -> list[DeadLetter]:
    """The youngest dead letters of a queue."""
    with conn.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(
            statements["dead_letters/list"], {"queue_name": queue_name, "limit": limit}
        ).fetchall()


def browse(
    conn: Connection,
    statements: Statements,
    *,
    which: LetterFilter,
    after: tuple[datetime, int] | None = None,
    limit: int = 100,
    most_bytes: int | None = None,
) -> list[DeadLetter]:
    """The youngest dead letters that match, after one of that time of death and number.

    Parameters:
      most_bytes: Longer payloads are left empty; None: no payload is too long.
    """
    before_at, before_id = after or (None, None)
    parameters = {
        **which.parameters(), "before_at": before_at, "before_id": before_id, "limit": limit, "most_bytes": most_bytes,
    }  # fmt: skip
    with conn.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(statements["dead_letters/browse"], parameters).fetchall()


def group(conn: Connection, statements: Statements, *, which: LetterFilter, most: int) -> list[LetterGroup]:
    """What died, by actor and kind of error, the most frequent first; looks at the youngest ``most`` letters."""
    with conn.cursor(row_factory=class_row(LetterGroup)) as cursor:
        return cursor.execute(
            statements["dead_letters/group"], {**which.parameters(), "most": most}
        ).fetchall()


def requeue(
    conn: Connection, statements: Statements, *, letters: Sequence[int], payloads: Sequence[bytes]
) -> int:
    """Make dead letters ready with new payloads; return how many were still there."""
    parameters = {"ids": integers(letters), "payloads": blobs(payloads)}
    row = conn.execute(statements["dead_letters/requeue"], parameters).fetchone()
    return int(row[0]) if row else 0


def delete(conn: Connection, statements: Statements, *, letters: Sequence[int]) -> int:
    """Drop dead letters by their numbers; return how many were still there."""
    return conn.execute(statements["dead_letters/delete"], {"ids": integers(letters)}).rowcount
