"""Rate limits in PostgreSQL, by the server's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from typing import Protocol

from pgqueue.rate_limits.backend import RateLimiterBackend
from pgqueue.storage import rate_limits
from pgqueue.storage.database import Connection, Database

__all__ = ["PostgresBackend"]

#: Milliseconds between two looks at an event. Everybody looks when the clock shows a multiple of it, so that
#: all who wait for the same event wake up together, however long they have waited.
POLL_INTERVAL_MS = 10

#: Keys of more bytes are stored as digests; an index entry can't be longer than a third of a page.
MAX_KEY_LENGTH = 500


class DatabaseBroker(Protocol):
    """What the backend needs of a broker; `PostgresBroker` has it."""

    @property
    def database(self) -> Database:
        """Where the broker keeps its messages."""

    def settlement_connection(self) -> Connection | None:
        """Return the connection that will acknowledge the message whose after-hooks run in this thread."""


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

    @property
    def database(self) -> Database:
        """Where the numbers are kept."""
        if self._own_database is not None:
            return self._own_database
        assert self._broker is not None  # noqa: S101  # the constructor saw to it
        return self._broker.database

    def close(self) -> None:
        """Close the connections of a database of the limiter's own."""
        if self._own_database is not None:
            self._own_database.close()

    def add(self, key: str, value: int, ttl: int) -> bool:
        """Set a key that does not exist, or has expired."""
        with self._connection() as conn:
            return rate_limits.add(
                conn, self.database.statements, key=self._value_key(key), value=value, ttl=_duration(ttl)
            )

    def incr(self, key: str, amount: int, maximum: int, ttl: int) -> bool:
        """Add to a key's value, up to ``maximum``."""
        with self._connection() as conn:
            return self._incr(conn, key, amount, maximum, ttl)

    def decr(self, key: str, amount: int, minimum: int, ttl: int) -> bool:
        """Subtract from a key's value, down to ``minimum``."""
        with self._connection() as conn:
            return rate_limits.decr(
                conn,
                self.database.statements,
                key=self._value_key(key),
                amount=amount,
                minimum=minimum,
                ttl=_duration(ttl),
            )

    def incr_and_sum(
        self, key: str, keys: Callable[[], list[str]], amount: int, maximum: int, ttl: int
    ) -> bool:
        """Add to a key's value as long as the sum over ``keys()`` stays within ``maximum``.

        Calls for keys that differ only in the number at their end, as a window's do, wait for each other.
        """
        with self._transaction() as conn:
            statements = self.database.statements
            rate_limits.lock(conn, statements, family=self._value_key(key.rstrip("0123456789")))
            summed = [self._value_key(each) for each in keys()]
            if rate_limits.total(conn, statements, keys=summed) + amount > maximum:
                return False
            return self._incr(conn, key, amount, maximum, ttl)

    def wait(self, key: str, timeout: int | None) -> bool:
        """Wait for the key's event, by looking for it every 10 ms; holds no connection meanwhile."""
        deadline = None if timeout is None else time.monotonic() + timeout / 1000
        while not self._is_published(key):
            pause_s = _until_next_look()
            if deadline is not None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                pause_s = min(pause_s, left_s)
            time.sleep(pause_s)
        return True

    def wait_notify(self, key: str, ttl: int) -> None:
        """Publish the key's event."""
        with self._connection() as conn:
            statements = self.database.statements
            rate_limits.publish(conn, statements, key=self._event_key(key), ttl=_duration(ttl))

    def _incr(self, conn: Connection, key: str, amount: int, maximum: int, ttl: int) -> bool:
        return rate_limits.incr(
            conn,
            self.database.statements,
            key=self._value_key(key),
            amount=amount,
            maximum=maximum,
            ttl=_duration(ttl),
        )

    def _is_published(self, key: str) -> bool:
        with self.database.connection() as conn:
            return rate_limits.total(conn, self.database.statements, keys=[self._event_key(key)]) > 0

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        settling = self._settlement_connection()
        if settling is not None:
            yield settling
        else:
            with self.database.connection() as conn:
                yield conn

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        settling = self._settlement_connection()
        if settling is not None:
            yield settling
        else:
            with self.database.transaction() as conn:
                yield conn

    def _settlement_connection(self) -> Connection | None:
        return None if self._broker is None else self._broker.settlement_connection()

    def _value_key(self, key: str) -> str:
        return _storable(f"{self.namespace}:{key}")

    def _event_key(self, key: str) -> str:
        return _storable(f"{self.namespace}-events:{key}")


def _duration(ttl: int) -> timedelta:
    return timedelta(milliseconds=ttl)


def _until_next_look() -> float:
    """Return how many seconds are left until the clock shows a multiple of the interval."""
    interval_s = POLL_INTERVAL_MS / 1000
    return interval_s - time.time() % interval_s


def _storable(key: str) -> str:
    """Return a key as PostgreSQL can keep it: not too long, without NUL and lone surrogates."""
    try:
        if len(key.encode()) <= MAX_KEY_LENGTH and "\0" not in key:
            return key
    except UnicodeEncodeError:
        pass
    return "sha256:" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
