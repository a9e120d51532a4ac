"""Typed doors to the life of a message: the tables messages, ready, leases, scheduled, outcomes and dead_letters."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, NamedTuple
from uuid import UUID

from .arrays import Blobs, Texts, Value, integers, packed, plain, texts
from .calls import Call, Procedure, perform, run
from .database import Connection, fetch
from .leases import drop_settled
from .positions import Span
from .snapshot import Snapshot
from .statements import BY_INDEX, Statements
from .verdict_columns import Failure, dead_columns, failure_columns, parts_for, result_columns

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to write.

    Attributes:
      lane: The id of its queue and priority.
      queue_name: The queue, for the register in which its idle workers leave word.
      priority: The priority.
      origin: Whose lanes are meant, as `lanes.find_here` says; None: of whoever it is written to.
      delay_ms: How long from ``made_at``, by the server's clock, it must not be claimed; None for not at all.
      eta_ms: The same as an instant, in ms since 1970.
      made_at: When it was sent, by the monotonic clock.
    """

    lane: int
    queue_name: str
    message_id: str
    actor_name: str
    payload: bytes
    delay_ms: float | None = None
    eta_ms: float | None = None
    made_at: float = field(default_factory=time.monotonic)
    priority: int = 0
    origin: str | None = None

    def delay_left_ms(self) -> float | None:
        """What is left of the delay: a message that is sent with an ack waits for that before it is written."""
        if self.delay_ms is None:
            return None
        return max(0.0, self.delay_ms - (time.monotonic() - self.made_at) * 1000)


@dataclass(slots=True)
class Lease:
    """What one claim took from one slot; ``left`` counts the messages that are not settled yet.

    Attributes:
      queue_name: The queue, if it was claimed under a limit.
    """

    lid: int
    slot: int
    owner: UUID
    left: int = 0
    queue_name: str | None = None


