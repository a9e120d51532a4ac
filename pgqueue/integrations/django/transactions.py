"""Which of Django's transactions a message joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from ... import _forks
from ...broker import Broker
from ...brokers.postgres import PostgresBroker
from ...transactions._django import AsyncDjangoTarget

if TYPE_CHECKING:
    from ...transactions import AsyncTarget

__all__ = ["DjangoBroker", "close_before_destroying", "open_transaction"]


class DjangoBroker(PostgresBroker):
    """A broker in one of Django's databases.

    Parameters:
      alias: That database's; None if it is not one of Django's.
      joins: Whether what is sent inside of its transactions is sent by their commit.
    """

    def __init__(self, *args: Any, alias: str | None, joins: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.alias = alias
        self.joins = joins

    async def _admitted_async_target(self) -> AsyncTarget | None:
        target = await super()._admitted_async_target()
        if target is None and self.joins and self.alias is not None and self._may_join_ambient():
            # A coroutine's thread is in no transaction: Django's connections are where it calls the ORM.
            found = await sync_to_async(open_transaction)(self)
            if found is not None:
                target = AsyncDjangoTarget(found)
                await self._sender.joiner.admit_async(target)
        return target


#: Connections of the driver's that belong to the process that has forked this one.
_inherited: list[object] = []


def _note_inherited() -> None:
    if settings.configured:
        open_ones = (known.connection for known in connections.all(initialized_only=True))
        _inherited.extend(connection for connection in open_ones if connection is not None)


_forks.in_child(_note_inherited)


def open_transaction(broker: Broker) -> object:
    """Answer, as an ambient provider, the connection of the broker's alias while it is in a transaction.

    That is inside of ``atomic()``, with ``ATOMIC_REQUESTS``, in a ``TestCase``, and after ``set_autocommit(False)``;
    not in a process that was forked there, for the transaction is its parent's.
    """
    if not isinstance(broker, DjangoBroker) or broker.alias is None or not broker.joins:
        return None
    connection = connections[broker.alias]
    if connection.connection is not None and connection.connection in _inherited:
        return None
    if connection.in_atomic_block or (connection.connection is not None and not connection.autocommit):
        return connection
    return None


def close_before_destroying(broker: PostgresBroker, alias: str) -> None:
    """Have a broker let go of the test database before Django drops it, which no signal tells of."""
    creation = connections[alias].creation
    destroy = creation.destroy_test_db

    def destroy_test_db(*args: Any, **options: Any) -> None:
        broker.close()
        destroy(*args, **options)

    creation.destroy_test_db = destroy_test_db
