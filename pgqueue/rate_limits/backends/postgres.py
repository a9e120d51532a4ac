"""Rate limits in PostgreSQL, by the server's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from pgqueue.engine.mailbox import Mailbox
from pgqueue.rate_limits.backend import RateLimiterBackend
from pgqueue.storage import rate_limits
from pgqueue.storage.database import Connection, Database
from pgqueue.storage.rate_limits import Interval, Place

if TYPE_CHECKING:
    from uuid import UUID

    from pgqueue.message import Message
    from pgqueue.storage.calls import Call

__all__ = ["PostgresBackend"]

#: Keys of more bytes are stored as digests; an index entry can't be longer than a third of a page.
MAX_KEY_LENGTH = 500


class DatabaseBroker(Protocol):
    """What the backend needs of a broker; `PostgresBroker` has it."""

    @property
    def database(self) -> Database:
        """Where the broker keeps its messages."""

    @property
    def mailbox(self) -> Mailbox:
        """Where the process hears of events."""

    def settlement_connection(self) -> Connection | None:
        """Return the connection that will acknowledge the message whose after-hooks run in this thread."""

    def arrive_with_ack(self, key: str, ttl: int, messages: Sequence[Message[Any]]) -> bool:
        """Count a barrier down with the ack of the message that this thread settles, if it settles one."""

    def run_with_sends(self, call: Call) -> bool:
        """Run a statement in the transaction of what is sent here, if there is one; return whether."""

    async def run_with_sends_async(self, call: Call) -> bool:
        """Do the same, for a coroutine."""

    def owner_of_this_run(self) -> UUID | None:
        """Return in whose name the message is held that runs here, if one does."""


class PostgresBackend(RateLimiterBackend):
    """Keeps the numbers in the table ``rate_limits``.

    In the after-hooks of a message of the same broker, what is done here commits with the message's
    acknowledgement, or not at all: a message that is delivered again does not count a barrier down twice.

    Parameters:
      broker: Use this PostgresBroker's database. Give this or ``url``.
      url: A database of the limiter's own.
      schema: The schema in the database at ``url``.
      namespace: The start of every key.
    """

    def __init__(
        self,
        *,
        broker: DatabaseBroker | None = None,
        url: str | None = None,
        schema: str = "pgqueue",
        namespace: str = "pgqueue-rate-limits",
    ) -> None:
        if (broker is None) == (url is None):
            raise TypeError("PostgresBackend needs a broker or a url: PostgresBackend(broker=broker)")
        self.namespace = namespace
        self._broker = broker
        self._own_database = None if url is None else Database(url, schema=schema)
        self._own_mailbox = None if self._own_database is None else Mailbox(self._own_database)

    @property
    def database(self) -> Database:
        """Where the numbers are kept."""
        if self._own_database is not None:
            return self._own_database
        assert self._broker is not None  # noqa: S101  # the constructor saw to it
        return self._broker.database

    def close(self) -> None:
        """Close the connections of a database of the limiter's own."""
        if self._own_mailbox is not None:
            self._own_mailbox.close()
        if self._own_database is not None:
            self._own_database.close()

    def add(self, key: str, value: int, ttl: int) -> bool:
        """Set a key that does not exist, or has expired."""
        name = self._value_key(key)
        with self._locked(name) as conn:
            return rate_limits.add(conn, self.database.statements, key=name, value=value, ttl=_duration(ttl))

    def incr(self, key: str, amount: int, maximum: int, ttl: int) -> bool:
        """Add to a key's value, up to ``maximum``."""
        name = self._value_key(key)
        with self._locked(name) as conn:
            return self._change(conn, name, amount, maximum=maximum, ttl=ttl)

    def decr(self, key: str, amount: int, minimum: int, ttl: int) -> bool:
        """Subtract from a key's value, down to ``minimum``."""
        name = self._value_key(key)
        with self._locked(name) as conn:
            return self._change(conn, name, -amount, minimum=minimum, ttl=ttl)

    def incr_and_sum(
        self, key: str, keys: Callable[[], list[str]], amount: int, maximum: int, ttl: int
    ) -> bool:
        """Add to a key's value as long as the sum over ``keys()`` stays within ``maximum``.

        Calls for keys that differ only in the number at their end, as those of intervals do, wait for each other.
        """
        name, statements = self._value_key(key), self.database.statements
        with self._locked(name, self._value_key(key.rstrip("0123456789")), at_once=True) as conn:
            summed = [self._value_key(each) for each in keys()]
            if rate_limits.total(conn, statements, keys=summed) + amount > maximum:
                return False
            return self._change(conn, name, amount, maximum=maximum, ttl=ttl)

    def count_in_bucket(self, key: str, bucket: int, maximum: int) -> bool:
        """Count one in the present interval of the server's clock."""
        return self._count(key, Interval(bucket, unit_ms=1), maximum=maximum, ttl=bucket)

    def count_in_window(self, key: str, window: int, maximum: int) -> bool:
        """Count one in the present second of the server's clock."""
        second = Interval(1000, unit_ms=1000)
        return self._count(key, second, intervals=window, maximum=maximum, ttl=(window + 1) * 1000)

    def _count(self, key: str, interval: Interval, *, intervals: int = 1, maximum: int, ttl: int) -> bool:
        name, statements = self._value_key(f"{key}@"), self.database.statements
        with self._locked(name) as conn:
            return rate_limits.count(
                conn, statements, key=name, interval=interval, intervals=intervals,
                maximum=maximum, ttl=_duration(ttl),
            )  # fmt: skip

    def hold(self, key: str, maximum: int, ttl: int) -> object:
        """Take a place; in a worker it is noted, and free again soon after the worker was lost."""
        owner = None if self._broker is None else self._broker.owner_of_this_run()
        name = self._value_key(key)
        with self._locked(name) as conn:
            taken = self._change(conn, name, 1, maximum=maximum, ttl=ttl)
            if not taken or owner is None:
                return taken
            return rate_limits.take_place(conn, self.database.statements, owner=owner, key=name)

    def release(self, key: str, place: object, ttl: int) -> None:
        """Give a place back, unless that was done already because this worker was taken for lost."""
        name = self._value_key(key)
        with self._locked(name) as conn:
            if isinstance(place, Place) and not rate_limits.leave_place(
                conn, self.database.statements, place=place
            ):
                return
            self._change(conn, name, -1, minimum=0, ttl=ttl)

    def add_with_sends(self, key: str, value: int, ttl: int) -> bool:
        """Set a new key in the transaction of what the broker would send here."""
        call = rate_limits.add_call(key=self._value_key(key), value=value, ttl=_duration(ttl))
        return (self._broker is not None and self._broker.run_with_sends(call)) or self.add(key, value, ttl)

    async def add_with_sends_async(self, key: str, value: int, ttl: int) -> bool:
        """The same, for a coroutine."""
        call = rate_limits.add_call(key=self._value_key(key), value=value, ttl=_duration(ttl))
        if self._broker is not None and await self._broker.run_with_sends_async(call):
            return True
        return await asyncio.to_thread(self.add, key, value, ttl)

    def arrive_with_ack(self, key: str, ttl: int, messages: Sequence[Message[Any]]) -> bool:
        """Count a barrier down in the commit of the ack of this thread's message, if there will be one."""
        return self._broker is not None and self._broker.arrive_with_ack(self._value_key(key), ttl, messages)

    def wait(self, key: str, timeout: int | None) -> bool:
        """Wait for the key's event; whoever publishes it tells us."""
        name = self._event_key(key)

        def look() -> bool | None:
            return self._is_published(name) or None

        return look() or bool(self._mailbox().wait(name, look, timeout_ms=timeout))

    def wait_notify(self, key: str, ttl: int) -> None:
        """Publish the key's event."""
        name = self._event_key(key)
        with self._locked(name) as conn:
            rate_limits.publish(conn, self.database.statements, key=name, ttl=_duration(ttl))

    def _change(
        self,
        conn: Connection,
        name: str,
        amount: int,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        ttl: int,
    ) -> bool:
        return rate_limits.change(
            conn,
            self.database.statements,
            key=name,
            amount=amount,
            minimum=minimum,
            maximum=maximum,
            ttl=_duration(ttl),
        )

    def _mailbox(self) -> Mailbox:
        if self._own_mailbox is not None:
            return self._own_mailbox
        assert self._broker is not None  # noqa: S101  # the constructor saw to it
        return self._broker.mailbox

    def _is_published(self, name: str) -> bool:
        with self.database.connection() as conn:
            return rate_limits.total(conn, self.database.statements, keys=[name]) > 0

    @contextmanager
    def _locked(self, *names: str, at_once: bool = False) -> Iterator[Connection]:
        """A transaction in which nobody else changes these keys: the settlement's, or one of its own.

        Parameters:
          at_once: Have the lock before the block begins, not only before its first statement.
        """
        settling = None if self._broker is None else self._broker.settlement_connection()
        statements = self.database.statements
        with ExitStack() as stack:
            if settling is not None:
                conn = settling
            elif at_once:
                conn = stack.enter_context(self.database.transaction())
            else:
                # In a pipeline the lock and the change make one round trip, and its end is the commit.
                conn = stack.enter_context(self.database.connection())
                stack.enter_context(conn.pipeline())
            rate_limits.lock(conn, statements, keys=names)
            yield conn

    def _value_key(self, key: str) -> str:
        return _storable(f"{self.namespace}:{key}")

    def _event_key(self, key: str) -> str:
        return _storable(f"{self.namespace}-events:{key}")


def _duration(ttl: int) -> timedelta:
    return timedelta(milliseconds=ttl)


def _storable(key: str) -> str:
    """Return a key as PostgreSQL can keep it: not too long, without NUL and lone surrogates."""
    try:
        if len(key.encode()) <= MAX_KEY_LENGTH and "\0" not in key:
            return key
    except UnicodeEncodeError:
        pass
    return "sha256:" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
