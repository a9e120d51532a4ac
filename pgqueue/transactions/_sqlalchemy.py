"""Connections and sessions of SQLAlchemy, sync and async, on whichever driver for PostgreSQL."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import ref

from sqlalchemy import exc, text
from sqlalchemy.engine import TwoPhaseTransaction

from ..errors import NotATarget, NoTransaction, TargetClosed, TargetFailed
from ..storage.arrays import literal
from ..storage.statements import Placeholder
from .target import IN_ERROR, IN_TRANSACTION, AsyncTarget, Target

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sqlalchemy import Connection, TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    from ..storage.calls import Call, Rows
    from ..storage.statements import Statements

__all__ = [
    "AsyncConnectionTarget",
    "AsyncSessionTarget",
    "ConnectionTarget",
    "SessionTarget",
    "async_scoped_target",
    "scoped_target",
]

BEGIN = "use a connection or engine whose isolation level is not AUTOCOMMIT"


class ConnectionTarget(Target):
    """A Connection."""

    connection: Connection

    def identity(self) -> object:
        return _driver_connection(self.connection)

    def server(self) -> Hashable:
        return ref(self.connection.dialect)

    def is_two_phase(self) -> bool:
        return _is_two_phase(self.connection)

    def inspect(self) -> None:
        _inspect(self.connection)

    def run(self, statements: Statements, call: Call) -> Rows:
        return _run(self.connection, statements, call)


class SessionTarget(Target):
    """A Session: the connection of its present transaction, which begins with the first send if nothing else."""

    connection: Session

    def identity(self) -> object:
        return _identity_of_session(self.connection)

    def server(self) -> Hashable:
        return ref(self.connection.connection().dialect)

    def is_two_phase(self) -> bool:
        return _is_two_phase(self.connection.connection())

    def inspect(self) -> None:
        _inspect(_connection_of(self.connection))

    def run(self, statements: Statements, call: Call) -> Rows:
        return _run(self.connection.connection(), statements, call)


class AsyncConnectionTarget(AsyncTarget):
    """An AsyncConnection."""

    connection: AsyncConnection

    def identity(self) -> object:
        return _driver_connection(self.connection.sync_connection or self.connection)

    def server(self) -> Hashable:
        return ref(self.connection.dialect)

    def is_two_phase(self) -> bool:
        return _is_two_phase(self.connection.sync_connection)

    async def inspect(self) -> None:
        if self.connection.sync_connection is None:
            raise TargetClosed(self.connection, detail="or not started yet")
        await self.connection.run_sync(_inspect)

    async def run(self, statements: Statements, call: Call) -> Rows:
        return await self.connection.run_sync(_run, statements, call)


class AsyncSessionTarget(AsyncTarget):
    """An AsyncSession."""

    connection: AsyncSession

    def identity(self) -> object:
        return _identity_of_session(self.connection.sync_session)

    def server(self) -> Hashable:
        # In the middle of a send, the session has its connection: nothing is awaited for this.
        return ref(self.connection.sync_session.connection().dialect)

    def is_two_phase(self) -> bool:
        return _is_two_phase(self.connection.sync_session.connection())

    async def inspect(self) -> None:
        await self.connection.run_sync(lambda session: _inspect(_connection_of(session)))

    async def run(self, statements: Statements, call: Call) -> Rows:
        return await self.connection.run_sync(lambda session: _run(session.connection(), statements, call))


def scoped_target(scoped: scoped_session[Any]) -> SessionTarget:
    """The session that a scoped_session stands for here."""
    return SessionTarget(scoped.registry())


def async_scoped_target(scoped: async_scoped_session[Any]) -> AsyncSessionTarget:
    """The session that an async_scoped_session stands for here."""
    return AsyncSessionTarget(scoped.registry())


def _connection_of(session: Session) -> Connection:
    if not session.is_active:
        raise TargetFailed(session)
    try:
        return session.connection()
    except exc.PendingRollbackError as error:
        raise TargetFailed(session) from error
    except exc.UnboundExecutionError as error:
        hint = "This session has several engines: pass `session.connection(...)` of one."
        raise NotATarget(session, hint=hint) from error
    except exc.InvalidRequestError as error:
        raise NoTransaction(session, begin=f"begin one ({error})") from error


def _inspect(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        raise NotATarget(connection, hint=f"This one speaks to {connection.dialect.name}.")
    if connection.closed or connection.invalidated:
        raise TargetClosed(connection)
    innermost = connection.get_nested_transaction() or connection.get_transaction()
    if innermost is not None and not innermost.is_active:
        raise TargetFailed(connection)
    pooled = connection.connection
    status = getattr(getattr(pooled.driver_connection, "info", None), "transaction_status", None)
    if status == IN_ERROR:
        raise TargetFailed(connection)
    # A transaction may have been opened in autocommit mode: that of a transactional actor is.
    if status != IN_TRANSACTION and getattr(pooled.dbapi_connection, "autocommit", False):
        raise NoTransaction(connection, begin=BEGIN)


def _is_two_phase(connection: Connection | None) -> bool:
    return connection is not None and isinstance(connection.get_transaction(), TwoPhaseTransaction)


def _run(connection: Connection, statements: Statements, call: Call) -> Rows:
    compiled = statements.portable(call.name, Placeholder.COLON)
    parameters = {name: literal(call.parameters[name]) for name in compiled.names}
    return [tuple(row) for row in connection.execute(_clause(compiled.text), parameters)]


@cache
def _clause(sql: bytes) -> TextClause:
    # A cursor on the server, which an engine may be set to use, can't run a statement that writes.
    return text(sql.decode()).execution_options(stream_results=False)


def _identity_of_session(session: Session) -> object:
    if not session.in_transaction():
        return session
    try:
        return _driver_connection(session.connection())
    except exc.SQLAlchemyError:
        return session  # a failed one, or an async one that has no connection yet


def _driver_connection(connection: Any) -> object:
    try:
        return connection.connection.driver_connection
    except exc.SQLAlchemyError:
        return connection
