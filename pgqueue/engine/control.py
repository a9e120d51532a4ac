"""Obeys what operators have ordered: pauses and cancellations."""

from collections.abc import Callable

from ..logging import own_logger
from ..maintenance.duty import CONTROL, Again, Duty
from ..storage import orders, pauses, registers, removals
from ..storage.database import Connection
from ..storage.orders import Orders
from ..storage.slots import try_lock
from ..storage.statements import Statements
from .running import Running

#: Seconds between two looks; whoever gives an order also tells all workers to look at once.
INTERVAL_S = 0.5

#: Parked messages that are made ready in one statement: about ten milliseconds of work.
BATCH = 1_000

#: Seconds after which somebody looks whether a request to cancel is settled.
SETTLED_AFTER_S = 1.0

#: Seconds for which a refusal is kept for whoever asked.
REFUSED_FOR_S = 10.0

logger = own_logger(__name__)


class Standing:
    """The orders that a process knows; read by all its threads, replaced by one."""

    def __init__(self) -> None:
        self.orders = Orders()

    def may_begin(self, queue_name: str, actor_name: str) -> bool:
        """Whether neither the queue nor the actor is paused."""
        orders = self.orders
        return actor_name not in orders.actors and queue_name not in orders.queues


class Control(Duty):
    """Keeps a process's orders up to date, and does what follows from them.

    Parameters:
      on_change: Called when something was paused or resumed.
    """

    def __init__(
        self, statements: Statements, standing: Standing, running: Running, *, on_change: Callable[[], None]
    ) -> None:
        super().__init__(statements)
        self._standing = standing
        self._running = running
        self._on_change = on_change

    def run_once(self, conn: Connection) -> Again:
        """Look at the orders, and obey them."""
        found = orders.read(conn, self.statements)
        before, self._standing.orders = self._standing.orders, found
        if (before.queues, before.actors) != (found.queues, found.actors):
            self._on_change()
        self._cancel(conn, found)
        released = self._release(conn) if found.parked else 0
        return Again(0.0 if released >= BATCH else INTERVAL_S)

    def _cancel(self, conn: Connection, found: Orders) -> None:
        for key, state in self._running.cancel(found.cancelled).items():
            orders.answer(conn, self.statements, key=key, state=state)
        if found.cancelled or found.refused:
            with conn.transaction():
                conn.execute("SET LOCAL enable_seqscan = off")
                if try_lock(conn, self.statements, duty=CONTROL):
                    self._look_after(conn)

    def _look_after(self, conn: Connection) -> None:
        """Carry out requests whose message was given back or is tried again; forget those that are settled."""
        for key, state in orders.old_requests(conn, self.statements, older_s=SETTLED_AFTER_S):
            if state == "refused":
                continue
            if removals.remove(conn, self.statements, keys=[key], record=True) or not removals.is_alive(
                conn, self.statements, key=key
            ):
                orders.drop_request(conn, self.statements, key=key)
        for key, state in orders.old_requests(conn, self.statements, older_s=REFUSED_FOR_S):
            if state == "refused":
                orders.drop_request(conn, self.statements, key=key)

    def _release(self, conn: Connection) -> int:
        """Make a batch of the parked messages of actors ready that go on; return how many at most of one."""
        most = 0
        with conn.transaction():
            conn.execute("SET LOCAL enable_seqscan = off")
            for actor_name in pauses.released_actors(conn, self.statements):
                released = pauses.release(conn, self.statements, actor_name=actor_name, limit=BATCH)
                most = max(most, released)
        if most:
            registers.wake(conn, self.statements)
        return most
