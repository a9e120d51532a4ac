"""Says in the database what a process serves and what it has been running for a while."""

from collections.abc import Callable, Collection
from uuid import UUID

from ..maintenance.duty import Again, Duty
from ..storage import workers
from ..storage.database import Connection
from ..storage.statements import Statements
from .leases import Leases
from .running import Running

#: Seconds between two looks. Nothing is written unless something has changed.
INTERVAL_S = 2.0

#: Only messages that have run for so many seconds are told of: a worker that runs thousands a second writes nothing.
LONG_S = 1.0


class Publication(Duty):
    """Keeps a process's row in worker_states.

    Parameters:
      queues: Tells which queues are consumed.
      actors: Tells which actors are declared.
    """

    def __init__(
        self,
        statements: Statements,
        leases: Leases,
        running: Running,
        *,
        queues: Callable[[], Collection[str]],
        actors: Callable[[], Collection[str]],
    ) -> None:
        super().__init__(statements)
        self._leases = leases
        self._running = running
        self._queues = queues
        self._actors = actors
        self._said: tuple[UUID, frozenset[str], frozenset[str], frozenset[int]] | None = None

    def reconnected(self) -> None:
        """Say it again."""
        self._said = None

    def run_once(self, conn: Connection) -> Again:
        """Say what has changed."""
        owner = self._leases.current()
        if owner is not None:
            running_ms = self._running.for_longer_than(LONG_S)
            queues, actors = frozenset(self._queues()), frozenset(self._actors())
            present = (owner, queues, actors, frozenset(running_ms))
            if present != self._said:
                workers.publish(
                    conn, self.statements, owner=owner, queues=queues, actors=actors, running_ms=running_ms
                )
                self._said = present
        return Again(INTERVAL_S)
