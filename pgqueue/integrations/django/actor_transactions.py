"""Django's ORM inside of transactional actors: it works in the transaction that acknowledges the message."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from ... import _forks
from ..._running import CurrentTransaction
from ...errors import TransactionEnded
from ...storage import transactions
from ...storage.lent_connection import LentConnection
from .transactions import DjangoBroker

__all__ = ["lent"]


@contextmanager
def lent(broker: DjangoBroker, transaction: CurrentTransaction) -> Iterator[None]:
    """Have ``connections[broker.alias]`` of this thread stand for an actor's transaction, which begins when needed.

    To Django it looks like the inside of ``atomic()``: blocks of the body are savepoints, ``commit()`` is refused, and
    what is registered with ``on_commit`` is called after the commit of the acknowledgement.
    """
    own = connections[broker.alias]
    if not _is_psycopg3(own):
        yield
        return
    wrapper = _wrapper(own, broker, transaction)
    connections[broker.alias] = wrapper
    loan = _Loan(own)
    try:
        yield
        if wrapper.needs_rollback:
            raise TransactionEnded(
                f"Django has marked the transaction of message {transaction.message_id} to be rolled back: an error "
                "was caught inside of atomic(savepoint=False), or set_rollback(True) was called. Let the error pass."
            )
        for _savepoints, call, *_robust in wrapper.run_on_commit:
            transaction.on_commit(call)
    finally:
        loan.is_over = True
        connections[broker.alias] = own
        wrapper.connection = None


class _Loan:
    """Of a body's transaction to Django, in this thread.

    Parameters:
      own: Django's connection, which the transaction's stands for.
    """

    def __init__(self, own: Any) -> None:
        self.is_over = False
        self._own = own
        self._thread = threading.get_ident()
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Have Django open a connection in a forked process: both of those here are its parent's."""
        if threading.get_ident() == self._thread and not self.is_over:
            connections[self._own.alias] = self._own.copy()


def _is_psycopg3(connection: Any) -> bool:
    return getattr(connection.Database, "__name__", "") == "psycopg"


def _wrapper(own: Any, broker: DjangoBroker, transaction: CurrentTransaction) -> Any:
    """Make a connection of the alias's class that finds itself in a transaction already."""
    wrapper = own.copy()

    def connect() -> None:
        parameters = wrapper.get_connection_params()
        wrapper.connection = LentConnection(
            transaction.connection,
            context=parameters.get("context"),
            cursor_factory=parameters["cursor_factory"],
            timezone=wrapper.timezone,
            timezone_name=wrapper.timezone_name,
        )
        transactions.use_timezone(
            transaction.connection, broker.database.statements, name=wrapper.timezone_name
        )

    wrapper.connect = connect
    wrapper.in_atomic_block = True
    wrapper.autocommit = False
    wrapper.commit_on_exit = True
    wrapper.close_at = None
    return wrapper