class ClaimedMessage(NamedTuple):
    """A message that this process holds.

    Attributes:
      attempts: Earlier claims that were lost with their worker.
      wait_ms: How long it had been ready when it was claimed.
    """

    id: int
    lease: Lease
    lane: int
    attempts: int
    wait_ms: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Registers:
    """The cells of the database that tell fetchers what to look for."""

    head: int
    catalog: int
    rewind: int
    open_slot: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to one claim; ``stopped_at`` is as `Positions.advance` wants it, for a claim that had enough."""

    messages: list[ClaimedMessage]
    snapshot: Snapshot
    registers: Registers
    last: tuple[int, tuple[int, int]] | None


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result to keep for ``ttl_ms`` under ``key``."""

    key: str
    value: bytes
    ttl_ms: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A party that arrives at a barrier with the end of a message.

    Attributes:
      ttl_ms: How long the barrier lives on.
      follow_ups: Called if the barrier lets the last party through; answers what is sent then.
    """

    key: str
    ttl_ms: float
    follow_ups: Callable[[], Sequence[NewMessage]]


@dataclass(slots=True)
class Verdict:
    """What becomes of one claimed message, and everything that shall commit with that.

    Attributes:
      status: ``d`` done, ``f`` failed, ``c`` cancelled; None if another message (a retry) carries on.
      reason: Set if it goes to the dead letters.
      failure: The attempt, if it is to be kept as one that has failed.
    """

    message: ClaimedMessage
    message_id: str
    actor_name: str
    status: str | None = "d"
    run_ms: int = 0
    wait_ms: int = 0
    error: str | None = None
    reason: str | None = None
    traceback: str | None = None
    failure: Failure | None = None
    results: list[StoredResult] = field(default_factory=list)
    follow_ups: list[NewMessage] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)


def keys_of(message_id: str) -> tuple[str, str | None]:
    """The UUID under which a message id is kept, and the id itself if it is not one."""
    if _UUID.fullmatch(message_id):
        return message_id, None
    return str(UUID(bytes=md5(message_id.encode(), usedforsecurity=False).digest())), message_id


def enqueue_call(
    messages: Sequence[NewMessage],
    *,
    channel: str,
    registers: Sequence[str] = (),
    idle_cells: Sequence[int | None] = (),
    announce: str | None = None,
) -> Call:
    """The statement that writes ``messages``, all of one origin; workers are told if one is idle on ``registers``.

    It answers with one row if it has written, and with none if it has not: on its server the lanes are others.

    Parameters:
      idle_cells: For each message the number of a register to look at when the transaction commits, or None.
      announce: Tell them in any case: in how many milliseconds these messages are due.
    """
    parameters: dict[str, Value] = {
        "channel": channel,
        "registers": Texts(registers),
        "idle_cells": plain(idle_cells),
        "announce": announce,
        "origin": messages[0].origin if messages else None,
        **_columns(messages),
    }
    return Call("messages/enqueue", parameters)


def enqueue(
    conn: Connection,
    statements: Statements,
    *,
    messages: Sequence[NewMessage],
    channel: str,
    registers: Sequence[str],
    announce: str | None = None,
) -> bool:
    """Write ``messages`` in one statement, as `enqueue_call`; return whether they were written."""
    call = enqueue_call(messages, channel=channel, registers=registers, announce=announce)
    return bool(run(conn, statements, call))


def find_sent(message: NewMessage) -> Procedure[float | None]:
    """Ask how many seconds ago ``message`` was written, for a send that broke, and with it all others of that send."""
    key, _ = keys_of(message.message_id)
    ((age_s,),) = yield Call("messages/was_sent", {"key": key, "payloads": Blobs([message.payload])})
    return None if age_s is None else float(age_s)


def sent_s_ago(conn: Connection, statements: Statements, *, message: NewMessage) -> float | None:
    """`find_sent`, on a connection."""
    return perform(conn, statements, find_sent(message))


def claim(
    conn: Connection,
    statements: Statements,
    *,
    slots: Sequence[int],
    spans: Sequence[Span],
    owner: UUID,
    limit: int,
    queue_name: str | None = None,
) -> Claim:
    """Take up to ``limit`` messages out of ``spans``, which lie in ``slots``.

    Parameters:
      queue_name: Set if it has a limit, and all spans are of it.
    """
    parameters = {
        "slots": integers([span.slot for span in spans]),
        "lanes": integers([span.lane for span in spans]),
        "after_xids": integers([span.after[0] for span in spans]),
        "after_ids": integers([span.after[1] for span in spans]),
        "upto_xids": integers([span.upto_xid for span in spans]),
        "owner": owner,
        "limit": limit,
        "queue_name": queue_name,
    }
    head, *rows = fetch(conn, statements.compiled("messages/claim", slots), parameters)
    return Claim(
        messages=_claimed(rows, spans, owner, queue_name),
        snapshot=Snapshot.parse(head[0]),
        registers=Registers(head[1], head[2], head[3], head[4]),
        last=None if head[5] is None else (head[5] - 1, (head[6], head[7])),
    )


def _claimed(
    rows: list[tuple[Any, ...]], spans: Sequence[Span], owner: UUID, queue_name: str | None
) -> list[ClaimedMessage]:
    """The messages in the order of their lanes and places: rows arrive in the order of an index."""
    rank = {span.lane: -number for number, span in enumerate(reversed(spans))}
    rows.sort(key=lambda row: (rank[row[10]], row[6], row[7]))
    leases: dict[int, Lease] = {}
    claimed = []
    for *_, id_, lid, slot, lane, attempts, wait_ms, payload in rows:
        lease = leases.get(lid)
        if lease is None:
            lease = leases[lid] = Lease(lid, slot, owner, queue_name=queue_name)
        lease.left += 1
        claimed.append(ClaimedMessage(id_, lease, lane, attempts, wait_ms, payload))
    return claimed


def settle(
    conn: Connection,
    statements: Statements,
    *,
    owner: UUID,
    verdicts: Sequence[Verdict],
    closes: Sequence[bool],
    slots: Sequence[int],
    channel: str,
    registers: Sequence[str],
    parts: frozenset[str] | None = None,
) -> set[int]:
    """Record verdicts on messages of one owner; return the ids of those that were accepted.

    Parameters:
      closes: For each verdict, whether its lease holds nothing else that is not settled (here or before).
      slots: Where the leases lie.
      parts: Those of the statement to run; None for those that the verdicts need.
    """
    parameters = {
        "owner": owner, "channel": channel, "registers": list(registers), "closes": plain(closes),
        **_settled_columns(verdicts), **dead_columns(verdicts), **failure_columns(verdicts),
        **result_columns(verdicts), **_follow_up_columns(verdicts),
    }  # fmt: skip
    parts = parts_for(verdicts) if parts is None else parts
    statement = statements.compiled("messages/settle", slots, parts=parts)
    return {row[1] for row in fetch(conn, statement, parameters)}


def requeue(
    conn: Connection, statements: Statements, *, owner: UUID, messages: Sequence[ClaimedMessage], park: bool = False
) -> int:  # fmt: skip
    """Hand claimed messages back, uncharged; the caller bumps the rewind register after the commit.

    Parameters:
      park: Put them aside, because their actor is paused.

    Returns:
      How many were still the owner's.
    """
    statement = statements.compiled("messages/requeue", parts=frozenset({"parked" if park else "ready"}))
    lids = integers([message.lease.lid for message in messages])
    parameters = {"owner": owner, "lids": lids, "ids": integers([message.id for message in messages])}
    ((number,),) = fetch(conn, statement, parameters)
    drop_settled(conn, statements, owner=owner)
    return int(number)


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """How many messages of a lost worker went back to their queues and to the dead letters, and off how many leases."""

    returned: int
    buried: int
    leases: int


def reclaim(
    conn: Connection,
    statements: Statements,
    *,
    owner: UUID,
    threads: int,
    max_attempts: int,
    error: str,
    lost: str = "its worker was lost",
    charged: Sequence[int] | None = None,
    keep: Sequence[int] = (),
) -> Reclaimed:
    """Give the messages of a lost owner to others.

    Parameters:
      threads: How many messages of a lease may have been running, if ``charged`` is None.
      max_attempts: A message charged so often goes to the dead letters with ``error``.
      lost: What each message that is charged has as the error of this attempt.
      charged: The ids of those that were running, if it is known.
      keep: Leases to leave alone.
    """
    parameters = {
        "owner": owner, "threads": threads, "max_attempts": max_attempts, "error": error, "lost": lost,
        "charged": None if charged is None else list(charged), "keep": list(keep),
    }  # fmt: skip
    with conn.transaction():
        # A plan by statistics reads all messages that wait, a second for a million of them.
        conn.execute(BY_INDEX, prepare=False)
        row = conn.execute(statements["messages/reclaim"], parameters).fetchone()
    assert row is not None  # noqa: S101  (an aggregate always answers)
    return Reclaimed(*row)


def _columns(messages: Sequence[NewMessage], prefix: str = "") -> dict[str, Value]:
    keys = [keys_of(message.message_id) for message in messages]
    return {
        f"{prefix}lanes": integers([message.lane for message in messages]),
        f"{prefix}keys": plain([key for key, _ in keys]),
        f"{prefix}foreign_ids": Texts([foreign for _, foreign in keys]),
        f"{prefix}actor_names": Texts([message.actor_name for message in messages]),
        f"{prefix}payloads": Blobs([message.payload for message in messages]),
        f"{prefix}delays_ms": plain([message.delay_left_ms() for message in messages]),
        f"{prefix}etas_ms": plain([message.eta_ms for message in messages]),
    }


def _settled_columns(verdicts: Sequence[Verdict]) -> dict[str, object]:
    keys = [keys_of(verdict.message_id) for verdict in verdicts]
    return {
        "lids": integers([v.message.lease.lid for v in verdicts]),
        "ids": integers([v.message.id for v in verdicts]),
        "statuses": plain([v.status for v in verdicts]),
        "keys": plain([key for key, _ in keys]),
        "foreign_ids": texts([foreign for _, foreign in keys]),
        "lanes": integers([v.message.lane for v in verdicts]),
        "actor_names": texts([v.actor_name for v in verdicts]),
        "attempts": integers([v.message.attempts for v in verdicts]),
        "waits_ms": integers([v.wait_ms for v in verdicts]),
        "runs_ms": integers([v.run_ms for v in verdicts]),
        "errors": texts([v.error for v in verdicts]),
    }


def _follow_up_columns(verdicts: Sequence[Verdict]) -> dict[str, object]:
    follow_ups = [(v.message.id, message) for v in verdicts for message in v.follow_ups]
    columns = _columns([message for _, message in follow_ups], "new_")
    return {
        "new_parents": integers([parent for parent, _ in follow_ups]),
        **{name: packed(column) for name, column in columns.items()},
    }
