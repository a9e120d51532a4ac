"""Typed doors to the tables rate_limits, numbers and events that count until their time is over, and rate_limit_places.

``statements`` is the database's; ``now`` is the instant that decides, None for the server's clock. Before anything is
changed, its key must be locked, in a transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from .arrays import integers, plain
from .calls import Call
from .database import Connection
from .statements import Statements

#: Rows purged in one statement; as many locks of the server's are held meanwhile.
PURGED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Place:
    """A place of a concurrency limit that a worker holds."""

    owner: UUID
    id: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of the server's clock, aligned to the epoch.

    Attributes:
      unit_ms: What its start is numbered in, in its key.
    """

    width_ms: int
    unit_ms: int


def lock(conn: Connection, statements: Statements, *, keys: Sequence[str]) -> None:
    """Keep others that lock one of these keys out until the transaction ends."""
    conn.execute(statements["rate_limits/lock"], {"keys": list(keys)})


def add(
    conn: Connection,
    statements: Statements,
    *,
    key: str,
    value: int,
    ttl: timedelta,
    now: datetime | None = None,
) -> bool:
    """Set a key that does not exist, or has expired; return whether it was set."""
    parameters = {"key": key, "value": value, "ttl": ttl, "now": now}
    name = add_call(key=key, value=value, ttl=ttl).name
    return conn.execute(statements[name], parameters).fetchone() is not None


def add_call(*, key: str, value: int, ttl: timedelta) -> Call:
    """The same as `add`, for whoever has a transaction to run it in; the key is one that nobody else knows yet."""
    seconds = f"{ttl.total_seconds()} seconds"
    return Call("rate_limits/add", {"key": key, "value": str(value), "ttl": seconds, "now": None})


def change(
    conn: Connection,
    statements: Statements,
    *,
    key: str,
    amount: int,
    minimum: int | None = None,
    maximum: int | None = None,
    ttl: timedelta | None,
    now: datetime | None = None,
) -> bool:
    """Add ``amount`` to a key's value unless that would leave the bounds; return whether it was added.

    Parameters:
      ttl: How long the key lives from now on; None for as long as it would have anyway.
    """
    parameters = {
        "key": key, "amount": amount, "minimum": minimum, "maximum": maximum, "ttl": ttl, "now": now
    }  # fmt: skip
    row = conn.execute(statements["rate_limits/change"], parameters).fetchone()
    return bool(row and row[0])


def count(
    conn: Connection,
    statements: Statements,
    *,
    key: str,
    interval: Interval,
    intervals: int = 1,
    maximum: int,
    ttl: timedelta,
    now: datetime | None = None,
) -> bool:
    """Count one in the present interval unless the last ``intervals`` had more than ``maximum`` then; return whether.

    Parameters:
      key: What the keys of all intervals begin with; it is what must be locked.
    """
    parameters = {
        "key": key, "width_ms": interval.width_ms, "unit_ms": interval.unit_ms, "intervals": intervals,
        "maximum": maximum, "ttl": ttl, "now": now,
    }  # fmt: skip
    row = conn.execute(statements["rate_limits/count"], parameters).fetchone()
    return bool(row and row[0])


def total(
    conn: Connection, statements: Statements, *, keys: Sequence[str], now: datetime | None = None
) -> int:
    """Return the sum over the values of several keys."""
    row = conn.execute(statements["rate_limits/total"], {"keys": list(keys), "now": now}).fetchone()
    assert row is not None  # noqa: S101  # an aggregate always has a row
    return int(row[0])


def arrive(
    conn: Connection, statements: Statements, *, parties: Mapping[str, int], ttls_ms: Mapping[str, float]
) -> set[str]:
    """Lock barriers and count each down by its ``parties``; return the keys of those that have let the last through."""
    lock(conn, statements, keys=list(parties))
    parameters = {
        "keys": list(parties),
        "parties": integers(list(parties.values())),
        "ttls_ms": plain([ttls_ms[key] for key in parties]),
    }
    return {row[0] for row in conn.execute(statements["rate_limits/arrive"], parameters)}


def publish(
    conn: Connection, statements: Statements, *, key: str, ttl: timedelta, now: datetime | None = None
) -> None:
    """Make an event visible for ``ttl``, and tell those who wait for it."""
    conn.execute(statements["rate_limits/publish"], {"key": key, "ttl": ttl, "now": now})


def take_place(conn: Connection, statements: Statements, *, owner: UUID, key: str) -> Place:
    """Note that a worker holds a place."""
    row = conn.execute(statements["rate_limits/take_place"], {"owner": owner, "key": key}).fetchone()
    assert row is not None  # noqa: S101  # an INSERT of a row answers with it
    return Place(owner, row[0])


def leave_place(conn: Connection, statements: Statements, *, place: Place) -> bool:
    """Strike a place out; False if it was freed already, because its owner was lost."""
    parameters = {"owner": place.owner, "id": place.id}
    return conn.execute(statements["rate_limits/leave_place"], parameters).fetchone() is not None


def free_places(conn: Connection, statements: Statements, *, owner: UUID) -> int:
    """Free the places of a lost owner, in the transaction that gives his messages to others; return how many."""
    rows = conn.execute(statements["rate_limits/leave_all_places"], {"owner": owner}).fetchall()
    keys = [row[0] for row in rows]
    if keys:
        lock(conn, statements, keys=keys)
    for key in keys:
        change(conn, statements, key=key, amount=-1, minimum=0, ttl=None)
    return len(keys)


def purge_expired(
    conn: Connection, statements: Statements, limit: int = PURGED_AT_ONCE, *, now: datetime | None = None
) -> int:
    """Delete up to ``limit`` rows whose time is over; return how many there were. Reads the whole table."""
    return conn.execute(statements["rate_limits/purge_expired"], {"limit": limit, "now": now}).rowcount
