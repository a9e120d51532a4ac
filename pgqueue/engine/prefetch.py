"""How many messages a process claims ahead."""

import time
from collections import deque
from typing import Protocol

#: The most messages in one claim: claims of 100 to 300 are the cheapest a message, but from 240 on the server takes
#: time to compress the lease's ids.
MAX_CLAIM = 230

#: Never claim more ahead than is run in this time.
AHEAD_S = 0.1

#: The rate is taken so often in that time. It rises with the last, and falls with all of them together: what is in hand
#: when one was low by chance would otherwise be too much, and nothing claimed until half of it is done.
PARTS = 4

#: Of what is claimed ahead, what must be missing for another claim. It is what urgent messages wait for: in the middle
#: a quarter made that half as long again, and a twentieth was no better for the last per cent.
STEP = 0.1

#: Fewer than this are not claimed at once, unless they are a quarter of what is claimed ahead: many processes whose
#: jobs take a while would ask much more often, each for a few.
SMALL_CLAIM = 32

#: However fast, never more than this.
MAX_AHEAD = 3_000


class Prefetch(Protocol):
    """A policy; called from several threads."""

    def room(self, in_flight: int) -> int:
        """How many messages to claim now, while ``in_flight`` are claimed and not settled."""

    def more(self, in_flight: int) -> int:
        """How many to claim of a quiet queue beside a flood, though there is no room."""

    def claimed(self, in_flight: int) -> None:
        """Take note of how many are in hand after a claim for which there was room."""

    def settled(self, number: int) -> None:
        """Take note that messages were settled."""


class FixedPrefetch:
    """At most so many messages that are claimed and not settled."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)

    def room(self, in_flight: int) -> int:
        """What is missing."""
        return min(self._most - in_flight, MAX_CLAIM)

    def more(self, in_flight: int) -> int:  # noqa: ARG002
        """None: it is the user's number."""
        return 0

    def claimed(self, in_flight: int) -> None:
        """Change nothing."""

    def settled(self, number: int) -> None:
        """Change nothing."""


class AdaptivePrefetch:
    """As much as was run in the last tenth of a second, at least two messages a thread."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._least = 2 * threads
        self._target = float(self._least)
        self._level = self._settled = 0
        self._parts: deque[tuple[int, float]] = deque(maxlen=PARTS)
        self._since = time.monotonic()

    def room(self, in_flight: int) -> int:
        """Nothing while most of the target is in hand: a few large claims are cheaper than many small ones."""
        target = round(self._target)
        missing = target - in_flight
        if missing < max(target * STEP, min(target / 4, SMALL_CLAIM)):
            return 0
        return min(missing, MAX_CLAIM)

    def more(self, in_flight: int) -> int:
        """One for each thread beyond what it is right to have, or was at the last claim: others could run more."""
        most = max(round(self._target), self._level) + self._threads
        return min(self._threads, max(0, most - in_flight))

    def claimed(self, in_flight: int) -> None:
        """That many were right, whatever the rate has become since."""
        self._level = in_flight

    def settled(self, number: int) -> None:
        """Follow the rate: at once when it rises; when it falls more slowly, and no more than by halves."""
        self._settled += number
        now = time.monotonic()
        if (elapsed := now - self._since) < AHEAD_S / PARTS:
            return
        self._parts.append((self._settled, elapsed))
        overall = sum(number for number, _ in self._parts) / sum(elapsed for _, elapsed in self._parts)
        ahead = max(self._settled / elapsed, overall) * AHEAD_S
        self._settled, self._since = 0, now
        self._target = min(max(ahead, self._target / 2, self._least), MAX_AHEAD)
