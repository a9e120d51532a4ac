"""Quiet queues beside a flood: which have little, so that their senders may be asked to tell of each message."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from ..storage.registers import IDLE_MS, RENEW_MS, idle_cell

__all__ = ["QuietQueues"]

#: Messages a second up to which a queue is quiet: every transaction that notifies takes a lock of the whole cluster at
#: its commit, and costs a claim.
RATE = 100.0

#: Seconds between two such claims: all processes hear each call, and messages of others' queues call, too. Each time
#: that nothing is left the next is twice as far off, up to the second figure. What comes meanwhile is in the next claim
#: of all queues.
SPACING_S, MOST_SPACING_S = 0.003, 0.048


class QuietQueues:
    """Counts what is claimed, queue by queue. For one thread."""

    def __init__(self) -> None:
        self._claimed: Counter[str] = Counter()
        self._since = time.monotonic()
        self._asked_until = self._next_at = float("-inf")
        self._spacing_s = SPACING_S

    def may_have_called(self) -> bool:
        """Whether senders have been asked, would still tell, and have not been heard just now."""
        now = time.monotonic()
        if not self._next_at <= now < self._asked_until:
            return False
        self._next_at = now + self._spacing_s
        return True

    def found(self, number: int) -> None:
        """Take note of what a call has led to."""
        self._spacing_s = SPACING_S if number else min(2 * self._spacing_s, MOST_SPACING_S)

    def count(self, lanes: Iterable[int], names: Mapping[int, str]) -> None:
        """Count what was claimed of lanes, which belong to the queues of these names."""
        for lane, number in Counter(lanes).items():
            self._claimed[names[lane]] += number

    def due(self) -> bool:
        """Whether it is time to ask anew."""
        return time.monotonic() - self._since > RENEW_MS / 1000

    def take(self, queue_names: Collection[str], *, busy: Collection[str]) -> list[str]:
        """Of some queues those that have been quiet; what comes from now on is counted anew.

        Parameters:
          busy: Queues that have more than is claimed. Who shares its register with one is not quiet, for that one's
            senders would tell, too.
        """
        now = time.monotonic()
        most = RATE * (now - self._since)
        loud = {idle_cell(name) for name in queue_names if name in busy or self._claimed[name] > most}
        self._claimed.clear()
        self._since = now
        quiet = [name for name in queue_names if idle_cell(name) not in loud]
        if quiet:
            self._asked_until = now + IDLE_MS / 1000
        return quiet
