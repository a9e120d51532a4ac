"""Everything that is known of one message. Reads the tables of messages, outcomes and dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from .database import Connection
from .dead_letters import DeadLetter
from .messages import keys_of
from .statements import Statements


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row of a message that can still run.

    Attributes:
      state: ``running`` (held by a worker), ``queued``, ``parked`` or ``scheduled``.
      since: Claimed at, ready since, parked at, or due at.
      owner: In whose name it is held.
      now: The server's clock.
    """

    state: str
    id: int
    xid: int
    lane: int
    queue_name: str
    priority: int
    actor_name: str
    foreign_id: str | None
    attempts: int
    enqueued_at: datetime
    since: datetime
    owner: UUID | None
    payload: bytes
    now: datetime


@dataclass(frozen=True, slots=True)
class End:
    """How a message has ended once; ``status`` is ``d`` done, ``f`` failed or ``c`` cancelled."""

    status: str
    finished_at: datetime
    wait_ms: int
    run_ms: int
    attempts: int
    error: str | None
    queue_name: str
    priority: int
    actor_name: str
    foreign_id: str | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """Ready messages that come before one: more urgent ones of its queue, earlier ones of its priority."""

    more_urgent: int
    earlier: int


def find_live(conn: Connection, statements: Statements, *, message_id: str) -> list[LiveRow]:
    """The rows of a message that can still run; mostly one or none."""
    with conn.cursor(row_factory=class_row(LiveRow)) as cursor:
        return cursor.execute(statements["messages/find_live"], {"key": keys_of(message_id)[0]}).fetchall()


def find_ends(conn: Connection, statements: Statements, *, message_id: str) -> list[End]:
    """How a message has ended, the last end first."""
    with conn.cursor(row_factory=class_row(End)) as cursor:
        return cursor.execute(statements["outcomes/find"], {"key": keys_of(message_id)[0]}).fetchall()


def find_dead(conn: Connection, statements: Statements, *, message_id: str) -> list[DeadLetter]:
    """The dead letters of a message, the youngest first."""
    with conn.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(statements["dead_letters/find"], {"key": keys_of(message_id)[0]}).fetchall()


def payloads_of(
    conn: Connection, statements: Statements, *, message_ids: Sequence[str], most_bytes: int
) -> dict[str, list[bytes | None]]:
    """The bytes of messages by their ids, of each row; None: more than ``most_bytes``. What is over has none."""
    ids = {keys_of(message_id)[0]: message_id for message_id in message_ids}
    found: dict[str, list[bytes | None]] = {}
    parameters = {"keys": list(ids), "most_bytes": most_bytes}
    for key, payload in conn.execute(statements["messages/payloads"], parameters):
        found.setdefault(ids[key], []).append(payload)
    return found


def count_ahead(conn: Connection, statements: Statements, *, row: LiveRow, most: int) -> Ahead:
    """Count what comes before a ready message, up to ``most`` each."""
    parameters = {
        "queue_name": row.queue_name, "priority": row.priority, "lane": row.lane, "xid": row.xid, "id": row.id,
        "most": most,
    }  # fmt: skip
    answer = conn.execute(statements["messages/ahead"], parameters).fetchone()
    assert answer is not None  # noqa: S101  (a row without FROM is always answered)
    return Ahead(*answer)


def names_of(
    conn: Connection, statements: Statements, *, ids: Sequence[int]
) -> dict[int, tuple[str, str, str]]:
    """Message id, actor and queue of messages, by their numbers."""
    rows = conn.execute(statements["messages/names"], {"ids": list(ids)})
    return {number: (message_id, actor_name, queue) for number, message_id, actor_name, queue in rows}
