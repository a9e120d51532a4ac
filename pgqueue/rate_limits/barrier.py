"""A point that several tasks must reach before somebody goes on."""

from __future__ import annotations

from .backend import RateLimiterBackend

__all__ = ["Barrier"]


class Barrier:
    """Lets those who wait go on once all parties have arrived.

    Parameters:
      key: Names the barrier; one that is used for the next round must be new.
      ttl: Milliseconds for which the barrier lives after the last arrival.
    """

    def __init__(self, backend: RateLimiterBackend, key: str, *, ttl: int = 900_000) -> None:
        self.backend = backend
        self.key = key
        self.ttl = ttl

    def create(self, parties: int) -> bool:
        """Set the barrier up for that many parties; return False if it exists already."""
        return self.backend.add(self.key, parties, self.ttl)

    def create_with_sends(self, parties: int) -> bool:
        """As `create`, in the transaction of the messages that are sent here: undone with them."""
        return self.backend.add_with_sends(self.key, parties, self.ttl)

    async def create_with_sends_async(self, parties: int) -> bool:
        """The same, for a coroutine."""
        return await self.backend.add_with_sends_async(self.key, parties, self.ttl)

    def wait(self, *, block: bool = True, timeout: int | None = None) -> bool:
        """Arrive, and unless told otherwise wait for the others.

        Parameters:
          block: False returns at once.
          timeout: Milliseconds to wait; None waits for ever.

        Returns:
          Whether all have arrived. Without ``block`` that is True for the last party only; so it is for
          everybody who arrives at a barrier that was never created, or has expired.
        """
        # The count stays at 1 for the last party: the refusal to take it to 0 is the sign.
        if not self.backend.decr(self.key, 1, 1, self.ttl):
            self.backend.wait_notify(self.key, self.ttl)
            return True
        return block and self.backend.wait(self.key, timeout)
