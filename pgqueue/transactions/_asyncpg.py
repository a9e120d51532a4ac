"""Connections of asyncpg, also as a pool hands them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import asyncpg

from ..errors import NoTransaction, TargetClosed
from ..storage.arrays import literal
from ..storage.statements import Placeholder
from .target import AsyncTarget

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ..storage.calls import Call, Rows
    from ..storage.statements import Statements

__all__ = ["AsyncpgTarget"]


class AsyncpgTarget(AsyncTarget):
    """A connection; asyncpg does not tell whether its transaction has failed, so that shows when one sends."""

    connection: Any

    def identity(self) -> object:
        return getattr(self.connection, "_con", None) or self.connection

    def server(self) -> Hashable:
        return ref(self.identity())

    async def inspect(self) -> None:
        try:
            closed = self.connection.is_closed()
        except asyncpg.InterfaceError as error:  # it went back to its pool
            raise TargetClosed(self.connection, detail=str(error)) from error
        if closed:
            raise TargetClosed(self.connection)
        if not self.connection.is_in_transaction():
            raise NoTransaction(
                self.connection, begin="open a block with `async with connection.transaction():`"
            )

    async def run(self, statements: Statements, call: Call) -> Rows:
        compiled = statements.portable(call.name, Placeholder.NUMBERED)
        values = [literal(call.parameters[name]) for name in compiled.names]
        rows = await self.connection.fetch(compiled.text.decode(), *values)
        return [tuple(row) for row in rows]
