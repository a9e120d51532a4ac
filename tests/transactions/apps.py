"""Applications that talk to PostgreSQL, one for each kind of target: all with the same few methods.

The async ones run their coroutines on a loop of their own, in one context, so that a test is written once.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

import pgqueue

__all__ = ["App", "AsyncApp"]

T = TypeVar("T")
AnyActor = pgqueue.Actor[..., Any]


class App(ABC):
    """An application with one connection or session, outside of a transaction at first.

    Attributes:
      target: What it passes to `pgqueue.transaction`.
    """

    target: Any

    def __init__(self, url: str) -> None:
        self.url = url
        self._blocks: list[Any] = []

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction."""

    @abstractmethod
    def commit(self) -> None:
        """Commit it."""

    @abstractmethod
    def rollback(self) -> None:
        """Roll it back."""

    @abstractmethod
    def savepoint(self) -> None:
        """Set a savepoint."""

    @abstractmethod
    def rollback_to_savepoint(self) -> None:
        """Undo what came after it."""

    @abstractmethod
    def release_savepoint(self) -> None:
        """Keep what came after it."""

    @abstractmethod
    def execute(self, sql: str) -> None:
        """Run a statement of its own."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect."""

    def enter(self) -> None:
        """Enter a block for the transaction."""
        self._blocks.append(pgqueue.transaction(self.target))
        self._blocks[-1].__enter__()

    def leave(self) -> None:
        """Leave it."""
        self._blocks.pop().__exit__(None, None, None)

    def send(self, actor: AnyActor, *args: Any) -> None:
        """Send a message."""
        actor.send(*args)

    def send_many(self, actor: AnyActor, calls: list[tuple[Any, ...]]) -> None:
        """Send messages."""
        actor.send_many(calls)

    def send_within(self, actor: AnyActor, *args: Any) -> None:
        """Send a message in a block."""
        self.enter()
        try:
            self.send(actor, *args)
        finally:
            self.leave()

    @classmethod
    def at_once(cls, url: str, actor: AnyActor) -> None:
        """Two transactions that are open at the same time, in threads or tasks: the one that sends 1 commits."""
        barrier = threading.Barrier(2, timeout=20)

        def run(number: int) -> None:
            app = cls(url)
            try:
                app.begin()
                app.enter()
                barrier.wait()
                app.send(actor, number)
                barrier.wait()
                app.leave()
                app.commit() if number == 1 else app.rollback()
            finally:
                app.close()

        threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class AsyncApp(App):
    """The same, for a library that is awaited: what a subclass defines are the coroutines with ``_async``."""

    def __init__(self, url: str, runner: asyncio.Runner | None = None) -> None:
        super().__init__(url)
        self._is_open = True
        self._runner = runner or asyncio.Runner()
        if runner is None:
            self._run(self.open_async())

    @abstractmethod
    async def open_async(self) -> None: ...
    @abstractmethod
    async def begin_async(self) -> None: ...
    @abstractmethod
    async def commit_async(self) -> None: ...
    @abstractmethod
    async def rollback_async(self) -> None: ...
    @abstractmethod
    async def savepoint_async(self) -> None: ...
    @abstractmethod
    async def rollback_to_savepoint_async(self) -> None: ...
    @abstractmethod
    async def release_savepoint_async(self) -> None: ...
    @abstractmethod
    async def execute_async(self, sql: str) -> None: ...
    @abstractmethod
    async def close_async(self) -> None: ...

    def begin(self) -> None:
        self._run(self.begin_async())

    def commit(self) -> None:
        self._run(self.commit_async())

    def rollback(self) -> None:
        self._run(self.rollback_async())

    def savepoint(self) -> None:
        self._run(self.savepoint_async())

    def rollback_to_savepoint(self) -> None:
        self._run(self.rollback_to_savepoint_async())

    def release_savepoint(self) -> None:
        self._run(self.release_savepoint_async())

    def execute(self, sql: str) -> None:
        self._run(self.execute_async(sql))

    def close(self) -> None:
        broker = pgqueue.get_broker()

        async def close() -> None:
            try:
                await self.close_async()
            finally:
                await broker.close_async()

        if self._is_open:
            self._is_open = False
            try:
                self._run(close())
            finally:
                self._runner.close()

    def enter(self) -> None:
        self._blocks.append(pgqueue.transaction(self.target))
        self._run(self._blocks[-1].__aenter__())

    def leave(self) -> None:
        self._run(self._blocks.pop().__aexit__(None, None, None))

    def send(self, actor: AnyActor, *args: Any) -> None:
        self._run(actor.send_async(*args))

    def send_many(self, actor: AnyActor, calls: list[tuple[Any, ...]]) -> None:
        self._run(actor.send_many_async(calls))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    @classmethod
    def at_once(cls, url: str, actor: AnyActor) -> None:
        async def run(number: int, barrier: asyncio.Barrier, runner: asyncio.Runner) -> None:
            app = cls(url, runner)
            await app.open_async()
            await app.begin_async()
            async with pgqueue.transaction(app.target):
                await barrier.wait()
                await actor.send_async(number)
                await barrier.wait()
            await (app.commit_async() if number == 1 else app.rollback_async())
            await app.close_async()

        async def both(runner: asyncio.Runner) -> None:
            barrier = asyncio.Barrier(2)
            async with asyncio.timeout(20):
                await asyncio.gather(*(run(number, barrier, runner) for number in (1, 2)))
            await pgqueue.get_broker().close_async()

        with asyncio.Runner() as runner:
            runner.run(both(runner))
