"""What owners hold. Owns the table leases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg import IsolationLevel, errors

from .database import Connection
from .statements import Statements

if TYPE_CHECKING:
    from .messages import ClaimedMessage


def drop_settled(conn: Connection, statements: Statements, *, owner: UUID) -> None:
    """Delete the leases of an owner in which everything is settled."""
    conn.execute(statements["leases/drop_settled"], {"owner": owner})


def find_leases(conn: Connection, statements: Statements, *, owner: UUID) -> dict[int, tuple[int, set[int]]]:
    """The leases of an owner: for each its slot now and the ids that it still holds."""
    rows = conn.execute(statements["leases/find"], {"owner": owner})
    return {lid: (slot, set(ids) - set(done)) for lid, slot, ids, done in rows}


def hold(conn: Connection, statements: Statements, *, message: ClaimedMessage) -> bool:
    """Lock a message's lease until the end of the transaction; False if it is not ours any more."""
    parameters = {"lid": message.lease.lid, "owner": message.lease.owner, "id": message.id}
    row = conn.execute(statements["leases/hold"], parameters).fetchone()
    if row is not None:
        message.lease.slot = row[0]
    return row is not None


def set_apart(conn: Connection, statements: Statements, *, message: ClaimedMessage) -> tuple[int, int] | None:
    """Move a message off the lease of its batch onto one of its own; return that one's id and slot.

    None: it stays where it is, because it is not ours any more, or somebody else had the lease at that moment.
    """
    parameters = {"lid": message.lease.lid, "owner": message.lease.owner, "id": message.id}
    try:
        row = conn.execute(statements["leases/set_apart"], parameters).fetchone()
    except errors.SerializationFailure:
        # The connection is an actor's, and so is its default isolation, in which rows that others change are refused.
        with _read_committed(conn):
            row = conn.execute(statements["leases/set_apart"], parameters).fetchone()
    return None if row is None else (row[0], row[1])


@contextmanager
def _read_committed(conn: Connection) -> Iterator[None]:
    before, conn.isolation_level = conn.isolation_level, IsolationLevel.READ_COMMITTED
    try:
        with conn.transaction():
            yield
    finally:
        if not conn.closed:
            conn.isolation_level = before
