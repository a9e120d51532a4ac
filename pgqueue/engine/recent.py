"""Which faults a process has met lately, and how often each."""

import threading
import time
from collections import Counter

from ..faults import Fault, watch

#: For how many seconds a fault is remembered, and how many parts of that are counted apart.
RECENT_S, PARTS = 300.0, 5


class RecentFaults:
    """Hears of every fault of the process, in whatever thread; forgets each part by part, so that none is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[int, Counter[Fault]] = {}
        watch(self.hear)

    def hear(self, fault: Fault) -> None:
        """Count one."""
        with self._lock:
            self._parts.setdefault(_part(), Counter())[fault] += 1

    def counts(self) -> dict[str, int]:
        """How often each was met lately."""
        oldest = _part() - PARTS
        with self._lock:
            self._parts = {part: counted for part, counted in self._parts.items() if part > oldest}
            total = sum(self._parts.values(), Counter[Fault]())
        return {str(fault): number for fault, number in sorted(total.items())}


def _part() -> int:
    return int(time.monotonic() / (RECENT_S / PARTS))
