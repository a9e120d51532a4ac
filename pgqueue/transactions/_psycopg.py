"""Connections of psycopg 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus

from ..errors import NoTransaction, TargetClosed, TargetFailed
from ..storage.calls import Call, Rows, run, run_async, synchronize, synchronize_async
from .target import AsyncTarget, Target

if TYPE_CHECKING:
    from collections.abc import Hashable

    import psycopg

    from ..storage.statements import Statements

    AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

__all__ = ["AsyncPsycopgTarget", "PsycopgTarget"]

BEGIN = "open a block with `connection.transaction()`, or open the connection without autocommit"


class PsycopgTarget(Target):
    """A connection."""

    connection: psycopg.Connection[Any]

    def identity(self) -> object:
        return self.connection

    def server(self) -> Hashable:
        return _server(self.connection)

    def is_two_phase(self) -> bool:
        return _is_two_phase(self.connection)

    def inspect(self) -> None:
        if not self.connection.closed:
            synchronize(self.connection)  # what is on its way may begin a transaction
        _inspect(self.connection)

    def run(self, statements: Statements, call: Call) -> Rows:
        return run(self.connection, statements, call)


class AsyncPsycopgTarget(AsyncTarget):
    """An async connection."""

    connection: psycopg.AsyncConnection[Any]

    def identity(self) -> object:
        return self.connection

    def server(self) -> Hashable:
        return _server(self.connection)

    def is_two_phase(self) -> bool:
        return _is_two_phase(self.connection)

    async def inspect(self) -> None:
        if not self.connection.closed:
            await synchronize_async(self.connection)
        _inspect(self.connection)

    async def run(self, statements: Statements, call: Call) -> Rows:
        return await run_async(self.connection, statements, call)


def _server(connection: AnyConnection) -> Hashable:
    info = connection.info
    return (info.host, info.port, info.dbname, info.user)


def _is_two_phase(connection: AnyConnection) -> bool:
    # Where `tpc_begin` leaves word; nothing public tells.
    return getattr(connection, "_tpc", None) is not None


def _inspect(connection: AnyConnection) -> None:
    if connection.closed:
        raise TargetClosed(connection)
    status = connection.info.transaction_status
    if status is TransactionStatus.INERROR:
        raise TargetFailed(connection)
    if status is TransactionStatus.IDLE and connection.autocommit:
        raise NoTransaction(connection, begin=BEGIN)
