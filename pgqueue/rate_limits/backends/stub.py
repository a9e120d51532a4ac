"""Rate limits in the memory of one process, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from threading import Condition

from pgqueue.rate_limits.backend import RateLimiterBackend

__all__ = ["StubBackend"]


def _monotonic_ms() -> float:
    return time.monotonic() * 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and the instant on the backend's clock from which on it does not count any more."""

    value: int
    expires_at: float


class StubBackend(RateLimiterBackend):
    """Keeps the numbers in a dictionary.

    Parameters:
      clock: Tells the time in milliseconds; it must not go backwards.
    """

    def __init__(self, *, clock: Callable[[], float] = _monotonic_ms) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._events: dict[str, float] = {}
        self._changed = Condition()

    def add(self, key: str, value: int, ttl: int) -> bool:
        """Set a key that does not exist, or has expired."""
        with self._changed:
            return self._live(key) is None and self._store(key, value, ttl)

    def incr(self, key: str, amount: int, maximum: int, ttl: int) -> bool:
        """Add to a key's value, up to ``maximum``."""
        with self._changed:
            value = self._value(key) + amount
            return value <= maximum and self._store(key, value, ttl)

    def decr(self, key: str, amount: int, minimum: int, ttl: int) -> bool:
        """Subtract from a key's value, down to ``minimum``."""
        with self._changed:
            value = self._value(key) - amount
            return value >= minimum and self._store(key, value, ttl)

    def incr_and_sum(
        self, key: str, keys: Callable[[], list[str]], amount: int, maximum: int, ttl: int
    ) -> bool:
        """Add to a key's value as long as the sum over ``keys()`` stays within ``maximum``."""
        with self._changed:
            value = self._value(key) + amount
            if value > maximum or sum(map(self._value, set(keys()))) + amount > maximum:
                return False
            return self._store(key, value, ttl)

    def wait(self, key: str, timeout: int | None) -> bool:
        """Wait for the key's event."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._events.get(key, -inf) > self._clock(),
                None if timeout is None else timeout / 1000,
            )

    def wait_notify(self, key: str, ttl: int) -> None:
        """Publish the key's event."""
        with self._changed:
            self._events[key] = self._clock() + ttl
            self._changed.notify_all()

    def _live(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        return entry if entry is not None and entry.expires_at > self._clock() else None

    def _value(self, key: str) -> int:
        entry = self._live(key)
        return 0 if entry is None else entry.value

    def _store(self, key: str, value: int, ttl: int) -> bool:
        self._entries[key] = Entry(value, self._clock() + ttl)
        return True
