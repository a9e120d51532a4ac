"""Limits how many pass in each interval of the clock."""

from __future__ import annotations

from .backend import RateLimiterBackend
from .rate_limiter import RateLimiter

__all__ = ["BucketRateLimiter"]


class BucketRateLimiter(RateLimiter):
    """Lets ``limit`` pass in each interval of ``bucket`` milliseconds; intervals are aligned to the epoch.

    Up to twice the limit can pass around the border of two intervals; where that is too many, use a window.

    Parameters:
      limit: At least 1.
      bucket: Milliseconds, at least 1.
    """

    def __init__(self, backend: RateLimiterBackend, key: str, *, limit: int = 1, bucket: int = 1000) -> None:
        assert limit >= 1, f"limit must be positive, not {limit!r}"  # noqa: S101  # Dramatiq's contract is an AssertionError
        assert bucket >= 1, f"bucket must be positive, not {bucket!r}"  # noqa: S101
        super().__init__(backend, key)
        self.limit = limit
        self.bucket = bucket

    def _acquire(self) -> bool:
        return self.backend.count_in_bucket(self.key, self.bucket, self.limit)

    def _release(self) -> None:
        """Take nothing back: a place is used up until its interval is over."""
