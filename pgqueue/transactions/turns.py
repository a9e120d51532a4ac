"""Coroutines that send through one connection at once: one after the other, for drivers allow no two statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Turns"]


class _Turn:
    """The lock of one connection, while somebody uses it or waits for it."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Turns:
    """A lock for each connection, kept for as long as it is wanted."""

    def __init__(self) -> None:
        self._turns: dict[int, _Turn] = {}

    @asynccontextmanager
    async def of(self, connection: object) -> AsyncIterator[None]:
        """Wait until it is this coroutine's turn with a connection or session, which is one event loop's only."""
        # Not by hash or weakly: some connections can't be either. Whoever is here keeps it, and so its id.
        name = id(connection)
        turn = self._turns.setdefault(name, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                self._turns.pop(name, None)
