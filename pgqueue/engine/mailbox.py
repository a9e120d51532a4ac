"""The mailbox: how threads that wait for a result or an event hear of it, without asking the database all the time.

A process has one connection for it, however many of its threads wait, opened at the first wait and closed when nobody
has waited for a while. A thread leaves word in the table waits that it wants to be told of a key, then looks whether
it is there already, then sleeps. Whoever stores something under that key notifies in the same commit. A notification
can be missed (the storing statement may not see the word yet), so a waiting thread looks by itself, too: soon at
first, then ever more seldom.
"""

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol, TypeVar
from uuid import uuid4

from .. import _forks
from ..errors import PgQueueError
from ..logging import own_logger
from ..storage import waits
from ..storage.calls import run
from ..storage.database import Connection, Database, has_session
from .backoff import Backoff
from .nudge import Nudge

T = TypeVar("T")

#: Seconds between two looks of a waiting thread: at first, at most, and at most while notifications do not come.
FIRST_LOOK_S, LAST_LOOK_S, UNTOLD_LOOK_S = 0.002, 0.5, 0.05

#: Seconds after the last wait for which the connection is kept.
IDLE_S = 30.0

#: Seconds between two rounds of the connection's thread, in which it takes old word back.
ROUND_S = 1.0

#: It works again when it has served for so many seconds.
SERVED_S = 3.0

logger = own_logger(__name__)


class Alarm(Protocol):
    """What wakes whoever waits; called from another thread."""

    def set(self) -> object:
        """Wake him."""


class Ticket:
    """One wait for one key.

    Attributes:
      left_with: The post's session in which word of it was left.
    """

    __slots__ = ("alarm", "key", "left_with", "number", "post")

    def __init__(self, number: int, key: str, alarm: Alarm, post: "_Post") -> None:
        self.number = number
        self.key = key
        self.alarm = alarm
        self.post = post
        self.left_with: object = None

    def must_be_told(self) -> bool:
        """Whether word of it has yet to be left, which is done with `waits.add`."""
        return self.post.session is not None and self.left_with is not self.post.session

    @property
    def told(self) -> bool:
        """Whether word of it was left: a notification can be expected."""
        return self.left_with is not None


class Mailbox:
    """Of one process and one database. Safe to use from all threads; a forked child has one of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._tickets: dict[int, Ticket] = {}
        self._post: _Post | None = None
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Be empty in a forked process."""
        _forks.keep(self._post)
        self._lock, self._tickets, self._post = threading.Lock(), {}, None

    def wait(self, key: str, look: Callable[[], T | None], *, timeout_ms: float | None) -> T | None:
        """Call ``look`` until it finds something: when that is stored under ``key``, and now and then.

        Parameters:
          timeout_ms: None waits for ever.

        Returns:
          What was found; None when the time is over.
        """
        deadline = float("inf") if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        pause_s = FIRST_LOOK_S
        event = threading.Event()
        ticket = self.enrol(key, event)
        try:
            while True:
                event.clear()
                self._leave_word(ticket)
                if (found := look()) is not None or (left_s := deadline - time.monotonic()) <= 0:
                    return found
                event.wait(min(pause_s, LAST_LOOK_S if ticket.told else UNTOLD_LOOK_S, left_s))
                pause_s = min(pause_s * 2, LAST_LOOK_S)
        finally:
            self.retire(ticket)

    def close(self) -> None:
        """Close the connection; those who still wait look by themselves."""
        with self._lock:
            post, self._post = self._post, None
        if post is not None:
            post.stop()

    def enrol(self, key: str, alarm: Alarm) -> Ticket:
        """Have ``alarm`` set when a notification for ``key`` comes, once word of the ticket is left."""
        with self._lock:
            if self._post is None or not self._post.is_alive():
                self._post = _Post(self._database, self._tickets, self._lock)
                self._post.start()
            ticket = Ticket(next(self._numbers), key, alarm, self._post)
            self._tickets[ticket.number] = ticket
        return ticket

    def retire(self, ticket: Ticket) -> None:
        """End a wait; word of it is taken back before long."""
        with self._lock:
            self._tickets.pop(ticket.number, None)
            if ticket.told:
                ticket.post.over[ticket.number] = ticket.key

    def _leave_word(self, ticket: Ticket) -> None:
        if not ticket.must_be_told():
            return
        session = ticket.post.session
        call = waits.add(ticket.post.channel, tickets={ticket.number: ticket.key})
        try:
            with self._database.connection() as conn:
                run(conn, self._database.statements, call)
        except PgQueueError as error:
            logger.debug("No word could be left of a wait for %r: %s", ticket.key, error)
        else:
            ticket.left_with = session


