"""Who holds claims: one row for each owner alive, a session lock and a heartbeat, and what each says of itself.

Owns the tables workers and worker_states.
"""

import json
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from psycopg.errors import UntranslatableCharacter
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from .. import clock
from .database import Connection, has_session
from .statements import Statements


@dataclass(frozen=True, slots=True)
class LostWorker:
    """A worker that was found dead."""

    owner: UUID
    host: str
    pid: int
    threads: int


@dataclass(frozen=True, slots=True)
class DeadWorker:
    """A registered owner whose process has ended; ``gone`` tells whether the server has noticed."""

    host: str
    pid: int
    gone: bool


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """An owner who claims, and what he has said of himself.

    Attributes:
      silent_s: Seconds since the last heartbeat, which comes every two.
      held: How many messages he holds, claimed ahead ones included.
      queues: What he serves; None if he has not said so (yet).
      running: The numbers of the messages that he has been running for more than a second.
      process: The same for all owners of a process; None for one of a release that takes no orders.
      state: ``working``, ``quiet`` or ``stopping``: which order he obeys.
      ordered: Which stands: ``quiet``, ``stop``, or None.
    """

    owner: UUID
    host: str
    pid: int
    threads: int
    started_at: datetime
    seen_at: datetime
    silent_s: float
    up_s: float
    held: int
    queues: list[str] | None
    actors: list[str] | None
    running: list[int]
    running_since: list[datetime]
    process: UUID | None
    state: str
    memory_bytes: int | None
    ordered: str | None


@dataclass(frozen=True, slots=True)
class TroubledWorker:
    """What a worker says of faults of its own process.

    Attributes:
      duties: Those of its duties that fail now, and of what.
      recent: How often it has met which faults in the last minutes.
    """

    host: str
    pid: int
    duties: dict[str, str]
    recent: dict[str, int]


def lock_key(owner: UUID) -> int:
    """The advisory lock that an owner holds while he lives: the first eight bytes of his uuid."""
    return int.from_bytes(owner.bytes[:8], "big", signed=True)


def register(
    conn: Connection,
    statements: Statements,
    *,
    owner: UUID,
    host: str,
    pid: int,
    threads: int,
    process: UUID | None = None,
) -> None:
    """Make an owner known and take his lock on this connection."""
    parameters = {
        "owner": owner, "lock_key": lock_key(owner), "host": host, "pid": pid, "threads": threads, "process": process,
    }  # fmt: skip
    conn.execute(statements["workers/register"], parameters)
    lock(conn, statements, owner=owner)


def lock(conn: Connection, statements: Statements, *, owner: UUID) -> None:
    """Take an owner's lock on this connection, unless it is a pooler's, to which the lock would stick."""
    if has_session(conn):
        conn.execute(statements["workers/lock"], {"lock_key": lock_key(owner)})


def end_old_session(conn: Connection, statements: Statements, *, owner: UUID, pids: Collection[int]) -> None:
    """End the session in which an owner's lock still is, if the server runs it in one of the processes ``pids``."""
    if pids:
        parameters = {"lock_key": lock_key(owner), "pids": list(pids)}
        conn.execute(statements["workers/end_old_session"], parameters)


def unlock(conn: Connection, statements: Statements, *, owner: UUID) -> None:
    """Give an owner's lock back."""
    if has_session(conn):
        conn.execute(statements["workers/unlock"], {"lock_key": lock_key(owner)})


def beat(conn: Connection, statements: Statements, *, owners: Collection[UUID]) -> set[UUID]:
    """Renew the owners' heartbeat; return those that still exist. Learns what time it is at the server's."""
    asked_ms = clock.steady_millis()
    rows = conn.execute(statements["workers/beat"], {"owners": list(owners)}).fetchall()
    for _, server_ms in rows[:1]:
        clock.learn(server_ms, asked_ms=asked_ms)
    return {owner for owner, _ in rows}


def remove(conn: Connection, statements: Statements, *, owner: UUID) -> None:
    """Forget an owner."""
    conn.execute(statements["workers/remove"], {"owner": owner})


