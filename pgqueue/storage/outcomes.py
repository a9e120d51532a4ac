"""What became of finished messages, as a whole. Reads the table outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

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


# ── Samples of what ended lately ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ended:
    """How many messages of a queue ended in one way in a bucket of time, in one block; ``first_s`` is since 1970."""

    block: int
    bucket: int
    queue_name: str
    status: str
    count: int
    first_s: float


@dataclass(frozen=True, slots=True)
class Latency:
    """How long messages waited and ran: the times within which half, 95 % and 99 % of them did, in ms.

    Attributes:
      actor_name: None: all actors of the queue together.
      count: Messages that were looked at.
    """

    queue_name: str
    actor_name: str | None
    count: int
    failed: int
    cancelled: int
    wait_ms: list[float]
    run_ms: list[float]
    last_at: datetime


def block_begins(conn: Connection, statements: Statements, *, slice_: int, block: int) -> datetime | None:
    """When the first message of a block was finished; None if nothing is in it."""
    text = statements.for_slots("outcomes/block_begins", (slice_,))
    row = conn.execute(text, {"block": f"({block},0)", "end": f"({block + 1},0)"}).fetchone()
    return None if row is None else row[0]


def pace(
    conn: Connection,
    statements: Statements,
    *,
    slice_: int,
    blocks: Sequence[int],
    since_s: float,
    width_s: float,
) -> list[Ended]:
    """Count what ended after ``since_s``, by buckets of ``width_s`` from then on, in some blocks of a slice."""
    parameters = {"blocks": list(blocks), "since_s": since_s, "width_s": width_s}
    rows = conn.execute(statements.for_slots("outcomes/pace", (slice_,)), parameters).fetchall()
    return [Ended(*row) for row in rows]


def latency(
    conn: Connection, statements: Statements, *, blocks: Mapping[int, Sequence[int]], since_s: float
) -> list[Latency]:
    """Percentiles of what ended after ``since_s``, from some blocks of each slice."""
    text = statements.for_slots("outcomes/latency", tuple(blocks))
    parameters: dict[str, object] = {f"blocks_{slice_}": list(some) for slice_, some in blocks.items()}
    rows = conn.execute(text, {**parameters, "since_s": since_s}).fetchall()
    return [Latency(*row) for row in rows]
