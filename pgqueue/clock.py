"""The server's clock, as far as this process knows it: what is compared with other machines' instants goes by it.

A machine's clock may be minutes off, or be set while it runs. Each connection that is opened, and each heartbeat of a
worker, asks the server what time it is, and from then on a clock that nobody sets counts on; of several servers the
last to answer counts. Until the first answer, and where there is no server, this machine's clock is all there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "AHEAD",
    "ahead_ms",
    "is_undated",
    "learn",
    "made_at",
    "server_millis",
    "server_now",
    "steady_millis",
]

#: A message's option, of one that was made on a machine whose clock is off: by how many ms it is ahead.
AHEAD = "clock_ahead_ms"

#: Two clocks that differ by less, in ms, agree: it is what NTP leaves.
AGREES_MS = 1_000


def _steady() -> Callable[[], float]:
    # Of those that nobody sets, one that goes on while the machine sleeps.
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot_time is None else lambda: time.clock_gettime(boot_time)


_seconds = _steady()


def steady_millis() -> float:
    """Milliseconds since some instant, by a clock that nobody sets."""
    return _seconds() * 1000


class _Learnt:
    """What this process knows.

    Attributes:
      offset_ms: What the server's clock shows more than the steady one; None if nobody has been asked yet.
      doubt_ms: By how much that may be wrong: half the time that the answer took.
      began_ms: When, by this machine's clock, messages began to be made that don't say that it is off.
      until_ms: When that was known; None if it isn't yet.
    """

    def __init__(self) -> None:
        self.offset_ms: float | None = None
        self.doubt_ms = 0.0
        self.began_ms = _here()
        self.until_ms: int | None = None


def _here() -> int:
    return time.time_ns() // 1_000_000


_learnt = _Learnt()


def learn(server_ms: float, *, asked_ms: float) -> None:
    """Take note of the server's answer, to a question that was asked at ``asked_ms`` by the steady clock."""
    now_ms = steady_millis()
    _learnt.doubt_ms = (now_ms - asked_ms) / 2
    _learnt.offset_ms = server_ms - (asked_ms + now_ms) / 2
    if _learnt.until_ms is None:
        _learnt.until_ms = _here()


def ahead_ms() -> int:
    """By how many ms this machine's clock is ahead of the server's; 0 if they agree, or nobody knows."""
    if _learnt.offset_ms is None:
        return 0
    ahead = _here() - steady_millis() - _learnt.offset_ms
    return 0 if abs(ahead) <= AGREES_MS + _learnt.doubt_ms else round(ahead)


def server_millis() -> int:
    """Milliseconds since the epoch by the server's clock."""
    return _here() - ahead_ms()


def server_now() -> datetime:
    """The same as an instant."""
    return datetime.fromtimestamp(server_millis() / 1000, UTC)


def made_at(message_timestamp: int, options: Mapping[str, Any]) -> int:
    """When a message was made by the server's clock, which its own timestamp is not."""
    ahead = options.get(AHEAD)
    return message_timestamp - (ahead if isinstance(ahead, int) else 0)


def is_undated(message_timestamp: int, options: Mapping[str, Any]) -> bool:
    """Whether a message was made here before it was known that this clock is off, and does not say so."""
    if _learnt.until_ms is None or AHEAD in options:
        return False
    return _learnt.began_ms <= message_timestamp <= _learnt.until_ms and ahead_ms() != 0
