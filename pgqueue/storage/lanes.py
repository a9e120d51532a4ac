"""Lanes: a queue and a priority under one number. Owns the table lanes."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import registers
from .database import Connection
from .statements import Statements


@dataclass(frozen=True, slots=True)
class Lane:
    """One priority of one queue; lower priorities are claimed first."""

    id: int
    queue_name: str
    priority: int


def add_lanes(conn: Connection, statements: Statements, *, lanes: Sequence[tuple[str, int]]) -> int:
    """Make those of the (queue name, priority) pairs that are missing; return how many were."""
    parameters = {
        "queue_names": [name for name, _ in lanes],
        "priorities": [priority for _, priority in lanes],
    }
    row = conn.execute(statements["lanes/add"], parameters).fetchone()
    added = int(row[0]) if row else 0
    if added:
        registers.bump_catalog(conn, statements)
    return added


def list_lanes(conn: Connection, statements: Statements) -> list[Lane]:
    """All lanes ever used."""
    return [Lane(*row) for row in conn.execute(statements["lanes/list"])]
