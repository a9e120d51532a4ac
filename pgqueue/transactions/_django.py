"""Connections of Django to PostgreSQL, on psycopg or psycopg2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist

from ..errors import NotATarget, NoTransaction, TargetClosed, TargetFailed
from ..storage.arrays import literal
from ..storage.statements import Placeholder
from .target import IN_ERROR, AsyncTarget, Target

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ..storage.calls import Call, Rows
    from ..storage.statements import Statements

__all__ = ["AsyncDjangoTarget", "DjangoTarget", "aliased_target", "proxied_target"]

BEGIN = "send inside of `with django.db.transaction.atomic():`"


class DjangoTarget(Target):
    """A connection as Django wraps it; each thread has its own of an alias."""

    connection: Any

    def identity(self) -> object:
        return self.connection

    def server(self) -> Hashable:
        settings = self.connection.settings_dict
        return ("django", *(str(settings.get(name)) for name in ("HOST", "PORT", "NAME", "USER")))

    def inspect(self) -> None:
        wrapper = self.connection
        if wrapper.vendor != "postgresql":
            raise NotATarget(wrapper, hint=f"This one speaks to {wrapper.display_name}.")
        if wrapper.in_atomic_block and (wrapper.connection is None or wrapper.closed_in_transaction):
            raise TargetClosed(wrapper)
        if not wrapper.in_atomic_block and wrapper.get_autocommit():
            raise NoTransaction(wrapper, begin=BEGIN)
        if wrapper.needs_rollback or wrapper.connection.info.transaction_status == IN_ERROR:
            raise TargetFailed(wrapper)

    def run(self, statements: Statements, call: Call) -> Rows:
        compiled = statements.portable(call.name, Placeholder.NAMED)
        parameters = {name: literal(call.parameters[name]) for name in compiled.names}
        with self.connection.cursor() as cursor:
            cursor.execute(compiled.text.decode(), parameters)
            return list(cursor.fetchall())


class AsyncDjangoTarget(AsyncTarget):
    """The connection of the thread that a coroutine's calls of the ORM are made in, for what the coroutine sends."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._there = DjangoTarget(connection)

    def identity(self) -> object:
        return self._there.identity()

    def server(self) -> Hashable:
        return self._there.server()

    async def inspect(self) -> None:
        await sync_to_async(self._there.inspect)()

    async def run(self, statements: Statements, call: Call) -> Rows:
        return await sync_to_async(self._there.run)(statements, call)


def aliased_target(alias: str) -> DjangoTarget:
    """The connection of an alias here."""
    try:
        return DjangoTarget(connections[alias])
    except (ConnectionDoesNotExist, ImproperlyConfigured) as error:
        raise NotATarget(alias, hint=str(error)) from error


def proxied_target(proxy: Any) -> DjangoTarget:
    """The connection that ``django.db.connection`` stands for here."""
    # The proxy hands out attributes of the connection, whose methods know what they belong to.
    return DjangoTarget(proxy.cursor.__self__)
