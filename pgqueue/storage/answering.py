"""Connections that notice when nobody answers any more.

TCP's own keep-alives find a dead network, but not a live proxy or load balancer that no longer passes anything on. So
each statement has to be answered within some seconds. Where the server is told a ``statement_timeout`` below that,
silence can't be slowness.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg import capabilities

from .servers import Servers

__all__ = ["ANSWER_S", "AnsweringAsyncConnection", "AnsweringConnection", "NoAnswer"]

#: Seconds within which a statement of a worker's own connections must be answered; their ``statement_timeout`` is less.
ANSWER_S = 12.0

#: Seconds within which a pool's connection must answer that has not done so since another fell silent.
CHECK_S = 1.0

#: Seconds for the attempt to cancel what was not answered, lest it is still done after all.
CANCEL_S = 2.0

T = TypeVar("T")


class NoAnswer(psycopg.OperationalError):
    """Nothing came back for too long; the connection is given up."""


class LeftBehind(psycopg.OperationalError):
    """Newer connections lead to another server while this one waits for an answer; it is given up."""


class _Silence:
    """When a connection of this process was last given up: those that have not answered since are doubtful."""

    noticed_at = float("-inf")


class _OfSeveral:
    """A connection to one of several servers.

    Attributes:
      servers: Those of its URL, to be told if it falls silent.
      server: Which of them it leads to; nothing if that is not known.
    """

    servers: Servers | None = None
    server = ""

    def _has_left(self) -> bool:
        return self.servers is not None and self.server not in ("", self.servers.current)


class AnsweringConnection(_OfSeveral, psycopg.Connection[Any]):
    """Gives itself up when a statement is not answered in time.

    Attributes:
      answer_within_s: How long that is, in seconds.
      pooled: A pooler is between us and the server, so that session settings, LISTEN and locks can't be relied on.
    """

    answer_within_s = ANSWER_S
    pooled = False
    _answered_at = float("inf")

    @classmethod
    def connect(  # type: ignore[override]  # arguments more
        cls,
        conninfo: str = "",
        *,
        servers: Servers | None = None,
        ready: list[Self] | None = None,
        **options: Any,
    ) -> Self:
        """As the driver's; of several servers those that have fallen silent are tried last.

        Parameters:
          ready: Connections to it that were made before; one of them is taken from the list in the place of a new one.
        """
        if ready:
            return ready.pop()
        made = super().connect(conninfo if servers is None else servers.in_order(conninfo), **options)
        made.servers = servers
        return made

    def check(self) -> None:
        """Ask, if that is doubtful, whether there is anybody.

        Raises:
          psycopg.OperationalError: There is not.
        """
        if self._answered_at < _Silence.noticed_at:
            patience_s, self.answer_within_s = self.answer_within_s, CHECK_S
            self.execute("SELECT 1", prepare=False)
            self.answer_within_s = patience_s

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """As the driver's, for a limited time."""
        try:
            result = super().wait(_within(gen, self.answer_within_s, self._has_left), *args, **options)
            self._answered_at = monotonic()
            return result
        except LeftBehind:
            self.pgconn.finish()
            raise
        except NoAnswer:
            _Silence.noticed_at = monotonic()
            if self.servers is not None:
                self.servers.fell_silent(self)
            if capabilities.has_cancel_safe():
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=CANCEL_S)
            self.pgconn.finish()
            raise


class AnsweringAsyncConnection(_OfSeveral, psycopg.AsyncConnection[Any]):
    """The same for coroutines."""

    answer_within_s = ANSWER_S
    _answered_at = float("inf")

    @classmethod
    async def connect(cls, conninfo: str = "", *, servers: Servers | None = None, **options: Any) -> Self:  # type: ignore[override]  # one argument more
        """As the driver's; of several servers those that have fallen silent are tried last."""
        made = await super().connect(conninfo if servers is None else servers.in_order(conninfo), **options)
        made.servers = servers
        return made

    async def check(self) -> None:
        """Ask, if that is doubtful, whether there is anybody."""
        if self._answered_at < _Silence.noticed_at:
            patience_s, self.answer_within_s = self.answer_within_s, CHECK_S
            await self.execute("SELECT 1", prepare=False)
            self.answer_within_s = patience_s

    async def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """As the driver's, for a limited time."""
        try:
            result = await super().wait(_within(gen, self.answer_within_s, self._has_left), *args, **options)
            self._answered_at = monotonic()
            return result
        except LeftBehind:
            self.pgconn.finish()
            raise
        except NoAnswer:
            _Silence.noticed_at = monotonic()
            if self.servers is not None:
                self.servers.fell_silent(self)
            if capabilities.has_cancel_safe():
                with suppress(psycopg.Error):
                    await self.cancel_safe(timeout=CANCEL_S)
            self.pgconn.finish()
            raise


def _within(
    gen: Generator[Any, Any, T], within_s: float, has_left: Callable[[], bool]
) -> Generator[Any, Any, T]:
    """Go through the driver's steps; it looks up now and then while it waits, with nothing to read."""
    deadline = monotonic() + within_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and monotonic() > deadline:
                raise NoAnswer(f"the server has not answered for {within_s:.0f} s")
            if not ready and has_left():
                raise LeftBehind(
                    "newer connections lead to another server, and this one was not answered yet"
                )
            wanted = gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
