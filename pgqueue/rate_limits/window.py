"""Limits how many pass in any stretch of so many seconds."""

from __future__ import annotations

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
        return self.backend.count_in_window(self.key, self.window, self.limit)

    def _release(self) -> None:
        """Take nothing back: a place is used up until it has left the window."""
