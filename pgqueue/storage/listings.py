"""Messages in the order of their tables' indexes, page by page, without their payloads.

Reads the tables messages, ready, leases, parked, scheduled and outcomes. Each function answers the rows after a place
and, with each, its own place. None sorts or counts more than the page that it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .arrays import plain
from .database import Connection
from .searching import SEARCHED_BYTES, needles
from .statements import Statements

#: Where a list begins, in the order of each table.
Place = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A message in a list.

    Attributes:
      state: queued, running, parked, scheduled, done, failed or cancelled.
      since: Ready since, claimed or running since, parked since, due at, or finished at.
      holder: ``host:pid`` of the worker that holds it.
      begun: Whether that worker is known to have begun it, which it tells after a second or two.
    """

    state: str
    message_id: str
    queue_name: str
    priority: int
    actor_name: str
    attempts: int
    since: datetime
    holder: str | None = None
    begun: bool = False
    wait_ms: int | None = None
    run_ms: int | None = None
    error: str | None = None


#: A message and its place; None: it has not the text that is looked for.
Row = tuple[Listed | None, Place]


def _looked_for(search: str | None) -> dict[str, object]:
    return {"needles": needles(search), "most_bytes": SEARCHED_BYTES}


def list_held(
    conn: Connection, statements: Statements, *, after: Place, limit: int, search: str | None = None
) -> list[Row]:
    """Messages that workers hold, by their numbers; a place is such a number."""
    parameters = {"after_id": after[0], "limit": limit, **_looked_for(search)}
    rows = conn.execute(statements["messages/list_held"], parameters)
    return [
        (
            Listed(
                "running", foreign or uuid, queue, priority, actor, attempts, running_since or claimed_at,
                holder=None if host is None else f"{host}:{pid}", begun=running_since is not None,
            ) if found else None,
            (number,),
        )
        for number, uuid, foreign, queue, priority, actor, attempts, claimed_at, running_since, host, pid, found
        in rows
    ]  # fmt: skip


def list_ready(
    conn: Connection,
    statements: Statements,
    *,
    lane: tuple[int, str, int],
    after: Place,
    limit: int,
    search: str | None = None,
) -> list[Row]:
    """Ready messages of a lane, given as its number, queue and priority; a place is ``(xid, number)``."""
    number, queue_name, priority = lane
    parameters = {
        "lane": number, "after_xid": after[0], "after_id": after[1], "limit": limit, **_looked_for(search),
    }  # fmt: skip
    rows = conn.execute(statements["messages/list_ready"], parameters)
    return [
        (
            Listed("queued", foreign or uuid, queue_name, priority, actor, attempts, since)
            if found
            else None,
            (xid, id_),
        )
        for xid, id_, uuid, foreign, actor, attempts, since, found in rows
    ]


def list_parked(
    conn: Connection, statements: Statements, *, after: Place, limit: int, search: str | None = None
) -> list[Row]:
    """Messages of paused actors; a place is ``(actor, number)``."""
    parameters = {"after_actor": after[0], "after_id": after[1], "limit": limit, **_looked_for(search)}
    rows = conn.execute(statements["parked/list"], parameters)
    return [
        (
            Listed("parked", foreign or uuid, queue, priority, actor, attempts, since) if found else None,
            (actor, id_),
        )
        for actor, id_, uuid, foreign, queue, priority, attempts, since, found in rows
    ]


def list_scheduled(
    conn: Connection, statements: Statements, *, after: Place, limit: int, search: str | None = None
) -> list[Row]:
    """Scheduled messages, the next first; a place is ``(due at in ISO 8601, number)``."""
    parameters = {"after_due_at": after[0], "after_id": after[1], "limit": limit, **_looked_for(search)}
    rows = conn.execute(statements["scheduled/list"], parameters)
    return [
        (
            Listed("scheduled", foreign or uuid, queue, priority, actor, attempts, due) if found else None,
            (due.isoformat(), id_),
        )
        for due, id_, uuid, foreign, queue, priority, actor, attempts, found in rows
    ]


def outcome_blocks(conn: Connection, statements: Statements, *, slice_: int) -> int:
    """How many blocks a slice of outcomes has."""
    row = conn.execute(statements.for_slots("outcomes/blocks", (slice_,))).fetchone()
    return int(row[0]) if row else 0


def list_outcomes(
    conn: Connection,
    statements: Statements,
    *,
    slice_: int,
    from_block: int,
    until: tuple[int, int],
    statuses: Sequence[str],
    queue_name: str | None,
    actor_name: str | None,
    error: str | None,
    limit: int,
    search: str | None = None,
) -> list[Row]:
    """Ends of messages in a range of blocks, the youngest first; a place is ``(block, line)``.

    Parameters:
      until: The first place that is not wanted.
      statuses: Of ``d``, ``f`` and ``c``.
      error: Part of the error's text, in upper or lower case.
      search: Part of the error, or of what a failed message was sent with.
    """
    parameters = {
        "from": f"({from_block},0)", "until": f"({until[0]},{until[1]})", "statuses": plain(statuses),
        "queue_name": queue_name, "actor_name": actor_name, "error": error, "limit": limit,
        "search": search, **_looked_for(search),
    }  # fmt: skip
    rows = conn.execute(statements.for_slots("outcomes/list", (slice_,)), parameters)
    names = {"d": "done", "f": "failed", "c": "cancelled"}
    return [
        (
            Listed(
                names[status], foreign or uuid, queue, priority, actor, attempts, finished_at,
                wait_ms=wait_ms, run_ms=run_ms, error=error,
            ),
            (block, line),
        )
        for block, line, uuid, foreign, queue, priority, actor, attempts, status, finished_at, wait_ms, run_ms, error
        in rows
    ]  # fmt: skip
