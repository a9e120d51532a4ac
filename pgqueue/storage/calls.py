"""A statement with its parameters, for whoever runs it: our connections, async ones, or an application's driver.

What takes several statements is written once, as a procedure: a generator that yields calls and is sent their rows.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format, PipelineStatus
from psycopg.rows import tuple_row

from .arrays import Value, packed, register_packed
from .database import Connection
from .statements import Compiled, Statements

T = TypeVar("T")

Rows: TypeAlias = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Call:
    """The statement ``sql/<name>.sql``, and what to run it with."""

    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)


Procedure: TypeAlias = Generator[Call, Rows, T]


def run(conn: Connection, statements: Statements, call: Call) -> Rows:
    """Run a call on a psycopg connection; the rows, if there are any, are tuples whatever that makes of its own."""
    compiled = statements.compiled(call.name)
    register_packed(conn.adapters)
    with psycopg.RawCursor(conn, row_factory=tuple_row) as cursor:
        _read_texts(cursor)
        cursor.format = Format.BINARY
        cursor.execute(compiled.text, _arguments(compiled, call))
        synchronize(conn)
        return cursor.fetchall() if cursor.description else []


async def run_async(conn: "psycopg.AsyncConnection[Any]", statements: Statements, call: Call) -> Rows:
    """The same on an async connection."""
    compiled = statements.compiled(call.name)
    register_packed(conn.adapters)
    async with psycopg.AsyncRawCursor(conn, row_factory=tuple_row) as cursor:
        _read_texts(cursor)
        cursor.format = Format.BINARY
        await cursor.execute(compiled.text, _arguments(compiled, call))
        await synchronize_async(conn)
        return await cursor.fetchall() if cursor.description else []


class _Utf8Loader(Loader):
    """Reads texts of a session in SQL_ASCII, in which the driver leaves them bytes."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


def _read_texts(cursor: "psycopg.RawCursor[Any] | psycopg.AsyncRawCursor[Any]") -> None:
    # Of an application's connection; ours ask for UTF-8.
    if cursor.connection.info.encoding == "ascii":
        for name in ("text", "name"):
            cursor.adapters.register_loader(name, _Utf8Loader)


def synchronize(conn: Connection) -> None:
    """In a pipeline of the application's, have everything answered that is on its way; otherwise nothing is."""
    if conn.pgconn.pipeline_status != PipelineStatus.OFF:
        with conn.pipeline():
            pass  # the end of an inner one waits for all answers


async def synchronize_async(conn: "psycopg.AsyncConnection[Any]") -> None:
    """The same on an async connection."""
    if conn.pgconn.pipeline_status != PipelineStatus.OFF:
        async with conn.pipeline():
            pass


def perform(conn: Connection, statements: Statements, procedure: Procedure[T]) -> T:
    """Run the calls of a procedure one after the other; return what it returns."""
    try:
        call = next(procedure)
        while True:
            call = procedure.send(run(conn, statements, call))
    except StopIteration as stop:
        result: T = stop.value
        return result


async def perform_async(
    conn: "psycopg.AsyncConnection[Any]", statements: Statements, procedure: Procedure[T]
) -> T:
    """The same on an async connection."""
    try:
        call = next(procedure)
        while True:
            call = procedure.send(await run_async(conn, statements, call))
    except StopIteration as stop:
        result: T = stop.value
        return result


def _arguments(compiled: Compiled, call: Call) -> list[object]:
    return [packed(call.parameters[name]) for name in compiled.names]
