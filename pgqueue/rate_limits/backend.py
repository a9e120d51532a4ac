"""What rate limiters and barriers ask of the store that keeps their numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pgqueue.common import current_millis

if TYPE_CHECKING:
    from pgqueue.message import Message

__all__ = ["RateLimiterBackend"]


class RateLimiterBackend:
    """Keeps numbers under keys for a while. Every method is atomic; all times are milliseconds."""

    def add(self, key: str, value: int, ttl: int) -> bool:
        """Set a key that does not exist, or has expired; return whether it was set."""
        raise NotImplementedError(f"{type(self).__name__} does not implement add()")

    def incr(self, key: str, amount: int, maximum: int, ttl: int) -> bool:
        """Add to a key's value, 0 if it does not exist, unless the sum would be above ``maximum``.

        Returns:
          Whether it was added; only then does the key live on for ``ttl``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement incr()")

    def decr(self, key: str, amount: int, minimum: int, ttl: int) -> bool:
        """Subtract from a key's value, 0 if it does not exist, unless the rest would be below ``minimum``.

        Returns:
          Whether it was subtracted; only then does the key live on for ``ttl``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement decr()")

    def incr_and_sum(
        self, key: str, keys: Callable[[], list[str]], amount: int, maximum: int, ttl: int
    ) -> bool:
        """Add to a key's value unless that, or the sum over several keys, would then be above ``maximum``.

        Parameters:
          keys: Called inside of the atomic section; returns the keys to sum over.

        Returns:
          Whether it was added; only then does the key live on for ``ttl``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement incr_and_sum()")

    def count_in_bucket(self, key: str, bucket: int, maximum: int) -> bool:
        """Count one in the present interval of ``bucket`` milliseconds, aligned to the epoch, up to ``maximum``.

        Returns:
          Whether it was counted. Here the clock is this machine's; a store with one of its own should go by that.
        """
        start = current_millis() // bucket * bucket
        return self.incr(f"{key}@{start}", 1, maximum, bucket)

    def count_in_window(self, key: str, window: int, maximum: int) -> bool:
        """Count one in the present second unless the last ``window`` seconds would then have more than ``maximum``.

        Returns:
          Whether it was counted; the clock is as above.
        """

        def keys() -> list[str]:
            now = current_millis() // 1000
            return [f"{key}@{second}" for second in range(now - window + 1, now + 1)]

        # A second longer than the window, so that a count does not expire within the last second that needs it.
        return self.incr_and_sum(f"{key}@{current_millis() // 1000}", keys, 1, maximum, (window + 1) * 1000)

    def hold(self, key: str, maximum: int, ttl: int) -> object:
        """Take one of the ``maximum`` places of a key.

        Returns:
          What `release` wants back; something false if no place was free.
        """
        return self.incr(key, 1, maximum, ttl)

    def release(self, key: str, place: object, ttl: int) -> None:  # noqa: ARG002  # for those who know places apart
        """Give a place back."""
        self.decr(key, 1, 0, ttl)

    def arrive_with_ack(self, key: str, ttl: int, messages: Sequence[Message[Any]]) -> bool:  # noqa: ARG002
        """Count a barrier down in the very commit that acknowledges this thread's message.

        Parameters:
          messages: Enqueued in that commit, too, if it lets the last party through.

        Returns:
          Whether that will be done. Most stores can't; then the caller arrives by himself.
        """
        return False

    def add_with_sends(self, key: str, value: int, ttl: int) -> bool:
        """As `add`, in the transaction to which a message would belong that is sent here and now, if there is one.

        For keys that nobody else knows yet: they are not locked.
        """
        return self.add(key, value, ttl)

    async def add_with_sends_async(self, key: str, value: int, ttl: int) -> bool:
        """The same, for a coroutine."""
        return await asyncio.to_thread(self.add, key, value, ttl)

    def wait(self, key: str, timeout: int | None) -> bool:
        """Wait until somebody calls `wait_notify` for the key, or has done so within its ``ttl``.

        Parameters:
          timeout: None waits for ever.

        Returns:
          Whether that happened in time.

        Raises:
          NotImplementedError: This backend can't wait.
        """
        raise NotImplementedError(f"{type(self).__name__} can't wait; use wait(block=False)")

    def wait_notify(self, key: str, ttl: int) -> None:  # noqa: ARG002  # see below
        """Wake those who wait for the key, and let those who come within ``ttl`` not wait at all."""
        # A backend that can't wait has nobody to wake, so that a barrier can call this in any case.
        return
