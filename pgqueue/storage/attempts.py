"""Attempts that have failed, each with its error. Reads the table attempts, which settle.sql and reclaim.sql write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from .database import Connection
from .messages import keys_of
from .statements import Statements

#: The most attempts of one message that are read.
MOST_READ = 100


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A run of a message that has failed.

    Attributes:
      key: The UUID under which the message is kept.
      kind: ``r`` it was retried, ``f`` it was the last, ``l`` its worker was lost while it may have run.
      worker: ``host:pid``; None if nobody knows.
      wait_ms: How long the message had been ready before it was begun.
      retries: Failures before this one, as the Retries middleware counts them.
    """

    key: str
    failed_at: datetime
    kind: str
    actor_name: str
    worker: str | None
    wait_ms: int | None
    run_ms: int | None
    retries: int | None
    error: str | None
    traceback: str | None


def find_attempts(
    conn: Connection, statements: Statements, *, message_ids: Sequence[str], tracebacks: bool = True
) -> dict[str, list[FailedAttempt]]:
    """The failed attempts of some messages by their ids, the last first; those without any are left out."""
    ids = {keys_of(message_id)[0]: message_id for message_id in message_ids}
    parameters = {"keys": list(ids), "tracebacks": tracebacks, "most": MOST_READ}
    found: dict[str, list[FailedAttempt]] = {}
    with conn.cursor(row_factory=class_row(FailedAttempt)) as cursor:
        for attempt in cursor.execute(statements["attempts/find"], parameters):
            found.setdefault(ids[attempt.key], []).append(attempt)
    return found
