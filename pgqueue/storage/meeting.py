"""The first words on a new connection: which process has its session, on which server, and what time it is there."""

from collections.abc import Mapping
from typing import Any

import psycopg

from .. import clock
from .statements import Statements

__all__ = ["agree", "meet", "meet_async"]


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
    connection.execute(
        "SELECT " + ", ".join(["set_config(%s, %s, false)"] * len(settings)),
        [text for pair in settings.items() for text in pair],
        prepare=False,
    )


def _question(statements: Statements) -> bytes:
    return statements["sessions/own_process"]


def _met(row: Any, asked_ms: float) -> tuple[int, str]:
    if row is None:
        return 0, ""
    pid, server, server_ms = row
    clock.learn(server_ms, asked_ms=asked_ms)
    return pid, server
