"""Quiet queues beside a flood: which have little, so that their senders may be asked to call for each message."""

import time
from collections import Counter
from collections.abc import Collection, Iterable
from random import uniform

from ..storage.registers import IDLE_MS, idle_cell

__all__ = ["QuietQueues"]

#: Messages a second up to which a queue is quiet, and calls a second up to which senders go on to be asked: every
#: transaction that notifies takes a lock of the whole cluster at its commit, and each process that serves the queue
#: hears it. By the calls, what all processes do together is counted by each.
RATE = 100.0

#: Seconds between two questions; the word that is left with each holds for longer.
ASK_S = 0.9

#: Where more processes than this work, whatever they serve, none asks. They claim so often in all that some claim comes
#: soon; and a call, which all of them would hear that serve the queue, costs more than it saves.
FLEET = 4

#: Seconds after its last sign of life at which a process counts no more among these.
SILENT_S = 15.0

#: The longest time, in seconds, for which the senders of a register that was heard too often are not asked. The first
#: is as long as that between two questions, and each is twice the one before.
LONGEST_REST_S = 30.0

#: Seconds between two claims for calls. Each time that others have left nothing the next is twice as far off, up to the
#: second figure: they are quicker. What comes meanwhile is in the next claim of all queues.
SPACING_S, MOST_SPACING_S = 0.003, 0.048


class QuietQueues:
    """Counts what is claimed, queue by queue, and what is heard. For one thread, but for `called`."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._claimed: Counter[str] = Counter()
        self._heard: Counter[int] = Counter()
        self._rests: dict[int, float] = {}
        self._rest_until: dict[int, float] = {}
        self._asked: frozenset[int] = frozenset()
        self._asked_until = self._next_at = float("-inf")
        self._called = self._took = False
        self._spacing_s = SPACING_S

    def called(self, cell: int | None) -> None:
        """Take note of a call for the queues of an idle register, or for any; from any thread."""
        if cell is not None:
            self._heard[cell] += 1
        if cell is None or cell in self._asked:
            self._called = True

    def wanted_at(self) -> float:
        """When to claim because there was a call, on the monotonic clock; never if nobody has called who was asked."""
        if self._called and self._next_at < self._asked_until:
            return self._next_at
        return float("inf")

    def began(self) -> None:
        """Take note that a claim begins: calls from now on are for what it may not see."""
        self._called = False

    def ended(self, number: int, *, limit: int) -> None:
        """Take note of how many messages, of at most so many, it has brought.

        If none, then whoever called may have meant what our own claim of all queues had taken just before.
        """
        if number:
            self._spacing_s = SPACING_S
        elif not self._took:
            self._spacing_s = min(2 * self._spacing_s, MOST_SPACING_S)
        self._took = False
        self._next_at = time.monotonic() + self._spacing_s
        self._called |= number == limit

    def count(self, queue_names: Iterable[str]) -> None:
        """Count what was claimed: for each message its queue."""
        claimed = Counter(queue_names)
        self._claimed.update(claimed)
        self._took |= any(idle_cell(name) in self._asked for name in claimed)

    def due_at(self) -> float:
        """When to ask anew, on the monotonic clock."""
        return self._since + ASK_S

    def take(self, queue_names: Collection[str], *, busy: Collection[str]) -> list[str]:
        """Of some queues those that have been quiet, whose senders are asked now; what follows is counted anew.

        Parameters:
          busy: Queues that have more than is claimed. Who shares its register with one is not quiet, for that one's
            senders would call, too.
        """
        now = time.monotonic()
        most = RATE * (now - self._since)
        loud = {idle_cell(name) for name in queue_names if name in busy or self._claimed[name] > most}
        loud |= self._resting({idle_cell(name) for name in queue_names}, most=most, now=now)
        self._claimed.clear()
        self._heard.clear()
        self._since = now
        quiet = [name for name in queue_names if idle_cell(name) not in loud]
        asked = frozenset(map(idle_cell, quiet))
        if now > self._asked_until or not asked <= self._asked:
            self._called = True  # what came before may be there still
        self._asked = asked
        self._asked_until = now + IDLE_MS / 1000 if quiet else float("-inf")
        return quiet

    def _resting(self, cells: Collection[int], *, most: float, now: float) -> set[int]:
        """Those that have been heard too often, of late or just now, whoever had asked."""
        for cell in cells:
            if self._heard[cell] > most:
                rest = self._rests[cell] = min(2 * self._rests.get(cell, ASK_S / 2), LONGEST_REST_S)
                self._rest_until[cell] = now + rest * uniform(1.0, 1.5)  # noqa: S311  (spreads load)
            elif cell in self._asked:
                self._rests.pop(cell, None)
        return {cell for cell in cells if self._rest_until.get(cell, now) > now}