def publish(
    conn: Connection,
    statements: Statements,
    *,
    owner: UUID,
    queues: Collection[str],
    actors: Collection[str],
    running_ms: Mapping[int, float],
    state: str = "working",
    memory_bytes: int | None = None,
    duties: Mapping[str, str] | None = None,
    recent: Mapping[str, int] | None = None,
) -> None:
    """Say what an owner serves, for how long it has been running which messages (by their ids), and how it is.

    Parameters:
      duties: Those that fail, and of what.
      recent: How often it has met which faults lately.
    """
    parameters = {
        "owner": owner,
        "queues": sorted(queues),
        "actors": sorted(actors),
        "running": list(running_ms),
        "running_ms": list(running_ms.values()),
        "state": state,
        "memory_bytes": memory_bytes,
    }
    statement = statements["worker_states/publish"]
    try:
        # A block, so that the connection can be used again, in a transaction, too. Few errors need it.
        with nullcontext() if _is_ascii(duties) else conn.transaction():
            conn.execute(statement, {**parameters, "faults": _faults(duties, recent, "utf-8")})
    except UntranslatableCharacter:
        # The database is in an encoding that lacks a letter of an error's text.
        if _is_ascii(duties):
            raise
        conn.execute(statement, {**parameters, "faults": _faults(duties, recent, "ascii")})


def _is_ascii(duties: Mapping[str, str] | None) -> bool:
    return all(text.isascii() for text in (duties or {}).values())


def _faults(
    duties: Mapping[str, str] | None, recent: Mapping[str, int] | None, encoding: str
) -> Jsonb | None:
    if not duties and not recent:
        return None
    # Without what jsonb can't hold, and without escapes: a database in SQL_ASCII would refuse those.
    plain = {
        name: text.replace("\0", "").encode(encoding, "replace").decode()
        for name, text in (duties or {}).items()
    }
    return Jsonb({"duties": plain, "recent": recent or {}}, dumps=partial(json.dumps, ensure_ascii=False))


def list_troubled(conn: Connection, statements: Statements) -> list[TroubledWorker]:
    """Workers that are alive and say that something is wrong in their process."""
    with conn.cursor(row_factory=class_row(TroubledWorker)) as cursor:
        return cursor.execute(statements["worker_states/list_troubled"]).fetchall()


def list_workers(conn: Connection, statements: Statements) -> list[WorkerRow]:
    """Everybody who claims, by host and process."""
    with conn.cursor(row_factory=class_row(WorkerRow)) as cursor:
        return cursor.execute(statements["workers/list"]).fetchall()


def find_lost(
    conn: Connection, statements: Statements, *, grace_s: float, silent_s: float, spare: Collection[UUID] = ()
) -> LostWorker | None:
    """A worker that is dead, locked until the end of the transaction so that he can't come back meanwhile.

    Parameters:
      grace_s: How long a worker without a connection may take to come back.
      silent_s: How long one whose connection seems to live may be silent.
      spare: Owners that are not asked about.
    """
    parameters = {"grace_s": grace_s, "silent_s": silent_s, "spare": list(spare)}
    row = conn.execute(statements["workers/find_lost"], parameters).fetchone()
    return LostWorker(*row) if row else None


def find_dead(conn: Connection, statements: Statements, *, owner: UUID) -> DeadWorker | None:
    """What is registered of a dead process's owner, locked until the end of the transaction; None if nothing is."""
    row = conn.execute(statements["workers/find_dead"], {"owner": owner}).fetchone()
    return DeadWorker(*row) if row else None


def find_unowned(conn: Connection, statements: Statements, *, grace_s: float) -> UUID | None:
    """An owner who is not registered and for ``grace_s`` has held a lease; None is as it should be."""
    row = conn.execute(statements["workers/find_unowned"], {"grace_s": grace_s}).fetchone()
    return row[0] if row else None


def longest_silence(conn: Connection, statements: Statements, *, within_s: float) -> float:
    """For how many seconds, at most, no worker at all was heard in the last ``within_s``; infinite if nobody knows."""
    row = conn.execute(statements["workers/longest_silence"], {"within_s": within_s}).fetchone()
    return float("inf") if row is None or row[0] is None else float(row[0])


def count_alive(conn: Connection, statements: Statements, *, silent_s: float) -> int:
    """How many worker processes have given a sign of life in the last ``silent_s`` seconds."""
    row = conn.execute(statements["workers/count_alive"], {"silent_s": silent_s}).fetchone()
    return int(row[0]) if row else 0
