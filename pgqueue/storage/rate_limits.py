"""Typed doors to the table rate_limits: numbers and events that count until their time is over.

``statements`` is the database's; ``now`` is the instant that decides, None for the server's clock.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from .database import Connection
from .statements import Statements


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
    return _granted(conn, statements["rate_limits/add"], parameters)


def incr(
    conn: Connection,
    statements: Statements,
    *,
    key: str,
    amount: int,
    maximum: int,
    ttl: timedelta,
    now: datetime | None = None,
) -> bool:
    """Add to a key's value unless it would then be above ``maximum``; return whether it was added."""
    parameters = {"key": key, "amount": amount, "maximum": maximum, "ttl": ttl, "now": now}
    return _granted(conn, statements["rate_limits/incr"], parameters)


def decr(
    conn: Connection,
    statements: Statements,
    *,
    key: str,
    amount: int,
    minimum: int,
    ttl: timedelta,
    now: datetime | None = None,
) -> bool:
    """Subtract from a key's value unless it would then be below ``minimum``; return whether it was."""
    parameters = {"key": key, "amount": amount, "minimum": minimum, "ttl": ttl, "now": now}
    return _granted(conn, statements["rate_limits/decr"], parameters)


def lock(conn: Connection, statements: Statements, *, family: str) -> None:
    """Keep others that lock the same family of keys out until the transaction ends."""
    conn.execute(statements["rate_limits/lock"], {"family": family})


def total(
    conn: Connection, statements: Statements, *, keys: Sequence[str], now: datetime | None = None
) -> int:
    """Return the sum over the values of several keys."""
    row = conn.execute(statements["rate_limits/total"], {"keys": list(keys), "now": now}).fetchone()
    assert row is not None  # noqa: S101  # an aggregate always has a row
    return int(row[0])


def publish(
    conn: Connection, statements: Statements, *, key: str, ttl: timedelta, now: datetime | None = None
) -> None:
    """Make an event visible for ``ttl``."""
    conn.execute(statements["rate_limits/publish"], {"key": key, "ttl": ttl, "now": now})


def purge_expired(
    conn: Connection, statements: Statements, limit: int = 1000, *, now: datetime | None = None
) -> int:
    """Delete up to ``limit`` rows whose time is over; return how many there were. Reads the whole table."""
    return conn.execute(statements["rate_limits/purge_expired"], {"limit": limit, "now": now}).rowcount


def _granted(conn: Connection, statement: bytes, parameters: dict[str, object]) -> bool:
    row = conn.execute(statement, parameters).fetchone()
    return row is not None and bool(row[0])
