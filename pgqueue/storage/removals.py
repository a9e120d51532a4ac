"""Takes messages out that no worker holds. Writes the tables ready, parked, scheduled and outcomes."""

from collections.abc import Sequence

from .arrays import plain
from .database import Connection
from .statements import Statements


def remove(conn: Connection, statements: Statements, *, keys: Sequence[str], record: bool) -> list[str]:
    """Take out messages that no worker holds, by the keys of their ids; return the keys of those that were there.

    Parameters:
      record: Keep that they were cancelled.
    """
    rows = conn.execute(statements["messages/remove"], {"keys": plain(keys), "record": record})
    return [str(row[0]) for row in rows]


def is_alive(conn: Connection, statements: Statements, *, key: str) -> bool:
    """Whether a message is ready, parked, scheduled or held by a worker, by the key of its id."""
    row = conn.execute(statements["messages/is_alive"], {"key": key}).fetchone()
    return bool(row and row[0])