class _Post(threading.Thread):
    """Holds the connection and wakes the threads whose tickets are called.

    Attributes:
      channel: Where they are called.
      session: Something that is a different one for each connection; None while notifications do not come.
      over: Tickets of which word is to be taken back, with their keys.
    """

    def __init__(self, database: Database, tickets: dict[int, Ticket], lock: threading.Lock) -> None:
        super().__init__(name="pgqueue-mailbox", daemon=True)
        self.channel = f"pgqueue:{uuid4().hex}"
        self.session: object = None
        self.over: dict[int, str] = {}
        self._database = database
        self._tickets = tickets
        self._lock = lock
        self._stopping = threading.Event()
        self._idle_at = time.monotonic() + IDLE_S
        self._nudge = Nudge()

    def stop(self) -> None:
        """Close the connection and end the thread."""
        self._stopping.set()
        self._nudge.give()
        self.join()

    def run(self) -> None:
        """Serve until nobody waits any more."""
        backoff = Backoff(first_s=0.5, most_s=30.0)
        while not self._stopping.is_set():
            try:
                self._serve(backoff)
            except Exception as error:  # noqa: BLE001  # the thread's top loop
                self.session = None
                logger.debug("No notifications of results at the moment: %s", error)
                self._stopping.wait(backoff.next_s())
                self._end_if_idle()
        self._nudge.close()

    def _serve(self, backoff: Backoff) -> None:
        with self._database.connect(application_name="pgqueue mailbox") as conn:
            conn.add_notify_handler(lambda notification: self._take(notification.payload))
            if has_session(conn):
                conn.execute(f'LISTEN "{self.channel}"')
                # It comes back if notifications come at all, which they don't behind some poolers.
                waits.test(conn, self._database.statements, channel=self.channel)
            begun_at = time.monotonic()
            while not self._stopping.is_set():
                self._take_notifications(conn)
                self._take_back(conn)
                self._end_if_idle()
                if not self._stopping.is_set():
                    self._nudge.wait(conn.fileno(), ROUND_S)
                    conn.pgconn.consume_input()
                if time.monotonic() - begun_at > SERVED_S:
                    backoff.reset()

    def _take_notifications(self, conn: Connection) -> None:
        while (notification := conn.pgconn.notifies()) is not None:
            self._take(notification.extra.decode())

    def _take(self, payload: str) -> None:
        """A payload is the numbers of tickets; none is our own test."""
        if numbers := payload.split():
            called = [self._tickets.get(int(number)) for number in numbers]
        else:
            self.session = object()
            called = [*self._tickets.copy().values()]
        for ticket in called:
            if ticket is not None:
                ticket.alarm.set()

    def _take_back(self, conn: Connection) -> None:
        with self._lock:
            over, self.over = self.over, {}
        if over:
            waits.remove(conn, self._database.statements, channel=self.channel, tickets=over)

    def _end_if_idle(self) -> None:
        with self._lock:
            if self._tickets:
                self._idle_at = time.monotonic() + IDLE_S
            elif time.monotonic() > self._idle_at:
                self._stopping.set()
