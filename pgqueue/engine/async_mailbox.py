"""The mailbox of coroutines: all that wait for a result on one event loop look together, in one statement.

They hear of notifications through the process's mailbox, whose one thread serves all loops, and look by themselves
now and then, as `mailbox` says.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

from ..errors import PgQueueError
from ..logging import own_logger
from ..storage import results, waits
from ..storage.async_database import AsyncDatabase
from ..storage.calls import perform_async, run_async
from ..storage.statements import Statements
from .mailbox import FIRST_LOOK_S, LAST_LOOK_S, UNTOLD_LOOK_S, Mailbox, Ticket

logger = own_logger(__name__)


class AsyncMailbox:
    """Of one database, for any number of event loops."""

    def __init__(self, mailbox: Mailbox, database: AsyncDatabase, statements: Statements) -> None:
        self._mailbox = mailbox
        self._database = database
        self._statements = statements
        self._rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds] = WeakKeyDictionary()

    async def look(self, key: str) -> bytes | None:
        """The result under ``key``, if it is there."""
        async with self._database.connection() as conn:
            return (await perform_async(conn, self._statements, results.find_many([key]))).get(key)

    async def wait(self, key: str, *, timeout_ms: float) -> bytes | None:
        """Wait for the result under ``key``; None when the time is over."""
        loop = asyncio.get_running_loop()
        rounds = self._rounds.get(loop)
        if rounds is None:
            rounds = self._rounds[loop] = _Rounds(self._mailbox, self._database, self._statements)
        return await rounds.wait(key, timeout_s=timeout_ms / 1000)


class _Wait:
    """One coroutine's wait."""

    __slots__ = ("answer", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


class _Alarm:
    """An asyncio.Event that other threads may set."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self.event.set)


class _Rounds:
    """The looks of one event loop, made by a task that lives while anybody waits."""

    def __init__(self, mailbox: Mailbox, database: AsyncDatabase, statements: Statements) -> None:
        self._mailbox = mailbox
        self._database = database
        self._statements = statements
        self._alarm = _Alarm()
        self._waits: set[_Wait] = set()
        self._pause_s = FIRST_LOOK_S
        self._task: asyncio.Task[None] | None = None

    async def wait(self, key: str, *, timeout_s: float) -> bytes | None:
        wait = _Wait(self._mailbox.enrol(key, self._alarm))
        self._waits.add(wait)
        self._pause_s = FIRST_LOOK_S
        self._alarm.event.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            # At least one look, however little time there is.
            return await asyncio.wait_for(wait.answer, timeout_s) if timeout_s > 0 else await self._once(wait)
        except TimeoutError:
            return None
        finally:
            self._waits.discard(wait)
            self._mailbox.retire(wait.ticket)

    async def _once(self, wait: _Wait) -> bytes | None:
        found = await self._find([wait])
        return found.get(wait.ticket.key)

    async def _run(self) -> None:
        while self._waits:
            self._alarm.event.clear()
            waiting = [*self._waits]
            try:
                await self._leave_word(waiting)
                found = await self._find(waiting)
            except Exception as error:  # noqa: BLE001  # the task's top: those who wait must hear of it
                _fail(waiting, error)
                return
            for wait in waiting:
                if wait.ticket.key in found and not wait.answer.done():
                    wait.answer.set_result(found[wait.ticket.key])
            await self._pause(waiting)

    async def _pause(self, waiting: Sequence[_Wait]) -> None:
        told = all(wait.ticket.told for wait in waiting)
        pause_s = min(self._pause_s, LAST_LOOK_S if told else UNTOLD_LOOK_S)
        self._pause_s = min(self._pause_s * 2, LAST_LOOK_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._alarm.event.wait(), pause_s)

    async def _find(self, waiting: Sequence[_Wait]) -> dict[str, bytes]:
        keys = list({wait.ticket.key for wait in waiting})
        async with self._database.connection() as conn:
            return await perform_async(conn, self._statements, results.find_many(keys))

    async def _leave_word(self, waiting: Sequence[_Wait]) -> None:
        tickets = [wait.ticket for wait in waiting if wait.ticket.must_be_told()]
        by_post = {ticket.post: ticket.post.session for ticket in tickets}
        for post, session in by_post.items():
            of_post = [ticket for ticket in tickets if ticket.post is post]
            call = waits.add(post.channel, tickets={ticket.number: ticket.key for ticket in of_post})
            try:
                async with self._database.connection() as conn:
                    await run_async(conn, self._statements, call)
            except PgQueueError as error:
                logger.debug("No word could be left of %d waits: %s", len(of_post), error)
            else:
                for ticket in of_post:
                    ticket.left_with = session


def _fail(waiting: Sequence[_Wait], error: Exception) -> None:
    for wait in waiting:
        if not wait.answer.done():
            wait.answer.set_exception(error)
