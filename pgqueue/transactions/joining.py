"""How a broker writes into a transaction of the application's: looks first, so that it fails none that was well."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from ..errors import PermissionDenied, TargetElsewhere
from ..storage.revision import Place, find_place
from .failures import explained
from .turns import Turns

if TYPE_CHECKING:
    from ..engine.catalog import Catalog
    from ..storage.calls import Call, Procedure
    from ..storage.database import Database
    from .target import AnyTarget, AsyncTarget, Target

__all__ = ["Joiner"]


class Joiner:
    """For one broker. Safe to use from all threads and event loops.

    The first time that it meets a server, database and role it asks where that connection is: one round trip more.
    """

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog
        self._known: set[Hashable] = set()
        self._turns = Turns()

    def admit(self, target: Target) -> None:
        """See whether messages could be written through ``target``, at the cost of nothing that is in its transaction.

        Raises:
          TransactionError: The target's connection or transaction can't be used.
          SchemaOutdated: The database has no schema of ours, or an older one.
          PermissionDenied: The connection's role may not send.
        """
        with explained(target.connection):
            target.inspect()
            if target.server() not in self._known:
                home = self._catalog.place()
                self._compare(target, self._ask(target), home)

    async def admit_async(self, target: AsyncTarget) -> None:
        """The same, for a coroutine."""
        async with self._turns.of(target.connection):
            await self._admit_async(target)

    async def _admit_async(self, target: AsyncTarget) -> None:
        with explained(target.connection):
            await target.inspect()
            if target.server() not in self._known:
                home = await self._catalog.place_async()
                self._compare(target, await self._ask_async(target), home)

    def write(self, target: Target, call: Call) -> bool:
        """Run the statement that writes messages; return whether it has answered with anything."""
        with explained(target.connection):
            return bool(target.run(self._database.statements, call))

    async def write_async(self, target: AsyncTarget, call: Call) -> bool:
        """The same, for a coroutine."""
        async with self._turns.of(target.connection):
            with explained(target.connection):
                return bool(await target.run(self._database.statements, call))

    def elsewhere(self, target: AnyTarget) -> TargetElsewhere:
        """The error for a target that is not where the broker's messages are."""
        return TargetElsewhere(
            target.connection, home=self._database.describe(), schema=self._database.schema
        )

    def forget(self) -> None:
        """Ask each server again: the schema was made anew, perhaps."""
        self._known = set()

    def _ask(self, target: Target) -> Place:
        question = find_place(self._database.schema)
        return _answered(question, target.run(self._database.statements, next(question)))

    async def _ask_async(self, target: AsyncTarget) -> Place:
        question = find_place(self._database.schema)
        return _answered(question, await target.run(self._database.statements, next(question)))

    def _compare(self, target: AnyTarget, place: Place, home: str) -> None:
        if place.name != home:
            raise self.elsewhere(target)
        if not place.may_send:
            raise PermissionDenied(
                f"The database role of this transaction may not write messages into schema {self._database.schema!r}. "
                "Grant it the rights that docs/deploying.md lists for producers."
            )
        self._known.add(target.server())


def _answered(question: Procedure[Place], rows: list[tuple[object, ...]]) -> Place:
    try:
        question.send(rows)
    except StopIteration as stop:
        place: Place = stop.value
        return place
    raise AssertionError("where a connection is takes one question")
