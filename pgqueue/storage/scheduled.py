"""Messages that are not due yet. Owns the table scheduled."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from .database import Connection
from .snapshot import Snapshot
from .statements import Statements


@dataclass(frozen=True, slots=True)
class Promoted:
    """The answer to one promotion.

    Attributes:
      due: How many rows were found after the position.
      promoted: How many messages became ready in all.
      last: ``(due_at, id)`` of the last row found after the position, None if there was none.
      undecided: The transactions that may still bring rows that were due then. Besides those in the snapshot, which
        lists none above the youngest that has ended, these are all up to the promotion's own.
    """

    snapshot: Snapshot
    instant: datetime
    due: int
    promoted: int
    last: tuple[datetime, int] | None
    undecided: frozenset[int]


def promote(
    conn: Connection,
    statements: Statements,
    *,
    after: tuple[datetime, int],
    xids: Collection[int],
    limit: int,
) -> Promoted:
    """Make due messages ready: up to ``limit`` behind ``after``, and those of ``xids`` before it."""
    parameters = {"after_due_at": after[0], "after_id": after[1], "xids": list(xids), "limit": limit}
    row = conn.execute(statements["scheduled/promote"], parameters).fetchone()
    assert row is not None  # noqa: S101  (a row without FROM is always answered)
    last = None if row[4] is None else (row[4], row[5])
    snapshot = Snapshot.parse(row[0])
    undecided = snapshot.undecided.union(range(snapshot.xmax, row[6]))
    return Promoted(snapshot, row[1], row[2], row[3], last, undecided)


def hasten(conn: Connection, statements: Statements, *, key: str) -> int:
    """Make a scheduled message ready now, by the key of its id; return how many rows of it there were."""
    row = conn.execute(statements["scheduled/hasten"], {"key": key}).fetchone()
    return int(row[0]) if row else 0


def shift(conn: Connection, statements: Statements, *, by_ms: float) -> None:
    """Let the time of all scheduled messages go forward; whoever does that promotes them from the beginning, too."""
    conn.execute(statements["scheduled/shift"], {"by_ms": by_ms})


def next_due_in(
    conn: Connection, statements: Statements, *, after: tuple[datetime, int]
) -> tuple[Snapshot, float | None]:
    """What is undecided, and milliseconds until the next message behind ``after`` is due (None if there is none)."""
    parameters = {"after_due_at": after[0], "after_id": after[1]}
    row = conn.execute(statements["scheduled/next"], parameters).fetchone()
    assert row is not None  # noqa: S101  (a row without FROM is always answered)
    return Snapshot.parse(row[0]), row[1]
