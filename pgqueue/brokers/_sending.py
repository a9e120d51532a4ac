"""How the broker for PostgreSQL writes messages: on its own connections, or in a transaction of the application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..errors import BrokerConnectionError, DatabaseUnavailable, SchemaOutdated
from ..storage import messages
from ..storage.calls import Call, perform_async, run, run_async
from ..storage.messages import NewMessage
from ..storage.registers import channel, idle_cell, idle_register
from ..transactions.joining import Joiner
from ._asking import ATTEMPTS, pause_after
from ._outgoing import Encoded, announcement

if TYPE_CHECKING:
    from ..engine.actor_transaction import ActorTransaction
    from ..engine.catalog import Catalog, Lanes
    from ..storage.async_database import AsyncConnection, AsyncDatabase
    from ..storage.database import Connection, Database
    from ..transactions import AsyncTarget, Target

__all__ = ["Sender"]

#: Seconds within which the statement of a send must be answered, before it is tried over another connection.
ANSWER_S = 15.0

#: The most messages, and bytes of them, of one statement. More are several statements, in one transaction.
MOST_MESSAGES, MOST_BYTES = 100_000, 128 * 1024 * 1024

_CHANGING = (
    "Nothing was written: connections to the database lead now to one server and now to another. Let its URL, or the "
    "pooler, lead to a single one that takes writes; then send again."
)


class Sender:
    """For one broker. Safe to use from all threads and event loops."""

    def __init__(self, database: Database, async_database: AsyncDatabase, catalog: Catalog) -> None:
        self.joiner = Joiner(database, catalog)
        self._database = database
        self._async_database = async_database
        self._catalog = catalog

    # ── on a connection of our own ────────────────────────────────────────────────────────────────

    def send(self, encoded: Sequence[Encoded], delay: int | None) -> None:
        """Write messages and commit, over lost connections.

        Raises:
          ConnectionClosed: The database could not be reached, several times.
        """
        began = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                lanes = self._catalog.lanes_of(_wanted(encoded))
                # The commit of the last attempt may have been all that its connection did.
                if attempt == 0 or not self._was_sent(_rows(lanes, encoded[-1:], delay)[0], began):
                    self.write(encoded, delay, lanes)
            except BrokerConnectionError as error:
                time.sleep(pause_after(error, attempt, what="Not sent"))
            except SchemaOutdated:
                self.forget()
                raise
            else:
                return

    async def send_async(self, encoded: Sequence[Encoded], delay: int | None) -> None:
        """The same, for a coroutine."""
        began = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                lanes = await self._catalog.lanes_of_async(_wanted(encoded))
                last = _rows(lanes, encoded[-1:], delay)[0]
                if attempt == 0 or not await self._was_sent_async(last, began):
                    await self.write_async(encoded, delay, lanes)
            except BrokerConnectionError as error:
                await asyncio.sleep(pause_after(error, attempt, what="Not sent"))
            except SchemaOutdated:
                self.forget()
                raise
            else:
                return

    def write(self, encoded: Sequence[Encoded], delay: int | None, lanes: Lanes) -> None:
        """Write messages in one transaction; into other lanes, if a server has taken over that has others."""
        with self._database.connection(answer_within_s=ANSWER_S) as conn:
            if not self._is_written(conn, self._calls(_rows(lanes, encoded, delay), announcement(delay))):
                rows = _rows(self._catalog.learn(conn, _wanted(encoded)), encoded, delay)
                if not self._is_written(conn, self._calls(rows, announcement(delay))):
                    raise DatabaseUnavailable(_CHANGING)

    def _is_written(self, conn: Connection, calls: Sequence[Call]) -> bool:
        with conn.transaction() if len(calls) > 1 else nullcontext():
            return all(run(conn, self._database.statements, call) for call in calls)

    async def write_async(self, encoded: Sequence[Encoded], delay: int | None, lanes: Lanes) -> None:
        """The same, for a coroutine."""
        async with self._async_database.connection(answer_within_s=ANSWER_S) as conn:
            if not await self._is_written_async(
                conn, self._calls(_rows(lanes, encoded, delay), announcement(delay))
            ):
                rows = _rows(await self._catalog.learn_async(conn, _wanted(encoded)), encoded, delay)
                if not await self._is_written_async(conn, self._calls(rows, announcement(delay))):
                    raise DatabaseUnavailable(_CHANGING)

    async def _is_written_async(self, conn: AsyncConnection, calls: Sequence[Call]) -> bool:
        async with conn.transaction() if len(calls) > 1 else nullcontext():
            return all([await run_async(conn, self._database.statements, call) for call in calls])

    # ── in a transaction of the application's ─────────────────────────────────────────────────────

    def send_through(self, target: Target, encoded: Sequence[Encoded], delay: int | None) -> None:
        """Write messages in the transaction of ``target``, which was admitted.

        Raises:
          TargetElsewhere: It is on another server than the broker's connections.
        """
        try:
            if not self._is_joined(target, self.rows(encoded, delay), delay):
                lanes = self._catalog.learn_anew(_wanted(encoded))
                if not self._is_joined(target, _rows(lanes, encoded, delay), delay):
                    raise self.joiner.elsewhere(target)
        except SchemaOutdated:
            self.forget()
            raise

    def _is_joined(self, target: Target, rows: Sequence[NewMessage], delay: int | None) -> bool:
        calls = self._calls_for_later(rows, announcement(delay), quietly=target.is_two_phase())
        return all(self.joiner.write(target, call) for call in calls)

    async def send_through_async(
        self, target: AsyncTarget, encoded: Sequence[Encoded], delay: int | None
    ) -> None:
        """The same, for a coroutine."""
        try:
            if not await self._is_joined_async(target, await self.rows_async(encoded, delay), delay):
                lanes = await asyncio.to_thread(self._catalog.learn_anew, _wanted(encoded))
                if not await self._is_joined_async(target, _rows(lanes, encoded, delay), delay):
                    raise self.joiner.elsewhere(target)
        except SchemaOutdated:
            self.forget()
            raise

    async def _is_joined_async(
        self, target: AsyncTarget, rows: Sequence[NewMessage], delay: int | None
    ) -> bool:
        calls = self._calls_for_later(rows, announcement(delay), quietly=target.is_two_phase())
        return all([await self.joiner.write_async(target, call) for call in calls])

    # ── in the transaction of a transactional actor ───────────────────────────────────────────────

    def send_with_body(
        self, transaction: ActorTransaction, encoded: Sequence[Encoded], delay: int | None
    ) -> None:
        """Write messages in the transaction of the body that sends them."""
        self._send_with_body(transaction, self.rows(encoded, delay), encoded, delay)

    async def send_with_body_async(
        self, transaction: ActorTransaction, encoded: Sequence[Encoded], delay: int | None
    ) -> None:
        """The same, for a coroutine; its transaction's connection is one that blocks."""
        self._send_with_body(transaction, await self.rows_async(encoded, delay), encoded, delay)

    def _send_with_body(
        self,
        transaction: ActorTransaction,
        rows: Sequence[NewMessage],
        encoded: Sequence[Encoded],
        delay: int | None,
    ) -> None:
        if not transaction.send(rows, announce=announcement(delay)):
            rows = _rows(self._catalog.learn_anew(_wanted(encoded)), encoded, delay)
            if not transaction.send(rows, announce=announcement(delay)):
                raise DatabaseUnavailable(_CHANGING)

    # ── both ──────────────────────────────────────────────────────────────────────────────────────

    def rows(self, encoded: Sequence[Encoded], delay: int | None) -> list[NewMessage]:
        """What is written of encoded messages; their lanes are made if they are new."""
        return _rows(self._catalog.lanes_of(_wanted(encoded)), encoded, delay)

    async def rows_async(self, encoded: Sequence[Encoded], delay: int | None) -> list[NewMessage]:
        """The same, for a coroutine."""
        return _rows(await self._catalog.lanes_of_async(_wanted(encoded)), encoded, delay)

    def _calls(self, rows: Sequence[NewMessage], announce: str | None) -> list[Call]:
        """The statements for a transaction that commits at once: they look for idle workers themselves."""
        schema = self._database.schema
        cells = sorted({idle_register(row.queue_name, schema=schema) for row in rows})
        return [
            messages.enqueue_call(part, channel=channel(schema), registers=cells, announce=announce)
            for part in _parts(rows)
        ]

    def _calls_for_later(
        self, rows: Sequence[NewMessage], announce: str | None, *, quietly: bool
    ) -> list[Call]:
        """The statements for a transaction that may be open for long: idle workers are looked for as it commits.

        Parameters:
          quietly: Nobody is told, and idle workers see it at their next poll: PostgreSQL can't prepare what notifies.
        """
        return [
            messages.enqueue_call(
                part,
                channel=channel(self._database.schema),
                idle_cells=[None] * len(part) if quietly else _idle_cells(part),
                announce=None if quietly else announce,
            )
            for part in _parts(rows)
        ]

    def forget(self) -> None:
        """Ask the database again for what is known of it: it may be another one."""
        self._catalog.forget()
        self.joiner.forget()

    def _was_sent(self, message: NewMessage, began: float) -> bool:
        with self._database.connection(answer_within_s=ANSWER_S) as conn:
            return _since(began, messages.sent_s_ago(conn, self._database.statements, message=message))

    async def _was_sent_async(self, message: NewMessage, began: float) -> bool:
        async with self._async_database.connection(answer_within_s=ANSWER_S) as conn:
            asked = messages.find_sent(message)
            return _since(began, await perform_async(conn, self._database.statements, asked))


