"""Limits how many pass in any stretch of so many seconds."""

from __future__ import annotations

from pgqueue.common import current_millis

from .backend import RateLimiterBackend
from .rate_limiter import RateLimiter

__all__ = ["WindowRateLimiter"]


class WindowRateLimiter(RateLimiter):
    """Lets ``limit`` pass in the last ``window`` seconds, the present one included; counts by whole seconds.

    Parameters:
      limit: At least 1.
      window: Seconds, at least 1.
    """

    def __init__(self, backend: RateLimiterBackend, key: str, *, limit: int = 1, window: int = 1) -> None:
        assert limit >= 1, f"limit must be positive, not {limit!r}"  # noqa: S101  # Dramatiq's contract is an AssertionError
        assert window >= 1, f"window must be positive, not {window!r}"  # noqa: S101
        super().__init__(backend, key)
        self.limit = limit
        self.window = window

    def _acquire(self) -> bool:
        # A second longer than the window, so that a count does not expire within the last second that needs
        # it.
        ttl = (self.window + 1) * 1000
        return self.backend.incr_and_sum(self._key_at(_second()), self._keys, 1, self.limit, ttl)

    def _release(self) -> None:
        """Take nothing back: a place is used up until it has left the window."""

    def _keys(self) -> list[str]:
        now = _second()
        return [self._key_at(second) for second in range(now - self.window + 1, now + 1)]

    def _key_at(self, second: int) -> str:
        return f"{self.key}@{second}"


def _second() -> int:
    return current_millis() // 1000
