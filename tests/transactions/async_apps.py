"""Applications on libraries that are awaited."""

from __future__ import annotations

from typing import Any

import asyncpg
import psycopg
import sqlalchemy
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from .apps import AsyncApp
from .sync_apps import engine_options

__all__ = ["ASYNC_APPS", "AsyncPsycopgApp", "AsyncSqlalchemyApp", "AsyncpgApp"]


class AsyncPsycopgApp(AsyncApp):
    """An async psycopg connection, not in autocommit mode."""

    async def open_async(self) -> None:
        self.target: Any = await psycopg.AsyncConnection.connect(self.url)

    async def begin_async(self) -> None:
        await self.execute_async("SELECT 1")

    async def commit_async(self) -> None:
        await self.target.commit()

    async def rollback_async(self) -> None:
        await self.target.rollback()

    async def savepoint_async(self) -> None:
        await self.execute_async("SAVEPOINT here")

    async def rollback_to_savepoint_async(self) -> None:
        await self.execute_async("ROLLBACK TO SAVEPOINT here")

    async def release_savepoint_async(self) -> None:
        await self.execute_async("RELEASE SAVEPOINT here")

    async def execute_async(self, sql: str) -> None:
        await self.target.execute(sql.encode())

    async def close_async(self) -> None:
        await self.target.close()


class AsyncpgApp(AsyncPsycopgApp):
    """An asyncpg connection."""

    _transaction: Any

    async def open_async(self) -> None:
        self.target = await asyncpg.connect(self.url)

    async def begin_async(self) -> None:
        self._transaction = self.target.transaction()
        await self._transaction.start()

    async def commit_async(self) -> None:
        await self._transaction.commit()

    async def rollback_async(self) -> None:
        await self._transaction.rollback()

    async def execute_async(self, sql: str) -> None:
        await self.target.execute(sql)


class AsyncpgPoolApp(AsyncpgApp):
    """An asyncpg connection as a pool hands it out."""

    _pool: Any

    async def open_async(self) -> None:
        self._pool = await asyncpg.create_pool(self.url, min_size=1, max_size=2)
        self.target = await self._pool.acquire()

    async def close_async(self) -> None:
        await self._pool.release(self.target)
        await self._pool.close()


class AsyncSqlalchemyApp(AsyncApp):
    """An async SQLAlchemy connection."""

    driver = "asyncpg"
    _savepoint: Any

    async def open_async(self) -> None:
        self.engine = sqlalchemy_asyncio.create_async_engine(**engine_options(self.url, self.driver))
        self.target: Any = await self._connect()

    async def _connect(self) -> Any:
        return await self.engine.connect()

    async def begin_async(self) -> None:
        await self.target.begin()

    async def commit_async(self) -> None:
        await self.target.commit()

    async def rollback_async(self) -> None:
        await self.target.rollback()

    async def savepoint_async(self) -> None:
        self._savepoint = await self.target.begin_nested()

    async def rollback_to_savepoint_async(self) -> None:
        await self._savepoint.rollback()

    async def release_savepoint_async(self) -> None:
        await self._savepoint.commit()

    async def execute_async(self, sql: str) -> None:
        await self.target.execute(sqlalchemy.text(sql))

    async def close_async(self) -> None:
        await self.target.close()
        await self.engine.dispose()


class AsyncSessionApp(AsyncSqlalchemyApp):
    """An async SQLAlchemy session."""

    async def _connect(self) -> Any:
        return sqlalchemy_asyncio.AsyncSession(self.engine)


class AsyncScopedSessionApp(AsyncSqlalchemyApp):
    """An async_scoped_session; each application is a scope."""

    async def _connect(self) -> Any:
        make = sqlalchemy_asyncio.async_sessionmaker(self.engine)
        return sqlalchemy_asyncio.async_scoped_session(make, scopefunc=lambda: id(self))

    async def close_async(self) -> None:
        await self.target.remove()
        await self.engine.dispose()


class AsyncPsycopgSqlalchemyApp(AsyncSqlalchemyApp):
    driver = "psycopg"


class AsyncPsycopgSessionApp(AsyncSessionApp):
    driver = "psycopg"


ASYNC_APPS: dict[str, type[AsyncApp]] = {
    "psycopg-async": AsyncPsycopgApp,
    "asyncpg": AsyncpgApp,
    "asyncpg-pool": AsyncpgPoolApp,
    "sqlalchemy-asyncpg": AsyncSqlalchemyApp,
    "sqlalchemy-asyncpg-session": AsyncSessionApp,
    "sqlalchemy-asyncpg-scoped": AsyncScopedSessionApp,
    "sqlalchemy-psycopg-async": AsyncPsycopgSqlalchemyApp,
    "sqlalchemy-psycopg-async-session": AsyncPsycopgSessionApp,
}
