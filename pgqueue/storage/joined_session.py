"""A SQLAlchemy session on a psycopg connection that is in a transaction of somebody else's.

SQLAlchemy is imported with this module, which is therefore imported only when a session is asked for.
"""

from contextvars import ContextVar
from functools import cache
from typing import Any, NoReturn

import sqlalchemy
from psycopg import Connection
from sqlalchemy import create_engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ..errors import TransactionEnded

__all__ = ["JoinedSession", "open_session"]

_REFUSED = (
    "The session of a transactional actor can't {verb}: the transaction belongs to the message and commits with its "
    "acknowledgement. {instead}"
)
_COMMIT = _REFUSED.format(verb="commit", instead="To write what is pending, call session.flush().")
_ROLLBACK = _REFUSED.format(
    verb="roll back",
    instead="To undo a part, do it inside `with session.begin_nested():`; to undo all, raise.",
)


class JoinedDialect(PGDialect_psycopg):
    """psycopg's dialect for connections whose transactions SQLAlchemy must not end, nor close them."""

    supports_statement_cache = True

    def on_connect(self) -> None:
        """Leave the connection as it is: it is not new."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Do nothing: what ends the session without a commit is the end of the body, or its failure."""

    def do_commit(self, dbapi_connection: Any) -> NoReturn:  # noqa: ARG002
        """Refuse."""
        raise TransactionEnded(_COMMIT)

    def do_close(self, dbapi_connection: Any) -> None:
        """Do nothing: the connection is only lent."""

    do_terminate = do_close


registry.register("postgresql.pgqueue_joined", __name__, "JoinedDialect")

#: The connection that the engine is being given.
_lent: ContextVar[Connection[Any]] = ContextVar("pgqueue_lent_connection")


@cache
def _engine() -> Engine:
    """One for the process, because it keeps what it has compiled; it has no connections of its own."""
    return create_engine(
        "postgresql+pgqueue_joined://", creator=_lent.get, poolclass=NullPool, pool_reset_on_return=None
    )


class JoinedSession(Session):
    """A session that takes part in a transaction and can't end it.

    Parameters:
      options: Those of a session.
    """

    def __init__(self, joined: sqlalchemy.Connection, options: dict[str, Any]) -> None:
        super().__init__(bind=joined, **options)
        self._joined = joined

    def commit(self) -> NoReturn:
        """Refuse.

        Raises:
          TransactionEnded: Always.
        """
        raise TransactionEnded(_COMMIT)

    def rollback(self) -> NoReturn:
        """Refuse.

        Raises:
          TransactionEnded: Always.
        """
        raise TransactionEnded(_ROLLBACK)

    def end(self) -> None:
        """Let go of the connection."""
        self.close()
        self._joined.close()


def open_session(conn: Connection[Any], **options: Any) -> JoinedSession:
    """Open a session on a connection that is in a transaction."""
    token = _lent.set(conn)
    try:
        connection = _engine().connect()
    finally:
        _lent.reset(token)
    return JoinedSession(connection, options)
