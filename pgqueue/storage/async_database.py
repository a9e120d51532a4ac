"""Async connections to a database: a pool for each event loop, opened when it is first needed."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from psycopg import errors
from psycopg_pool import AsyncConnectionPool

from .. import _forks
from .answering import AnsweringAsyncConnection
from .database import CONNECT_TIMEOUT_S, PATIENCE_S, Database, translated
from .meeting import agree_async, meet_async

AsyncConnection: TypeAlias = "psycopg.AsyncConnection[Any]"


class AsyncDatabase:
    """What `Database` is for threads, for coroutines: each event loop has a pool of its own.

    Connections of a loop that was closed in the meantime are closed when another loop opens its pool.
    """

    def __init__(self, database: Database, *, max_connections: int) -> None:
        self._database = database
        self._max_connections = max_connections
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopPool] = WeakKeyDictionary()
        self._lock = threading.Lock()
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Open pools of our own in a forked process, even for a loop that it goes on with."""
        _forks.keep([*self._pools.items()])
        self._lock, self._pools = threading.Lock(), WeakKeyDictionary()

    @asynccontextmanager
    async def connection(self, *, answer_within_s: float = PATIENCE_S) -> AsyncIterator[AsyncConnection]:
        """A connection of this loop's pool, in autocommit mode, for a statement or a few.

        Parameters:
          answer_within_s: How long each may take.
        """
        with translated(self._database):
            pool = await self._pool()
            async with pool.connection(timeout=CONNECT_TIMEOUT_S) as connection:
                if isinstance(connection, AnsweringAsyncConnection):
                    connection.answer_within_s = answer_within_s
                try:
                    yield connection
                except errors.ReadOnlySqlTransaction:
                    await connection.close()
                    raise

    def close(self) -> None:
        """Close all pools; a later use opens them again. From the thread of a running loop, use `close_async`."""
        for pool in self._forget_all():
            pool.close()

    async def close_async(self) -> None:
        """Close all pools, this loop's before it returns."""
        for pool in self._forget_all():
            await pool.close_async()

    async def _pool(self) -> "AsyncConnectionPool[Any]":
        loop = asyncio.get_running_loop()
        with self._lock:
            known = self._pools.get(loop)
            if known is None:
                self._close_pools_of_closed_loops()
                known = self._pools[loop] = _LoopPool(loop, self._database)
        async with known.opening:
            if known.pool is None:
                known.pool = await self._open(known)
            return known.pool

    async def _open(self, home: "_LoopPool") -> "AsyncConnectionPool[Any]":
        # Asking for the URL may start the bundled server, which takes a second or two.
        url = (
            self._database.url
            if self._database.has_url
            else await asyncio.to_thread(lambda: self._database.url)
        )
        options = {**self._database.options(application_name="pgqueue"), "servers": self._database.servers}
        # The pool would try a wrong URL again and again in silence: a connection of our own says at once what is amiss.
        async with await AnsweringAsyncConnection.connect(url, autocommit=True, **options) as first:
            pid, _ = await meet_async(first, self._database.statements)
            self._database.found_pooled(is_pooled=self._database.is_pooled(first, pid))
        pool: AsyncConnectionPool[Any] = _MortalPool(
            url,
            connection_class=AnsweringAsyncConnection,
            check=self._check,
            min_size=0,
            max_size=self._max_connections,
            num_workers=1,
            open=False,
            name="pgqueue-async",
            timeout=CONNECT_TIMEOUT_S,
            reconnect_timeout=CONNECT_TIMEOUT_S,
            configure=home.remember if self._database.is_behind_pooler else home.meet,
            kwargs={"autocommit": True, "prepare_threshold": self._database.prepare_threshold, **options},
        )
        await pool.open()
        return pool

    async def _check(self, connection: AsyncConnection) -> None:
        if isinstance(connection, AnsweringAsyncConnection):
            try:
                self._database.servers.check(connection)
                await connection.check()
            except psycopg.OperationalError:
                await connection.close()  # the pool would keep it
                raise

    def _close_pools_of_closed_loops(self) -> None:
        for loop in [loop for loop in self._pools if loop.is_closed()]:
            self._pools.pop(loop).hang_up()

    def _forget_all(self) -> "list[_LoopPool]":
        with self._lock:
            pools = [*self._pools.values()]
            self._pools.clear()
        return pools


class _Cancelled(BaseException):
    """A cancellation, by a name that the driver's pool does not know."""


class _MortalPool(AsyncConnectionPool[Any]):
    """The driver's, except that a worker ends that is cancelled while it connects, as at the end of `asyncio.run`.

    The driver takes that for one more connection that failed, and the loop would wait for its worker for ever.
    """

    @classmethod
    async def worker(cls, q: Any) -> None:
        """Do what comes through the queue."""
        try:
            await super().worker(q)
        except _Cancelled:
            raise asyncio.CancelledError from None

    async def _connect(self, timeout: float | None = None) -> AsyncConnection:
        try:
            made: AsyncConnection = await super()._connect(timeout)
        except asyncio.CancelledError:
            raise _Cancelled from None
        return made


class _LoopPool:
    """The pool of one loop, and its connections, for a loop that ends without closing them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, database: Database) -> None:
        self._database = database
        self.opening = asyncio.Lock()
        self.pool: AsyncConnectionPool[Any] | None = None
        self._loop = loop
        self._connections: WeakSet[AsyncConnection] = WeakSet()

    async def meet(self, connection: AnsweringAsyncConnection) -> None:
        """Remember a connection to the server itself, and which server that is; agree on how long it is kept."""
        await self.remember(connection)
        _, server = await meet_async(connection, self._database.statements)
        self._database.servers.met(connection, server)
        await agree_async(connection, self._database.server_side)

    async def remember(self, connection: AsyncConnection) -> None:
        self._connections.add(connection)

    def hang_up(self) -> None:
        """Close the connections without the loop, which is closed."""
        for connection in list(self._connections):
            connection.pgconn.finish()

    def close(self) -> None:
        if self.pool is None:
            return
        if self._loop.is_closed() or not self._loop.is_running():
            self.hang_up()
        elif self._loop is _running_loop():
            task = self._loop.create_task(self.pool.close())
            _closing.add(task)
            task.add_done_callback(_closing.discard)
        else:
            asyncio.run_coroutine_threadsafe(self.pool.close(), self._loop).result(CONNECT_TIMEOUT_S)

    async def close_async(self) -> None:
        if self.pool is not None and self._loop is _running_loop():
            await self.pool.close()
        else:
            self.close()


#: Tasks that close a pool; a loop holds its tasks weakly.
_closing: set[asyncio.Task[None]] = set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
