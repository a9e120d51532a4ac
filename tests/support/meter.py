"""How many of something run at once, in the threads of a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Meter"]


class Meter:
    """How many run at once now, and did at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = self.ended = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """What is done meanwhile counts as one."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1
                self.ended += 1
