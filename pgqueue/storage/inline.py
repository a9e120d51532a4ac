"""Messages taken out of all queues by the program that has sent them: for its tests. Owns no table."""

from .calls import Call, Procedure
from .database import Connection
from .statements import Statements


def take_next() -> Procedure[bytes | None]:
    """Take the next message that may run now out of its queue for good; None if there is none."""
    return _payload((yield Call("queues/take_next")))


def take_scheduled(*, early: bool) -> Procedure[bytes | None]:
    """Take the next message that is due out of those that wait; None if there is none.

    Parameters:
      early: Whether it need not be due.
    """
    return _payload((yield Call("queues/take_scheduled", {"early": "true" if early else "false"})))


def list_waiting() -> Procedure[list[bytes]]:
    """All messages that wait, ready and scheduled, in the order in which they would run."""
    return [bytes(row[0]) for row in (yield Call("queues/list_waiting"))]


def _payload(rows: list[tuple[object, ...]]) -> bytes | None:
    return bytes(rows[0][0]) if rows else None  # type: ignore[call-overload]  # a driver's bytes or memoryview


def peek(conn: Connection, statements: Statements) -> list[tuple[bytes, float | None]]:
    """The payloads of all messages that nobody holds, and in how many ms they are due (None: they are)."""
    return [(bytes(payload), delay_ms) for payload, delay_ms in conn.execute(statements["messages/peek"])]
