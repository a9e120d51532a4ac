"""What became of finished messages, as a whole. Reads the table outcomes."""

from dataclasses import dataclass

from .database import Connection
from .statements import Statements


@dataclass(frozen=True, slots=True)
class Tally:
    """The finished messages of a queue.

    Parameters:
      outcomes: How many ends were recorded, of whatever kind.
      messages: How many messages they belong to; as many, unless a message has ended twice.
      failed: How many have ended in the dead letters.
      rerun: How many had been running in a worker that was lost.
    """

    outcomes: int
    messages: int
    failed: int
    rerun: int


def tally(conn: Connection, statements: Statements, *, queue_name: str) -> Tally:
    """Count the finished messages of a queue; reads all of them that are still kept."""
    row = conn.execute(statements["outcomes/tally"], {"queue_name": queue_name}).fetchone()
    assert row is not None  # noqa: S101  (an aggregate without GROUP BY always answers a row)
    return Tally(*row)
