"""A pool for each event loop, which ends with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pgqueue.storage.answering import AnsweringAsyncConnection
from pgqueue.storage.async_database import AsyncDatabase
from pgqueue.storage.database import Database


def test_a_loop_ends_though_its_pool_is_connecting(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's pool takes the cancellation at the end of a loop for one more connection that failed."""
    database = Database(database_url)
    connect = AnsweringAsyncConnection.connect
    calls = 0

    async def run() -> str:
        connecting = asyncio.Event()

        async def first_only(*args: Any, **options: Any) -> AnsweringAsyncConnection:
            nonlocal calls
            calls += 1
            made = await connect(*args, **options)
            if calls > 1:
                await made.close()
                connecting.set()
                await asyncio.Event().wait()
            return made

        async def use() -> None:
            async with AsyncDatabase(database, max_connections=2).connection():
                raise AssertionError("there is no second connection")

        monkeypatch.setattr(AnsweringAsyncConnection, "connect", first_only)
        using = asyncio.create_task(use())
        await connecting.wait()
        using.cancel()
        return "over"

    assert asyncio.run(run()) == "over"
    assert calls == 2
    database.close()
