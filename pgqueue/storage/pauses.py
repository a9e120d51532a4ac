"""Queues and actors that are paused, and the messages of such actors. Owns the tables pauses and parked."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from .database import Connection
from .statements import Statements

Kind = Literal["queue", "actor"]


@dataclass(frozen=True, slots=True)
class Pause:
    """A queue or an actor that is paused."""

    kind: Kind
    name: str
    paused_at: datetime


def add(conn: Connection, statements: Statements, *, kind: Kind, name: str) -> bool:
    """Pause something; False if it was paused already."""
    return conn.execute(statements["pauses/add"], {"kind": kind, "name": name}).rowcount > 0


def remove(conn: Connection, statements: Statements, *, kind: Kind, name: str) -> bool:
    """Let something go on; False if it was not paused."""
    return conn.execute(statements["pauses/remove"], {"kind": kind, "name": name}).rowcount > 0


def list_pauses(conn: Connection, statements: Statements) -> list[Pause]:
    """All that is paused, queues first."""
    with conn.cursor(row_factory=class_row(Pause)) as cursor:
        return cursor.execute(statements["pauses/list"]).fetchall()


def released_actors(conn: Connection, statements: Statements) -> list[str]:
    """The actors that are not paused and of which messages are parked."""
    return [row[0] for row in conn.execute(statements["parked/actors"])]


def release(conn: Connection, statements: Statements, *, actor_name: str, limit: int) -> int:
    """Make parked messages of an actor ready again, unless it is paused; return how many."""
    row = conn.execute(statements["parked/release"], {"actor_name": actor_name, "limit": limit}).fetchone()
    return int(row[0]) if row else 0
