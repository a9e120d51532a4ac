"""Typed doors to the transaction in which a transactional actor runs. No table is theirs."""

import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from psycopg import OperationalError, Transaction, errors
from psycopg.rows import tuple_row

from .answering import ANSWER_S, AnsweringConnection
from .database import Connection
from .statements import Statements

#: The setting that carries the id of the message whose run a transaction is; gone once the transaction is.
MARK = "pgqueue.message_id"

#: What DISCARD ALL does, but for the statements that the driver has prepared, and in one round trip.
_RESTORE = b"""
CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES;
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What a transaction says of itself: whose run it is, and whether it may write."""

    message_id: str | None
    read_only: bool


def begin(conn: Connection, statements: Statements, *, message_id: str, owner: UUID | None) -> Transaction:
    """Begin a transaction that carries a message's id, in one round trip; psycopg refuses commit() inside of it.

    Parameters:
      owner: In whose name the message was claimed, for `end_those_of`.
    """
    # The class, not conn.transaction(): inside a pipeline that would stay in the pipeline for as long as it lasts.
    transaction = Transaction(conn)
    with conn.pipeline():
        transaction.__enter__()
        parameters = {"name": MARK, "message_id": message_id, **_key(owner)}
        conn.execute(statements["transactions/mark"], parameters)
    return transaction


def end_those_of(conn: Connection, statements: Statements, *, owner: UUID) -> int:
    """End the sessions of an owner who was given up; return how many. Those of other roles it can't."""
    try:
        row = conn.execute(statements["transactions/end_those_of"], _key(owner)).fetchone()
    except errors.InsufficientPrivilege:
        return 0
    return int(row[0]) if row else 0


def check(conn: Connection, statements: Statements) -> Look:
    """Check the deferred constraints, look at the transaction, and give it the settings of an acknowledgement."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        with conn.pipeline():
            check_constraints(conn, statements)
            cursor.execute(statements["transactions/look"], {"name": MARK})
        row = cursor.fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM always answers)
    return Look(row[0] or None, row[1])


def check_constraints(conn: Connection, statements: Statements) -> None:
    """Check the deferred constraints now, and from now on with each statement."""
    conn.execute(statements["transactions/check_constraints"])


def cut_off(conn: Connection) -> None:
    """In a forked process: have nothing that is done with its parent's connection reach the server.

    Whoever closes a connection says so to the server, and whoever leaves a block of it ends the transaction.
    """
    with suppress(OperationalError, OSError):  # it is closed, or there are no more descriptors
        here, there = socket.socketpair()
        with here, there:
            os.dup2(here.fileno(), conn.fileno(), inheritable=False)


def use_timezone(conn: Connection, statements: Statements, *, name: str) -> None:
    """Have texts of the transaction in a time zone."""
    conn.execute(statements["transactions/use_timezone"], {"name": name})


def restore(conn: Connection, statements: Statements, *, settings: Mapping[str, str]) -> None:
    """Make a session what it was when it was opened: its settings, locks, temporary tables, cursors, channels.

    Parameters:
      settings: What is to hold for the session.
    """
    if isinstance(conn, AnsweringConnection):
        conn.answer_within_s = ANSWER_S
    agreed = "".join(f"; SET {name} = '{value}'" for name, value in settings.items())
    conn.execute(_RESTORE + statements["sessions/unlock_all"] + agreed.encode(), prepare=False)


def _key(owner: UUID | None) -> dict[str, int | None]:
    """The lock of an owner's runs; that it is two numbers keeps it apart from the owner's own, which is one."""
    high, low = (None, None) if owner is None else struct.unpack_from(">ii", owner.bytes)
    return {"high": high, "low": low}