def _since(began: float, age_s: float | None) -> bool:
    # Asked after the answer: before it, what the question takes on its way would make the message older than the send.
    return age_s is not None and age_s <= time.monotonic() - began


def _wanted(encoded: Sequence[Encoded]) -> set[tuple[str, int]]:
    return {one.lane for one in encoded}


def _rows(lanes: Lanes, encoded: Sequence[Encoded], delay: int | None) -> list[NewMessage]:
    return [
        NewMessage(
            lanes.ids[one.lane], one.lane[0], one.message_id, one.actor_name, one.dated(),
            delay_ms=delay, eta_ms=one.eta_ms if delay is None else None,
            priority=one.lane[1], origin=lanes.origin,
        )
        for one in encoded
    ]  # fmt: skip


def _parts(rows: Sequence[NewMessage]) -> list[Sequence[NewMessage]]:
    if len(rows) <= MOST_MESSAGES and sum(len(row.payload) for row in rows) <= MOST_BYTES:
        return [rows]
    parts: list[list[NewMessage]] = [[]]
    size = 0
    for row in rows:
        size += len(row.payload)
        if parts[-1] and (size > MOST_BYTES or len(parts[-1]) >= MOST_MESSAGES):
            parts.append([])
            size = len(row.payload)
        parts[-1].append(row)
    return list(parts)


def _idle_cells(rows: Sequence[NewMessage]) -> list[int | None]:
    """For one message of each idle register its number: one that is due at once, if there is any."""
    chosen: dict[int, int] = {}
    for place, row in enumerate(rows):
        cell = idle_cell(row.queue_name)
        if cell not in chosen or (rows[chosen[cell]].eta_ms is not None and row.eta_ms is None):
            chosen[cell] = place
    cells: list[int | None] = [None] * len(rows)
    for cell, place in chosen.items():
        cells[place] = cell
    return cells
