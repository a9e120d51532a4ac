"""Obeys what operators have ordered: pauses, cancellations, and what the process itself is to do."""

from collections.abc import Callable
from uuid import UUID, uuid4

from ..logging import own_logger
from ..maintenance.duty import CONTROL, Again, Duty
from ..storage import orders, pauses, registers, removals
from ..storage.database import Connection
from ..storage.orders import Orders
from ..storage.slots import try_lock
from ..storage.statements import BY_INDEX, Statements
from .running import Running

#: Seconds between two looks; whoever gives an order also tells all workers to look at once.
INTERVAL_S = 0.5

#: Parked messages that are made ready in one statement: about ten milliseconds of work.
BATCH = 1_000

#: Seconds after which somebody looks whether a request to cancel is settled.
SETTLED_AFTER_S = 1.0

#: Seconds for which a refusal is kept for whoever asked.
REFUSED_FOR_S = 10.0

#: What a process says of itself while it obeys an order.
_STATES = {None: "working", "quiet": "quiet", "stop": "stopping"}

logger = own_logger(__name__)


class Standing:
    """The orders that a process knows; read by all its threads, replaced by one.

    Attributes:
      changes: How often they have changed what may begin.
    """

    def __init__(self) -> None:
        self.orders = Orders()
        self.changes = 0

    @property
    def state(self) -> str:
        """What the process says of itself."""
        return _STATES[self.orders.process]

    def may_begin(self, queue_name: str, actor_name: str, *, under_limit: bool = True) -> bool:
        """Whether neither the queue nor the actor is paused, and the process itself is to work.

        Parameters:
          under_limit: False if the message was claimed without regard to its queue's limit, if there is one.
        """
        orders = self.orders
        return (
            actor_name not in orders.actors
            and queue_name not in orders.queues
            and orders.process is None
            and (under_limit or queue_name not in orders.limited)
        )

    def replace(self, orders: Orders) -> bool:
        """Take orders in the place of those before; answer whether anything else may begin now."""
        before, self.orders = self.orders, orders
        changed = _bounds(before) != _bounds(orders)
        self.changes += changed
        return changed


def _bounds(orders: Orders) -> tuple[object, ...]:
    return orders.queues, orders.actors, orders.process, orders.limited


class Control(Duty):
    """Keeps a process's orders up to date, and does what follows from them.

    Parameters:
      process: The number under which it takes orders of its own.
      on_change: Called when something was paused or resumed.
      on_stop: Called, once, when the process is to stop.
    """

    def __init__(
        self,
        statements: Statements,
        standing: Standing,
        running: Running,
        *,
        process: UUID | None = None,
        on_change: Callable[[], None],
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(statements)
        self._process = process or uuid4()
        self._on_stop = on_stop
        self._stops = False
        self._standing = standing
        self._running = running
        self._on_change = on_change

    def run_once(self, conn: Connection) -> Again:
        """Look at the orders, and obey them."""
        found = orders.read(conn, self.statements, process=self._process)
        if self._standing.replace(found):
            self._on_change()
        if found.process == "stop" and not self._stops:
            self._stops = True
            self._on_stop()
        self._cancel(conn, found)
        released = self._release(conn) if found.parked else 0
        return Again(0.0 if released >= BATCH else INTERVAL_S)

    def _cancel(self, conn: Connection, found: Orders) -> None:
        for key, state in self._running.cancel(found.cancelled).items():
            orders.answer(conn, self.statements, key=key, state=state)
        if found.cancelled or found.refused:
            with conn.transaction():
                conn.execute(BY_INDEX, prepare=False)
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
            conn.execute(BY_INDEX, prepare=False)
            for actor_name in pauses.released_actors(conn, self.statements):
                released = pauses.release(conn, self.statements, actor_name=actor_name, limit=BATCH)
                most = max(most, released)
        if most:
            registers.wake(conn, self.statements)
        return most
