"""When it is worth claiming for queues of which only so many messages run at once, and how much may be claimed.

Claims for such queues are transactions of their own: one claims for a queue at a time, over all workers, having counted
what is held. So they are made for a reason only: a place has become free here, something was said to be ready, or some
time has passed. Other queues are claimed from as ever.
"""

import time
from collections.abc import Collection, Iterable
from random import uniform

from ..storage import queue_limits
from ..storage.database import Connection
from ..storage.queue_limits import LockedLimit
from ..storage.registers import idle_cell
from ..storage.statements import Statements
from .backoff import Backoff

#: Seconds after which a queue that was full or empty is looked at again, for want of another reason, by a worker that
#: is busy with others; one that is idle asks less often.
AGAIN_S = 0.1

#: For so many seconds a queue that was full or empty comes after those with a backlog, unless there is another reason.
LAST_S = 1.0

#: About so many seconds after it was found that somebody else claims for a queue, it is tried again.
BUSY_S = 0.01

#: Seconds between two words to others that there are more places than one worker can take.
TELL_S = 0.05


class Limits:
    """The limited queues that one fetcher serves. For its thread, but for `wake` and `freed`."""

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}
        self._settled: set[str] = set()
        self._busy: set[str] = set()
        # In which turn something was last claimed of a queue: who had it longest ago comes first, but for those that
        # had no more, or no room, and were not called since: they come after the others for a while.
        self._turns: dict[str, int] = {}
        self._last_until: dict[str, float] = {}
        self._called: set[str] = set()
        self._turn = 0
        # Grows with each reason to look, so that one which comes during a look is not taken for an older one.
        self._news = self._news_at_lock = 0
        self._told_at = 0.0
        self._freed: set[str] = set()
        self._untold: set[str] = set()
        self._tell_at = 0.0
        self._tell_again = Backoff(first_s=AGAIN_S, most_s=3.0)

    def serve(self, queue_names: Collection[str]) -> None:
        """Serve these queues from now on, and no others."""
        self._due_at = {name: self._due_at.get(name, 0.0) for name in queue_names}
        self._settled &= set(queue_names)
        self._busy &= set(queue_names)

    def wake(self, cell: int | None = None) -> None:
        """Look at all of them soon, or at those of an idle register; from any thread."""
        self._news += 1
        for name in self._due_at:
            if cell is None or idle_cell(name) == cell:
                self._called.add(name)
                self._due_at[name] = 0.0

    def freed(self, queue_name: str) -> None:
        """A message of this queue has ended here; from any thread."""
        self._freed.add(queue_name)
        self._called.add(queue_name)
        self._news += 1
        if queue_name in self._due_at:
            self._due_at[queue_name] = 0.0

    def take_freed(self) -> set[str]:
        """The queues in which places have become free here that nobody has looked at since; asking forgets them."""
        found, self._freed = self._freed, set()
        return found

    def has_word(self, queue_names: Collection[str]) -> None:
        """Others are to be told of places in these queues."""
        self._untold.update(queue_names)

    def word(self) -> set[str]:
        """The queues of which others are to be told now: again only after a while, if they could not be."""
        return self._untold if time.monotonic() >= self._tell_at else set()

    def told(self) -> None:
        """Others have been told of places."""
        self._untold = set()
        self._tell_again.reset()

    def not_told(self) -> float:
        """Others could not be told of places; answer in how many seconds that is tried again."""
        wait_s = self._tell_again.next_s()
        self._tell_at = time.monotonic() + wait_s
        return wait_s

    def due(self) -> list[str]:
        """The queues that are worth looking at."""
        now = time.monotonic()
        return [name for name, due_at in self._due_at.items() if due_at <= now]

    @property
    def retry_at(self) -> float:
        """When to try again for which somebody else has just been claiming, on the monotonic clock."""
        return min((self._due_at[name] for name in self._busy), default=float("inf"))

    def lock(self, conn: Connection, statements: Statements, queue_names: Iterable[str]) -> list[LockedLimit]:
        """Take the right to claim for some queues, until the end of the transaction; those of others come later.

        One that has always more would else have each place before the others are looked at.
        """
        names = list(queue_names)
        self.looks_at(names)
        locked = {limit.queue_name: limit for limit in queue_limits.lock(conn, statements, queue_names=names)}
        self._busy = set(names) - locked.keys()
        return [locked[name] for name in self._in_turns(locked)]

    def looks_at(self, queue_names: Iterable[str]) -> None:
        """Take note that queues are looked at: what calls for them from now on may be for what that does not see."""
        now = time.monotonic()
        self._news_at_lock = self._news
        for name in queue_names:
            self._freed.discard(name)
            if name in self._called:
                self._called.discard(name)
                self._last_until.pop(name, None)
            self._due_at[name] = now + BUSY_S * uniform(0.5, 1.5)  # noqa: S311  (spreads load)

    def _in_turns(self, queue_names: Iterable[str]) -> list[str]:
        return sorted(queue_names, key=lambda name: (self._is_last(name), self._turns.get(name, 0)))

    def _is_last(self, queue_name: str) -> bool:
        return self._last_until.get(queue_name, 0.0) > time.monotonic()

    def room(self, conn: Connection, statements: Statements, limit: LockedLimit) -> int:
        """How many messages may be claimed, under the lock; nothing else may have been claimed in its transaction."""
        held = queue_limits.held(conn, statements, queue_name=limit.queue_name)
        if not limit.settled or limit.queue_name not in self._settled:
            strays = queue_limits.strays(conn, statements, queue_name=limit.queue_name)
            held += strays
            if limit.settled and not strays:
                self._settled.add(limit.queue_name)
        return max(0, limit.at_once - held)

    def claimed(self, queue_name: str, number: int, *, wanted: int, room: int) -> bool:
        """Take in what a claim has brought; answer whether others are to be told that they could claim more.

        Parameters:
          wanted: How many this worker could begin at once; if none, it has not looked, and mostly does as soon
            as it can.
          room: How many places there were.
        """
        now = time.monotonic()
        if number:
            self._turn += 1
            self._turns[queue_name] = self._turn
        more = number == wanted < room
        if number < wanted and queue_name not in self._called:
            self._last_until[queue_name] = now + LAST_S
        looked = wanted > 0 or self._is_last(queue_name)
        if looked and self._news == self._news_at_lock and not more:
            self._due_at[queue_name] = now + AGAIN_S
        else:
            self._due_at[queue_name] = 0.0
        tell = more and now - self._told_at > TELL_S
        self._told_at = now if tell else self._told_at
        return tell
