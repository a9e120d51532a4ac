"""When a worker process has done enough: after so many messages, or once it holds so much memory."""

import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

from ..engine.footprint import resident_bytes
from ..middleware import Middleware

if TYPE_CHECKING:
    from ..broker import Broker, MessageProxy
    from ..worker import Worker

__all__ = ["Retirement", "resident_mb"]

#: Seconds between two looks at the memory, for a look costs as much as a short message.
LOOK_S = 0.1


class Retirement(Middleware):
    """Counts messages and looks at the memory after each, in all threads of a process.

    Parameters:
      max_messages: None for any number.
      max_memory_mb: The most resident memory, in MB of 1024 * 1024 bytes; None for any.
      on_due: Called, once, in the thread whose message was the last straw; the worker begins no more by then.
    """

    def __init__(
        self,
        *,
        max_messages: int | None,
        max_memory_mb: int | None,
        on_due: Callable[[], None],
        memory_mb: Callable[[], float] | None = None,
    ) -> None:
        self.reason = ""
        self._max_messages = max_messages
        self._max_memory_mb = max_memory_mb
        self._on_due = on_due
        self._memory_mb = memory_mb or resident_mb
        self._messages = count(1)
        self._look_at = 0.0
        self._worker: Worker | None = None

    @property
    def due(self) -> bool:
        """Whether the process has done enough; ``reason`` says of what, as the rest of a sentence about it."""
        return bool(self.reason)

    def before_worker_boot(self, broker: "Broker", worker: "Worker") -> None:
        """Take note of the process's worker."""
        self._worker = worker

    def after_process_message(
        self,
        broker: "Broker",
        message: "MessageProxy",
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count a message that was run."""
        self._after_one()

    def after_skip_message(self, broker: "Broker", message: "MessageProxy") -> None:
        """Count a message that was skipped, which took something, too."""
        self._after_one()

    def _after_one(self) -> None:
        messages = next(self._messages)
        if self.due:
            return
        if self._max_messages is not None and messages >= self._max_messages:
            self._retire(f"has run {messages} messages")
        elif self._max_memory_mb is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_S
            if (held := self._memory_mb()) > self._max_memory_mb:
                self._retire(f"holds {held:.0f} MB of memory after {messages} messages")

    def _retire(self, reason: str) -> None:
        self.reason = reason
        if self._worker is not None:
            self._worker.begin_no_more()
        self._on_due()


def resident_mb() -> float:
    """Return the memory that this process holds, in MB."""
    return resident_bytes() / 1024**2
