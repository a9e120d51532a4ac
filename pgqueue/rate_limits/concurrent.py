"""Limits how many run at the same time."""

from __future__ import annotations

from .backend import RateLimiterBackend
from .rate_limiter import RateLimiter

__all__ = ["ConcurrentRateLimiter"]


class ConcurrentRateLimiter(RateLimiter):
    """Lets ``limit`` holders in at a time; with a limit of 1, a mutex over all processes.

    Parameters:
      limit: At least 1.
      ttl: Milliseconds after which the places of crashed holders are free again: the whole key expires that
        long after its last change. Must be more than anybody holds a place. A worker's places in its broker's own
        database are free as soon as the worker is declared lost.
    """

    def __init__(self, backend: RateLimiterBackend, key: str, *, limit: int = 1, ttl: int = 900_000) -> None:
        assert limit >= 1, f"limit must be positive, not {limit!r}"  # noqa: S101  # Dramatiq's contract is an AssertionError
        super().__init__(backend, key)
        self.limit = limit
        self.ttl = ttl

    def _take(self) -> object:
        return self.backend.hold(self.key, self.limit, self.ttl)

    def _give_back(self, place: object) -> None:
        self.backend.release(self.key, place, self.ttl)

    def _acquire(self) -> bool:
        return self.backend.incr(self.key, 1, self.limit, self.ttl)

    def _release(self) -> None:
        self.backend.decr(self.key, 1, 0, self.ttl)
