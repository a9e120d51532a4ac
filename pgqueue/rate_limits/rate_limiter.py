"""The base class of rate limiters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgqueue.errors import RateLimitExceeded

from .backend import RateLimiterBackend

__all__ = ["RateLimitExceeded", "RateLimiter"]


class RateLimiter:
    """Lets only so many through.

    Parameters:
      key: Limiters of the same key share their limit.
    """

    def __init__(self, backend: RateLimiterBackend, key: str) -> None:
        self.backend = backend
        self.key = key

    def _acquire(self) -> bool:
        """Return whether the caller may pass, and if so, count it."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _acquire()")

    def _release(self) -> None:
        """Take back what `_acquire` has counted."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _release()")

    def _take(self) -> object:
        """Do what `_acquire` does, and return something true that `_give_back` wants if the caller may pass."""
        return self._acquire()

    def _give_back(self, place: object) -> None:  # noqa: ARG002  # most limiters count places, and know none
        self._release()

    @contextmanager
    def acquire(self, *, raise_on_failure: bool = True) -> Iterator[bool]:
        """Try to pass, without waiting; what was counted is released on the way out.

        Yields:
          Whether the limit let the caller through; with ``raise_on_failure``, always True.

        Raises:
          RateLimitExceeded: The limit is reached; an actor that lets it pass is retried later.
        """
        place: object = None
        try:
            place = self._take()
            if raise_on_failure and not place:
                raise RateLimitExceeded(f"rate limit exceeded for key {self.key!r}")
            yield bool(place)
        finally:
            if place:
                self._give_back(place)
