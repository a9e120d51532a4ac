"""Lanes: a queue and a priority under one number. Owns the table lanes."""

from collections.abc import Sequence
from dataclasses import dataclass

from .arrays import Texts, Value, integers
from .calls import Call, Procedure, perform
from .database import Connection
from .registers import catalog_changed
from .statements import Statements


@dataclass(frozen=True, slots=True)
class Lane:
    """One priority of one queue; lower priorities are claimed first."""

    id: int
    queue_name: str
    priority: int


def add(lanes: Sequence[tuple[str, int]]) -> Procedure[int]:
    """Make those of the (queue name, priority) pairs that are missing; return how many were."""
    parameters: dict[str, Value] = {
        "queue_names": Texts([name for name, _ in lanes]),
        "priorities": integers([priority for _, priority in lanes]),
    }
    ((added, _),) = yield Call("lanes/add", parameters)
    if added:
        yield catalog_changed()
    return int(added)


def find_all() -> Procedure[list[Lane]]:
    """All lanes ever used."""
    return (yield from find_here())[0]


def find_here() -> Procedure[tuple[list[Lane], str]]:
    """All lanes ever used, and their origin: the same text for as long as their numbers mean the same.

    It names the server, since it was started, and the table. Empty if there are none.
    """
    rows = yield Call("lanes/list")
    return [Lane(*row[:3]) for row in rows], str(rows[0][3]) if rows else ""


def add_lanes(conn: Connection, statements: Statements, *, lanes: Sequence[tuple[str, int]]) -> int:
    """`add`, on a connection."""
    return perform(conn, statements, add(lanes))


def list_lanes(conn: Connection, statements: Statements) -> list[Lane]:
    """`find_all`, on a connection."""
    return perform(conn, statements, find_all())
