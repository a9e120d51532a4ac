"""The first words on a new connection: which process has its session, on which server, and what time it is there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from .. import clock
from ..errors import BrokerNotConfigured
from .statements import Statements

__all__ = [
    "SERVER_SIDE",
    "SERVER_SIDE_APART",
    "agree",
    "agree_async",
    "agree_on_dates",
    "check_encoding",
    "iso_dates",
    "meet",
    "meet_async",
]

#: What the server is to do about silent clients, for it must not keep locks for somebody who is gone: neither when the
#: network is dead, nor when a proxy lives that passes nothing on. A session that is not in a transaction holds none.
#: And nothing is compiled: the costs by which the server chooses to say nothing here, and it takes seconds to.
#: Whatever the role or the database has set, our statements wait for each other rather than fail (unlike those of a
#: transaction of the application's, which has its own way), and times come in the one style that the driver can read.
SERVER_SIDE: Mapping[str, str] = {
    "jit": "off",
    "default_transaction_isolation": "read committed",
    "DateStyle": "ISO",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "11000",
    "idle_in_transaction_session_timeout": "60s",
}

#: Where the application's transactions are, which may think for as long as they like, only a dead network counts.
SERVER_SIDE_APART: Mapping[str, str] = {
    name: value for name, value in SERVER_SIDE.items() if name.startswith("tcp_") or name == "DateStyle"
}


def meet(connection: "psycopg.Connection[Any]", statements: Statements) -> tuple[int, str]:
    """Ask; return the process and the server, and learn the time."""
    asked_ms = clock.steady_millis()
    row = connection.execute(_question(statements), prepare=False).fetchone()
    return _met(row, asked_ms)


async def meet_async(connection: "psycopg.AsyncConnection[Any]", statements: Statements) -> tuple[int, str]:
    """The same, for a coroutine."""
    asked_ms = clock.steady_millis()
    asked = await connection.execute(_question(statements), prepare=False)
    return _met(await asked.fetchone(), asked_ms)


def agree(connection: "psycopg.Connection[Any]", settings: Mapping[str, str]) -> None:
    """Set what is to hold for the session."""
    connection.execute(*_agreement(settings), prepare=False)


async def agree_async(connection: "psycopg.AsyncConnection[Any]", settings: Mapping[str, str]) -> None:
    """The same, for a coroutine."""
    await connection.execute(*_agreement(settings), prepare=False)


def agree_on_dates(connection: "psycopg.Connection[Any]") -> None:
    """Set, behind a pooler, the one setting that we can't do without; poolers know it and keep it for each client."""
    if not _is_iso(connection):
        agree(connection, {"DateStyle": "ISO"})


@contextmanager
def iso_dates(connection: "psycopg.Connection[Any]") -> Iterator[None]:
    """Have times in the style that the driver can read on a connection of the program's, for the time of the block."""
    style = connection.info.parameter_status("DateStyle")
    if style is None or _is_iso(connection):
        yield
        return
    agree(connection, {"DateStyle": "ISO"})
    try:
        yield
    finally:
        if not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE:
            agree(connection, {"DateStyle": style})


def _is_iso(connection: "psycopg.Connection[Any]") -> bool:
    return (connection.info.parameter_status("DateStyle") or "ISO").startswith("ISO")


def _agreement(settings: Mapping[str, str]) -> tuple[bytes, list[str]]:
    calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
    return f"SELECT {calls}".encode(), [text for pair in settings.items() for text in pair]


def check_encoding(connection: "psycopg.Connection[Any]") -> None:
    """Refuse a connection whose texts are bytes, as in a database in SQL_ASCII; ours ask for UTF-8.

    Raises:
      BrokerNotConfigured: It is such a one, of a pool of the program's.
    """
    if connection.info.encoding == "ascii":
        raise BrokerNotConfigured(
            "The pool's connections have the encoding SQL_ASCII, in which texts are bytes: give it "
            "client_encoding='utf8', or give the broker a URL in place of the pool."
        )


def _question(statements: Statements) -> bytes:
    return statements["sessions/own_process"]


def _met(row: Any, asked_ms: float) -> tuple[int, str]:
    if row is None:
        return 0, ""
    pid, server, server_ms = row
    clock.learn(server_ms, asked_ms=asked_ms)
    return pid, server
