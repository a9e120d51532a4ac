"""What actors returned or raised, by key. Owns the table results and its slices."""

from collections.abc import Sequence

from .arrays import Texts
from .calls import Call, Procedure
from .database import Connection
from .messages import StoredResult
from .statements import Statements

__all__ = ["StoredResult", "find", "find_many", "store"]


def store(conn: Connection, statements: Statements, *, result: StoredResult) -> None:
    """Keep a result; a later one of the same key hides it."""
    conn.execute(
        statements["results/store"], {"key": result.key, "value": result.value, "ttl_ms": result.ttl_ms}
    )


def find(conn: Connection, statements: Statements, *, key: str) -> bytes | None:
    """The youngest value under ``key`` that has not expired."""
    row = conn.execute(statements["results/find"], {"key": key}, binary=True).fetchone()
    return None if row is None else bytes(row[0])


def find_many(keys: Sequence[str]) -> Procedure[dict[str, bytes]]:
    """Ask for the same of many keys; those without a value are left out."""
    rows = yield Call("results/find_many", {"keys": Texts(keys)})
    return {key: bytes(value) for key, value in rows}
