"""The intake: what a consumer draws from. Decides when to claim, when to ask, and when to sleep."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ..errors import PgQueueError
from ..faults import Fault
from ..logging import own_logger
from ..storage.deadlocks import is_deadlock
from ..storage.messages import ClaimedMessage
from .acker import give_back
from .aside import Aside
from .backoff import Backoff
from .fetcher import Fetcher
from .prefetch import AdaptivePrefetch, FixedPrefetch, Prefetch
from .session import Session

#: Seconds after a claim that found nothing at which to ask again: a message whose sender looked for idle workers just
#: before we left word is found by one of the first three; then each second, in case a notification was lost.
POLLS_S = (0.005, 0.05, 0.25, 1.0)

logger = own_logger(__name__)


class Intake:
    """Messages of some queues, claimed ahead. One thread draws; settling and waking come from others.

    Parameters:
      prefetch: The most messages claimed and not settled; None to follow the rate at which they are run.
    """

    def __init__(
        self, session: Session, queue_names: Iterable[str], *, prefetch: int | None, threads: int
    ) -> None:
        self._session = session
        names = list(queue_names)
        self._fetcher = Fetcher(
            session.database, session.leases, names, need_name=session.need_name, standing=session.standing,
            hears_quiet=prefetch is None,
        )  # fmt: skip
        self._aside = Aside(session, self._put_aside_from)
        self._threads = threads
        self._released: dict[str | None, Callable[[int], None]] = {None: self.settled}
        self._policy: Prefetch = (
            FixedPrefetch(prefetch) if prefetch is not None else AdaptivePrefetch(threads)
        )
        self._claimed: deque[ClaimedMessage] = deque()
        self._in_flight = 0
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._hungry = True
        self._paused = False
        self._nudged = False
        self._changes = session.standing.changes
        self._polls = 0
        self._poll_at = 0.0
        self._before_limited = 0
        self._limited_had_all = False
        self._backoff = Backoff(first_s=0.1, most_s=3.0)
        session.on_wake(self.wake)
        session.serve(names)

    def next(self, timeout_s: float) -> ClaimedMessage | None:
        """The next message, or None if there was none for so long or what may begin has changed."""
        if self._claimed:
            return self._claimed.popleft()
        deadline = time.monotonic() + timeout_s
        while True:
            self._event.clear()
            self._put_aside()
            if self._replenish():
                return self._claimed.popleft()
            self._fetcher.tell_of_room()
            if self._nudged or self._changes != self._session.standing.changes:
                self._nudged = False
                self._changes = self._session.standing.changes
                return None
            wait_s = self._sleep_s(deadline)
            if wait_s <= 0.0 and time.monotonic() >= deadline:
                return None
            self._event.wait(wait_s)

    def wake(self, cell: int | None = None) -> None:
        """Something may have become ready, in queues of an idle register or in any."""
        if cell is not None and not self._fetcher.serves(cell):
            return
        self._polls = 0
        self._hungry = True
        self._fetcher.called(cell)
        self._event.set()

    def settled(self, number: int = 1) -> None:
        """So many messages are settled; others may be claimed in their place."""
        with self._lock:
            self._in_flight -= number
            self._policy.settled(number)
            room = self._policy.room(self._in_flight) > 0
        if room or self._fetcher.is_called():
            self._event.set()

    def released(self, message: ClaimedMessage) -> Callable[[int], None]:
        """What is to be called, with a number, when messages that are held as this one is are settled."""
        name = message.lease.queue_name
        if name is not None and name not in self._released:
            self._released[name] = partial(self._settled_under_limit, name)
        return self._released[name]

    def _settled_under_limit(self, queue_name: str, number: int) -> None:
        self._fetcher.limits.freed(queue_name)
        self._hungry = True
        self.settled(number)

    def _put_aside_from(self, number: int) -> None:
        self._fetcher.limits.wake()
        self.settled(number)

    def subscribe(self, queue_name: str) -> None:
        """Draw from one more queue."""
        self._fetcher.subscribe(queue_name)
        self._session.serve([queue_name])
        self.wake()

    def pause(self) -> None:
        """Claim no more; who waits in `next` gets None at once."""
        self._paused = True
        self._nudged = True
        self._event.set()

    def resume(self) -> None:
        """Claim again."""
        self._paused = False
        self.wake()

    def give_back(self, claimed: Sequence[ClaimedMessage]) -> None:
        """Make claimed messages ready again at once, uncharged."""
        by_owner: dict[object, list[ClaimedMessage]] = {}
        for message in claimed:
            by_owner.setdefault(message.lease.owner, []).append(message)
        for part in by_owner.values():
            give_back(self._session.database, self._session.leases, part[0].lease.owner, part)
            self.settled(len(part))

    def put_aside(self, message: ClaimedMessage, *, park: bool) -> None:
        """Take back, soon, a claimed message that must not begin: its queue is paused, or (``park``) its actor is."""
        self._aside.add(message, park=park)
        self._event.set()

    def close(self) -> None:
        """Give back what was claimed and not drawn, and close the connection."""
        self._paused = True
        self._session.on_wake(self.wake, forget=True)
        remaining = [self._claimed.popleft() for _ in range(len(self._claimed))]
        try:
            self.give_back([*remaining, *self._aside.take_all()])
        finally:
            self._fetcher.close()

    def _put_aside(self) -> None:
        try:
            self._aside.write()
        except PgQueueError as error:
            logger.warning(
                "Messages of what is paused can't be put aside yet: %s", error, fault=Fault.PUT_ASIDE_FAILED
            )

    def _replenish(self) -> bool:
        """Claim if there is room and a reason to; answer whether something was claimed."""
        if self._paused or not self._has_reason():
            return False
        room = self._room()
        try:
            if room <= 0:
                return self._claim_quiet()
            return self._claim(room) if self._hungry else self._ask()
        except Exception as error:  # whatever it is, what runs must be able to end
            wait_s = self._backoff.next_s()
            # The first failure is mostly a connection that another replaces at once.
            level = logging.CRITICAL if wait_s else logging.WARNING
            known = isinstance(error, PgQueueError) or is_deadlock(error)
            logger.log(
                level, "No messages can be claimed, next try in %.1f s: %s", wait_s, error, exc_info=not known,
                fault=Fault.CLAIM_FAILED,
            )  # fmt: skip
            self._hungry = False
            self._poll_at = time.monotonic() + wait_s
            return bool(self._claimed)  # of two claims the first may have brought some

    def _has_reason(self) -> bool:
        return self._hungry or time.monotonic() >= self._poll_at

    def _claim_quiet(self) -> bool:
        """Claim for queues whose senders have called, though there is no room."""
        found = self._take(self._fetcher.fetch_quiet(self._more()))
        self._before_limited += found
        if found:
            self._backoff.reset()
        return found > 0

    def _claim(self, room: int) -> bool:
        self._hungry = False  # before the claim: a wake-up during it counts
        self._before_limited = 0
        found = self._claim_in_turns(room)
        with self._lock:
            self._policy.claimed(self._in_flight)
        self._backoff.reset()
        if not found:
            # A claim for little reason is no reason to ask more often.
            self._poll_at = min(time.monotonic() + POLLS_S[self._polls], self._fetcher.limits.retry_at)
            return False
        self._polls = 0
        self._hungry = True
        return True

    def _claim_in_turns(self, room: int) -> int:
        """Claim of limited queues, then of the others; the other way round if the first had all the room last time."""
        found = self._take(self._fetcher.fetch(room)) if self._limited_had_all else 0
        limited = self._take(self._fetcher.fetch_limited(min(room - found, self._threads - self._in_flight)))
        if not self._limited_had_all and limited < room:
            found = self._take(self._fetcher.fetch(room - limited))
        self._limited_had_all = limited == room
        return found + limited

    def _take(self, claimed: list[ClaimedMessage]) -> int:
        with self._lock:
            self._in_flight += len(claimed)
        self._claimed.extend(claimed)
        return len(claimed)

    def _ask(self) -> bool:
        if self._fetcher.worth_fetching(idle=True):
            self._hungry = True
            self._event.set()
        self._polls = min(self._polls + 1, len(POLLS_S) - 1)
        self._poll_at = time.monotonic() + POLLS_S[self._polls]
        self._backoff.reset()
        return False

    def _sleep_s(self, deadline: float) -> float:
        until = deadline
        if not self._paused and self._room() > 0:
            until = min(until, time.monotonic() if self._hungry else self._poll_at)
        elif not self._paused and not self._has_reason():
            until = min(until, self._poll_at)
        elif not self._paused:
            until = min(until, self._fetcher.quiet_at(claims=self._more() > 0))
        return max(0.0, until - time.monotonic())

    def _room(self) -> int:
        """How many messages to claim now.

        With every thread's hands full nothing is claimed ahead while a limited queue is to be looked at: its messages
        are claimed when they can begin, and would never be if others were always there first.
        """
        with self._lock:
            room, busy = self._policy.room(self._in_flight), self._in_flight >= self._threads
        return 0 if busy and room > 0 and self._fetcher.limits.due() else room

    def _more(self) -> int:
        """How many to claim of quiet queues though there is no room.

        While a limited queue is to be looked at these come before its messages, so they are no more than the threads
        until it was.
        """
        with self._lock:
            more = self._policy.more(self._in_flight)
        return min(more, self._threads - self._before_limited) if self._fetcher.limits.due() else more
