"""What a message costs in the server's log: how far that has come between two looks, and how many messages ended."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LEAST_ENDED", "LEAST_S", "LogCost", "log_cost"]

#: With fewer ended messages, or in a shorter time, the log has mostly other things in it.
LEAST_ENDED, LEAST_S = 100, 10.0


@dataclass(frozen=True, slots=True)
class LogCost:
    """What the whole server has written to its log in a span of time, for whomever.

    Attributes:
      written: In bytes; None: nobody has looked for long enough.
      ended: Messages that ended meanwhile.
      each: Bytes a message; None: too few have ended to tell.
    """

    seconds: float
    written: int | None
    ended: float
    each: float | None

    @property
    def rate(self) -> float | None:
        """Bytes a second."""
        return None if self.written is None else self.written / self.seconds


def log_cost(*, seconds: float, written: int | None, ended: float) -> LogCost:
    """Divide what was written by what has ended, if both are enough."""
    if written is None or written < 0 or seconds < LEAST_S:
        return LogCost(seconds, None, ended, None)
    return LogCost(seconds, written, ended, written / ended if ended >= LEAST_ENDED else None)
