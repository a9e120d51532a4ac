"""How many messages a process claims ahead."""

import time
from typing import Protocol

#: The most messages in one claim: claims of 100 to 300 are the cheapest a message, but from 240 on the server takes
#: time to compress the lease's ids.
MAX_CLAIM = 230

#: Never claim more ahead than is run in this time.
AHEAD_S = 0.1

#: Of that, what must be missing for another claim. It is what urgent messages wait for: in the middle a
#: quarter made that half as long again, and a twentieth was no better for the last per cent.
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

    def settled(self, number: int) -> None:
        """Change nothing."""


class AdaptivePrefetch:
    """As much as was run in the last tenth of a second, at least two messages a thread."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._least = 2 * threads
        self._target = float(self._least)
        self._settled = 0
        self._since = time.monotonic()

    def room(self, in_flight: int) -> int:
        """Nothing while most of the target is in hand: a few large claims are cheaper than many small ones."""
        target = round(self._target)
        missing = target - in_flight
        if missing < max(target * STEP, min(target / 4, SMALL_CLAIM)):
            return 0
        return min(missing, MAX_CLAIM)

    def more(self, in_flight: int) -> int:
        """One for each thread beyond what is claimed ahead, and no more: others could run them."""
        return min(self._threads, max(0, round(self._target) + self._threads - in_flight))

    def settled(self, number: int) -> None:
        """Follow the rate: at once when it rises, by halves when it falls."""
        self._settled += number
        now = time.monotonic()
        if (elapsed := now - self._since) < AHEAD_S / 4:
            return
        ahead = self._settled / elapsed * AHEAD_S
        self._settled, self._since = 0, now
        self._target = min(max(ahead, self._target / 2, self._least), MAX_AHEAD)
