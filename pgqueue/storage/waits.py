"""Word of those who wait for a result or an event: whoever stores it tells them. Owns the table waits.

Nothing hangs on it: a notification that is missed costs a waiting process a moment, for it also looks by itself.
"""

from collections.abc import Mapping

from .arrays import Texts, Value, integers
from .calls import Call
from .database import Connection
from .statements import Statements


def add(channel: str, *, tickets: Mapping[int, str]) -> Call:
    """Asks to be sent each ticket on ``channel`` when something is stored under its key."""
    parameters: dict[str, Value] = {
        "keys": Texts(tickets.values()),
        "tickets": integers(list(tickets)),
        "channel": channel,
    }
    return Call("waits/add", parameters)


def remove(conn: Connection, statements: Statements, *, channel: str, tickets: Mapping[int, str]) -> None:
    """Take back what was asked, as the key of each ticket."""
    parameters = {"keys": list(tickets.values()), "tickets": integers(list(tickets)), "channel": channel}
    conn.execute(statements["waits/remove"], parameters)


def size(conn: Connection, statements: Statements) -> int:
    """The bytes that the table takes up, dead rows included."""
    row = conn.execute(statements["waits/size"]).fetchone()
    return int(row[0]) if row else 0


def clear(conn: Connection, statements: Statements) -> None:
    """Forget everybody: they will look by themselves."""
    conn.execute(statements["waits/clear"])


def test(conn: Connection, statements: Statements, *, channel: str) -> None:
    """Send an empty notification, to see whether it comes."""
    conn.execute(statements["waits/test"], {"channel": channel})
